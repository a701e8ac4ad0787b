"""Light augmentation: images a little turned, zoomed and shifted, a whole batch at a time."""

import numpy as np

from medtk.errors import BadParameter


def moved(
    images: np.ndarray,
    random: np.random.Generator,
    *,
    turn: float = 7.0,
    zoom: float = 0.1,
    shift: float = 0.05,
) -> np.ndarray:
    """Each image turned, zoomed and shifted by amounts of its own, bilinear; what comes from outside is the border.

    No mirror images: a heart is on the left.

    Parameters
    ----------
    images : ndarray of float32, shape (n, height, width, channels)
    random : numpy Generator
    turn : float
        Largest angle in degrees, either way.
    zoom : float
        Largest part by which an image grows or shrinks, 0 to below 1.
    shift : float
        Largest shift in each direction, as a part of the side.

    Returns
    -------
    ndarray of float32, of the same shape, inside the range of values of `images`
    """
    if not (turn >= 0 and 0 <= zoom < 1 and shift >= 0):
        raise BadParameter(f"turn and shift must be 0 or more and zoom 0 to below 1, not {turn}, {shift} and {zoom}.")
    n, height, width, _ = images.shape
    angle = np.deg2rad(random.uniform(-turn, turn, n))
    scale = 1 / (1 + random.uniform(-zoom, zoom, n))
    by = random.uniform(-shift, shift, (2, n))
    middle = (height - 1) / 2, (width - 1) / 2
    y, x = (axis.ravel().astype(np.float32) for axis in np.mgrid[:height, :width])
    y, x = y - middle[0], x - middle[1]
    cosine, sine = (scale * np.cos(angle)).astype(np.float32), (scale * np.sin(angle)).astype(np.float32)
    down = np.outer(cosine, y) - np.outer(sine, x) + (middle[0] + by[0] * height)[:, None]
    right = np.outer(sine, y) + np.outer(cosine, x) + (middle[1] + by[1] * width)[:, None]
    return _sampled(images, down, right).reshape(images.shape)


def _sampled(images: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Values between pixels: `down` and `right` of shape (n, points) to (n, points, channels)."""
    n, height, width, channels = images.shape
    down, right = np.clip(down, 0, height - 1), np.clip(right, 0, width - 1)
    top = np.minimum(down.astype(np.int64), max(height - 2, 0))
    left = np.minimum(right.astype(np.int64), max(width - 2, 0))
    part_down, part_right = (down - top)[..., None], (right - left)[..., None]
    flat = images.reshape(n, height * width, channels)
    rows = np.arange(n)[:, None]
    corner = top * width + left
    below, beside = (width if height > 1 else 0), (1 if width > 1 else 0)
    upper = flat[rows, corner] * (1 - part_right) + flat[rows, corner + beside] * part_right
    lower = flat[rows, corner + below] * (1 - part_right) + flat[rows, corner + below + beside] * part_right
    return (upper * (1 - part_down) + lower * part_down).astype(np.float32)
