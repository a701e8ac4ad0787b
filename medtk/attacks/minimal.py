"""The smallest change in the Euclidean norm that turns an image's class: DeepFool, and Carlini and Wagner."""

import keras
import numpy as np

from medtk.attacks.common import at_least, gaps, length, prepared, whole, within_range
from medtk.models.gradients import loss_and_gradient, scores

TINY = np.finfo(np.float32).tiny
LARGEST_C = 1e10  # of Carlini and Wagner's own code; tenfold without end would overflow


def rivals(found: np.ndarray, labels: np.ndarray, candidates: int) -> np.ndarray:
    """Label of each image, then the `candidates` other classes with the largest scores, shape (n, 1 + candidates)."""
    others = found.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    order = np.argsort(-others, axis=1, kind="stable")[:, : min(candidates, others.shape[1] - 1)]
    return np.concatenate([labels[:, None], order], axis=1).astype(np.int32)


def deepfool(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    overshoot: float = 0.02,
    steps: int = 50,
    candidates: int = 10,
    clip: bool = True,
    batch_size: int = 256,
) -> np.ndarray:
    r"""DeepFool: walk to the nearest border of the class as if the network were affine, and look again.

    If the scores were affine, the border between the label y and a class k would be a hyperplane at the distance
    :math:`|f_k - f_y| / \|w_k\|_2` with :math:`w_k = \nabla f_k - \nabla f_y`, and the way to the nearest of them

    .. math:: r = \frac{|f_k - f_y|}{\|w_k\|_2^2} \, w_k

    The steps are summed from the image, and a point is left behind when (1 + overshoot) times the sum crosses a
    border. With two classes and an affine network that is (1 + overshoot) times the exact distance.

    Parameters
    ----------
    model : keras.Model
        Images to probabilities, with a layer ``logits``.
    images : ndarray of float32, shape (n, height, width, channels)
        In [0, 1].
    labels : ndarray of int, shape (n,)
        True class ids. An image that is misclassified already, or for which no change was found, is returned as it
        is.
    overshoot : float
        At least 0.
    steps : int
        At most this many, at least 1.
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
    Moosavi-Dezfooli, Fawzi and Frossard (2016), algorithm 2.
    """
    at_least(0, overshoot=overshoot)
    whole(1, steps=steps, candidates=candidates)
    images, goal = prepared(model, images, labels, clip=clip)
    found = scores(model, images, batch_size=batch_size)
    wanted = rivals(found, goal.classes, candidates)
    result, points, way = images.copy(), images.copy(), np.zeros_like(images)
    active = np.flatnonzero(~goal.reached(found))
    for _ in range(steps):
        if not len(active):
            break
        _, gap, slope = loss_and_gradient(model, points[active], wanted[active], loss=gaps, batch_size=batch_size)
        size = length(slope)[:, :, 0, 0, 0]
        # A class whose gap has no slope cannot be reached; the least gap gets out of a tie of two scores.
        height = np.maximum(np.abs(gap), 1e-6)
        nearest = np.where(size > 0, height / np.maximum(size, TINY), np.inf).argmin(axis=1)
        row = np.arange(len(active))
        height, size, slope = (values[row, nearest] for values in (height, size, slope))
        stride = np.where(size > 0, height / np.maximum(np.square(size), TINY), 0)
        way[active] += stride[:, None, None, None] * slope
        points[active] = within_range(images[active] + (1 + overshoot) * way[active], clip)
        crossed = goal.reached(scores(model, points[active], batch_size=batch_size), active)
        result[active[crossed]] = points[active[crossed]]
        active = active[~crossed & (size > 0)]
    return result


def carlini_wagner(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    targets: np.ndarray | None = None,
    confidence: float = 0.0,
    search_steps: int = 9,
    steps: int = 1000,
    learning_rate: float = 0.01,
    initial_c: float = 1e-3,
    abort_early: bool = True,
    batch_size: int = 256,
) -> np.ndarray:
    r"""Carlini and Wagner's attack in the Euclidean norm: distance against margin, weighed by a searched constant.

    .. math:: \min_w \|x' - x\|_2^2 + c \, \max(\kappa - m(x'), 0), \qquad x' = \tfrac12 (\tanh w + 1)

    where m is the best other score minus the label's (with `targets`: the target's minus the best other's), so that
    m > 0 is success. The tanh keeps every pixel in [0, 1] without clipping. Adam minimises over w; c grows tenfold
    until it succeeds and is then found by bisection, for each image on its own. The nearest success is kept.

    Parameters
    ----------
    model : keras.Model
        Images to probabilities, with a layer ``logits``.
    images : ndarray of float32, shape (n, height, width, channels)
        In [0, 1].
    labels : ndarray of int, shape (n,)
        True class ids. An image that is misclassified already (or is its target), or for which no change was found,
        is returned as it is.
    targets : ndarray of int, shape (n,), optional
        Class ids that the network shall give instead of the labels.
    confidence : float
        kappa, at least 0: the margin of scores that counts as success.
    search_steps : int
        Values of c that are tried, at least 1.
    steps : int
        Steps of Adam for each c, at least 1.
    learning_rate : float
        Of Adam, on w.
    initial_c : float
        The first c, above 0.
    abort_early : bool
        Whether an image is left alone for this c once its least objective of a tenth of the steps (ten at least) is
        that of the tenth before to 0.01 %.
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
    Carlini and Wagner (2017), sections V and VI.
    """
    at_least(0, confidence=confidence, learning_rate=learning_rate)
    whole(1, search_steps=search_steps, steps=steps)
    at_least(np.finfo(np.float32).tiny, initial_c=initial_c)
    images, goal = prepared(model, images, labels, targets)
    reached = goal.reached(scores(model, images, batch_size=batch_size))
    best, shortest = images.copy(), np.where(reached, 0, np.inf).astype(np.float32)
    # A pixel of exactly 0 or 1 would be at infinity, where tanh is flat.
    start = np.arctanh((2 * np.clip(images, 0, 1) - 1) * np.float32(0.999999))
    c, low, high = (np.full(len(images), value, np.float32) for value in (initial_c, 0, np.inf))
    for _ in range(search_steps):
        succeeded = np.zeros(len(images), bool)
        at = np.flatnonzero(~reached)
        w, momentum, energy = start[at], *np.zeros((2, *start[at].shape), np.float32)
        last = lowest = np.full(len(at), np.inf)
        for step in range(1, steps + 1):
            if not len(at):
                break
            tanh = np.tanh(w)
            points = 0.5 * (tanh + 1)
            _, gap, slope = loss_and_gradient(model, points, goal.classes[at], loss=goal.margin, batch_size=batch_size)
            difference = points - images[at]
            distance = np.square(difference).sum(axis=(1, 2, 3))
            success = gap > confidence
            succeeded[at] |= success
            nearer = success & (distance < shortest[at])
            best[at[nearer]], shortest[at[nearer]] = points[nearer], distance[nearer]

            short = np.where(gap < confidence, c[at], 0)[:, None, None, None]
            gradient = (2 * difference - short * slope) * (0.5 * (1 - np.square(tanh)))
            momentum = 0.9 * momentum + 0.1 * gradient
            energy = 0.999 * energy + 0.001 * np.square(gradient)
            rate = learning_rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            w = w - rate * momentum / (np.sqrt(energy) + 1e-8)

            lowest = np.minimum(lowest, distance + c[at] * np.maximum(confidence - gap, 0))
            if abort_early and step % max(steps // 10, 10) == 0:
                # A rise counts: Adam overshoots before it settles. In the first window `last` is infinite.
                moving = np.abs(lowest - last) >= 1e-4 * last
                w, momentum, energy, at, last = (z[moving] for z in (w, momentum, energy, at, lowest))
                lowest = np.full(len(at), np.inf)
        high = np.where(succeeded, np.minimum(high, c), high)
        low = np.where(succeeded, low, np.maximum(low, c))
        c = np.where(np.isfinite(high), (low + high) / 2, np.minimum(10 * c, LARGEST_C)).astype(np.float32)
    return best
