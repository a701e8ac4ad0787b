"""Many small steps uphill, each followed by a projection onto the allowed ball around the image."""

import keras
import numpy as np

from medtk.attacks.common import Strongest, at_least, length, prepared, whole, within_range
from medtk.errors import UnknownName
from medtk.models.gradients import loss_and_gradient, scores

NORMS = ("linf", "l2")
TINY = np.finfo(np.float32).tiny


def uphill(gradient: np.ndarray, norm: str) -> np.ndarray:
    """Steepest step of size 1 in the norm; a gradient of zero gives no step."""
    return np.sign(gradient) if norm == "linf" else gradient / np.maximum(length(gradient), TINY)


def projected(points: np.ndarray, images: np.ndarray, epsilon: float, norm: str, clip: bool) -> np.ndarray:
    """Nearest points within `epsilon` of the images, then clipped, which brings them no further away."""
    difference = points - images
    if norm == "linf":
        difference = np.clip(difference, -epsilon, epsilon)
    else:
        difference *= np.minimum(1, epsilon / np.maximum(length(difference), TINY))
    return within_range(images + difference, clip)


def random_point(images: np.ndarray, epsilon: float, norm: str, random: np.random.Generator) -> np.ndarray:
    """Point drawn evenly from the ball around each image."""
    if norm == "linf":
        return images + random.uniform(-epsilon, epsilon, images.shape).astype(np.float32)
    direction = random.standard_normal(images.shape, np.float32)
    radius = epsilon * random.random((len(images), 1, 1, 1), np.float32) ** (1 / images[0].size)
    return images + radius * uphill(direction, "l2")


def bim(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    epsilon: float,
    *,
    steps: int = 10,
    step_size: float | None = None,
    targets: np.ndarray | None = None,
    clip: bool = True,
    batch_size: int = 256,
) -> np.ndarray:
    """Basic iterative method: FGSM in small steps from the image itself, never further than `epsilon` in a pixel.

    It is `pgd` without a random start; see there for what the parameters mean and what is kept.

    References
    ----------
    Kurakin, Goodfellow and Bengio (2017), "Adversarial examples in the physical world", section 2.2.
    """
    start = {"random_start": False, "steps": steps, "step_size": step_size}
    return pgd(model, images, labels, epsilon, **start, targets=targets, clip=clip, batch_size=batch_size)


def pgd(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    epsilon: float,
    *,
    norm: str = "linf",
    steps: int = 40,
    step_size: float | None = None,
    restarts: int = 1,
    random_start: bool = True,
    targets: np.ndarray | None = None,
    clip: bool = True,
    seed: int = 0,
    batch_size: int = 256,
) -> np.ndarray:
    r"""Projected gradient descent (ascent, here) on the cross-entropy, from random points of the ball.

    .. math:: x_{t+1} = \Pi_{\|x' - x\| \le \epsilon} (x_t + \alpha \, s(\nabla_x J(\theta, x_t, y)))

    where s is the sign for the :math:`L_\infty` ball and the unit vector for the :math:`L_2` ball. Of all points of
    all runs, and of the one-step point :math:`x + \epsilon \, s`, the strongest of each image is returned: one that
    is misclassified before one that is not, then the one with the largest loss. So it is never weaker than one step.

    Parameters
    ----------
    model : keras.Model
        Images to probabilities, with a layer ``logits``.
    images : ndarray of float32, shape (n, height, width, channels)
        In [0, 1].
    labels : ndarray of int, shape (n,)
        True class ids.
    epsilon : float
        Radius of the ball, at least 0: of each pixel for ``linf``, of the whole image for ``l2``.
    norm : {'linf', 'l2'}
    steps : int
        Steps a run, at least 1.
    step_size : float, optional
        2.5 epsilon / steps if not given (Madry et al.), which can cross the ball and come back.
    restarts : int
        Runs, at least 1.
    random_start : bool
        Whether runs start anywhere in the ball. Without, there is one run worth making, from the image itself.
    targets : ndarray of int, shape (n,), optional
        Class ids that the network shall give instead of the labels.
    clip : bool
        Whether to stay in [0, 1].
    seed : int
        Of the random starts.
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
    Madry, Makelov, Schmidt, Tsipras and Vladu (2018), section 2.1.
    """
    at_least(0, epsilon=epsilon, step_size=step_size or 0)
    whole(1, steps=steps, restarts=restarts)
    if norm not in NORMS:
        raise UnknownName("norm", norm, NORMS)
    images, goal = prepared(model, images, labels, targets, clip=clip)
    epsilon, step_size = float(epsilon), float(2.5 * epsilon / steps if step_size is None else step_size)
    random, strongest = np.random.default_rng(seed), Strongest(images, goal)

    def steepest(points):
        found = loss_and_gradient(model, points, goal.classes, loss=goal.loss, batch_size=batch_size)
        strongest.offer(points, *found[:2])
        return uphill(found[2], norm)

    def look(points):
        found = scores(model, points, batch_size=batch_size)
        strongest.offer(points, found, goal.losses(found))

    first = steepest(images)
    look(within_range(images + epsilon * first, clip))
    for _ in range(restarts if random_start else 1):
        points, direction = images, first
        if random_start:
            points = projected(random_point(images, epsilon, norm, random), images, epsilon, norm, clip)
            direction = steepest(points)
        for step in range(1, steps + 1):
            points = projected(points + step_size * direction, images, epsilon, norm, clip)
            if step < steps:
                direction = steepest(points)
        look(points)
    return strongest.images


def mi_fgsm(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    epsilon: float,
    *,
    steps: int = 10,
    step_size: float | None = None,
    decay: float = 1.0,
    targets: np.ndarray | None = None,
    clip: bool = True,
    batch_size: int = 256,
) -> np.ndarray:
    r"""Momentum iterative FGSM: BIM whose direction remembers the gradients before.

    .. math:: g_{t+1} = \mu g_t + \frac{\nabla_x J}{\|\nabla_x J\|_1}, \qquad
              x_{t+1} = \Pi(x_t + \alpha \, \mathrm{sign}(g_{t+1}))

    A direction that several steps agree on depends less on this one network, so the images transfer better to others.
    For the same reason the last point is returned, and not the strongest against this network.

    Parameters
    ----------
    model, images, labels, epsilon, steps, targets, clip, batch_size
        As in `pgd`, norm ``linf``.
    step_size : float, optional
        epsilon / steps if not given, as in the source.
    decay : float
        mu, at least 0; 0 is BIM.

    Returns
    -------
    ndarray of float32, shape of `images`

    Raises
    ------
    BadParameter, MedtkError
        As `pgd`.

    References
    ----------
    Dong et al. (2018), "Boosting adversarial attacks with momentum", algorithm 1.
    """
    at_least(0, epsilon=epsilon, step_size=step_size or 0, decay=decay)
    whole(1, steps=steps)
    images, goal = prepared(model, images, labels, targets, clip=clip)
    epsilon, step_size = float(epsilon), float(epsilon / steps if step_size is None else step_size)
    points, memory = images, np.zeros_like(images)
    for _ in range(steps):
        gradient = loss_and_gradient(model, points, goal.classes, loss=goal.loss, batch_size=batch_size)[2]
        size = np.abs(gradient).sum(axis=(1, 2, 3), keepdims=True)
        memory = decay * memory + gradient / np.maximum(size, TINY)
        points = projected(points + step_size * np.sign(memory), images, epsilon, "linf", clip)
    return points
