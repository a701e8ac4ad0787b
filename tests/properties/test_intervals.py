import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medtk.evaluation import intervals

counts = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
levels = st.floats(0.5, 0.999)


@settings(deadline=None)
@given(counts, levels)
def test_wilson_holds_the_share_and_stays_in_the_unit_interval(count, level):
    k, n = count
    low, high = intervals.wilson(k, n, level)
    assert 0 <= low <= k / n <= high <= 1


@settings(deadline=None)
@given(counts, levels)
def test_wilson_is_symmetric(count, level):
    k, n = count
    low, high = intervals.wilson(k, n, level)
    mirrored = intervals.wilson(n - k, n, level)
    assert (1 - high, 1 - low) == pytest.approx(mirrored, abs=1e-9)


@settings(deadline=None)
@given(counts)
def test_wilson_equals_scipy(count):
    k, n = count
    peer = stats.binomtest(k, n).proportion_ci(0.95, "wilson")
    assert intervals.wilson(k, n) == pytest.approx((peer.low, peer.high), abs=1e-12)


@settings(deadline=None)
@given(counts)
def test_more_confidence_is_wider(count):
    narrow, wide = intervals.wilson(*count, 0.8), intervals.wilson(*count, 0.99)
    assert wide.low <= narrow.low <= narrow.high <= wide.high


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(2, 20))
def test_more_images_are_narrower(k, factor):
    n = 80
    small, large = intervals.wilson(k, n), intervals.wilson(k * factor, n * factor)
    assert large.high - large.low < small.high - small.low


@settings(deadline=None)
@given(st.tuples(*[st.integers(0, 500)] * 3).filter(any), levels)
def test_the_interval_of_f1_holds_it_and_is_wilsons_of_jaccard(cells, level):
    both, only_true, only_named = cells
    low, high = intervals.f1(both, both + only_true, both + only_named, level)
    value = 2 * both / (2 * both + only_true + only_named)
    assert 0 <= low <= value + 1e-12 and value - 1e-12 <= high <= 1
    jaccard = stats.binomtest(both, sum(cells)).proportion_ci(level, "wilson")
    assert (low / (2 - low), high / (2 - high)) == pytest.approx((jaccard.low, jaccard.high), abs=1e-9)


def test_the_interval_of_f1_covers_as_often_as_it_says():
    random, n = np.random.default_rng(0), 300
    for p in ([0.2, 0.1, 0.1], [0.05, 0.02, 0.08], [0.6, 0.02, 0.02]):
        true_f1, inside = 2 * p[0] / (2 * p[0] + p[1] + p[2]), 0
        for both, only_true, only_named, _ in random.multinomial(n, [*p, 1 - sum(p)], size=2000):
            low, high = intervals.f1(both, both + only_true, both + only_named)
            inside += low <= true_f1 <= high
        assert 0.935 < inside / 2000 < 0.97  # 2,000 draws at 95 %: three standard errors are 1.5 points
    with pytest.raises(ValueError, match="as many right"):
        intervals.f1(3, 2, 5)


def test_wilson_covers_as_often_as_it_says():
    n = 156
    for share in (0.27, 0.73, 0.95):
        k = np.arange(n + 1)
        inside = [low <= share <= high for low, high in (intervals.wilson(i, n) for i in k)]
        assert 0.92 < stats.binom.pmf(k, n, share)[inside].sum() < 0.98


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_the_next_run_is_less_certain_than_the_mean(values):
    about_mean = intervals.over_seeds(values)
    next_run = intervals.over_seeds(values, kind="new_run")
    assert next_run.low <= about_mean.low + 1e-12
    assert about_mean.high <= next_run.high + 1e-12
    assert about_mean.low - 1e-9 <= np.mean(values) <= about_mean.high + 1e-9


def test_the_next_run_falls_inside_as_often_as_it_says():
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        *seen, new = random.normal(0.8, 0.03, 4)
        low, high = intervals.over_seeds(seen, kind="new_run")
        hits += low <= new <= high
    assert hits / 2000 == pytest.approx(0.95, abs=0.02)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60))
def test_mcnemar_does_not_care_who_is_first(seed, n):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, n)
    a, b = random.dirichlet([1, 1, 1], n), random.dirichlet([1, 1, 1], n)
    one, other = intervals.mcnemar(labels, a, b), intervals.mcnemar(labels, b, a)
    assert (one.only_a, one.only_b) == (other.only_b, other.only_a)
    assert one.p == pytest.approx(other.p)
    assert 0 <= one.p <= 1


@pytest.mark.parametrize("groups", [None, np.repeat(np.arange(40), 5)])
def test_drawing_all_at_once_draws_as_the_loop_does(groups):
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 200)
    probabilities = random.random((200, 1)) * [[-1, 1]] + [[1, 0]]
    right = probabilities.argmax(axis=1) == labels

    def balanced(labels, probabilities):
        correct = probabilities.argmax(axis=1) == labels
        return float(np.mean([correct[labels == c].mean() for c in (0, 1)]))

    def recalls(weights):
        return np.mean(
            [weights[:, c] @ right[c] / weights[:, c].sum(axis=1) for c in (labels == 0, labels == 1)], axis=0
        )

    loop = intervals.bootstrap(labels, probabilities, balanced, repeats=4000, groups=groups)
    at_once = intervals.bootstrap_weighted(recalls, range(200) if groups is None else groups, repeats=4000)
    assert at_once == pytest.approx(loop, abs=0.01) and at_once.low < recalls(np.ones((1, 200)))[0] < at_once.high
    assert at_once == intervals.bootstrap_weighted(recalls, range(200) if groups is None else groups, repeats=4000)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(0, 1000))
def test_a_draw_holds_as_many_groups_as_there_are_and_each_whole(groups, seed):
    groups, seen = np.array(groups), []

    def statistic(weights):
        seen.append(weights)
        return weights.sum(axis=1)

    intervals.bootstrap_weighted(statistic, groups, repeats=7, seed=seed)
    (weights,) = seen
    names, first = np.unique(groups, return_index=True)
    assert weights.shape == (7, len(groups)) and np.all(weights[:, first].sum(axis=1) == len(names))
    for name in names:
        assert np.all(weights[:, groups == name] == weights[:, groups == name][:, :1])


def test_draws_without_a_number_are_left_out_and_all_of_them_are_refused():
    def share(weights):
        return np.where(weights[:, 0] > 0, weights[:, 0], np.nan)

    assert intervals.bootstrap_weighted(share, range(3), repeats=500).low == 1
    with pytest.raises(ValueError, match="no value in any draw"):
        intervals.bootstrap_weighted(lambda weights: np.full(len(weights), np.nan), range(3), repeats=5)
