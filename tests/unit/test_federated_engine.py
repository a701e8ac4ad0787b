"""Rounds of the in-process engine: what it computes, what it writes down, and strategies that it knows nothing of."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import small_networks

from medtk import federated
from medtk.data import Split
from medtk.data.hospitals import Hospital
from medtk.errors import BadParameter, MedtkError
from medtk.federated import Settings, aggregation, secure, strategies

SHAPE = (4, 4, 1)
FAST = Settings(rounds=2, batch_size=8, learning_rate=0.02)


@pytest.fixture(scope="module")
def compiled():
    """With batch normalisation: arrays that are no gradient's."""
    return small_networks.classifier(shape=SHAPE, filters=(4,))


@pytest.fixture
def model(compiled):
    """Compiled once, in its first state for every test."""
    compiled.set_weights(small_networks.classifier(shape=SHAPE, filters=(4,)).get_weights())
    return compiled


def split(n, seed):
    return Split(*small_networks.images_and_labels(n, shape=SHAPE, seed=seed))


def hospitals(k=3):
    return [Hospital(f"hospital_{i}", split(10 + 4 * i, i), split(6, 50 + i), split(5, 90 + i)) for i in range(k)]


def same(a, b):
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def first_updates(model, settings):
    """What the hospitals send in the first round."""
    start = model.get_weights()
    seeds = {h.name: federated.client_seed(0, 1, h.name) for h in hospitals()}
    return [federated.train(model, start, h.train, settings, seeds[h.name]) for h in hospitals()]


def run(model, clients=None, settings=FAST, **given):
    given = {"keep": False, "progress": False} | given
    return federated.run(model, clients or hospitals(), settings, **given)


def test_two_rounds_by_hand(model):
    """The engine is three calls: a client step each, a rule, and again."""
    weights, result = model.get_weights(), run(model)
    for number in (1, 2):
        seeds = {h.name: federated.client_seed(0, number, h.name) for h in hospitals()}
        updates = [federated.train(model, weights, h.train, FAST, seeds[h.name]) for h in hospitals()]
        weights = federated.fedavg([u.weights for u in updates], [u.n for u in updates])
    assert same(result.weights(), weights)


def test_one_client_is_local_training(model):
    (alone,) = hospitals(1)
    settings = dataclasses.replace(FAST, rounds=1, local_epochs=3)
    result = run(model, [alone], settings)
    seed = federated.client_seed(0, 1, alone.name)
    assert same(result.weights(), federated.train(model, model.get_weights(), alone.train, settings, seed).weights)


def test_the_order_of_clients_does_not_matter_and_the_seed_does(model):
    one, turned = run(model), run(model, hospitals()[::-1])
    assert same(one.weights(), turned.weights())
    assert not same(one.weights(), run(model, settings=dataclasses.replace(FAST, seed=1)).weights())


def test_the_model_is_as_it_was(model):
    before = model.get_weights()
    run(model)
    assert same(before, model.get_weights())


def test_what_is_written_down(model):
    result = run(model, evaluate_on={"global": split(9, 99)})
    clients = federated.rows(result.history)
    assert [(row["round"], row["client"], row["status"]) for row in clients] == [
        (number, f"hospital_{i}", "ok") for number in (1, 2) for i in range(3)
    ]
    payload = sum(array.nbytes for array in model.get_weights())
    assert all(row["bytes_down"] == row["bytes_up"] == payload for row in clients)
    assert [row["n"] for row in clients[:3]] == [10, 14, 18]
    evaluated = federated.rows(result.history, "evaluation")
    assert [row["on"] for row in evaluated[:4]] == [*(f"hospital_{i}/val" for i in range(3)), "global"]
    found = federated.evaluate(model, result.weights(), split(9, 99))
    assert {k: evaluated[-1][k] for k in found} == found


def test_evaluation_changes_no_result(model):
    assert same(run(model).weights(), run(model, validate=False).weights())


def test_a_fraction_of_the_clients_is_drawn(model):
    settings = dataclasses.replace(FAST, rounds=12, fraction=0.5)
    rows = federated.rows(run(model, hospitals(4), settings, validate=False).history)
    drawn = [{row["client"] for row in rows if row["round"] == number} for number in range(1, 13)]
    assert all(len(names) == 2 for names in drawn)
    assert len({*map(frozenset, drawn)}) > 2 and set().union(*drawn) == {f"hospital_{i}" for i in range(4)}


@pytest.mark.parametrize("rule", [federated.median, federated.trimmed_mean, federated.krum])
def test_another_rule(model, rule):
    settings = dataclasses.replace(FAST, rounds=1)
    result = run(model, settings=settings, strategy=partial(federated.average, rule=rule))
    weights = [update.weights for update in first_updates(model, settings)]
    assert same(result.weights(), rule(weights, [10, 14, 18]))


def test_fedadam_leaves_moving_statistics_to_the_mean(model):
    trainable = federated.trainable(model)
    assert sum(trainable) == len(model.trainable_variables) < len(trainable)
    settings = dataclasses.replace(FAST, rounds=1)
    mean = run(model, settings=settings).weights()
    result = run(model, settings=settings, strategy=partial(federated.fedadam, trainable=trainable))
    stepped, _ = aggregation.server_adam(model.get_weights(), mean)  # the run has put the start back
    for new, a, b, yes in zip(result.weights(), stepped, mean, trainable, strict=True):
        np.testing.assert_array_equal(new, a if yes else b)


def test_fedbn_keeps_batch_normalisation_at_home(model):
    mask = federated.shared(model, "local")
    assert [yes for v, yes in zip(model.weights, mask, strict=True) if "batch" in v.path] == [False] * 4
    assert sum(mask) == len(mask) - 4
    settings = dataclasses.replace(FAST, rounds=1)
    everything, result = run(model, settings=settings), run(model, settings=settings, mask=mask)
    assert same(
        federated.part(result.weights(), mask)[0], federated.part(everything.weights(), mask)[0]
    )  # the first round starts alike: what is shared has the same mean
    for hospital, update in zip(hospitals(), first_updates(model, settings), strict=True):
        assert same(federated.part(result.weights_of(hospital.name), mask)[1], federated.part(update.weights, mask)[1])
    row = federated.rows(result.history)[0]
    assert row["bytes_up"] == sum(w.nbytes for w, yes in zip(model.get_weights(), mask, strict=True) if yes)


def test_private_arrays_are_used_in_the_next_round(model):
    """With nothing shared but the last bias, two rounds of a client are two rounds of its own."""
    mask = [v.path.endswith("logits/bias") for v in model.weights]
    (alone,) = hospitals(1)
    both = run(model, [alone], mask=mask)
    assert same(both.weights_of(alone.name), run(model, [alone]).weights())


def test_local_statistics_and_a_local_head(model):
    mask = federated.shared(model, "local_statistics", local=["logits/*"])
    kept = [v.path.rpartition("/")[2] for v, yes in zip(model.weights, mask, strict=True) if not yes]
    assert kept == ["moving_mean", "moving_variance", "kernel", "bias"]
    rows = federated.rows(run(model, mask=mask, evaluate_on={"test": split(4, 7)}).history, "evaluation")
    owners = {row["client"] for row in rows if row["on"] == "test"}
    assert owners == {f"hospital_{i}" for i in range(3)}


def test_statistics_measured_again_are_those_of_all_images(model):
    """The first normalisation sees what no other changes: its statistics are those of the pooled images."""
    weights = run(model).weights()
    again = federated.reestimated(model, weights, hospitals())
    paths = [v.path.rpartition("/")[2] for v in model.weights]
    moved = [p for p, a, b in zip(paths, weights, again, strict=True) if not np.array_equal(a, b)]
    assert moved == ["moving_mean", "moving_variance"]
    together = np.concatenate([h.train.images for h in hospitals()])
    model.set_weights(weights)
    convolved = model.layers[1](together).numpy()
    np.testing.assert_allclose(again[paths.index("moving_mean")], convolved.mean(axis=(0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(again[paths.index("moving_variance")], convolved.var(axis=(0, 1, 2)), atol=1e-5)


def test_known_clusters_are_two_federations(model):
    """Two models, each averaged over its own clients: as if two engines ran beside each other."""
    clients = hospitals(4)
    names = [h.name for h in clients]
    route = dict(zip(names, ["xray", "xray", "ultrasound", "ultrasound"], strict=True))
    start = model.get_weights()
    server = federated.start({"xray": start, "ultrasound": start}, names, route)
    result = run(model, clients, server=server, evaluate_on={"joint": split(6, 3)})
    assert same(result.weights("xray"), run(model, clients[:2]).weights())
    assert same(result.weights("ultrasound"), run(model, clients[2:]).weights())
    assert same(result.weights_of("hospital_3"), result.weights("ultrasound"))
    rows = federated.rows(result.history, "evaluation")
    assert {row["model"] for row in rows if row["on"] == "joint"} == {"xray", "ultrasound"}


def by_cluster(server, received, clusters):
    """Algorithm 1 of the clustered study, literally: a mean inside each cluster, then the plain mean of the means."""
    means = []
    for members in clusters:
        mine = [r for r in received if r.client in members]
        means.append(federated.fedavg([r.weights for r in mine], [1] * len(mine)))
    apart = federated.norm(federated.minus(*means))
    model = federated.fedavg(means, [1] * len(means))
    return dataclasses.replace(server, models={"global": model}, notes={"apart": apart})


def test_a_strategy_of_two_clusters_and_one_model(model):
    clusters = (("hospital_0",), ("hospital_1", "hospital_2"))
    settings = dataclasses.replace(FAST, rounds=1)
    result = run(model, settings=settings, strategy=partial(by_cluster, clusters=clusters))
    weights = [update.weights for update in first_updates(model, settings)]
    for new, a, b, c in zip(result.weights(), *weights, strict=True):
        np.testing.assert_allclose(new, a / 2 + b / 4 + c / 4, atol=1e-6)
    assert result.history[0]["notes"]["apart"] > 0


def bipartition(server, received, after):
    """Sattler's idea in small: from some round on, clients whose updates point apart get models of their own."""
    server = federated.average(server, received)
    number = server.memory.get("rounds", 0) + 1
    server = dataclasses.replace(server, memory={"rounds": number})
    if number != after:
        return server
    updates = [np.concatenate([d.ravel() for d in federated.minus(r.weights, r.start)]) for r in received]
    ahead = [r.client for r, update in zip(received, updates, strict=True) if update @ updates[0] >= 0]
    route = {name: ("first",) if name in ahead else ("second",) for name in server.route}
    (weights,) = server.models.values()
    return dataclasses.replace(server, models={"first": weights, "second": weights}, route=route)


def opposed():
    """Four hospitals, two of which call ill what the others call well."""
    data = [split(16, i) for i in range(4)]
    flipped = [Split(d.images, 2 - d.labels) if i % 2 else d for i, d in enumerate(data)]
    return [Hospital(f"hospital_{i}", d) for i, d in enumerate(flipped)]


def test_a_strategy_may_split_a_model_by_the_clients_updates(model):
    settings = dataclasses.replace(FAST, rounds=4, local_epochs=3)
    result = run(model, opposed(), settings, strategy=partial(bipartition, after=2))
    assert result.server.route == {f"hospital_{i}": (["first", "second"][i % 2],) for i in range(4)}
    trained = [row["model"] for row in federated.rows(result.history) if row["client"] == "hospital_1"]
    assert trained == ["global", "global", "second", "second"]
    assert not same(result.weights("first"), result.weights("second"))


def test_clients_may_choose_among_models(model):
    """IFCA: offered two models that already differ a little, the opposed hospitals sort themselves."""
    start, settings = model.get_weights(), dataclasses.replace(FAST, rounds=3, local_epochs=4)
    first, second = (federated.train(model, start, h.train, settings).weights for h in opposed()[:2])
    server = federated.start({"a": first, "b": second}, [h.name for h in opposed()])
    result = run(model, opposed(), settings, server=server)
    for entry in result.history:
        chosen = {row["client"]: row["model"] for row in entry["clients"]}
        assert list(chosen.values()) == ["a", "b", "a", "b"]
    row = federated.rows(result.history)[0]
    assert row["bytes_down"] == 2 * row["bytes_up"]


def slow(name, number):
    return 2 if name == "hospital_2" and number == 1 else 0


def test_late_is_left_out_unless_it_is_waited_for(model):
    settings = dataclasses.replace(FAST, rounds=4)
    left = federated.rows(run(model, settings=settings, delays=slow).history)
    assert [(r["round"], r["why"]) for r in left if r["status"] == "late"] == [(1, "it would come 2 rounds late")]
    waited = dataclasses.replace(settings, max_delay=2)
    result = run(model, settings=waited, delays=slow, strategy=partial(strategies.average))
    mine = [
        (r["round"], r["status"], r["began"]) for r in federated.rows(result.history) if r["client"] == "hospital_2"
    ]
    # In round 3 it is still at work on what it delivers at the end of that round.
    assert mine == [(1, "under way", 1), (3, "arrived", 1), (4, "ok", 4)]


def always_slow(name, number):
    return 2 if name == "hospital_2" else 0


@pytest.mark.parametrize("rounds", [6, 7])
def test_who_is_always_two_rounds_late_delivers_every_third_round(model, rounds):
    """As many updates as a server gets that waits three times as long in every round."""
    settings = dataclasses.replace(FAST, rounds=rounds, max_delay=2)
    history = run(model, settings=settings, delays=always_slow).history
    arrived = [(r["began"], r["round"]) for r in federated.rows(history) if r["status"] == "arrived"]
    assert arrived == [(1, 3), (4, 6)] and len(arrived) == rounds // 3


def buffered(server, received, size):
    """Buffered asynchronous averaging: changes are kept until there are enough, the older the lighter."""
    memory = {"round": server.memory.get("round", 0) + 1, "kept": list(server.memory.get("kept", []))}
    for r in received:
        age = memory["round"] - r.began
        memory["kept"].append([d / np.sqrt(1 + age) for d in federated.minus(r.weights, r.start)])
    model = server.models["global"]
    if len(memory["kept"]) >= size:
        change = federated.fedavg(memory["kept"], [1] * len(memory["kept"]))
        model, memory["kept"] = [w + d.astype(w.dtype) for w, d in zip(model, change, strict=True)], []
    return dataclasses.replace(server, models={"global": model}, memory=memory, notes={"waiting": len(memory["kept"])})


def test_an_asynchronous_strategy_with_a_buffer(model):
    settings = dataclasses.replace(FAST, rounds=5, max_delay=3, min_clients=0, fraction=0.5)
    result = run(model, hospitals(4), settings, strategy=partial(buffered, size=3), delays=lateness)
    waiting = [entry["notes"]["waiting"] for entry in result.history]
    assert 0 in waiting and max(waiting) in (1, 2) and len(waiting) == 5
    began = [(r["round"], r["began"]) for r in federated.rows(result.history) if r["status"] == "arrived"]
    assert began and all(1 <= first < last <= 5 for last, first in began)


def lateness(name, number):
    return (int(name[-1]) + number) % 3


def stopping(server, received, at):
    number = server.memory.get("rounds", 0) + 1
    server = federated.average(server, received)
    return dataclasses.replace(server, memory={"rounds": number}, stop="The rule said so." if number == at else "")


def test_a_strategy_may_stop_the_run(model):
    settings = dataclasses.replace(FAST, rounds=9)
    result = run(model, settings=settings, strategy=partial(stopping, at=2))
    assert len(result.history) == 2 and result.server.stop == "The rule said so."


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"clients": [hospitals(1)[0]] * 2}, "name of its own"),
        ({"mask": [True]}, "entries"),
        ({"steps": {"hospital_9": federated.train}}, "hospital_9"),
    ],
)
def test_what_cannot_be_run(model, given, words):
    with pytest.raises(BadParameter, match=words):
        run(model, **given)


def test_routes_and_masks_that_lead_nowhere(model):
    with pytest.raises(BadParameter, match="needs a route"):
        federated.start({"a": []}, ["one", "two"], {"one": "a"})
    with pytest.raises(BadParameter, match="needs a route"):
        federated.start({"a": []}, ["one"], {"one": ["a", "b"]})
    with pytest.raises(BadParameter, match="fits no variable"):
        federated.shared(model, local=["head/*"])
    with pytest.raises(BadParameter, match="nothing would be shared"):
        federated.shared(model, local=["*"])
    with pytest.raises(Exception, match="did you mean"):
        federated.shared(model, "locale")


# Without Adam, which makes steps of full length out of gradients that differ by rounding only.
MASKED = dataclasses.replace(FAST, max_ratio=None, optimizer="sgd")


def gone_in_the_second_round(model, weights, split, settings, seed):
    if seed[1] == 2:
        raise ConnectionError("the line is dead")
    return federated.train(model, weights, split, settings, seed)


@pytest.mark.parametrize("steps", [{}, {"hospital_1": gone_in_the_second_round}])
def test_masked_sums_give_fedavg(model, steps):
    """Also where a hospital drops out after the keys were agreed on: its masks are taken off."""
    pytest.importorskip("cryptography")
    plain, masked = run(model, settings=MASKED, steps=steps), run(model, settings=MASKED, steps=steps, secure=True)
    for ours, theirs in zip(masked.weights(), plain.weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert not same(plain.weights(), plain.initial)
    assert masked.history[1]["notes"] == {"masked": 3 - len(steps), "dropped": list(steps)}


def test_the_server_is_given_no_update_that_it_could_read(model, monkeypatch):
    pytest.importorskip("cryptography")
    seen, plain_sum = [], secure.privacy.secure_sum

    def watched(updates, **given):
        total, arrived = plain_sum(updates, **given)
        seen.append(arrived)
        return total, arrived

    monkeypatch.setattr(secure.privacy, "secure_sum", watched)
    run(model, settings=dataclasses.replace(MASKED, rounds=1), secure=True)
    (arrived,) = seen
    assert sorted(arrived) == [0, 1, 2]
    for numbers in arrived.values():  # over the whole range; unmasked small changes would lie in 2 of 16 parts of it
        # Keys are random, so 5 standard deviations.
        assert abs(np.mean(numbers > 2**31) - 0.5) < 2.5 / np.sqrt(len(numbers))
        assert len(np.unique(numbers >> 28)) > 8


def spread_out(model, weights, split, settings, seed):
    update = federated.train(model, weights, split, settings, seed)
    return update._replace(weights=[array + 100 for array in update.weights])


def test_who_cannot_be_masked_drops_out_and_too_few_end_the_round(model):
    pytest.importorskip("cryptography")
    result = run(model, settings=MASKED, steps={"hospital_2": spread_out}, secure=True)
    rows = [row for row in federated.rows(result.history) if row["client"] == "hospital_2"]
    assert [row["status"] for row in rows] == ["refused"] * 2 and "masks hold 16 at most" in rows[0]["why"]
    with pytest.raises(MedtkError, match="cannot be unmasked"):
        run(model, settings=MASKED, steps=dict.fromkeys(("hospital_1", "hospital_2"), spread_out), secure=True)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"settings": FAST}, "max_ratio=None"),
        ({"strategy": partial(federated.average, rule=federated.median)}, "no other rule"),
        ({"strategy": federated.fedadam}, "no other rule"),
        ({"delays": lambda name, number: 0}, "no delays"),
        ({"clients": hospitals(1)}, "2 clients"),
    ],
)
def test_masks_allow_the_mean_of_a_round_and_nothing_else(model, given, words):
    with pytest.raises(BadParameter, match=words):
        run(model, **({"settings": MASKED} | given), secure=True)
