"""One perturbation for all images."""

import keras
import numpy as np

from medtk.attacks.common import at_least, prepared, whole, within_range
from medtk.attacks.iterative import NORMS, projected, uphill
from medtk.errors import UnknownName
from medtk.models.gradients import loss_and_gradient, scores


def universal_perturbation(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    epsilon: float,
    *,
    norm: str = "linf",
    epochs: int = 20,
    step_size: float | None = None,
    targets: np.ndarray | None = None,
    clip: bool = True,
    seed: int = 0,
    batch_size: int = 64,
) -> np.ndarray:
    r"""Perturbation that, added to any of the images, turns as many of them as can be.

    .. math:: v \leftarrow \Pi_{\|v\| \le \epsilon}
              \Bigl(v + \alpha \, s\bigl(\textstyle\sum_i \nabla_x J(\theta, x_i + v, y_i)\bigr)\Bigr)

    over batches of images in random order, s as in `pgd`; images that v already turns do not pull. Moosavi-Dezfooli
    et al., who found that such perturbations exist, add up DeepFool's steps one image after another; the same ascent
    on batches (Shafahi et al.) is what this does, since it needs one gradient a batch.

    Parameters
    ----------
    model : keras.Model
        Images to probabilities, with a layer ``logits``.
    images : ndarray of float32, shape (n, height, width, channels)
        In [0, 1]; those that the perturbation is made from, at least one. What it does to others tells whether it
        is universal.
    labels : ndarray of int, shape (n,)
        True class ids.
    epsilon : float
        Size of the perturbation: of each pixel for ``linf``, of the whole for ``l2``.
    norm : {'linf', 'l2'}
    epochs : int
        Passes over the images, at least 1.
    step_size : float, optional
        epsilon / 10 if not given.
    targets : ndarray of int, shape (n,), optional
        Class ids that the network shall give instead of the labels.
    clip : bool
        Whether the perturbed images are clipped to [0, 1].
    seed : int
        Of the order of the images.
    batch_size : int
        Images a step of the ascent; here it does change the result.

    Returns
    -------
    ndarray of float32, shape (height, width, channels)
        Of all passes, the perturbation that turned the most images.

    Raises
    ------
    BadParameter, UnknownName
        On images or a setting out of range, or labels that do not fit.
    MedtkError
        If the scores are not finite.

    References
    ----------
    Moosavi-Dezfooli, Fawzi, Fawzi and Frossard (2017), "Universal adversarial perturbations"; Shafahi et al. (2020),
    "Universal adversarial training", section 3.
    """
    at_least(0, epsilon=epsilon, step_size=step_size or 0)
    whole(1, epochs=epochs, batch_size=batch_size, images=len(images))
    if norm not in NORMS:
        raise UnknownName("norm", norm, NORMS)
    images, goal = prepared(model, images, labels, targets, clip=clip)
    epsilon, step_size = float(epsilon), float(epsilon / 10 if step_size is None else step_size)
    random = np.random.default_rng(seed)
    nothing = np.zeros_like(images[:1])
    best = perturbation = nothing
    turned = -1
    for _ in range(epochs):
        order = random.permutation(len(images))
        for start in range(0, len(images), batch_size):
            chosen = order[start : start + batch_size]
            points = within_range(images[chosen] + perturbation, clip)
            found, _, gradient = loss_and_gradient(model, points, goal.classes[chosen], loss=goal.loss)
            pull = gradient[~goal.reached(found, chosen)].sum(axis=0, keepdims=True)
            moved = perturbation + step_size * uphill(pull, norm)
            perturbation = projected(moved, nothing, epsilon, norm, clip=False)
        count = goal.reached(scores(model, within_range(images + perturbation, clip))).sum()
        if count > turned:
            best, turned = perturbation, count
    return best[0]


def apply_universal(images: np.ndarray, perturbation: np.ndarray, *, clip: bool = True) -> np.ndarray:
    """Images with the perturbation added.

    Parameters
    ----------
    images : ndarray of float32, shape (n, height, width, channels)
    perturbation : ndarray of float32, shape (height, width, channels)
    clip : bool
        Whether to keep the result in [0, 1].

    Returns
    -------
    ndarray of float32, shape of `images`
    """
    return within_range(np.asarray(images, np.float32) + perturbation, clip)
