"""How far a number could be off: intervals for shares of images, for seeds, and for paired classifiers."""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy import stats


class Interval(NamedTuple):
    """Lower and upper end."""

    low: float
    high: float


class McNemar(NamedTuple):
    """Images that only A gets right, that only B gets right, and the two-sided exact p value."""

    only_a: int
    only_b: int
    p: float


def wilson(k: float, n: float, level: float = 0.95) -> Interval:
    """Interval for the share behind ``k`` successes of ``n``.

    Parameters
    ----------
    k : float
        Successes, 0 to n; a mean of counts over several runs need not be whole.
    n : float
        Trials, 1 or more: the images of the test set, or as many independent ones as they are worth.
    level : float
        Confidence, between 0 and 1.

    Returns
    -------
    Interval
        Within [0, 1]. Source: Wilson, "Probable inference, the law of succession, and statistical inference",
        1927; it keeps its level on small sets and near 0 and 1, where k/n plus or minus two standard
        errors does not.

    Raises
    ------
    ValueError
        If n < 1, k is not in [0, n] or level is not in (0, 1).
    """
    if n < 1 or not 0 <= k <= n or not 0 < level < 1:
        raise ValueError(f"0 <= k <= n, n >= 1 and 0 < level < 1 expected, not k={k}, n={n}, level={level}")
    z, share = stats.norm.ppf((1 + level) / 2), k / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # Rounding may step a hair over the observed share when it is 0 or 1.
    return Interval(float(max(0.0, min(centre - half, share))), float(min(1.0, max(centre + half, share))))


def f1(right: float, true: float, named: float, level: float = 0.95) -> Interval:
    """Interval for the F1 of one class.

    F1 is no share of images, but F1 / (2 - F1) is one: of the images that are of the class or are named so, those that
    are both. It has Wilson's interval, and since F1 rises with it, the ends can be taken back.

    Parameters
    ----------
    right : float
        Images of the class that are named so; means over several runs need not be whole.
    true, named : float
        All images of the class, and all that are named so. ``true + named - right`` is 1 or more.
    level : float
        Confidence, between 0 and 1.

    Returns
    -------
    Interval
        Within [0, 1]. Source: Lam, Gopal and Qian, "Confidence intervals for the F1 score: a comparison of four
        methods", arXiv:2309.14621, the indirect method of Wilson.

    Raises
    ------
    ValueError
        If the class neither occurs nor is named, or more are right than either.
    """
    if not 0 <= right <= min(true, named):
        raise ValueError(f"at most as many right as true and as named expected, not {right}, {true} and {named}")
    return Interval(*(2 * share / (1 + share) for share in wilson(right, true + named - right, level)))


def newcombe(one: tuple[float, float], other: tuple[float, float], level: float = 0.95) -> Interval:
    """Interval for the difference of two shares of different images, first minus second.

    Parameters
    ----------
    one, other : tuple of two float
        Successes and trials of each, as for `wilson`.
    level : float
        Confidence, between 0 and 1.

    Returns
    -------
    Interval
        Within [-1, 1]. Source: R. Newcombe, "Interval estimation for the difference between independent proportions",
        1998, method 10: made of the two Wilson intervals.
    """
    (p, a), (q, b) = ((k / n, wilson(k, n, level)) for k, n in (one, other))
    return Interval(
        float(p - q - np.hypot(p - a.low, b.high - q)),
        float(p - q + np.hypot(a.high - p, q - b.low)),
    )


def largest_difference(counts: Sequence[tuple[float, float]], level: float = 0.95) -> Interval:
    """Interval for the largest minus the smallest of several shares, whichever these are.

    Every two shares have an interval of their difference (`newcombe`), at a level at which all of them hold together
    (Bonferroni). The lower end is the largest difference that is sure, 0 if none is; the upper end is the largest that
    is possible. An interval from draws of the range itself would never reach 0: a range of draws is above 0 even where
    all shares are equal.

    Parameters
    ----------
    counts : sequence of tuple
        Successes and trials of each group, two groups or more.
    level : float
        Confidence, between 0 and 1; kept or exceeded.
    """
    pairs = list(combinations(counts, 2))
    if not pairs:
        raise ValueError(f"two groups or more expected, not {len(counts)}")
    each = [newcombe(*pair, 1 - (1 - level) / len(pairs)) for pair in pairs]
    return Interval(max(0.0, *(max(one.low, -one.high) for one in each)), max(max(one.high, -one.low) for one in each))


def over_seeds(values: Sequence[float], level: float = 0.95, kind: str = "mean") -> Interval:
    """Interval from several runs that differ only in their seed.

    Parameters
    ----------
    values : sequence of float, length m >= 2
        One number a run.
    level : float
        Confidence, between 0 and 1.
    kind : {'mean', 'new_run'}
        ``'mean'``: where the mean over all possible seeds lies. ``'new_run'``: where one more run would fall,
        wider by the factor sqrt(m + 1); the right one for a number that a paper took from a single run.

    Returns
    -------
    Interval
        Mean plus or minus Student's t times the standard error (of the mean, or of a prediction).

    Raises
    ------
    ValueError
        If there are fewer than two values, or kind or level are not as above.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or not 0 < level < 1:
        raise ValueError(f"two or more values and 0 < level < 1 expected, not {values.shape}, level={level}")
    if kind not in ("mean", "new_run"):
        raise ValueError(f"kind is 'mean' or 'new_run', not {kind!r}")
    m = len(values)
    spread = values.std(ddof=1) * np.sqrt(1 / m + (kind == "new_run"))
    half = stats.t.ppf((1 + level) / 2, m - 1) * spread
    return Interval(float(values.mean() - half), float(values.mean() + half))


def mcnemar(labels, p_a, p_b) -> McNemar:
    """Exact McNemar test of two classifiers (or two conditions) on the same images.

    Only the images on which exactly one of the two is right say anything about which is better; under
    equality each of them is a fair coin.

    Parameters
    ----------
    labels : array of int, shape (n,)
    p_a, p_b : array of float, shape (n, k)
        Probabilities of the two.
    """
    labels = np.asarray(labels)
    right_a = np.asarray(p_a).argmax(axis=1) == labels
    right_b = np.asarray(p_b).argmax(axis=1) == labels
    only_a, only_b = int(np.sum(right_a & ~right_b)), int(np.sum(right_b & ~right_a))
    p = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return McNemar(only_a, only_b, float(p))


def bootstrap(
    labels,
    probabilities,
    metric: Callable,
    *,
    level: float = 0.95,
    repeats: int = 1000,
    seed: int = 0,
    groups=None,
) -> Interval:
    """Percentile interval of any metric by drawing images (or whole groups) again with replacement.

    Parameters
    ----------
    labels : array of int, shape (n,)
    probabilities : array of float, shape (n, k)
        Or of any shape that starts with n, as the metric takes it.
    metric : callable
        ``metric(labels, probabilities) -> float or None``, such as `medtk.evaluation.metrics.auc`; draws
        for which it is None (a class is missing) are left out.
    level : float
        Confidence, between 0 and 1.
    repeats, seed : int
        Number of draws; the same seed gives the same interval.
    groups : array of shape (n,), optional
        Patient or lesion of each image. Images of a group are drawn together, since they are not independent.

    Raises
    ------
    ValueError
        If the metric is None in every draw.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    random = np.random.default_rng(seed)
    members = None
    if groups is not None:
        _, group = np.unique(np.asarray(groups), return_inverse=True)
        members = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    count, values = len(labels if members is None else members), []
    for _ in range(repeats):
        drawn = random.integers(0, count, count)
        if members is not None:
            drawn = np.concatenate([members[g] for g in drawn])
        values.append(metric(labels[drawn], probabilities[drawn]))
    return _percentiles([value for value in values if value is not None], level)


def bootstrap_weighted(
    statistic: Callable, groups, *, level: float = 0.95, repeats: int = 1000, seed: int = 0
) -> Interval:
    """As `bootstrap`, with all draws at once: a draw is told by how often it holds each image.

    Where a number is made of sums over images, the draws are one product of matrices instead of a loop.

    Parameters
    ----------
    statistic : callable
        ``statistic(weights)``: from how often each draw holds each image, float of shape (repeats, n), to the number of
        each draw, shape (repeats,); NaN for draws that have none (a class is missing), which are left out.
    groups : array of shape (n,)
        Patient or lesion of each image, drawn together; ``range(n)`` draws single images.
    level, repeats, seed
        As in `bootstrap`. The draws are others than its draws of the same seed.

    Raises
    ------
    ValueError
        If there is a number in no draw.
    """
    people, member = np.unique(np.asarray(groups), return_inverse=True)
    count = len(people)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), repeats)
    values = np.asarray(statistic(drawn[:, member].astype(np.float64)))
    return _percentiles(values[~np.isnan(values)], level)


def _percentiles(values: Sequence[float], level: float) -> Interval:
    if not len(values):
        raise ValueError("the metric has no value in any draw")
    return Interval(*(float(q) for q in np.quantile(values, [(1 - level) / 2, (1 + level) / 2])))
