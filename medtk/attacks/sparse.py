"""Few values of an image changed as much as they can be: the Jacobian saliency map and its attack."""

import keras
import numpy as np
from keras import ops

from medtk.attacks.common import prepared, toward
from medtk.attacks.minimal import rivals
from medtk.errors import BadParameter, UnknownName
from medtk.models.gradients import class_ids, loss_and_gradient, scores

OUTPUTS = ("scores", "probabilities")


def target_and_others(scores, targets):
    """Score of the target and sum of all others, shape (n, 2)."""
    target = ops.sum(ops.one_hot(targets, scores.shape[-1]) * scores, axis=1)
    return ops.stack([target, ops.sum(scores, axis=1) - target], axis=1)


def target_and_others_probabilities(scores, targets):
    """The same of the probabilities, shape (n, 2)."""
    return target_and_others(ops.softmax(scores), targets)


SUMS = dict(zip(OUTPUTS, (target_and_others, target_and_others_probabilities), strict=True))


def saliency_map(
    model: keras.Model,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    output: str = "probabilities",
    decrease: bool = False,
    batch_size: int = 256,
) -> np.ndarray:
    r"""Jacobian saliency of each value for a class: does it raise the class and lower all others together?

    .. math:: S_i = \alpha_i |\beta_i| \text{ if } \alpha_i > 0 \text{ and } \beta_i < 0, \text{ else } 0, \qquad
              \alpha_i = \frac{\partial F_t}{\partial x_i}, \quad
              \beta_i = \sum_{k \neq t} \frac{\partial F_k}{\partial x_i}

    Parameters
    ----------
    model : keras.Model
        Images to probabilities, with a layer ``logits``.
    images : ndarray of float32, shape (n, height, width, channels)
    targets : ndarray of int, shape (n,)
        The class t of each image.
    output : {'scores', 'probabilities'}
        What F is. With probabilities beta = -alpha, since they sum to 1, and both are tiny where the network is sure;
        for that reason Papernot et al. take the scores.
    decrease : bool
        Whether to ask which values to lower (alpha < 0 and beta > 0) instead.
    batch_size : int
        Images a compiled step.

    Returns
    -------
    ndarray of float32, shape of `images`
        At least 0.

    Raises
    ------
    BadParameter, UnknownName
        On wrong targets or output.
    MedtkError
        If the scores are not finite.

    References
    ----------
    Papernot et al. (2016), "The limitations of deep learning in adversarial settings", Eqs. (8) and (9).
    """
    targets = class_ids(model, images, targets, "targets")
    if output not in SUMS:
        raise UnknownName("output", output, SUMS)
    slopes = loss_and_gradient(model, images, targets, loss=SUMS[output], batch_size=batch_size)[2]
    alpha, beta = slopes[:, 0], slopes[:, 1]
    if decrease:
        alpha, beta = -alpha, -beta
    return np.where((alpha > 0) & (beta < 0), -alpha * beta, 0)


def best_pairs(alpha: np.ndarray, beta: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""The two values of each image whose joint change has the greatest saliency.

    That is the pair p, q of free values with the largest :math:`(\alpha_p + \alpha_q) |\beta_p + \beta_q|` among those
    with :math:`\alpha_p + \alpha_q > 0` and :math:`\beta_p + \beta_q < 0`. Where there is none, the pair with the
    largest :math:`\alpha - \beta`.

    Not all pairs are compared. If another value has both a larger alpha and a smaller beta than p, the pair gets
    better by taking it instead of p, unless it is q. So at most one other value can be better in both ways than p; a
    sort and two running maxima find the values of which that is true, commonly some dozens among thousands.

    Parameters
    ----------
    alpha, beta : ndarray, shape (n, values)
    free : ndarray of bool, shape (n, values)
        Which values may change; at least two an image.

    Returns
    -------
    p, q : ndarray of int, shape (n,)
    """
    x, y = np.where(free, alpha, -np.inf), np.where(free, -beta, -np.inf)
    order = np.argsort(-x, axis=1, kind="stable")
    y_sorted = np.take_along_axis(y, order, axis=1)
    first = np.maximum.accumulate(y_sorted, axis=1)
    lesser = np.minimum(y_sorted[:, 1:], first[:, :-1])
    second = np.maximum.accumulate(lesser, axis=1)  # second largest y among the values up to here
    undominated = np.ones(x.shape, bool)
    undominated[:, 2:] = y_sorted[:, 2:] > second[:, :-1]
    undominated &= np.isfinite(y_sorted)

    kept = undominated.sum(axis=1).max(initial=2)
    ranks = np.argsort(~undominated, axis=1, kind="stable")[:, :kept]
    valid = np.take_along_axis(undominated, ranks, axis=1)
    ids = np.take_along_axis(order, ranks, axis=1)
    never = -1e150  # squares to a finite number
    a, b = (np.where(valid, np.take_along_axis(z, ids, axis=1).astype(np.float64), never) for z in (x, y))
    pairs = np.empty((len(x), 2), np.intp)
    block = max(1, 2**22 // kept**2)
    for start in range(0, len(x), block):
        rows = slice(start, start + block)
        pairs[rows] = _best_of_all_pairs(a[rows], b[rows])
    pairs = np.take_along_axis(ids, pairs, axis=1)
    return pairs[:, 0], pairs[:, 1]


def _best_of_all_pairs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Columns of the pair with the largest product of sums, both above 0; else of the largest a + b; shape (n, 2)."""
    n, kept = a.shape
    raises, lowers = a[:, :, None] + a[:, None], b[:, :, None] + b[:, None]
    saliency = np.where((raises > 0) & (lowers > 0), raises * lowers, -np.inf)
    saliency[:, range(kept), range(kept)] = -np.inf
    best = saliency.reshape(n, -1).argmax(axis=1)
    pairs = np.stack(np.divmod(best, kept), axis=1)
    none = saliency.reshape(n, -1)[np.arange(n), best] == -np.inf
    pairs[none] = np.argsort(-(a + b)[none], axis=1, kind="stable")[:, :2]
    return pairs


def jsma(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    theta: float = 1.0,
    gamma: float = 0.1,
    targets: np.ndarray | None = None,
    output: str = "probabilities",
    clip: bool = True,
    batch_size: int = 256,
) -> np.ndarray:
    """Jacobian-based saliency map attack: change the two most salient values by `theta`, look again, repeat.

    Parameters
    ----------
    model : keras.Model
        Images to probabilities, with a layer ``logits``.
    images : ndarray of float32, shape (n, height, width, channels)
        In [0, 1].
    labels : ndarray of int, shape (n,)
        True class ids. An image that is misclassified already (or is its target) is returned as it is; one that
        resists is returned with the changes made.
    theta : float
        What is added to a value at each step, 0.001 or more in size; negative values darken.
    gamma : float
        Largest share of an image's values (pixels x channels) that may change, in (0, 1].
    targets : ndarray of int, shape (n,), optional
        Class ids that the network shall give. Without, the changes lead to the class with the second largest score
        and stop as soon as the label is left.
    output : {'scores', 'probabilities'}
        What is differentiated; see `saliency_map`. The sum of all other scores says little about the one class that
        is in the way, so with several classes ``probabilities`` needs fewer changes.
    clip : bool
        Whether to stay in [0, 1]; a value that has reached the end is not changed again. Without, each value is
        changed once.
    batch_size : int
        Images a compiled step.

    Returns
    -------
    ndarray of float32, shape of `images`

    Raises
    ------
    BadParameter, UnknownName
        On images or a setting out of range, or labels that do not fit.
    MedtkError
        If the scores are not finite.

    References
    ----------
    Papernot et al. (2016), algorithms 2 and 3.
    """
    if not 0 < gamma <= 1 or not 1e-3 <= abs(theta) < np.inf:
        raise BadParameter(f"gamma must be in (0, 1] and theta 0.001 or more either way, not {gamma} and {theta}.")
    if output not in SUMS:
        raise UnknownName("output", output, SUMS)
    images, goal = prepared(model, images, labels, targets, clip=clip)
    aim = goal.classes
    if targets is None:
        aim = rivals(scores(model, images, batch_size=batch_size), goal.classes, 1)[:, 1]
    # With probabilities (alpha_p + alpha_q) |beta_p + beta_q| = (alpha_p + alpha_q) ** 2: the two steepest values, and
    # the logarithm has its steepest values at the same places and does not vanish.
    loss = toward if output == "probabilities" else target_and_others
    points, sign = images.reshape(len(images), np.prod(images.shape[1:])).copy(), np.sign(theta)
    most, end = int(gamma * points.shape[1]), 1.0 if theta > 0 else 0.0
    changed, active = np.zeros(points.shape, bool), np.arange(len(images))
    while len(active):
        now = points[active].reshape(-1, *images.shape[1:])
        found, _, slopes = loss_and_gradient(model, now, aim[active], loss=loss, batch_size=batch_size)
        free = points[active] != end if clip else ~changed[active]
        # Two more values must be free, and allowed.
        going = ~goal.reached(found, active) & (free.sum(axis=1) >= 2) & (changed[active].sum(axis=1) + 2 <= most)
        active, free = active[going], free[going]
        if not len(active):
            break
        slopes = sign * slopes[going]
        if output == "probabilities":
            pair = np.argpartition(np.where(free, slopes.reshape(free.shape), -np.inf), -2, axis=1)[:, -2:].T
        else:
            pair = best_pairs(slopes[:, 0].reshape(free.shape), slopes[:, 1].reshape(free.shape), free)
        for chosen in pair:
            moved = points[active, chosen] + np.float32(theta)
            points[active, chosen] = np.clip(moved, 0, 1) if clip else moved
            changed[active, chosen] = True
    return points.reshape(images.shape)
