"""Rules of aggregation: what must hold for any weights, and what Flower and NumPy say of the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medtk.data import partition
from medtk.errors import BadParameter
from medtk.federated import aggregation as agg

settings.register_profile("short", max_examples=60, deadline=None)
settings.load_profile("short")

SEEDS = st.integers(0, 2**32 - 1)
CLIENTS = st.integers(1, 9)
RULES = [agg.fedavg, agg.median, agg.trimmed_mean, agg.krum]


def clients(k, seed, dtype=np.float32):
    """Weights of k clients, two arrays each, and sizes."""
    random = np.random.default_rng(seed)
    weights = [[random.normal(size=(3, 2)).astype(dtype), random.normal(size=4).astype(dtype)] for _ in range(k)]
    return weights, random.integers(1, 500, k).tolist()


def assert_close(a, b, tolerance=1e-6):
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert x.shape == y.shape
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("rule", RULES)
@given(CLIENTS, SEEDS)
def test_the_order_of_clients_does_not_matter(rule, k, seed):
    if rule is agg.krum and k == 2:
        return  # each is as near to the other: there is no answer without an order
    weights, sizes = clients(k, seed)
    order = np.random.default_rng(seed).permutation(k)
    assert_close(rule(weights, sizes), rule([weights[i] for i in order], [sizes[i] for i in order]))


@pytest.mark.parametrize("rule", RULES)
@given(CLIENTS, SEEDS)
def test_every_number_lies_between_the_clients(rule, k, seed):
    weights, sizes = clients(k, seed)
    for array, *own in zip(rule(weights, sizes), *weights, strict=True):
        stacked = np.stack(own)
        assert array.dtype == np.float32
        assert np.all(array >= stacked.min(axis=0) - 1e-6) and np.all(array <= stacked.max(axis=0) + 1e-6)


@pytest.mark.parametrize("rule", RULES)
@given(CLIENTS, SEEDS, st.floats(-8, 8), st.floats(-5, 5))
def test_scaling_and_shifting_all_clients_scales_and_shifts_the_result(rule, k, seed, scale, shift):
    weights, sizes = clients(k, seed, np.float64)
    moved = [[scale * array + shift for array in client] for client in weights]
    expected = [scale * array + shift for array in rule(weights, sizes)]
    if rule is agg.krum and abs(scale) < 1e-3:
        return  # distances that vanish in rounding have no nearest
    assert_close(rule(moved, sizes), expected, 1e-9)


@pytest.mark.parametrize("rule", RULES)
@given(CLIENTS, SEEDS)
def test_clients_that_agree_are_heard(rule, k, seed):
    (one, *_), _ = clients(1, seed)
    assert_close(rule([one] * k, [1] * k), one)


@given(CLIENTS, SEEDS)
def test_only_the_proportions_of_sizes_count(k, seed):
    weights, sizes = clients(k, seed)
    assert_close(agg.fedavg(weights, sizes), agg.fedavg(weights, [7 * n for n in sizes]))
    twice = agg.fedavg([*weights, weights[0]], [*sizes, sizes[0]])
    assert_close(twice, agg.fedavg(weights, [2 * sizes[0], *sizes[1:]]))


@given(CLIENTS, SEEDS, st.floats(0, 0.49))
def test_definitions_by_numpy_and_scipy(k, seed, trim):
    weights, sizes = clients(k, seed, np.float64)
    for i in range(2):
        stacked = np.stack([client[i] for client in weights])
        np.testing.assert_allclose(
            agg.fedavg(weights, sizes)[i], np.average(stacked, axis=0, weights=sizes), rtol=1e-9, atol=1e-12
        )
        np.testing.assert_array_equal(agg.median(weights)[i], np.median(stacked, axis=0))
        cut = min(int(np.ceil(trim * k - 1e-9)), (k - 1) // 2)
        expected = stats.trim_mean(stacked, (cut + 1e-9) / k, axis=0)
        np.testing.assert_allclose(agg.trimmed_mean(weights, trim=trim)[i], expected, rtol=1e-9, atol=1e-12)


@given(st.integers(4, 9), SEEDS, st.integers(0, 2))
def test_krum_by_its_definition(k, seed, malicious):
    weights, _ = clients(k, seed)
    flat = np.stack([np.concatenate([array.ravel() for array in client]) for client in weights]).astype(float)
    scores = []
    for i in range(k):
        far = sorted(np.sum((flat[i] - flat[j]) ** 2) for j in range(k) if j != i)
        scores.append(sum(far[: max(1, k - malicious - 2)]))
    np.testing.assert_allclose(agg.krum_scores(agg.distances(weights) ** 2, malicious), scores, rtol=1e-6)
    (chosen,) = [i for i in range(k) if np.array_equal(weights[i][0], agg.krum(weights, malicious=malicious)[0])]
    assert scores[chosen] == pytest.approx(min(scores))


@pytest.mark.parametrize("rule", [agg.median, agg.trimmed_mean, agg.krum])
@given(st.integers(5, 9), SEEDS, st.floats(10, 1e6))
def test_one_liar_moves_the_mean_and_not_the_robust_rules(rule, k, seed, far):
    weights, sizes = clients(k, seed)
    lied = [[array + np.float32(far) for array in weights[0]], *weights[1:]]
    honest = np.stack([client[0] for client in weights[1:]])
    mean, robust = agg.fedavg(lied, [1] * k)[0], rule(lied, sizes)[0]
    assert np.all(robust <= honest.max(axis=0) + 1e-5) and np.all(robust >= honest.min(axis=0) - 1e-5)
    assert np.all(mean - agg.fedavg(weights, [1] * k)[0] > 0.9 * far / k)


@given(st.integers(3, 9), SEEDS)
def test_multi_krum_of_all_is_the_mean(k, seed):
    weights, _ = clients(k, seed)
    assert_close(agg.krum(weights, keep=k), agg.fedavg(weights, [1] * k))


@given(st.integers(3, 9), SEEDS)
def test_beside_flower(k, seed):
    flower = pytest.importorskip("flwr.server.strategy.aggregate", reason="flwr is an optional extra")
    weights, sizes = clients(k, seed)
    results = list(zip(weights, sizes, strict=True))
    assert_close(agg.fedavg(weights, sizes), flower.aggregate(results), 1e-5)
    assert_close(agg.median(weights, sizes), flower.aggregate_median(results), 1e-5)
    if k >= 5:  # Flower takes floor(trim * k) at each end; equal where that is whole
        ours = agg.trimmed_mean(weights[:5], sizes[:5], trim=0.2)
        assert_close(ours, flower.aggregate_trimmed_avg(results[:5], 0.2), 1e-5)
    if k >= 5:  # with fewer, two clients share the lowest score
        assert_close(agg.krum(weights, sizes, malicious=1), flower.aggregate_krum(results, 1, 0), 1e-5)


def test_server_adam_by_hand():
    one, mean = [np.array([1.0])], [np.array([1.5])]
    new, (m, v) = agg.server_adam(one, mean, learning_rate=0.1, beta_1=0.9, beta_2=0.99, tau=0.01)
    second = 0.99 * 0.01**2 + 0.01 * 0.25
    assert m[0][0] == pytest.approx(0.05) and v[0][0] == pytest.approx(second)
    assert new[0][0] == pytest.approx(1 + 0.1 * 0.05 / (np.sqrt(second) + 0.01))
    again, (m, _) = agg.server_adam(new, new, (m, v), learning_rate=0.1, beta_1=0.9, beta_2=0.99, tau=0.01)
    assert m[0][0] == pytest.approx(0.045) and again[0][0] > new[0][0]  # momentum carries on


def test_server_adam_with_a_large_tau_is_fedavg():
    weights, sizes = clients(3, 0, np.float64)
    mean = agg.fedavg(weights, sizes)
    new, _ = agg.server_adam(weights[0], mean, learning_rate=1e6, beta_1=0.0, beta_2=0.0, tau=1e6)
    assert_close(new, mean, 1e-5)


@pytest.mark.parametrize(
    "call",
    [
        lambda: agg.fedavg([], []),
        lambda: agg.fedavg(clients(2, 0)[0], [1]),
        lambda: agg.fedavg(clients(2, 0)[0], [0, 0]),
        lambda: agg.fedavg(clients(2, 0)[0], [1, -1]),
        lambda: agg.fedavg(clients(2, 0)[0], [1, float("nan")]),
        lambda: agg.median([[np.zeros(2)], [np.zeros(3)]]),
        lambda: agg.trimmed_mean(clients(3, 0)[0], trim=0.5),
        lambda: agg.krum(clients(3, 0)[0], keep=4),
        lambda: agg.krum(clients(3, 0)[0], malicious=-1),
        lambda: agg.server_adam([np.zeros(1)], [np.zeros(1)], tau=0),
    ],
)
def test_what_cannot_be_aggregated(call):
    with pytest.raises(BadParameter):
        call()


LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=120).map(np.array)


@given(LABELS, st.integers(1, 20), st.floats(1e-3, 1e3), SEEDS)
def test_quantity_skew_uses_every_image_once(labels, k, alpha, seed):
    parts = partition.quantity_skew(labels, min(k, len(labels)), alpha, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
    assert all(len(part) for part in parts)


@given(LABELS, st.integers(1, 10), st.integers(1, 4), SEEDS)
def test_label_skew_uses_every_image_once_and_evenly(labels, k, shards, seed):
    k = max(1, min(k, len(labels) // shards))
    if k * shards > len(labels):
        with pytest.raises(BadParameter):
            partition.label_skew(labels, k, shards, seed)
        return
    parts = partition.label_skew(labels, k, shards, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= shards


def test_skews_do_what_their_names_say():
    labels = np.repeat(np.arange(5), 400)
    few = [len(set(labels[part])) for part in partition.label_skew(labels, 5, 1)]
    assert few == [1] * 5
    sizes = [len(part) for part in partition.quantity_skew(labels, 5, 0.3, seed=1)]
    assert max(sizes) > 5 * min(sizes)
    even = [len(part) for part in partition.quantity_skew(labels, 5, 1e5)]
    assert max(even) < 1.1 * min(even)
    largest = partition.quantity_skew(labels, 5, 0.3, seed=1)[int(np.argmax(sizes))]
    assert np.bincount(labels[largest]).min() > 0.7 * len(largest) / 5
