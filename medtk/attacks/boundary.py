"""The smallest change of any pixel that turns an image's class: a walk along the border, after FAB."""

import keras
import numpy as np

from medtk.attacks.common import gaps, prepared, whole, within_range
from medtk.attacks.iterative import TINY
from medtk.attacks.minimal import rivals
from medtk.models.gradients import loss_and_gradient, scores


def fab(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    steps: int = 50,
    candidates: int = 9,
    clip: bool = True,
    batch_size: int = 256,
) -> np.ndarray:
    r"""Fast adaptive boundary attack, simplified: the least :math:`L_\infty` change that turns the class.

    Like `deepfool` it takes the border to a class k for a hyperplane, whose nearest point in this norm lies
    :math:`|f_k - f_y| / \|w_k\|_1` away along the signs of :math:`w_k`. Two points of the hyperplane are mixed: the one
    nearest to where the walk is, and, with the smaller weight the further away it is, the one nearest to the image.
    A point across the border is noted if it is the nearest to the image so far; then the walk is taken a tenth of the
    way back to the image and goes on. Simplified: the hyperplane's nearest point is sought without the limits of the
    pixels and clipped afterwards, and there are no random restarts.

    Parameters
    ----------
    model : keras.Model
        Images to probabilities, with a layer ``logits``.
    images : ndarray of float32, shape (n, height, width, channels)
        In [0, 1].
    labels : ndarray of int, shape (n,)
        True class ids. An image that is misclassified already, or for which no change was found, is returned as it
        is.
    steps : int
        At least 1.
    candidates : int
        Classes, best scores first, whose borders are measured: one pass back each.
    clip : bool
        Whether to stay in [0, 1].
    batch_size : int
        Images a compiled step.

    Returns
    -------
    ndarray of float32, shape of `images`

    Raises
    ------
    BadParameter
        On images or a setting out of range, or labels that do not fit.
    MedtkError
        If the scores are not finite.

    References
    ----------
    Croce and Hein (2020), "Minimally distorted adversarial examples with a fast adaptive boundary attack", algorithm 1;
    its overshoot 1.05, largest weight of the image 0.1 and way back 0.9.
    """
    whole(1, steps=steps, candidates=candidates)
    images, goal = prepared(model, images, labels, clip=clip)
    found = scores(model, images, batch_size=batch_size)
    wanted = rivals(found, goal.classes, candidates)
    active = np.flatnonzero(~goal.reached(found))
    result, points, shortest = images.copy(), images.copy(), np.full(len(images), np.inf, np.float32)
    for _ in range(steps):
        if not len(active):
            break
        here, origin = points[active], images[active]
        _, gap, slope = loss_and_gradient(model, here, wanted[active], loss=gaps, batch_size=batch_size)
        size = np.abs(slope).sum(axis=(2, 3, 4))
        nearest = np.where(size > 0, np.abs(gap) / np.maximum(size, TINY), np.inf).argmin(axis=1)
        gap, size, slope = (values[np.arange(len(active)), nearest] for values in (gap, size, slope))
        from_origin = gap + (slope * (origin - here)).sum(axis=(1, 2, 3))
        # Signed ways to the plane gap + slope (x - here) = 0, from the walk and from the image.
        way, way_origin = (np.where(size > 0, -g / np.maximum(size, TINY), 0) for g in (gap, from_origin))
        weight = np.minimum(np.abs(way) / np.maximum(np.abs(way) + np.abs(way_origin), TINY), 0.1)
        way, way_origin, weight = (values[:, None, None, None] for values in (way, way_origin, weight))
        sign = np.sign(slope)
        mixed = (1 - weight) * (here + 1.05 * way * sign) + weight * (origin + 1.05 * way_origin * sign)
        points[active] = moved = within_range(mixed, clip)
        crossed = goal.reached(scores(model, moved, batch_size=batch_size), active)
        change = np.abs(moved - origin).max(axis=(1, 2, 3))
        nearer = crossed & (change < shortest[active])
        result[active[nearer]], shortest[active[nearer]] = moved[nearer], change[nearer]
        points[active[crossed]] = 0.1 * origin[crossed] + 0.9 * moved[crossed]
        active = active[size > 0]
    return result
