"""What privacy a run has spent: the account that each hospital keeps for itself, and what the server can tell."""

from collections.abc import Mapping
from pathlib import Path

from medtk import privacy
from medtk.errors import BadParameter
from medtk.federated.flower.plan import Plan
from medtk.federated.flower.progress import read, write

AWAY = "it is not connected"  # why a hospital that was asked nothing is gone


def spend(folder: Path, plan: Plan, n: int, most: float | None = None) -> float:
    """Enter a round into a hospital's account, before it trains; epsilon after that round.

    The account is of all runs of the folder, so a server cannot ask for more by calling its run another one.

    Parameters
    ----------
    folder : Path
        The hospital's; ``account.json`` is written there.
    plan : Plan
        With noise.
    n : int
        Training images.
    most : float, optional
        The hospital's own limit on epsilon: a round that would go beyond it is refused.

    Raises
    ------
    BadParameter
        If the limit would be passed, delta is not below 1 / `n`, or the server asks for other noise or another batch
        size than before: epsilon is computed for releases that are all alike.
    """
    if not plan.delta < 1 / n:
        raise BadParameter(f"delta is {plan.delta:g}, and must be below one over the {n} images of this hospital.")
    rate, steps = privacy.sampling(n, plan.batch_size)
    same = {"noise_multiplier": plan.noise_multiplier, "sampling_rate": rate, "delta": plan.delta}
    before = read(folder, "account", same | {"steps": 0})
    if changed := [name for name, value in same.items() if before[name] != value]:
        said = ", ".join(f"{name} {before[name]:g}, now {same[name]:g}" for name in changed)
        raise BadParameter(f"this hospital's account was begun with {said}; another run needs another invitation.")
    steps = before["steps"] + steps * plan.local_epochs
    epsilon = privacy.epsilon(plan.noise_multiplier, rate, steps, plan.delta)
    if most is not None and epsilon > most:
        raise BadParameter(f"this round would take epsilon to {epsilon:.3g}, and this hospital allows {most:g}.")
    write(folder, "account", same | {"steps": steps, "epsilon": epsilon})
    return epsilon


def by_hospital(plan: Plan, history: list[dict], sizes: Mapping[str, int]) -> dict[str, float | None]:
    """Largest epsilon that each hospital can have spent, as the server knows it; None where its size is not known.

    Each round counts in which a hospital was connected and asked, also where its answer was lost or refused: it may
    have left the hospital. The hospital's own account is exact.
    """
    found: dict[str, float | None] = {}
    for name in plan.hospitals:
        rounds = sum(row["client"] == name and row["why"] != AWAY for entry in history for row in entry["clients"])
        if rounds and name in sizes:
            rate, steps = privacy.sampling(sizes[name], plan.batch_size)
            found[name] = privacy.epsilon(plan.noise_multiplier, rate, steps * plan.local_epochs * rounds, plan.delta)
        else:
            found[name] = None if rounds else 0.0
    return found


def in_words(plan: Plan, spent: Mapping[str, float | None]) -> str:
    """A sentence of what was spent, a hospital at a time."""
    each = ", ".join(f"{name} {'unknown' if value is None else f'{value:.3g}'}" for name, value in spent.items())
    return f"Epsilon of each image at most (delta {plan.delta:g}): {each}."
