"""When to stop: rules on how far apart two clusters are, and a strategy that ends the run by one of them.

A *rule* is ``rule(series) -> round or None``. `series` holds what `medtk.federated.watched` notes, a list with one
value a round: ``cosine`` of the clusters' mean updates, ``distance`` of their mean weights.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from medtk.errors import BadParameter
from medtk.federated.strategies import Received, Server

Series = Mapping[str, Sequence[float]]


class Bend(NamedTuple):
    """Two lines that meet: the round where they do (from 1), and the slope of each, a round."""

    round: int
    before: float
    after: float


def bend(values: Sequence[float], least: int = 3) -> Bend | None:
    """Where a series changes its slope: the best fit by two lines that meet at one of its points.

    Parameters
    ----------
    values : sequence of float
        One a round.
    least : int
        Fewest rounds on each side of the bend, at least 2.

    Returns
    -------
    Bend or None
        None where one line is as good by the Bayesian information criterion (the bend costs two parameters more), or
        where there are fewer than 2 * least + 1 values.
    """
    if least < 2:
        raise BadParameter(f"least must be 2 or more, not {least}: one point has no slope.")
    y = np.asarray(values, np.float64)
    n = len(y)
    if n < 2 * least + 1:
        return None
    t = np.arange(n, dtype=np.float64)
    line = np.stack([np.ones(n), t], axis=1)
    fits = {at: _fitted(np.column_stack([line, np.maximum(t - at, 0)]), y) for at in range(least, n - least)}
    at = min(fits, key=lambda place: fits[place][1])
    (_, before, change), error = fits[at]
    # Rounding alone leaves an error that is not 0; below this a fit counts as perfect.
    floor = 1e-18 * n * max(float(np.square(y).max()), 1e-300)
    one, two = max(_fitted(line, y)[1], floor), max(error, floor)
    if n * np.log(one) + 2 * np.log(n) <= n * np.log(two) + 4 * np.log(n):
        return None
    return Bend(at + 1, float(before), float(before + change))


def _fitted(columns: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    found = np.linalg.lstsq(columns, y, rcond=None)[0]
    return found, float(np.sum((y - columns @ found) ** 2))


def conflict(series: Series, window: int = 5, threshold: float = 0.0) -> int | None:
    """First round from which the clusters pull against each other: the mean cosine of `window` rounds is not above it.

    A short step along one cluster's update u changes the loss of the other by about the product of u and its
    gradient. As long as the cosine of the two updates is above 0, a step for one is a step for both.

    Parameters
    ----------
    series : mapping
        With ``cosine``.
    window : int
        Rounds that are averaged, at least 1: the cosine of a single round is noisy.
    threshold : float
        From -1 to 1.

    Returns
    -------
    int or None
        Last round of the first such window; None if there is none.
    """
    if window < 1 or not -1 <= threshold <= 1:
        raise BadParameter(f"window must be at least 1 and threshold lie in -1 to 1, not {window} and {threshold}.")
    cosine = np.asarray(series["cosine"], np.float64)
    if len(cosine) < window:
        return None
    means = np.convolve(cosine, np.full(window, 1 / window), "valid")
    below = np.flatnonzero(means <= threshold)
    return int(below[0]) + window if len(below) else None


def drift(series: Series, least: int = 3) -> int | None:
    """Round from which the clusters' weights part faster than before: a `bend` of ``distance`` with a steeper end."""
    found = bend(series["distance"], least)
    return found.round if found and found.after > max(found.before, 0) else None


def stop_by(
    server: Server,
    received: Sequence[Received],
    strategy: Callable,
    rule: Callable[[Series], int | None],
    first: int = 1,
) -> Server:
    """Do as `strategy` does, and end the run after the round in which `rule` finds something.

    Parameters
    ----------
    server, received
        As in every strategy.
    strategy : callable
        One that notes numbers, such as ``partial(watched, strategy=..., clusters=...)``.
    rule : callable
        Such as `conflict` or `drift`, with `functools.partial` for its parameters. It sees all rounds so far; rounds
        without notes (a cluster sent nothing) are left out, and what it finds is counted among the others.
    first : int
        Round before which the run is not ended, from 1.
    """
    after = strategy(server, received)
    kept = server.memory.get("stopping", {"rounds": 0, "noted": [], "series": {}})
    rounds, noted, series = kept["rounds"] + 1, list(kept["noted"]), dict(kept["series"])
    numbers = {name: value for name, value in after.notes.items() if isinstance(value, float)}
    if numbers:
        noted.append(rounds)
        series = {name: [*series.get(name, []), value] for name, value in numbers.items()}
    found = rule(series) if series else None
    memory = after.memory | {"stopping": {"rounds": rounds, "noted": noted, "series": series}}
    if found is None or rounds < first:
        return replace(after, memory=memory)
    name = getattr(rule, "func", rule).__name__
    return replace(after, memory=memory, stop=f"{name}: the clusters part at round {noted[found - 1]}.")
