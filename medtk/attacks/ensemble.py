"""Several attacks, one verdict an image: the worst of them."""

from dataclasses import dataclass

import keras
import numpy as np

from medtk.attacks.auto_pgd import apgd
from medtk.attacks.black_box import square
from medtk.attacks.boundary import fab
from medtk.attacks.common import at_least, prepared, whole
from medtk.attacks.minimal import rivals
from medtk.models.gradients import scores


@dataclass(frozen=True)
class WorstCase:
    """What was left standing.

    Attributes
    ----------
    images : ndarray of float32, shape (n, height, width, channels)
        The image that broke the network, or the original where none did.
    broken_by : ndarray of str, shape (n,)
        ``clean`` (misclassified without any attack), the attack that broke it first, or empty.
    """

    images: np.ndarray
    broken_by: np.ndarray

    @property
    def robust_accuracy(self) -> float:
        """Share of images that no attack broke."""
        return float((self.broken_by == "").mean())


def worst_case(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    epsilon: float,
    *,
    steps: int = 100,
    target_classes: int = 9,
    queries: int = 5000,
    clip: bool = True,
    seed: int = 0,
    batch_size: int = 256,
) -> WorstCase:
    r"""Worst case of four different attacks in the :math:`L_\infty` ball, each on the images that still stand.

    In this order: Auto-PGD on the cross-entropy (``apgd-ce``); Auto-PGD towards the next best classes, one after
    another, on the difference of logits ratio (``apgd-t``; with fewer than four classes that ratio is not defined,
    and the difference of the two scores is raised); the boundary attack (``fab``), whose change counts if it is at
    most epsilon; and the black-box square attack (``square``), which no masked gradient can mislead. The composition
    is AutoAttack's, the attacks are ours and `fab` is simplified; no accuracy found here may be called AutoAttack's.

    Parameters
    ----------
    model : keras.Model
        Images to probabilities, with a layer ``logits``.
    images : ndarray of float32, shape (n, height, width, channels)
        In [0, 1].
    labels : ndarray of int, shape (n,)
        True class ids.
    epsilon : float
        Largest change of a pixel, at least 0.
    steps : int
        Of Auto-PGD and of the boundary attack.
    target_classes : int
        Classes that ``apgd-t`` goes for, best scores first.
    queries : int
        Of the square attack.
    clip : bool
        Whether to stay in [0, 1].
    seed : int
        Of the random parts.
    batch_size : int
        Images a compiled step.

    Returns
    -------
    WorstCase

    Raises
    ------
    BadParameter
        On images or a setting out of range, or labels that do not fit.
    MedtkError
        If the scores are not finite.

    References
    ----------
    Croce and Hein (2020), "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks".
    """
    at_least(0, epsilon=epsilon)
    whole(1, target_classes=target_classes)
    images, goal = prepared(model, images, labels, clip=clip)
    clean = scores(model, images, batch_size=batch_size)
    targets = rivals(clean, goal.classes, target_classes)[:, 1:]
    broken_by = np.where(goal.reached(clean), "clean", "").astype("<U8")
    result = images.copy()
    common = {"clip": clip, "batch_size": batch_size}
    auto = {"steps": steps, "seed": seed, **common}

    def attack(name, method, **settings):
        """Run an attack on the images that stand; `settings` may hold one row an image under ``targets``."""
        at = np.flatnonzero(broken_by == "")
        if not len(at):
            return
        if "targets" in settings:
            settings["targets"] = settings["targets"][at]
        attacked = method(model, images[at], goal.classes[at], **settings)
        near = np.abs(attacked - images[at]).max(axis=(1, 2, 3)) <= epsilon + 1e-6
        broken = near & goal.reached(scores(model, attacked, batch_size=batch_size), at)
        result[at[broken]], broken_by[at[broken]] = attacked[broken], name

    attack("apgd-ce", apgd, epsilon=epsilon, **auto)
    for target in targets.T:
        attack("apgd-t", apgd, epsilon=epsilon, loss="targeted_dlr", targets=target, **auto)
    attack("fab", fab, steps=steps, **common)
    attack("square", square, epsilon=epsilon, queries=queries, seed=seed, **common)
    return WorstCase(result, broken_by)
