import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtk.data import partition
from medtk.errors import BadParameter

settings.register_profile("short", max_examples=60, deadline=None)
settings.load_profile("short")

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=120).map(np.array)
SEEDS = st.integers(0, 2**32 - 1)


def assert_partition(parts, n, clients):
    assert len(parts) == clients
    assert all(len(part) > 0 for part in parts)
    assert all(np.all(np.diff(part) > 0) for part in parts)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(n))


@given(LABELS, st.integers(1, 20), SEEDS)
def test_iid_uses_every_image_once_and_evenly(labels, clients, seed):
    clients = min(clients, len(labels))
    parts = partition.iid(labels, clients, seed)
    assert_partition(parts, len(labels), clients)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@given(LABELS, st.integers(1, 20), st.floats(1e-6, 1e6), SEEDS)
def test_dirichlet_uses_every_image_once_and_leaves_nobody_empty(labels, clients, alpha, seed):
    clients = min(clients, len(labels))
    assert_partition(partition.dirichlet(labels, clients, alpha, seed), len(labels), clients)


@given(st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=80).map(np.array), st.integers(1, 10), SEEDS)
def test_by_group_never_parts_a_group(groups, clients, seed):
    clients = min(clients, len(set(groups)))
    parts = partition.by_group(groups, clients, seed)
    assert_partition(parts, len(groups), clients)
    homes = [set(groups[part]) for part in parts]
    assert sum(len(home) for home in homes) == len(set(groups))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), min_size=1, max_size=100),
    st.floats(0.01, 0.9),
    SEEDS,
)
def test_hold_out_keeps_groups_whole_and_every_class_in_training(pairs, fraction, seed):
    labels = np.array([label for label, _ in pairs])
    groups = np.array([f"{label}-{group}" for label, group in pairs])
    kept, held = partition.hold_out(labels, groups, fraction, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([kept, held])), np.arange(len(labels)))
    assert not set(groups[kept]) & set(groups[held])
    assert set(labels[kept]) == set(labels)


@given(LABELS, st.integers(1, 5), SEEDS)
def test_same_seed_same_shares(labels, clients, seed):
    clients = min(clients, len(labels))
    for first, second in zip(
        partition.dirichlet(labels, clients, 0.5, seed),
        partition.dirichlet(labels, clients, 0.5, seed),
        strict=True,
    ):
        np.testing.assert_array_equal(first, second)


def test_alpha_goes_from_one_owner_of_a_class_to_all_alike():
    labels = np.repeat(np.arange(5), 400)

    def largest_share(alpha):
        parts = partition.dirichlet(labels, 5, alpha, 0)
        return np.mean([max(np.sum(labels[part] == c) for part in parts) / 400 for c in range(5)])

    assert largest_share(0.01) > 0.9
    assert largest_share(1000) < 0.25


def test_hold_out_without_groups_takes_the_fraction_of_each_class():
    labels = np.repeat([0, 1], [1000, 100])
    kept, held = partition.hold_out(labels, None, 0.1)
    assert np.bincount(labels[held]).tolist() == [100, 10]
    assert len(kept) == 990


@pytest.mark.parametrize(
    "call",
    [
        lambda: partition.iid(np.zeros(3), 4),
        lambda: partition.iid(np.zeros(3), 0),
        lambda: partition.dirichlet(np.zeros(3, int), 2, 0.0),
        lambda: partition.dirichlet(np.zeros(3, int), 2, float("nan")),
        lambda: partition.by_group(np.array(["a", "a"]), 2),
        lambda: partition.hold_out(np.zeros(3, int), None, 1.0),
    ],
)
def test_what_cannot_be_shared_is_refused(call):
    with pytest.raises(BadParameter):
        call()
