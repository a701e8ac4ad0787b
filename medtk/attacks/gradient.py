"""One step along the sign of the gradient."""

from collections.abc import Sequence

import keras
import numpy as np

from medtk.attacks.common import at_least, prepared, within_range
from medtk.models.gradients import loss_gradient


def fgsm(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    epsilon: float,
    *,
    targets: np.ndarray | None = None,
    clip: bool = True,
    batch_size: int = 256,
) -> np.ndarray:
    r"""Fast gradient sign method: one step of size `epsilon` uphill in every pixel.

    .. math:: x_\mathrm{adv} = x + \epsilon \, \mathrm{sign}(\nabla_x J(\theta, x, y))

    With `targets` the step goes downhill in the loss of the target class instead.

    Parameters
    ----------
    model : keras.Model
        Images to probabilities, with a layer ``logits``.
    images : ndarray of float32, shape (n, height, width, channels)
        In [0, 1].
    labels : ndarray of int, shape (n,)
        True class ids.
    epsilon : float
        Size of the step in each pixel, at least 0; 1/255 is one grey level.
    targets : ndarray of int, shape (n,), optional
        Class ids that the network shall give instead of the labels.
    clip : bool
        Whether to stay in [0, 1]. Eq. (1) of the robust-transfer paper does not: ``clip=False``.
    batch_size : int
        Images a compiled step.

    Returns
    -------
    ndarray of float32, shape of `images`

    Raises
    ------
    BadParameter
        On images or a setting out of range, or labels that do not fit.

    References
    ----------
    Goodfellow, Shlens and Szegedy (2015), section 4; Yenumala, Zhang and Lo, Eq. (1). Targeted: Kurakin, Goodfellow
    and Bengio (2017).
    """
    return fgsm_path(model, images, labels, [epsilon], targets=targets, clip=clip, batch_size=batch_size)[0]


def fgsm_path(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    epsilons: Sequence[float],
    *,
    targets: np.ndarray | None = None,
    clip: bool = True,
    batch_size: int = 256,
) -> list[np.ndarray]:
    """FGSM at several `epsilons` for the price of one: the gradient does not depend on epsilon.

    Returns
    -------
    list of ndarray
        One array an epsilon; parameters and errors as in `fgsm`.
    """
    for epsilon in epsilons:
        at_least(0, epsilon=epsilon)
    images, goal = prepared(model, images, labels, targets, clip=clip)
    direction = np.sign(loss_gradient(model, images, goal.classes, loss=goal.loss, batch_size=batch_size))
    return [within_range(images + np.float32(epsilon) * direction, clip) for epsilon in epsilons]
