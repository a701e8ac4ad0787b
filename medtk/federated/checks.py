"""What a server looks at before it lets an update into the mean."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medtk.federated.aggregation import Weights, minus, norm


def fault(update: Any, start: Weights) -> str:
    """Why an update cannot be used, in words; empty if it can.

    Parameters
    ----------
    update : Update
        What a client sent: weights, number of images, metrics. It may be anything.
    start : list of ndarray
        What it was sent: as many arrays of the same shapes must come back.
    """
    try:
        weights, n, metrics = update
        arrays = [np.asarray(array) for array in weights]
    except Exception:  # whatever a stranger sends, it must not stop the round
        return "it sent no weights, number of images and metrics"
    if len(arrays) != len(start):
        return f"it sent {len(arrays)} arrays, not {len(start)}"
    for i, (array, expected) in enumerate(zip(arrays, start, strict=True)):
        if array.shape != expected.shape or array.dtype.kind not in "fiu":
            return f"array {i} is {array.dtype} of shape {array.shape}, not {expected.dtype} of {expected.shape}"
        if not np.isfinite(array).all():
            return f"array {i} holds values that are not finite"
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        return f"its number of images is {n!r}"
    numbers = metrics.values() if isinstance(metrics, Mapping) else [None]
    if not all(isinstance(value, int | float | np.number) for value in numbers):
        return "its metrics are not numbers by name"
    return ""


def too_long(
    updates: Mapping[str, tuple[Weights, Weights]], sizes: Mapping[str, int], max_ratio: float | None
) -> dict[str, str]:
    """Clients whose update is far longer than the others', with the reason in words.

    The length is the Euclidean norm of weights minus start. It is compared with the middle length of the round (the
    lower one of an even number), times `max_ratio`, times n / middle n where the client has more images than
    the middle one, since it takes more steps. With one update there is nothing to compare.

    Parameters
    ----------
    updates : dict
        By client: the weights that it sent and those that it started from.
    sizes : dict
        By client: its number of images.
    max_ratio : float or None
        Above 1; None refuses nobody.
    """
    if max_ratio is None or len(updates) < 2:
        return {}
    lengths = {client: norm(minus(*pair)) for client, pair in updates.items()}
    middle = statistics.median_low(lengths.values())
    middle_size = statistics.median_low(sizes[client] for client in updates)
    if middle == 0:
        return {}  # a round in which most did not move says nothing about the others
    return {
        client: f"its update is {length / middle:.0f} times as long as the middle one of the round"
        for client, length in lengths.items()
        if length > max_ratio * max(1.0, sizes[client] / middle_size) * middle
    }


def bytes_of(weights: Sequence[np.ndarray]) -> int:
    """Bytes of the numbers that cross the line; what a protocol wraps around them is not counted."""
    return sum(array.nbytes for array in weights)
