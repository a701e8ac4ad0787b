"""Attacks that see the scores of a network and not its gradients.

Transfer needs no function of its own: images that were made for one network are shown to another, as in
``attacked = pgd(source, images, labels, epsilon)`` and then ``model.predict(attacked)``.
"""

import keras
import numpy as np

from medtk.attacks.common import at_least, prepared, whole, within_range
from medtk.errors import BadParameter
from medtk.models.gradients import scores

# Of 10,000 queries, those after which the squares' area halves.
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


def square(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    epsilon: float,
    *,
    queries: int = 5000,
    initial_area: float = 0.8,
    targets: np.ndarray | None = None,
    clip: bool = True,
    seed: int = 0,
    batch_size: int = 256,
) -> np.ndarray:
    r"""Square attack in the :math:`L_\infty` ball: random search whose steps are squares of plus or minus epsilon.

    It starts with vertical stripes. Each query paints a square of one random colour, every channel at plus or minus
    epsilon, and keeps it where that raises the margin of scores. The squares shrink as the queries are used up.

    Parameters
    ----------
    model : keras.Model
        Images to probabilities, with a layer ``logits``. Only its scores are used.
    images : ndarray of float32, shape (n, height, width, channels)
        In [0, 1].
    labels : ndarray of int, shape (n,)
        True class ids. An image that is misclassified already (or is its target) is returned as it is; one that
        resists is returned with the best change found.
    epsilon : float
        Largest change of a pixel, at least 0.
    queries : int
        Scores asked for an image, at least 1. An image asks no more once it is misclassified.
    initial_area : float
        Share of the image that the first squares cover, in (0, 1].
    targets : ndarray of int, shape (n,), optional
        Class ids that the network shall give instead of the labels.
    clip : bool
        Whether to stay in [0, 1].
    seed : int
        Of all random numbers.
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
    Andriushchenko, Croce, Flammarion and Hein (2020), section 3; the schedule is its section 4.
    """
    at_least(0, epsilon=epsilon)
    whole(1, queries=queries)
    if not 0 < initial_area <= 1:
        raise BadParameter(f"initial_area must be above 0 and at most 1, not {initial_area}.")
    images, goal = prepared(model, images, labels, targets, clip=clip)
    epsilon, random = float(epsilon), np.random.default_rng(seed)
    n, height, width, channels = images.shape
    margins = goal.margins(scores(model, images, batch_size=batch_size))
    active, result = np.flatnonzero(margins <= 0), images.copy()
    margins[active] = -np.inf  # the stripes are kept, whatever they do
    paint = random.choice([-epsilon, epsilon], (n, 1, width, channels)).astype(np.float32)
    painted = np.ones((n, height, width, 1), bool)
    rows, columns = np.arange(height)[:, None], np.arange(width)
    for query in range(queries):
        points = np.where(painted[active], within_range(images[active] + paint[active], clip), result[active])
        found = goal.of(active).margins(scores(model, points, batch_size=batch_size))
        better = found > margins[active]
        result[active[better]], margins[active[better]] = points[better], found[better]
        active = active[margins[active] <= 0]
        if not len(active):
            break
        # Drawn for all images, so that each goes its own way whatever becomes of the others.
        side = square_side(query, queries, initial_area, height, width)
        top = random.integers(0, height - side + 1, n)[:, None, None]
        left = random.integers(0, width - side + 1, n)[:, None, None]
        inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
        painted = inside[..., None]
        paint = random.choice([-epsilon, epsilon], (n, 1, 1, channels)).astype(np.float32)
    return result


def square_side(query: int, queries: int, initial_area: float, height: int, width: int) -> int:
    """Side of the square in pixels at a query: its area halves at the same shares of the queries as in the source."""
    halved = sum(query * 10_000 > after * queries for after in HALVINGS)
    side = round((initial_area / 2**halved * height * width) ** 0.5)
    return min(max(side, 1), height, width)
