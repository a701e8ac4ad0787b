"""Auto-PGD: projected gradient ascent that sets its own step size."""

import math

import keras
import numpy as np
from keras import ops

from medtk.attacks.common import Strongest, at_least, margin, prepared, whole
from medtk.attacks.iterative import projected, random_point
from medtk.errors import BadParameter, UnknownName
from medtk.models.gradients import class_ids, cross_entropy, loss_and_gradient


def targeted_dlr(scores, wanted):
    """Difference of logits ratio towards ``wanted[:, 1]`` from the label ``wanted[:, 0]``, shape (n,).

    Dividing by a difference of the best scores makes the loss blind to their scale. That takes four classes; with
    fewer it is the plain difference of the two scores.
    """
    label, target = (ops.take_along_axis(scores, wanted[:, k : k + 1], axis=1)[:, 0] for k in (0, 1))
    if scores.shape[-1] < 4:
        return target - label
    best = ops.top_k(scores, 4)[0]
    return (target - label) / (best[:, 0] - (best[:, 2] + best[:, 3]) / 2 + 1e-12)


LOSSES = {"cross_entropy": cross_entropy, "margin": margin, "targeted_dlr": targeted_dlr}


def checkpoints(steps: int) -> list[int]:
    """Steps after which the step size is looked at: at 22 % of the steps, then at ever shorter intervals."""
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    return [math.ceil(round(share * steps, 6)) for share in shares[1:]]


def apgd(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    epsilon: float,
    *,
    loss: str = "cross_entropy",
    targets: np.ndarray | None = None,
    steps: int = 100,
    clip: bool = True,
    seed: int = 0,
    batch_size: int = 256,
) -> np.ndarray:
    r"""Auto-PGD in the :math:`L_\infty` ball: momentum, and a step size that halves where progress stops.

    It starts at a random point with steps of 2 epsilon. At `checkpoints`, the step of an image is halved, and its
    search taken back to the best point so far, if fewer than three in four steps raised the loss, or if neither the
    step nor the best loss has changed since the checkpoint before. An image is left alone once it is misclassified.

    Parameters
    ----------
    model : keras.Model
        Images to probabilities, with a layer ``logits``.
    images : ndarray of float32, shape (n, height, width, channels)
        In [0, 1].
    labels : ndarray of int, shape (n,)
        True class ids. An image that is misclassified already is returned as it is.
    epsilon : float
        Largest change of a pixel, at least 0.
    loss : {'cross_entropy', 'margin', 'targeted_dlr'}
        What is raised. ``targeted_dlr`` follows the difference of logits ratio towards `targets`; it needs four
        classes, and with fewer is the difference of the two scores.
    targets : ndarray of int, shape (n,), optional
        For ``targeted_dlr``: the class to go to. Success is any class but the label.
    steps : int
        At least 1.
    clip : bool
        Whether to stay in [0, 1].
    seed : int
        Of the random start.
    batch_size : int
        Images a compiled step.

    Returns
    -------
    ndarray of float32, shape of `images`
        A misclassified point where one was found, else the point with the largest loss.

    Raises
    ------
    BadParameter, UnknownName
        On images or a setting out of range, or labels that do not fit.
    MedtkError
        If the scores are not finite.

    References
    ----------
    Croce and Hein (2020), "Reliable evaluation of adversarial robustness", algorithm 1.
    """
    at_least(0, epsilon=epsilon)
    whole(1, steps=steps)
    if loss not in LOSSES:
        raise UnknownName("loss", loss, LOSSES)
    if (loss == "targeted_dlr") != (targets is not None):
        raise BadParameter("The loss targeted_dlr needs targets=, and the other losses take none.")
    images, goal = prepared(model, images, labels, clip=clip)
    wanted = goal.classes
    if targets is not None:
        wanted = np.stack([wanted, class_ids(model, images, targets, "targets")], axis=1)
    epsilon, n = float(epsilon), len(images)

    def look(at, points):
        """Offer the points of the images `at`; their losses and gradients."""
        found = loss_and_gradient(model, points, wanted[at], loss=LOSSES[loss], batch_size=batch_size)
        strongest.offer(points, *found[:2], at)
        return found[1:]

    def inside(points, at):
        return projected(points, images[at], epsilon, "linf", clip)

    strongest, everything = Strongest(images, goal), np.arange(n)
    last, gradient = look(everything, images)
    at = np.flatnonzero(~strongest.reached)
    points = inside(random_point(images, epsilon, "linf", np.random.default_rng(seed)), everything)
    last[at], gradient[at] = look(at, points[at])
    before, best, best_gradient = points.copy(), points.copy(), gradient.copy()
    step_size = np.full((n, 1, 1, 1), 2 * epsilon, np.float32)
    best_loss, best_then = last.copy(), last.copy()
    rises, kept_size, since = np.zeros(n, int), np.zeros(n, bool), 0
    looks = checkpoints(steps)
    for step in range(1, steps + 1):
        at = np.flatnonzero(~strongest.reached)
        if not len(at):
            break
        here = points[at]
        stepped = inside(here + step_size[at] * np.sign(gradient[at]), at)
        if step > 1:
            stepped = inside(here + 0.75 * (stepped - here) + 0.25 * (here - before[at]), at)
        before[at], points[at] = here, stepped
        now, gradient[at] = look(at, stepped)
        rises[at] += now > last[at]
        last[at] = now
        up = at[now > best_loss[at]]
        best[up], best_loss[up], best_gradient[up] = points[up], last[up], gradient[up]
        if step in looks:
            window, since = step - since, step
            stuck = (rises < 0.75 * window) | (kept_size & (best_loss == best_then))
            step_size[stuck] /= 2
            points[stuck], gradient[stuck] = best[stuck], best_gradient[stuck]
            kept_size, best_then = ~stuck, best_loss.copy()
            rises[:] = 0
    return strongest.images
