"""Attacks that follow the gradient of the loss."""

from collections.abc import Sequence

import keras
import numpy as np

from medtk.errors import BadParameter
from medtk.models.gradients import loss_gradient


def fgsm(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    epsilon: float,
    *,
    clip: bool = False,
    batch_size: int = 256,
) -> np.ndarray:
    r"""Fast gradient sign method: one step of size `epsilon` uphill in every pixel.

    .. math:: x_\mathrm{adv} = x + \epsilon \, \mathrm{sign}(\nabla_x J(\theta, x, y))

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
    clip : bool
        Whether to keep the result in [0, 1]. Eq. (1) of the robust-transfer paper has no clipping.
    batch_size : int
        Images a compiled step.

    Returns
    -------
    ndarray of float32, shape of `images`

    Raises
    ------
    BadParameter
        If `epsilon` is negative or not finite, or the labels are not one class id of the network an image.

    References
    ----------
    Goodfellow, Shlens and Szegedy (2015), section 4; Yenumala, Zhang and Lo, Eq. (1).
    """
    return fgsm_path(model, images, labels, [epsilon], clip=clip, batch_size=batch_size)[0]


def fgsm_path(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    epsilons: Sequence[float],
    *,
    clip: bool = False,
    batch_size: int = 256,
) -> list[np.ndarray]:
    """FGSM at several `epsilons` for the price of one: the gradient does not depend on epsilon.

    Returns
    -------
    list of ndarray
        One array an epsilon; parameters and errors as in `fgsm`.
    """
    for epsilon in epsilons:
        if not 0 <= epsilon < float("inf"):
            raise BadParameter(f"epsilon must be a finite number, 0 or more, not {epsilon}.")
    images = np.asarray(images, np.float32)
    direction = np.sign(loss_gradient(model, images, labels, batch_size=batch_size))
    attacked = [images + np.float32(epsilon) * direction for epsilon in epsilons]
    return [np.clip(a, 0.0, 1.0) for a in attacked] if clip else attacked
