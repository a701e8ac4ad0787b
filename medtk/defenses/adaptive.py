"""Did the attack fail, or only its gradient? A defence is judged by attacks that know of it.

A network whose gradient is zero, or points nowhere, looks robust to every attack that follows the gradient and is not.
Athalye, Carlini and Wagner (2018), "Obfuscated gradients give a false sense of security", section 3.1, list how such a
network behaves; `evaluate_adaptively` looks for each of these signs. A change of the images before the network, such
as JPEG, comes with it through `medtk.defenses.straight_through`.
"""

from dataclasses import dataclass, field

import keras
import numpy as np
from scipy.special import log_softmax

from medtk import attacks, models
from medtk.attacks.common import at_least
from medtk.defenses.masking import FEWEST, Check, signs
from medtk.errors import BadParameter
from medtk.models.gradients import loss_gradient, scores

# Step sizes of the sweep, as shares of epsilon.
STEP_SHARES = (0.05, 0.125, 0.25, 0.5, 1.0)
# Budgets of the sweep, as multiples of epsilon; after them comes 1, which can turn any pixel into any other.
EPSILON_MULTIPLES = (1, 2, 4, 8)
TINY = 1e-8


@dataclass(frozen=True)
class Report:
    """What `evaluate_adaptively` found. Accuracies are shares of all images.

    Attributes
    ----------
    epsilon : float
    n : int
        Images.
    accuracy : dict
        By attack: ``clean``, ``one_step`` (FGSM), ``iterative`` (last point of many steps, at its best step size),
        ``pgd``, ``rescaled`` (PGD on scores divided by their typical gap), ``square``, ``transfer`` if there is a
        surrogate, ``random``, and ``worst``: images that withstand all of them.
    gradient : dict
        Norms of the gradients of the images that are classified right: ``share_zero``, ``share_tiny`` (below 1e-8),
        ``median_norm``, ``smallest_norm``, ``largest_norm``.
    step_sizes, epsilons : dict
        Accuracy by step size of the iterative attack, and by budget of PGD.
    surface : dict
        ``images``, how many it is the mean of; ``distances``, shape (9,), from -2 epsilon to 2 epsilon; and ``loss``,
        shape (9, 9), the mean cross-entropy that far along the sign of the gradient (rows) and along random signs
        (columns).
    checks : tuple of Check
    verdict : str
        One sentence: ``gradients masked: ...``, ``no sign of masking ...``, ``nothing to attack: ...`` or ``too few
        images to tell: ...``.
    """

    epsilon: float
    n: int
    accuracy: dict[str, float]
    gradient: dict[str, float]
    step_sizes: dict[float, float]
    epsilons: dict[float, float]
    surface: dict[str, np.ndarray] = field(repr=False)
    checks: tuple[Check, ...]
    verdict: str

    @property
    def masked(self) -> bool:
        """Whether any sign was seen on a network that can be attacked at all."""
        return self.verdict.startswith("gradients masked")


def evaluate_adaptively(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    epsilon: float,
    *,
    surrogate: keras.Model | None = None,
    steps: int = 20,
    queries: int = 300,
    random_draws: int = 50,
    surface_images: int = 32,
    tolerance: float = 0.02,
    seed: int = 0,
    batch_size: int = 256,
) -> Report:
    """Attack a network in all these ways and say whether its gradients can be believed.

    All attacks stay within `epsilon` of each pixel and in [0, 1]. An image costs about 12 times `steps` passes forward
    and back, and if it withstands these, `queries` + `random_draws` passes forward.

    Parameters
    ----------
    model : keras.Model
        Images to probabilities, with a layer ``logits``.
    images : ndarray of float32, shape (n, height, width, channels)
        In [0, 1].
    labels : ndarray of int, shape (n,)
        True class ids.
    epsilon : float
        Budget in each pixel, above 0 and below 1.
    surrogate : keras.Model, optional
        Another network for the same task, such as the teacher of a distilled one: the source of a transfer attack.
    steps : int
        Of every iterative attack.
    queries, random_draws : int
        Of the Square attack, and random corners of the ball tried.
    surface_images : int
        Images that the loss surface is the mean of.
    tolerance : float
        A difference of accuracy up to this is not taken for a sign, nor one that chance explains: attacks are compared
        image by image (see `medtk.defenses.masking`), and a share counts from `FEWEST` images on.
    seed : int
        Of everything random.
    batch_size : int
        Images a compiled step.

    Returns
    -------
    Report

    Raises
    ------
    BadParameter
        If `epsilon`, `tolerance` or `surface_images` is out of its range, or the labels are not those of the images.
    """
    at_least(1, surface_images=surface_images)
    if not 0 < epsilon < 1 or not 0 <= tolerance < 1:
        raise BadParameter(f"epsilon must be above 0 and below 1, tolerance 0 or more, not {epsilon} and {tolerance}.")
    images, labels = np.asarray(images, np.float32), np.asarray(labels)
    gradients = loss_gradient(model, images, labels, batch_size=batch_size)
    seen: set[int] = set()

    def right(attacked, of=slice(None)):
        said = scores(model, attacked, batch_size=batch_size).argmax(axis=1)
        seen.update(said.tolist())
        return said == labels[of]

    def pgd(network, budget):
        return attacks.pgd(network, images, labels, budget, steps=steps, seed=seed, batch_size=batch_size)

    common = {"steps": steps, "decay": 0.0, "batch_size": batch_size}  # no momentum, and no memory of better points
    withstood = {"clean": right(images)}
    withstood["one_step"] = right(attacks.fgsm(model, images, labels, epsilon, clip=True, batch_size=batch_size))
    sweep = {
        share * epsilon: right(attacks.mi_fgsm(model, images, labels, epsilon, step_size=share * epsilon, **common))
        for share in STEP_SHARES
    }
    withstood["iterative"] = min(sweep.values(), key=np.mean)
    budgets = sorted({min(multiple * epsilon, 1.0) for multiple in EPSILON_MULTIPLES} | {1.0})
    by_budget = {budget: right(pgd(model, budget)) for budget in budgets}
    withstood["pgd"] = by_budget[epsilon]
    withstood["rescaled"] = right(pgd(rescaled(model, images, batch_size), epsilon))
    if surrogate is not None:
        withstood["transfer"] = right(pgd(surrogate, epsilon))

    by_gradient = np.logical_and.reduce([*sweep.values(), *(withstood[a] for a in ("clean", "one_step", "pgd"))])
    options = {"queries": queries, "seed": seed, "batch_size": batch_size}
    withstood["square"] = right(attacks.square(model, images, labels, epsilon, **options))
    withstood["random"] = _after_random_search(right, images, withstood["clean"], epsilon, random_draws, seed)

    surface = _surface(model, images, labels, gradients, withstood["clean"], epsilon, surface_images, seed)
    accuracy = {name: float(np.mean(mask)) for name, mask in withstood.items()}
    accuracy["worst"] = float(np.mean(np.logical_and.reduce([by_gradient, *withstood.values()])))
    epsilons = {budget: float(np.mean(mask)) for budget, mask in by_budget.items()}
    gradient = _norms(gradients[withstood["clean"]])
    unbounded = np.logical_and.reduce([by_gradient, *by_budget.values()])
    checks = signs(withstood, by_gradient, gradient, by_budget, unbounded, surface, tolerance)
    return Report(
        epsilon=epsilon,
        n=len(images),
        accuracy=accuracy,
        gradient=gradient,
        step_sizes={size: float(np.mean(mask)) for size, mask in sweep.items()},
        epsilons=epsilons,
        surface=surface,
        checks=checks,
        verdict=_verdict(checks, accuracy, len(images), seen, epsilon),
    )


def rescaled(model: keras.Model, images: np.ndarray, batch_size: int = 256) -> keras.Model:
    """Network with the same decisions, its scores divided by the median gap between the best two.

    Where large scores saturate the softmax, the gradient of the loss is zero or lost in rounding; this brings it
    back, as dividing by the temperature does for a distilled network (Carlini and Wagner 2017, section VIII).
    """
    best = np.sort(scores(model, images, batch_size=batch_size), axis=1)[:, -2:]
    gap = float(np.median(best[:, 1] - best[:, 0]))
    return models.wrapped(model, factor=1 / gap if gap > 0 else 1.0)


def _after_random_search(right, images, resisting, epsilon, draws, seed) -> np.ndarray:
    """Which images are classified right at every one of some random corners of the ball."""
    random, left = np.random.default_rng(seed), np.flatnonzero(resisting)
    for _ in range(draws):
        if len(left):
            x = images[left]
            left = left[right(np.clip(x + random.choice(np.float32([-epsilon, epsilon]), x.shape), 0, 1), left)]
    return np.isin(np.arange(len(images)), left)


def _norms(gradients: np.ndarray) -> dict[str, float]:
    norms = np.sqrt(np.square(gradients.astype(float)).sum(axis=(1, 2, 3)))
    if not len(norms):
        norms = np.zeros(1)
    return {
        "share_zero": float(np.mean(norms == 0)),
        "share_tiny": float(np.mean(norms < TINY)),
        "median_norm": float(np.median(norms)),
        "smallest_norm": float(norms.min()),
        "largest_norm": float(norms.max()),
    }


def _surface(model, images, labels, gradients, chosen, epsilon, n, seed) -> dict[str, np.ndarray]:
    chosen = np.flatnonzero(chosen)[:n]
    x, uphill = images[chosen], np.sign(gradients[chosen])
    aside = np.random.default_rng(seed).choice(np.float32([-1, 1]), x.shape)
    distances = np.linspace(-2 * epsilon, 2 * epsilon, 9, dtype=np.float32)
    loss = np.zeros((9, 9))
    for row, along in enumerate(distances):
        for column, across in enumerate(distances):
            if len(chosen):
                found = scores(model, x + along * uphill + across * aside).astype(float)
                loss[row, column] = -np.mean(log_softmax(found, axis=1)[np.arange(len(x)), labels[chosen]])
    return {"images": len(chosen), "distances": distances, "loss": loss}


def _verdict(checks: tuple[Check, ...], accuracy: dict, n: int, seen: set[int], epsilon: float) -> str:
    if not accuracy["clean"]:
        return "nothing to attack: the network is wrong on every clean image."
    if len(seen) == 1:
        return "nothing to attack: the network answers one class, whatever it is shown."
    found = [check.name.replace("_", " ") for check in checks if check.suspicious]
    if found:
        return f"gradients masked: {', '.join(found)}."
    if (right := round(accuracy["clean"] * n)) < FEWEST:
        return f"too few images to tell: the network is right on {right}."
    worst = accuracy["worst"]
    return f"no sign of masking: the strongest attack leaves {worst:.1%} of the images right at epsilon {epsilon:g}."
