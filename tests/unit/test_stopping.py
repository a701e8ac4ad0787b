"""Rules to stop: closed forms for bends and conflicts, and the strategy that follows a rule."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtk import federated
from medtk.errors import BadParameter
from medtk.federated import Received, Server


def two_lines(n, at, before, after, start=1.0):
    t = np.arange(1, n + 1)
    return start + before * (t - 1) + (after - before) * np.maximum(t - at, 0)


@given(
    n=st.integers(9, 60),
    where=st.floats(0, 1),
    before=st.floats(-3, 3),
    change=st.one_of(st.floats(-4, -0.1), st.floats(0.1, 4)),
    start=st.floats(-10, 10),
)
@settings(max_examples=100, deadline=None)
def test_two_lines_are_found_exactly(n, where, before, change, start):
    at = 4 + int(where * (n - 7.001))  # with three rounds on each side
    found = federated.bend(two_lines(n, at, before, before + change, start))
    assert found.round == at
    assert (found.before, found.after) == pytest.approx((before, before + change), abs=1e-6)


@given(n=st.integers(1, 60), slope=st.floats(-3, 3), start=st.floats(-10, 10))
@settings(max_examples=50, deadline=None)
def test_one_line_has_no_bend(n, slope, start):
    assert federated.bend(start + slope * np.arange(n)) is None


def test_noise_hides_no_clear_bend_and_makes_few():
    random = np.random.default_rng(0)
    found = [federated.bend(two_lines(60, 25, 0.0, 0.5) + random.normal(0, 0.5, 60)) for _ in range(50)]
    assert max(abs(one.round - 25) for one in found) <= 6
    false = [federated.bend(random.normal(0, 1, 60)) is not None for _ in range(200)]
    assert np.mean(false) < 0.3  # the place of the bend is chosen, so a little above what the criterion alone gives


def test_conflict_is_the_end_of_the_first_window_that_is_not_above():
    cosine = [0.8, 0.5, 0.1, -0.2, 0.4, -0.3, -0.3, -0.1]
    assert federated.conflict({"cosine": cosine}, window=1) == 4
    assert federated.conflict({"cosine": cosine}, window=3) == 6  # (-0.2 + 0.4 - 0.3) / 3 < 0
    assert federated.conflict({"cosine": cosine}, window=3, threshold=-0.5) is None
    assert federated.conflict({"cosine": [-1.0]}, window=2) is None
    # As long as all rounds so far are given, later ones do not change what was found.
    assert federated.conflict({"cosine": cosine[:6]}, window=3) == 6


def test_a_conflict_means_that_a_step_for_one_hurts_the_other():
    """Two quadratic losses: the step along one's gradient raises the other's where the cosine is below 0."""
    for angle in (0.3, 1.2, 1.9, 2.8):
        mine, theirs = np.array([1.0, 0.0]), np.array([np.cos(angle), np.sin(angle)])
        change = np.sum((1e-4 * mine - theirs) ** 2) - np.sum(theirs**2)
        found = federated.conflict({"cosine": [float(mine @ theirs)]}, window=1)
        assert (change > 0) == (found == 1)


def test_drift_needs_a_steeper_end():
    assert federated.drift({"distance": two_lines(30, 12, 0.1, 1.0)}) == 12
    assert federated.drift({"distance": two_lines(30, 12, 1.0, 0.1)}) is None
    assert federated.drift({"distance": two_lines(30, 12, -1.0, -0.1, start=50)}) is None
    assert federated.drift({"distance": 2.0 + np.arange(30)}) is None


def test_numbers_out_of_range_are_refused():
    with pytest.raises(BadParameter, match="least"):
        federated.bend([1, 2, 3], least=1)
    for wrong in ({"window": 0}, {"threshold": 2}):
        with pytest.raises(BadParameter, match="window must be"):
            federated.conflict({"cosine": [0.0]}, **wrong)


def follow(rule, rounds, **options):
    """Rounds of two clients that agree up to round 4 and pull apart from then on; the last server."""
    clusters = {"x": ["a"], "u": ["b"]}
    state = Server({"global": [np.zeros(2)]}, {})
    for number in range(1, rounds + 1):
        start = state.models["global"]
        second = np.array([1.0, 0.5]) if number <= 4 else np.array([-1.0, 0.5])
        sent = [
            Received(name, "global", number, start, [start[0] + way], 1, {})
            for name, way in (("a", np.array([1.0, 0.0])), ("b", second))
        ][: 1 if number == 2 else 2]  # in round 2 the second cluster sends nothing
        noting = partial(federated.watched, strategy=federated.average, clusters=clusters)
        state = federated.stop_by(state, sent, strategy=noting, rule=rule, **options)
        if state.stop:
            break
    return state, number


def test_a_run_ends_by_its_rule_and_not_before():
    state, number = follow(partial(federated.conflict, window=1), 9)
    assert number == 5 and state.stop == "conflict: the clusters part at round 5."
    assert follow(partial(federated.conflict, window=1), 9, first=8)[1] == 8
    state, number = follow(partial(federated.conflict, window=1, threshold=-1.0), 9)
    assert number == 9 and state.stop == ""
    kept = state.memory["stopping"]
    assert kept["noted"] == [1, 3, 4, 5, 6, 7, 8, 9] and len(kept["series"]["cosine"]) == 8
    assert all(np.isfinite(value) for values in kept["series"].values() for value in values)


def test_the_models_are_those_of_the_strategy_alone():
    plain = Server({"global": [np.zeros(2)]}, {})
    received = [Received("a", "global", 1, plain.models["global"], [np.ones(2)], 3, {})]
    noting = partial(federated.watched, strategy=federated.average, clusters={"x": ["a"], "u": ["b"]})
    watched = federated.stop_by(plain, received, strategy=noting, rule=federated.conflict)
    alone = federated.average(plain, received)
    assert np.array_equal(watched.models["global"][0], alone.models["global"][0])
    assert replace(watched, memory={}).stop == ""
