"""The one-pixel attack: a search without gradients."""

import keras
import numpy as np

from medtk.attacks.common import at_least, prepared, whole
from medtk.models.gradients import scores


def one_pixel(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    pixels: int = 1,
    population: int = 400,
    generations: int = 100,
    scale: float = 0.5,
    targets: np.ndarray | None = None,
    seed: int = 0,
    batch_size: int = 256,
) -> np.ndarray:
    """One-pixel attack: differential evolution of a pixel's place and colour, for all images at once.

    Each child is a member of the population plus `scale` times the difference of two others, without crossover, and
    takes its parent's place if it brings the network nearer to the goal, measured by the margin of scores (the source
    takes the probability, which does not see small changes of a sure network). No gradient is used.

    Parameters
    ----------
    model : keras.Model
        Images to probabilities, with a layer ``logits``.
    images : ndarray of float32, shape (n, height, width, channels)
        In [0, 1], and the result too.
    labels : ndarray of int, shape (n,)
        True class ids. An image that is misclassified already (or is its target) is returned as it is; one that
        resists is returned with the best change found.
    pixels : int
        Pixels that may change, at least 1.
    population : int
        Candidates an image, at least 4: as many images pass through the network in each generation, for each image
        that still resists.
    generations : int
        At most this many, at least 1.
    scale : float
        Factor of the difference, at least 0.
    targets : ndarray of int, shape (n,), optional
        Class ids that the network shall give instead of the labels.
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
    Su, Vargas and Sakurai (2019), section III. They draw first places evenly and first colours from a normal
    distribution around the middle grey; so does this.
    """
    whole(1, pixels=pixels, generations=generations)
    whole(4, population=population)
    at_least(0, scale=scale)
    images, goal = prepared(model, images, labels, targets)
    random, n = np.random.default_rng(seed), len(images)
    channels = images.shape[-1]
    # A gene is a pixel: row and column in [0, 1), then its colour.
    genes = random.random((n, population, pixels, 2 + channels), np.float32)
    genes[..., 2:] = random.normal(0.5, 0.5, genes[..., 2:].shape)
    genes = np.clip(genes, 0, 1)

    def fitness(genes, active):
        """Margin of each candidate of the active images, above 0 where the goal is reached; (images, population)."""
        owner = np.repeat(active, population)
        flat = genes.reshape(-1, *genes.shape[2:])
        margins = np.empty(len(owner), np.float32)
        for start in range(0, len(owner), batch_size):
            rows = slice(start, start + batch_size)
            found = scores(model, painted(images[owner[rows]], flat[rows]), batch_size=batch_size)
            margins[rows] = goal.of(owner[rows]).margins(found)
        return margins.reshape(-1, population)

    active = attacked = np.flatnonzero(~goal.reached(scores(model, images, batch_size=batch_size)))
    margins = np.full((n, population), -np.inf, np.float32)
    margins[active] = fitness(genes[active], active)
    for _ in range(generations):
        # One random order an image; its neighbours in the order are three different members for each child.
        order = random.permuted(np.tile(np.arange(population), (n, 1)), axis=1)
        active = active[margins[active].max(axis=1) <= 0]
        if not len(active):
            break
        base, one, other = (
            np.take_along_axis(genes[active], np.roll(order[active], shift, axis=1)[..., None, None], axis=1)
            for shift in range(3)
        )
        children = np.clip(base + scale * (one - other), 0, 1)
        found = fitness(children, active)
        better = found > margins[active]
        genes[active] = np.where(better[..., None, None], children, genes[active])
        margins[active] = np.maximum(margins[active], found)
    result = images.copy()
    result[attacked] = painted(images[attacked], genes[attacked, margins[attacked].argmax(axis=1)])
    return result


def painted(images: np.ndarray, genes: np.ndarray) -> np.ndarray:
    """Copies of the images with each gene's pixel in its colour; genes have shape (n, pixels, 2 + channels)."""
    images = images.copy()
    n, height, width, _ = images.shape
    rows = np.minimum((genes[..., 0] * height).astype(int), height - 1)
    columns = np.minimum((genes[..., 1] * width).astype(int), width - 1)
    images[np.arange(n)[:, None], rows, columns] = genes[..., 2:]
    return images
