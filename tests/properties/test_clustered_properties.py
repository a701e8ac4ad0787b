"""Closed forms and properties of the clustered strategies, on NumPy arrays alone."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtk import federated
from medtk.errors import BadParameter
from medtk.federated import Received

CLUSTERS = {"xray": ["xray_1", "xray_2"], "ultrasound": ["ultrasound_1", "ultrasound_2"]}
NAMES = [name for names in CLUSTERS.values() for name in names]


def update(client, vector, n=10, start=0.0, model="global"):
    begin = [np.full((2,), start), np.full((1,), start)]
    sent = [begin[0] + np.asarray(vector[:2], float), begin[1] + np.asarray(vector[2:3], float)]
    return Received(client, model, 1, begin, sent, n, {})


def server(weights=0.0):
    return federated.start([np.full((2,), weights), np.full((1,), weights)], NAMES)


def flat(model):
    return np.concatenate([np.ravel(array) for array in model])


numbers = st.floats(-5, 5, allow_nan=False)
vectors = st.lists(st.tuples(numbers, numbers, numbers), min_size=4, max_size=4)
sizes = st.lists(st.integers(1, 500), min_size=4, max_size=4)


@settings(deadline=None)  # the first call takes half a second
@given(vectors, sizes)
def test_algorithm_1_is_fedavg_with_the_shares_that_it_amounts_to(found, n):
    sent = [update(name, v, k) for name, v, k in zip(NAMES, found, n, strict=True)]
    model = federated.cluster_means(server(), sent, CLUSTERS).models["global"]
    shares = [n[0] / (n[0] + n[1]) / 2, n[1] / (n[0] + n[1]) / 2, n[2] / (n[2] + n[3]) / 2, n[3] / (n[2] + n[3]) / 2]
    np.testing.assert_allclose(flat(model), np.array(shares) @ np.array(found), atol=1e-9)


@given(vectors, st.lists(st.integers(1, 500), min_size=2, max_size=2))
def test_algorithm_1_is_plain_fedavg_where_clusters_are_of_equal_size(found, n):
    sent = [update(name, v, k) for name, v, k in zip(NAMES, found, [*n, *reversed(n)], strict=True)]
    ours = federated.cluster_means(server(), sent, CLUSTERS).models["global"]
    plain = federated.average(server(), sent).models["global"]
    np.testing.assert_allclose(flat(ours), flat(plain), atol=1e-9)


def test_algorithm_1_gives_a_small_cluster_the_say_of_a_large_one():
    sent = [update("xray_1", (1, 1, 1), 900), update("ultrasound_1", (0, 0, 0), 100)]
    ours = federated.cluster_means(server(), sent, CLUSTERS).models["global"]
    plain = federated.average(server(), sent).models["global"]
    assert flat(ours).tolist() == [0.5] * 3 and np.allclose(flat(plain), 0.9)


def test_a_cluster_that_is_absent_does_not_count_and_strangers_are_refused():
    only = federated.cluster_means(server(7.0), [update("xray_2", (3, 3, 3))], CLUSTERS)
    assert flat(only.models["global"]).tolist() == [3.0] * 3
    assert flat(federated.cluster_means(server(7.0), [], CLUSTERS).models["global"]).tolist() == [7.0] * 3
    with pytest.raises(BadParameter, match="elsewhere"):
        federated.cluster_means(server(), [update("elsewhere", (1, 1, 1))], CLUSTERS)
    with pytest.raises(BadParameter, match="two"):
        federated.cluster_means(server(), [update("xray_1", (1, 1, 1))], CLUSTERS | {"third": ["xray_1"]})
    two = federated.start({"a": server().models["global"], "b": server().models["global"]}, NAMES)
    with pytest.raises(BadParameter, match="one model"):
        federated.cluster_means(two, [], CLUSTERS)


def test_cosines_of_known_angles():
    found = federated.cosine_similarity(
        [[np.array([1.0, 0.0]), np.array([[0.0]])], [np.array([1.0, 1.0]), np.array([[0.0]])],
         [np.array([0.0, 0.0]), np.array([[-2.0]])], [np.array([-3.0, 0.0]), np.array([[0.0]])],
         [np.zeros(2), np.zeros((1, 1))]]
    )  # fmt: skip
    half = np.sqrt(0.5)
    wanted = [[1, half, 0, -1, 0], [half, 1, 0, -half, 0], [0, 0, 1, 0, 0], [-1, -half, 0, 1, 0], [0, 0, 0, 0, 1]]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@given(st.lists(st.booleans(), min_size=2, max_size=9), st.floats(0.01, 1), st.integers(0, 100))
def test_two_blocks_are_found_whatever_the_order(sides, inside, seed):
    sides = np.array([False, *sides, True])
    same = sides[:, None] == sides[None, :]
    noise = np.random.default_rng(seed).uniform(0, 0.5 * inside, same.shape)
    similarity = np.where(same, inside - (noise + noise.T) / 4, -inside)
    np.fill_diagonal(similarity, 1)
    first, second = federated.bipartition(similarity)
    assert first == np.flatnonzero(~sides).tolist() and second == np.flatnonzero(sides).tolist()


@given(st.integers(2, 7), st.integers(0, 10_000))
def test_bipartition_is_the_best_of_all(k, seed):
    """Against every way to cut k clients in two: none has a smaller largest similarity across."""
    values = np.random.default_rng(seed).uniform(-1, 1, (k, k))
    similarity = (values + values.T) / 2

    def across(group):
        rest = [i for i in range(k) if i not in group]
        return similarity[np.ix_(list(group), rest)].max()

    found = federated.bipartition(similarity)
    assert sorted(found[0] + found[1]) == list(range(k)) and all(found)
    every = [group for size in range(1, k) for group in itertools.combinations(range(k), size)]
    assert across(found[0]) == min(across(group) for group in every)


def test_bipartition_of_clients_that_are_all_alike_and_of_nonsense():
    assert federated.bipartition(np.ones((3, 3))) == ([0], [1, 2])
    for wrong in (np.ones((1, 1)), np.ones((2, 3)), np.ones(4)):
        with pytest.raises(BadParameter, match="square"):
            federated.bipartition(wrong)


ORTHOGONAL = [(1, 0, 0), (1, 0, 0), (0, 1, 0), (0, 1, 0)]
ALIKE = [(1, 0, 0), (1, 0.1, 0), (1, 0, 0.1), (1, 0, 0)]
OPPOSED = [(1, 0, 0), (1, 0.1, 0), (-1, 0, 0), (-1, 0.1, 0)]


def sent(found, names=NAMES, **options):
    return [update(name, v, **options) for name, v in zip(names, found, strict=True)]


@pytest.mark.parametrize(("found", "splits"), [(OPPOSED, True), (ORTHOGONAL, True), (ALIKE, False)])
def test_a_model_is_split_where_clients_pull_apart(found, splits):
    before = server()
    after = federated.sattler(before, sent(found), first=1)
    assert bool(after.notes["split"]) == splits and set(before.models) == {"global"}
    if splits:
        assert after.notes["route"] == {
            "xray_1": "global.0", "xray_2": "global.0", "ultrasound_1": "global.1", "ultrasound_2": "global.1"
        }  # fmt: skip
        assert after.route["xray_1"] == ("global.0",) and set(after.models) == {"global.0", "global.1"}
        np.testing.assert_allclose(flat(after.models["global.0"]), np.mean(found[:2], axis=0))
        np.testing.assert_allclose(flat(after.models["global.1"]), np.mean(found[2:], axis=0))
    else:
        np.testing.assert_allclose(flat(after.models["global"]), np.mean(found, axis=0))


def test_both_thresholds_count_in_the_unit_of_the_first_round():
    def notes(found, **options):
        return federated.sattler(server(), sent(found), first=1, **options).notes

    # Right angles: the mean has 0.7071 of a client's length. Below that threshold nothing is split.
    assert notes(ORTHOGONAL)["mean_update"]["global"] == pytest.approx(np.sqrt(0.5))
    assert not notes(ORTHOGONAL, eps1=0.70)["split"] and notes(ORTHOGONAL, eps1=0.71)["split"]
    # All have arrived: nobody pulls, and nothing is split.
    short = [tuple(0.1 * value for value in v) for v in OPPOSED]
    assert notes(short, unit=1.0)["longest_update"]["global"] == pytest.approx(0.1005, abs=1e-4)
    assert not notes(short, unit=1.0)["split"] and notes(short, unit=0.1)["split"] and notes(short)["split"]
    # The unit is that of the first round, and stays.
    after = federated.sattler(server(), sent(ALIKE), first=1)
    again = federated.sattler(after, sent(short), first=1)
    assert again.memory["unit"] == after.memory["unit"] and not again.notes["split"]


def test_the_mean_counts_images_and_gamma_asks_for_a_clear_cut():
    """Three quarters of the images pull one way, the rest at right angles: the root of 0.75^2 + 0.25^2."""
    found = [update(name, v, n) for name, v, n in zip(NAMES, ORTHOGONAL, (30, 30, 10, 10), strict=True)]
    after = federated.sattler(server(), found, first=1)
    assert after.notes["mean_update"]["global"] == pytest.approx(np.sqrt(0.625)) and not after.notes["split"]
    assert federated.sattler(server(), found, first=1, eps1=0.8).notes["split"]
    # Across the cut the largest similarity is 0: the root of one half.
    for gamma, cut in ((0.70, True), (0.71, False)):
        assert bool(federated.sattler(server(), sent(ORTHOGONAL), first=1, gamma=gamma).notes["split"]) == cut
    with pytest.raises(BadParameter, match="gamma"):
        federated.sattler(server(), found, gamma=1.0)


def test_no_split_before_its_round_nor_of_a_pair():
    now = server()
    for number in range(1, 4):
        now = federated.sattler(now, sent(OPPOSED), first=3)
        assert bool(now.notes["split"]) == (number == 3)
    # Each pair is now pulled apart, and stays together unless two are enough.
    pulled = [replace(r, model=now.route[r.client][0]) for r in sent([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0)])]
    assert not federated.sattler(now, pulled, first=1).notes["split"]
    assert len(federated.sattler(now, pulled, first=1, least=2).models) == 4
    with pytest.raises(BadParameter, match="least"):
        federated.sattler(now, pulled, least=1)


def test_absent_and_late_clients_find_a_model():
    after = federated.sattler(server(), sent(OPPOSED[:3], NAMES[:3]), first=1)
    assert after.route["ultrasound_2"] == ("global.0",)  # of whom nothing was heard
    late = update("ultrasound_1", (4, 4, 4), model="global")  # it began before the split
    again = federated.sattler(after, [late])
    assert set(again.models) == {"global.0", "global.1"}
    assert flat(again.models["global.1"]).tolist() == [4.0] * 3


def test_watched_notes_the_distance_and_changes_nothing():
    found = [(3, 0, 0), (1, 0, 0), (0, 2, 0), (0, 4, 0)]
    after = federated.watched(server(5.0), sent(found, start=5.0), federated.average, CLUSTERS)
    plain = federated.average(server(5.0), sent(found, start=5.0))
    assert flat(after.models["global"]).tolist() == flat(plain.models["global"]).tolist()
    assert after.notes["distance"] == pytest.approx(np.hypot(2, 3)) and after.notes["cosine"] == pytest.approx(0)
    assert after.notes["length"] == pytest.approx(2.5)
    assert federated.watched(server(), sent(found[:2], NAMES[:2]), federated.average, CLUSTERS).notes == {}


@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 1000))
def test_the_surest_model_answers(models, n, seed):
    random = np.random.default_rng(seed)
    answers = [random.dirichlet(np.ones(3), n) for _ in range(models)]
    found = federated.most_confident(answers)
    for i in range(n):
        assert found[i].max() == max(each[i].max() for each in answers)
        assert any((found[i] == each[i]).all() for each in answers)
