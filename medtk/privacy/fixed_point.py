"""Real numbers as integers modulo 2^32, which add without rounding: what secure aggregation masks."""

from collections.abc import Sequence

import numpy as np

from medtk.errors import BadParameter

BITS = 32


def to_integers(update: Sequence[np.ndarray], limit: float, n: int) -> np.ndarray:
    """An update as fixed-point integers modulo 2^32, flat; the sum of `n` of them cannot overflow.

    Parameters
    ----------
    update : sequence of ndarray
        Already multiplied by the client's weight, where a weighted mean is wanted.
    limit : float
        Largest absolute value that may occur, above 0: agreed on beforehand, the same for all.
    n : int
        Clients in the sum.

    Returns
    -------
    ndarray of uint32, shape (d,)
        Rounded to steps of `resolution`; negative numbers wrap round.

    Raises
    ------
    BadParameter
        If a value is beyond `limit` or not finite: it would wrap round and spoil the sum unseen.
    """
    flat = np.concatenate([np.ravel(np.asarray(array, np.float64)) for array in update])
    largest = np.max(np.abs(flat), initial=0.0)
    if not largest <= limit:
        raise BadParameter(f"This update holds {largest:g}, beyond the limit of {limit:g}; clip it or agree on more.")
    return np.rint(flat / resolution(limit, n)).astype(np.int64).astype(np.uint32)


def to_arrays(total: np.ndarray, like: Sequence[np.ndarray], limit: float, n: int) -> list[np.ndarray]:
    """A sum of `to_integers` as float64 arrays of the shapes of `like`; `limit` and `n` as there."""
    flat = total.astype(np.int32) * resolution(limit, n)
    cuts = np.cumsum([np.size(array) for array in like])[:-1]
    return [part.reshape(np.shape(array)) for part, array in zip(np.split(flat, cuts), like, strict=True)]


def resolution(limit: float, n: int) -> float:
    """Step of the fixed-point numbers: each client's value is off by half of it at most."""
    if not 0 < limit < np.inf or n < 1:
        raise BadParameter(f"limit must be finite and above 0 and n at least 1, not {limit} and {n}.")
    # One step a client is kept free for rounding up.
    return limit / (2 ** (BITS - 1) // n - 1)
