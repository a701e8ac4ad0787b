"""Whether a classifier serves all groups alike: metrics a group, gaps between groups, each with its uncertainty."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from medtk.evaluation.calibration import expected_error
from medtk.evaluation.intervals import Interval, largest_difference, wilson
from medtk.evaluation.metrics import checked, confusion, macro_f1


class Rate(NamedTuple):
    """A share of images: successes, trials, value (None without trials) and its Wilson interval."""

    k: int
    n: int
    value: float | None
    interval: Interval


class Gap(NamedTuple):
    """Largest minus smallest share over the groups, its interval, and which groups those are."""

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


# What may differ between groups: 1 where it happened, 0 where not, NaN for an image that is not asked about.


def is_right(labels, probabilities) -> np.ndarray:
    """Whether each image's largest column is its class."""
    return (np.asarray(probabilities).argmax(axis=1) == np.asarray(labels)).astype(float)


def is_found(labels, probabilities, positive: int = 1) -> np.ndarray:
    """Whether each positive image is called positive."""
    called = np.asarray(probabilities).argmax(axis=1) == positive
    return np.where(np.asarray(labels) == positive, called, np.nan)


def is_alarm(labels, probabilities, positive: int = 1) -> np.ndarray:
    """Whether each other image is called positive."""
    called = np.asarray(probabilities).argmax(axis=1) == positive
    return np.where(np.asarray(labels) != positive, called, np.nan)


def accuracy(labels, probabilities) -> float:
    """Share of images whose largest column is their class."""
    return float(np.mean(is_right(labels, probabilities)))


def true_positive_rate(labels, probabilities, positive: int = 1) -> float | None:
    """Share of the positive images that are called positive, None if there are none."""
    return _share(is_found(labels, probabilities, positive))


def gap(
    groups: Mapping[str, tuple],
    outcome: Callable,
    *,
    level: float = 0.95,
    patients: Mapping[str, np.ndarray] | None = None,
) -> Gap | None:
    """Largest minus smallest share over the groups, with an interval.

    A gap is never negative, and that of a perfectly fair classifier is above 0 by chance: compare with
    `gap_by_chance` before reading anything into it. The interval reaches 0 unless two groups differ for sure.

    Parameters
    ----------
    groups : dict
        As in `per_group`, two groups or more.
    outcome : callable
        ``outcome(labels, probabilities)`` gives 1, 0 or NaN for each image: `is_right`, `is_found` or `is_alarm`.
    level : float
        Of the interval, `medtk.evaluation.intervals.largest_difference`.
    patients : dict, optional
        By group, the patient of each image. Images of a patient are alike, so they count for fewer than they are:
        their number is divided by the design effect (J. Rao, A. Scott, "A simple method for the analysis of clustered
        binary data", 1992). Without it every image counts as a patient.

    Returns
    -------
    Gap or None
        None if fewer than two groups have an image that is asked about.
    """
    counts = {}
    for name, arrays in groups.items():
        happened = outcome(*arrays)
        known = ~np.isnan(happened)
        if known.any():
            members = None if patients is None else np.asarray(patients[name])[known]
            counts[name] = _worth(happened[known], members)
    if len(counts) < 2:
        return None
    shares = {name: k / n for name, (k, n) in counts.items()}
    highest, lowest = max(shares, key=shares.get), min(shares, key=shares.get)
    interval = largest_difference(list(counts.values()), level)
    return Gap(shares[highest] - shares[lowest], interval, highest, lowest)


def gap_by_chance(
    groups: Mapping[str, tuple],
    outcome: Callable,
    *,
    repeats: int = 1000,
    seed: int = 0,
    patients: Mapping[str, np.ndarray] | None = None,
) -> float | None:
    """Share of shuffles, patients dealt out to the groups at random, with a gap as large as this one.

    A permutation test of "the groups are alike": small (below 0.05, say) where chance hardly explains the gap. Each
    group gets as many patients as it has, or images where `patients` are not known. Only those that the outcome asks
    about are dealt: with the others among them a group with few ill patients would get more, and its share be surer
    than it is.

    Parameters
    ----------
    groups, outcome, patients
        As in `gap`; the result is None in the same cases.
    repeats, seed : int
        Number of shuffles.
    """
    happened = [outcome(*arrays) for arrays in groups.values()]
    observed = _spread(happened)
    if observed is None:
        return None
    asked = [~np.isnan(h) for h in happened]
    happened = [h[known] for h, known in zip(happened, asked, strict=True)]
    # A patient with images in two groups is one patient in each.
    named = [
        _numbered(len(h), None if patients is None else np.asarray(patients[g])[known])
        for g, h, known in zip(groups, happened, asked, strict=True)
    ]
    sizes = [int(one.max()) + 1 if len(one) else 0 for one in named]
    begin = np.cumsum([0, *sizes[:-1]])
    unit = np.concatenate([one + start for one, start in zip(named, begin, strict=True)])
    pool = np.concatenate(happened)
    random, owner = np.random.default_rng(seed), np.repeat(np.arange(len(sizes)), sizes)
    as_large = 1  # the groups as they are count as one shuffle
    for _ in range(repeats):
        dealt = random.permutation(owner)[unit]
        spread = _spread([pool[dealt == k] for k in range(len(sizes))])
        as_large += spread is not None and spread >= observed - 1e-12
    return as_large / (repeats + 1)


def equalised_odds(
    groups: Mapping[str, tuple],
    positive: int = 1,
    *,
    level: float = 0.95,
    patients: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Gap | None]:
    """Gaps of the true and the false positive rate; both near 0 is what equalised odds asks for.

    Parameters as in `per_group` and `gap`. Returns ``tpr`` and ``fpr``, and under ``larger`` the larger of the two: the
    "equalised-odds difference". Its interval is made of those of both gaps, each at a level at which they hold
    together; that of whichever came out larger would leave out that it was picked. Source: M. Hardt, E. Price,
    N. Srebro, "Equality of opportunity in supervised learning", NeurIPS 2016.
    """

    def both(at: float) -> list[Gap | None]:
        return [gap(groups, partial(o, positive=positive), level=at, patients=patients) for o in (is_found, is_alarm)]

    tpr, fpr = both(level)
    wide = [one for one in both(1 - (1 - level) / 2) if one is not None]
    larger = max(wide, key=lambda one: one.value, default=None)
    if larger is not None:
        ends = Interval(max(one.interval.low for one in wide), max(one.interval.high for one in wide))
        larger = larger._replace(interval=ends)
    return {"tpr": tpr, "fpr": fpr, "larger": larger}


def _share(happened: np.ndarray) -> float | None:
    known = happened[~np.isnan(happened)]
    return float(known.mean()) if len(known) else None


def _spread(happened: list[np.ndarray]) -> float | None:
    known = [share for share in map(_share, happened) if share is not None]
    return max(known) - min(known) if len(known) > 1 else None


def _numbered(n: int, members) -> np.ndarray:
    """Number of each image's patient, from 0; each image is its own patient where they are not known."""
    return np.arange(n) if members is None else np.unique(members, return_inverse=True)[1]


def _worth(happened: np.ndarray, members) -> tuple[float, float]:
    """Successes and trials of as many independent images as these are worth."""
    n, share = len(happened), float(happened.mean())
    if members is None:
        return share * n, n
    which = _numbered(n, members)
    sizes = np.bincount(which)
    if not 0 < share < 1 or len(sizes) < 2:
        return share * len(sizes), len(sizes)  # nothing to see a spread in: a patient counts once
    off = np.bincount(which, happened) - share * sizes
    variance = len(sizes) / (len(sizes) - 1) * float(np.sum(off**2)) / n**2
    effect = min(max(1.0, variance / (share * (1 - share) / n)), n)
    return share * n / effect, n / effect
