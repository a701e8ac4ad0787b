"""Buffered asynchronous averaging: closed forms on two numbers, and a run with clients that are late or lost."""

from functools import partial

import numpy as np
import pytest
import small_networks
from hypothesis import given, settings
from hypothesis import strategies as st

from medtk import federated
from medtk.data import Split
from medtk.data.hospitals import Hospital
from medtk.errors import BadParameter
from medtk.federated import Received, Server, Settings


def server(*values):
    return Server({"global": [np.array(values, np.float64)]}, {})


def update(client, sent, began=1, start=0.0, n=1, model="global"):
    sent, start = (np.atleast_1d(np.asarray(x, np.float64)) for x in (sent, start))
    return Received(client, model, began, [np.broadcast_to(start, sent.shape)], [sent], n, {})


def model_of(state):
    return state.models["global"][0]


@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(1, 100)), min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_with_everybody_on_time_it_is_fedavg(clients):
    received = [update(f"c{k}", value, start=1.5, n=n) for k, (value, n) in enumerate(clients)]
    one = federated.buffered(server(1.5), received, buffer_size=len(clients))
    wanted = federated.fedavg([r.weights for r in received], [r.n for r in received])[0]
    assert np.allclose(model_of(one), wanted)


def test_age_counts_moves_and_lessens_the_step():
    """The late client began at 0, the model moved twice meanwhile: its step of 9 counts (1 + 2) ** -0.5."""
    state = federated.buffered(server(0.0), [update("fast", 1.0, began=1, start=0.0)], buffer_size=1)
    state = federated.buffered(state, [update("fast", 3.0, began=2, start=1.0)], buffer_size=1)
    assert model_of(state)[0] == 3.0 and state.notes["moved"] == {"global": 2}
    late = federated.buffered(state, [update("slow", 9.0, began=1, start=0.0)], buffer_size=1)
    assert late.notes["age"] == {"slow": 2}
    assert model_of(late)[0] == pytest.approx(3 + 9 / np.sqrt(3))
    even = federated.buffered(state, [update("slow", 9.0, began=1, start=0.0)], buffer_size=1, age_exponent=0.0)
    assert model_of(even)[0] == 12.0


def test_the_buffer_waits_over_rounds():
    state = federated.buffered(server(1.0), [update("a", 2.0, 1, 1.0, n=30)], buffer_size=2)
    assert model_of(state)[0] == 1.0 and state.notes["waiting"] == {"global": 1}
    state = federated.buffered(state, [], buffer_size=2)
    assert state.notes == {"age": {}, "waiting": {"global": 1}, "moved": {"global": 0}}
    state = federated.buffered(state, [update("b", 5.0, 2, 1.0, n=10)], buffer_size=2)
    assert model_of(state)[0] == pytest.approx(1 + 0.75 * 1 + 0.25 * 4) and state.notes["waiting"] == {"global": 0}


def test_a_buffer_may_fill_twice_in_a_round():
    received = [update(name, 1.0) for name in "abc"]
    state = federated.buffered(server(0.0), received, buffer_size=1, age_exponent=1.0)
    # All three took the model as it was when the round began: none is older for having a later name.
    assert state.notes["age"] == {"a": 0, "b": 0, "c": 0} and state.notes["moved"] == {"global": 3}
    assert model_of(state)[0] == pytest.approx(3)


@given(
    st.lists(
        st.lists(st.tuples(st.floats(-5, 5), st.integers(1, 100)), min_size=4, max_size=4), min_size=1, max_size=4
    ),
    st.sampled_from((1, 2, 4)),
    st.floats(0, 1),
)
@settings(max_examples=50, deadline=None)
def test_with_the_images_of_all_each_update_counts_as_in_fedavg(rounds, size, exponent):
    """Nobody late: one by one, by pairs or all at once is the same step, also for clients with few images."""
    images, state, wanted = [n for _, n in rounds[0]], server(1.5), 1.5
    for number, values in enumerate(rounds, start=1):
        steps = [value for value, _ in values]
        received = [
            update(name, wanted + step, number, wanted, n) for name, step, n in zip("abcd", steps, images, strict=True)
        ]
        state = federated.buffered(state, received, size, exponent, images=sum(images))
        wanted += np.average(steps, weights=images)
        assert model_of(state)[0] == pytest.approx(wanted) and set(state.notes["age"].values()) == {0}


def test_without_the_images_of_all_every_full_buffer_is_a_whole_step():
    received = [update(name, value) for name, value in zip("abcd", (1.0, 2.0, 3.0, 6.0), strict=True)]
    whole = federated.buffered(server(0.0), received, buffer_size=1)
    assert model_of(whole)[0] == pytest.approx(12.0)
    for images in (0, -3, float("nan")):
        with pytest.raises(BadParameter, match="images must be"):
            federated.buffered(server(0.0), received, images=images)


@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9), st.integers(0, 3)), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_moving_statistics_stay_between_what_was_and_what_was_sent(clients):
    """Differences from an old start could make a variance negative; parts of what was sent cannot."""
    state = server(2.0)
    for number, (sent, start, back) in enumerate(clients, start=1):
        began = max(1, number - back)
        state = federated.buffered(state, [update("a", sent, began, start)], buffer_size=1, trainable=[False])
    assert 0 <= model_of(state)[0] <= max(2.0, *(sent for sent, _, _ in clients)) + 1e-9


def test_each_model_has_a_buffer_of_its_own():
    two = Server({"x": [np.zeros(1)], "u": [np.zeros(1)]}, {})
    state = federated.buffered(two, [update("a", 1.0, model="x"), update("b", 2.0, model="u")], buffer_size=2)
    assert state.notes["waiting"] == {"x": 1, "u": 1}
    state = federated.buffered(state, [update("a", 3.0, 2, model="x")], buffer_size=2)
    assert state.models["x"][0] == 2.0 and state.models["u"][0] == 0.0


def test_numbers_out_of_range_are_refused():
    for wrong in ({"buffer_size": 0}, {"age_exponent": -1}, {"age_exponent": float("nan")}):
        with pytest.raises(BadParameter, match="buffer_size must be"):
            federated.buffered(server(0.0), [], **wrong)


def test_delays_repeat_and_lose_the_share_asked_for():
    given = {"late": {"slow": 3}, "lost": {"gone": 1.0, "shaky": 0.3}, "seed": 4}
    assert [federated.delays(name, 1, **given) for name in ("slow", "other", "gone")] == [3, 0, federated.NEVER]
    shaky = [federated.delays("shaky", number, **given) for number in range(1000)]
    assert shaky == [federated.delays("shaky", number, **given) for number in range(1000)]
    assert 0.25 < np.mean([late == federated.NEVER for late in shaky]) < 0.35


def members():
    def split(seed):
        return Split(*small_networks.images_and_labels(12, shape=(4, 4, 1), seed=seed))

    return [Hospital(name, split(seed)) for seed, name in enumerate(("slow", "gone", "fast"))]


def test_a_run_with_late_and_lost_clients_and_its_resumption(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTK_CACHE", str(tmp_path))
    model = small_networks.classifier(shape=(4, 4, 1), filters=(4,))
    late = partial(federated.delays, late={"slow": 2}, lost={"gone": 1.0})
    strategy = partial(federated.buffered, buffer_size=2, trainable=tuple(federated.trainable(model)))

    def run(rounds, **given):
        chosen = Settings(rounds=rounds, batch_size=8, learning_rate=0.02, max_delay=2, min_clients=0)
        return federated.run(model, members(), chosen, strategy=strategy, delays=late, progress=False, **given)

    whole = run(5, keep=False)
    rows = federated.rows(whole.history)
    assert {row["status"] for row in rows if row["client"] == "gone"} == {"late"}
    # Two rounds late, so three for each of its own: it begins in rounds 1 and 4, and of these one comes in time.
    assert [row["round"] for row in rows if row["status"] == "arrived"] == [3]
    assert [row["round"] for row in rows if row["status"] == "under way"] == [1, 4]
    # fast alone: rounds 1 and 2 fill the buffer; slow, begun in round 1, comes in round 3 and is one move old.
    assert whole.history[2]["notes"]["age"]["slow"] == 1
    assert [entry["notes"]["moved"]["global"] for entry in whole.history] == [0, 1, 2, 2, 3]

    # Stored states hold the buffer: a run that stopped between two moves gives the same weights.
    def stopped(self, number, *rest, act=federated.engine.Engine.round):
        if number == 4:
            raise KeyboardInterrupt
        return act(self, number, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(federated.engine.Engine, "round", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(5)
    resumed = run(5)
    assert all(np.array_equal(a, b) for a, b in zip(resumed.weights(), whole.weights(), strict=True))
