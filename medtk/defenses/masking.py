"""Signs of masked gradients, from which images withstand which attack (see `medtk.defenses.adaptive`)."""

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

# One attack beats another if a fair coin would do as well less often than this, on the images that only one turns.
CHANCE = 0.05
# Fewer images than this are no sign: five of five heads are the fewest that a fair coin gives less often than CHANCE.
FEWEST = 5


@dataclass(frozen=True)
class Check:
    """One sign of masked gradients.

    Attributes
    ----------
    name : str
        What would be seen if gradients were masked: ``one_step_beats_iterative``.
    suspicious : bool
        Whether it was seen.
    numbers : dict
        What that rests on.
    """

    name: str
    suspicious: bool
    numbers: dict[str, float]


def beats(stronger: np.ndarray, weaker: np.ndarray, tolerance: float) -> bool:
    """Whether one attack leaves fewer of the same images right than another, by more than `tolerance` and chance."""
    won, lost = int(np.sum(weaker & ~stronger)), int(np.sum(stronger & ~weaker))
    if won - lost <= tolerance * len(weaker):
        return False
    return binomtest(won, won + lost, alternative="greater").pvalue < CHANCE


def _many(chosen: np.ndarray, tolerance: float) -> bool:
    """Whether images are more than a share of `tolerance`, and `FEWEST` or more."""
    return bool(np.mean(chosen) > tolerance and np.sum(chosen) >= FEWEST)


def signs(withstood, by_gradient, gradient, by_budget, unbounded, surface, tolerance) -> tuple[Check, ...]:
    """All signs, from which images are still right (boolean, shape (n,)) after each attack and at each budget."""
    share = {name: float(np.mean(mask)) for name, mask in withstood.items()}
    black_box = [name for name in ("square", "transfer") if name in withstood]
    # A budget of 1 starts anywhere in the box and walks badly; `unbounded_attack_fails` asks about all budgets at once.
    by_size = [mask for budget, mask in by_budget.items() if budget < 1]
    rises = any(beats(small, large, tolerance) for small, large in itertools.combinations(by_size, 2))
    first, last = by_size[0], by_size[-1]
    stuck = len(by_size) > 1 and _many(last, tolerance) and np.mean(first) - np.mean(last) <= tolerance
    zero = gradient["share_zero"]
    loss, origin, step, seen = surface["loss"], 4, 6, surface["images"]  # distances 0 and epsilon
    uphill, aside = (float(place - loss[origin, origin]) for place in (loss[step, origin], loss[origin, step]))
    white_box = {"all_gradient_attacks": float(np.mean(by_gradient))}
    by_chance = by_gradient & ~withstood["random"]
    return (
        Check("zero_gradients", zero > tolerance and round(zero * withstood["clean"].sum()) >= FEWEST, gradient),
        Check(
            "gradient_no_better_than_random",
            seen >= FEWEST and uphill <= aside,
            {"along_gradient": uphill, "random": aside, "images": seen},
        ),
        Check(
            "one_step_beats_iterative",
            beats(withstood["one_step"], withstood["iterative"], tolerance),
            {name: share[name] for name in ("one_step", "iterative")},
        ),
        Check(
            "black_box_beats_white_box",
            any(beats(withstood[name], by_gradient, tolerance) for name in black_box),
            {name: share[name] for name in black_box} | white_box,
        ),
        Check(
            "unbounded_attack_fails", _many(unbounded, tolerance), {"accuracy_at_epsilon_1": float(np.mean(unbounded))}
        ),
        Check(
            "random_search_finds_more",
            _many(by_chance, tolerance),
            {"found_by_random_alone": float(np.mean(by_chance))},
        ),
        Check(
            "bigger_epsilon_does_not_help",
            rises or stuck,
            {f"epsilon={budget:g}": float(np.mean(mask)) for budget, mask in by_budget.items()},
        ),
        Check(
            "rescaled_scores_break_it",
            beats(withstood["rescaled"], by_gradient, tolerance),
            {"rescaled": share["rescaled"]} | white_box,
        ),
    )
