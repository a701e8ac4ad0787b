"""A linear reader: the best straight line from the activations around a place to the pixels there, in closed form.

Nothing is trained, so nothing can be trained too little: what a plane through few neighbours reads lies open. He needs
what a learned decoder needs, pairs that he can make himself.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from medtk.errors import BadParameter
from medtk.split_learning import to_channels, to_pixels

STRENGTHS = 10.0 ** np.arange(-8, 3)  # of the penalty, in mean squares of the centred features
ROWS = 20_000  # places at once: with 64 activations in each and 9 in a patch they fill 92 MB


class Ridge(NamedTuple):
    """Lines from patches of activations to blocks of pixels.

    Attributes
    ----------
    weights : ndarray of float64, shape (patch * patch * channels, values of a block)
    offset : ndarray of float64, shape (values of a block,)
    strengths : ndarray of float64, shape (values of a block,)
        The penalty that was chosen for each value, one of `STRENGTHS`.
    patch, block : int
        Sides: of a patch in places, of a block in pixels.
    """

    weights: np.ndarray
    offset: np.ndarray
    strengths: np.ndarray
    patch: int
    block: int


def fit_ridge(seen: np.ndarray, images: np.ndarray, *, patch: int = 3) -> Ridge:
    r"""Fit the reader on pairs that the attacker can make himself.

    .. math:: \min_{W, b} \lVert X W + b - Y \rVert^2 + \lambda \frac{\lVert X - \bar X \rVert^2}{d} \lVert W \rVert^2

    A row of :math:`X` holds the :math:`d` activations in a patch around a place, 0 beyond the border, and that of
    :math:`Y` the block of pixels at that place. The normal equations are summed over all places of all images at once;
    :math:`\lambda` is chosen for each pixel of a block by its error on the last tenth of the images, then all of them
    are fitted with it. Fewer than ten images are fitted with the smallest.

    Parameters
    ----------
    seen : ndarray of float32, shape (n, height, width, channels)
        Activations of `images`, as the server receives them.
    images : ndarray of float32, shape (n, factor * height, factor * width, values)
        What the attacker wants: images, or any map with a place for each of the activations'.
    patch : int
        Places a side, odd.

    Raises
    ------
    BadParameter
        If the sizes do not fit.

    References
    ----------
    Hoerl and Kennard (1970), "Ridge regression: biased estimation for nonorthogonal problems", Technometrics 12(1).
    """
    if len(seen) != len(images) or not len(seen):
        raise BadParameter(f"As many images as seen rows are needed, not {len(images)} and {len(seen)}.")
    block = _block(np.shape(seen), np.shape(images))
    if patch < 1 or patch % 2 == 0:
        raise BadParameter(f"A patch has an odd number of places a side, not {patch}.")
    kept = len(seen) - len(seen) // 10  # the films of a patient stand together, so the last ones are other patients'
    fitted, held = (_sums(seen[part], images[part], patch, block) for part in (slice(kept), slice(kept, None)))
    strengths = np.full(len(fitted.own), STRENGTHS[0])
    if kept < len(seen):
        solve = _solver(fitted)
        misfits = [_misfit(held, *solve(np.full_like(strengths, one))) for one in STRENGTHS]
        strengths = STRENGTHS[np.argmin(misfits, axis=0)]
    everything = _Sums(*(a + b for a, b in zip(fitted, held, strict=True)))
    return Ridge(*_solver(everything)(strengths), strengths, patch, block)


def read_ridge(ridge: Ridge, seen: np.ndarray) -> np.ndarray:
    """What the reader makes of activations, not clipped; float32, (n, factor * height, factor * width, values)."""
    n, height, width = np.shape(seen)[:3]
    made = [_patches(seen[part], ridge.patch) @ ridge.weights + ridge.offset for part in _parts(seen)]
    return to_pixels(np.concatenate(made).reshape(n, height, width, -1), ridge.block).astype(np.float32)


class _Sums(NamedTuple):
    """Sums over places of X'X and X'Y, where X has a last column of ones, and of the squares of each column of Y."""

    squares: np.ndarray
    products: np.ndarray
    own: np.ndarray


def _sums(seen: np.ndarray, images: np.ndarray, patch: int, block: int) -> _Sums:
    features, values = seen.shape[-1] * patch * patch + 1, images.shape[-1] * block * block
    squares, products, own = np.zeros((features, features)), np.zeros((features, values)), np.zeros(values)
    for part in _parts(seen):
        x = _patches(seen[part], patch)
        y = to_channels(images[part].astype(np.float64), block).reshape(len(x), -1)
        x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
        squares += x.T @ x
        products += x.T @ y
        own += (y * y).sum(axis=0)
    return _Sums(squares, products, own)


def _solver(sums: _Sums) -> Callable:
    """Weights and offset by strengths of the penalty; the offset is not penalised."""
    n, x, y = sums.squares[-1, -1], sums.squares[-1, :-1], sums.products[-1]
    values, vectors = np.linalg.eigh(sums.squares[:-1, :-1] - np.outer(x, x) / n)
    turned = vectors.T @ (sums.products[:-1] - np.outer(x, y) / n)
    # Activations that never change leave rounding errors behind, which must not be divided by something as small.
    scale = max(values.mean(), 1e-12 * np.trace(sums.squares) / len(values))

    def solved(strengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weights = vectors @ (turned / (np.maximum(values, 0)[:, None] + scale * strengths))
        return weights, (y - x @ weights) / n

    return solved


def _misfit(sums: _Sums, weights: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Squared error of each value of a block, from the sums alone."""
    lines = np.concatenate([weights, offset[None]])
    return sums.own - 2 * (lines * sums.products).sum(axis=0) + (lines * (sums.squares @ lines)).sum(axis=0)


def _patches(seen: np.ndarray, patch: int) -> np.ndarray:
    """Activations around each place, shape (n * height * width, patch * patch * channels)."""
    reach = patch // 2
    padded = np.pad(seen.astype(np.float64), ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    windows = sliding_window_view(padded, (patch, patch), axis=(1, 2))
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, patch * patch * seen.shape[-1])


def _parts(seen: np.ndarray) -> list[slice]:
    step = max(1, ROWS // (seen.shape[1] * seen.shape[2]))
    return [slice(start, start + step) for start in range(0, len(seen), step)]


def _block(seen: tuple[int, ...], images: tuple[int, ...]) -> int:
    """Pixels a side that belong to each place of the activations."""
    if len(seen) == len(images) == 4 and images[1] >= seen[1]:
        block = images[1] // seen[1]
        if images[1:3] == (block * seen[1], block * seen[2]):
            return block
    raise BadParameter(f"Images of {images[1:]} cannot be cut into a square block for each place of {seen[1:]}.")
