"""Whether a classifier serves all groups alike: metrics a group, gaps between groups, each with its uncertainty."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from medtk.evaluation.calibration import expected_error
from medtk.evaluation.intervals import Interval, wilson
from medtk.evaluation.metrics import checked, confusion, macro_f1


class Rate(NamedTuple):
    """A share of images: successes, trials, value (None without trials) and its Wilson interval."""

    k: int
    n: int
    value: float | None
    interval: Interval


class Gap(NamedTuple):
    """Largest minus smallest value over the groups, which groups those are, and a bootstrap interval."""

    value: float
    interval: Interval
    highest: str
    lowest: str


def rate(k: int, n: int, level: float = 0.95) -> Rate:
    """`k` of `n` with its interval; without trials anything is possible, from 0 to 1."""
    k, n = int(k), int(n)
    return Rate(k, n, k / n if n else None, wilson(k, n, level) if n else Interval(0.0, 1.0))


def per_class(labels, probabilities, level: float = 0.95) -> list[dict[str, Rate]]:
    """Sensitivity and specificity of each class against the rest.

    Parameters
    ----------
    labels : array of int, shape (n,)
    probabilities : array of float, shape (n, k)
    level : float
        Of the intervals, between 0 and 1.

    Returns
    -------
    list of dict, one a class
        ``sensitivity`` (right among the images of the class), ``specificity`` (right among the others) and
        ``precision`` (right among those given the class).
    """
    labels, probabilities = checked(labels, probabilities)
    counts = confusion(labels, probabilities.argmax(axis=1), probabilities.shape[1])
    found = []
    for c in range(len(counts)):
        right, of_class, given = counts[c, c], counts[c].sum(), counts[:, c].sum()
        others = counts.sum() - of_class
        found.append(
            {
                "sensitivity": rate(right, of_class, level),
                "specificity": rate(others - (given - right), others, level),
                "precision": rate(right, given, level),
            }
        )
    return found


def micro(labels, probabilities) -> dict[str, float | int]:
    """The columns of the hospital study's Tables 1 and 2: micro-averages over one-hot outputs.

    Each image counts once for each class: a right image is one true positive and, in a binary task, one true negative;
    a wrong one is one false positive and one false negative. So precision, recall and accuracy are one number, FN =
    FP, and for two classes TN = TP: nothing in such a row tells a missed patient from a false alarm.

    Parameters
    ----------
    labels : array of int, shape (n,)
    probabilities : array of float, shape (n, k)

    Returns
    -------
    dict
        ``loss`` (cross-entropy), ``accuracy``, ``precision``, ``recall``, ``f1_avg`` (the macro average, the one
        column that is none), ``fn``, ``fp``, ``tn``, ``tp``.
    """
    labels, probabilities = checked(labels, probabilities)
    n, k = probabilities.shape
    counts = confusion(labels, probabilities.argmax(axis=1), k)
    tp = int(np.trace(counts))
    wrong = n - tp
    return {
        "loss": float(-np.mean(np.log(np.maximum(probabilities[np.arange(n), labels], 1e-7)))),
        "accuracy": tp / n,
        "precision": tp / n,
        "recall": tp / n,
        "f1_avg": macro_f1(counts),
        "fn": wrong,
        "fp": wrong,
        "tn": n * (k - 1) - wrong,
        "tp": tp,
    }


def per_group(groups: Mapping[str, tuple], positive: int = 1, level: float = 0.95, bins: int = 15) -> dict[str, dict]:
    """Metrics of each group.

    Parameters
    ----------
    groups : dict
        By name (a hospital, say): labels, shape (n,), and probabilities, shape (n, k), of its own images.
    positive : int
        The class whose miss does harm.
    level : float
        Of the intervals.
    bins : int
        Of the calibration error.

    Returns
    -------
    dict by group of dict
        ``n``; ``accuracy``, ``tpr`` (sensitivity for `positive`), ``fpr`` and ``positive_rate`` (images that are
        called positive) as `Rate`; ``ece`` and ``macro_f1`` as plain numbers.
    """
    found = {}
    for name, (given, probabilities) in groups.items():
        labels, probabilities = checked(given, probabilities)
        predicted = probabilities.argmax(axis=1)
        ill, called = labels == positive, predicted == positive
        found[name] = {
            "n": len(labels),
            "accuracy": rate(np.sum(predicted == labels), len(labels), level),
            "tpr": rate(np.sum(ill & called), np.sum(ill), level),
            "fpr": rate(np.sum(~ill & called), np.sum(~ill), level),
            "positive_rate": rate(np.sum(called), len(labels), level),
            "ece": expected_error(labels, probabilities, bins),
            "macro_f1": macro_f1(confusion(labels, predicted, probabilities.shape[1])),
        }
    return found


def accuracy(labels, probabilities) -> float:
    """Share of images whose largest column is their class."""
    return float(np.mean(np.asarray(probabilities).argmax(axis=1) == np.asarray(labels)))


def true_positive_rate(labels, probabilities, positive: int = 1) -> float | None:
    """Share of the positive images that are called positive, None if there are none."""
    called = np.asarray(probabilities).argmax(axis=1)[np.asarray(labels) == positive] == positive
    return float(called.mean()) if len(called) else None


def false_positive_rate(labels, probabilities, positive: int = 1) -> float | None:
    """Share of the other images that are called positive, None if there are none."""
    called = np.asarray(probabilities).argmax(axis=1)[np.asarray(labels) != positive] == positive
    return float(called.mean()) if len(called) else None


def gap(
    groups: Mapping[str, tuple],
    metric: Callable,
    *,
    level: float = 0.95,
    repeats: int = 1000,
    seed: int = 0,
) -> Gap | None:
    """Largest minus smallest value of a metric over the groups, with a percentile interval.

    A gap is never negative, and that of a perfectly fair classifier is above 0 by chance: compare with
    `gap_by_chance` before reading anything into it.

    Parameters
    ----------
    groups : dict
        As in `per_group`, two groups or more.
    metric : callable
        ``metric(labels, probabilities) -> float or None``, such as `true_positive_rate`.
    level : float
        Of the interval.
    repeats, seed : int
        Draws with replacement, each group within itself.

    Returns
    -------
    Gap or None
        None if fewer than two groups have a value.
    """
    values = {name: metric(*arrays) for name, arrays in groups.items()}
    values = {name: value for name, value in values.items() if value is not None}
    if len(values) < 2:
        return None
    highest, lowest = max(values, key=values.get), min(values, key=values.get)
    arrays = [tuple(np.asarray(a) for a in groups[name]) for name in values]
    random = np.random.default_rng(seed)
    spreads = []
    for _ in range(repeats):
        rows = [random.integers(0, len(labels), len(labels)) for labels, _ in arrays]
        spreads.append(_spread([metric(y[r], p[r]) for r, (y, p) in zip(rows, arrays, strict=True)]))
    return Gap(values[highest] - values[lowest], _middle(spreads, level), highest, lowest)


def gap_by_chance(groups: Mapping[str, tuple], metric: Callable, *, repeats: int = 1000, seed: int = 0) -> float | None:
    """Share of shuffles, images dealt out to groups of the same sizes at random, with a gap as large as this one.

    A permutation test of "the groups are alike": small (below 0.05, say) where chance hardly explains the gap.
    Parameters as in `gap`; None if fewer than two groups have a value.
    """
    observed = _spread([metric(*arrays) for arrays in groups.values()])
    if observed is None:
        return None
    labels = np.concatenate([np.asarray(y) for y, _ in groups.values()])
    probabilities = np.concatenate([np.asarray(p) for _, p in groups.values()])
    cuts = np.cumsum([len(y) for y, _ in groups.values()])[:-1]
    random = np.random.default_rng(seed)
    as_large = 1  # the groups as they are count as one shuffle
    for _ in range(repeats):
        dealt = np.split(random.permutation(len(labels)), cuts)
        spread = _spread([metric(labels[rows], probabilities[rows]) for rows in dealt])
        as_large += spread is not None and spread >= observed - 1e-12
    return as_large / (repeats + 1)


def equalised_odds(
    groups: Mapping[str, tuple], positive: int = 1, *, level: float = 0.95, repeats: int = 1000, seed: int = 0
) -> dict[str, Gap | None]:
    """Gaps of the true and the false positive rate; both near 0 is what equalised odds asks for.

    Parameters as in `per_group` and `gap`. Returns ``tpr`` and ``fpr``, and under ``larger`` the larger of the two: the
    "equalised-odds difference". Source: M. Hardt, E. Price, N. Srebro, "Equality of opportunity in supervised
    learning", NeurIPS 2016.
    """
    options = {"level": level, "repeats": repeats, "seed": seed}
    tpr = gap(groups, lambda y, p: true_positive_rate(y, p, positive), **options)
    fpr = gap(groups, lambda y, p: false_positive_rate(y, p, positive), **options)
    known = [found for found in (tpr, fpr) if found is not None]
    return {"tpr": tpr, "fpr": fpr, "larger": max(known, key=lambda found: found.value, default=None)}


def _spread(values: list) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) - min(known) if len(known) > 1 else None


def _middle(spreads: list, level: float) -> Interval:
    known = [spread for spread in spreads if spread is not None]
    if not known:
        return Interval(0.0, 1.0)
    return Interval(*(float(q) for q in np.quantile(known, [(1 - level) / 2, (1 + level) / 2])))
