"""The experiment of chapter 53 on small images: what is promised, what leaves a hospital, what is kept."""

import dataclasses
import math
from types import SimpleNamespace

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
import small_networks

from medtk import federated, lab, privacy
from medtk.errors import BadParameter, UnknownName
from medtk.lab import private, private_recording, private_views
from medtk.reproduction import records

ROUNDS = 2


def spec(level, epsilon=math.inf, seed=0):
    usual = private.usual_spec(level, epsilon, seed)
    return dataclasses.replace(usual, settings=dataclasses.replace(usual.settings, rounds=ROUNDS, batch_size=8))


def dataset():
    return small_networks.dataset(60)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run of each kind, with its record and the arrays behind it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDTK_CACHE", str(tmp_path_factory.mktemp("cache")))
        run, found = lab.start("53", seed=0, profile="reader"), {}
        for level, epsilon in (("none", math.inf), ("record", 5.0), ("client", 5.0)):
            result, record = private.experiment(run, dataset(), spec(level, epsilon), progress=False)
            found[level] = result, record, records.load_predictions(record, run.home)
        assert records.verify(run.home) == []
        return found


def test_the_network_looks_at_each_image_alone():
    model, images = private.network((28, 28, 1), 2), np.random.default_rng(0).random((6, 28, 28, 1), np.float32)
    together = model(images, training=True).numpy()
    np.testing.assert_allclose(together[:1], model(images[:1], training=True).numpy(), atol=1e-6)
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
    twin = private.network((28, 28, 1), 2)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), twin.get_weights(), strict=True))


def test_images_set_aside_are_never_trained_on_and_do_not_depend_on_the_promise():
    shares = [private.hospitals(dataset(), s) for s in (spec("none"), spec("record", 1.0), spec("client", 8.0))]
    for shared in shares:
        own = [np.concatenate([m.train.index, m.val.index]) for m in shared.members]
        assert len(np.unique(np.concatenate(own))) == sum(map(len, own)) == len(dataset().train_and_val)
        for member, first in zip(shared.members, shares[0].members, strict=True):
            np.testing.assert_array_equal(member.train.index, first.train.index)
            assert abs(len(member.train) - len(member.val)) <= 3


def test_runs_stand_together_where_they_differ_in_the_seed_alone():
    """The deal gives each seed other numbers of images, and so other noise; another step is another setting."""
    usual = {"level": "record", "epsilon": 3.0, "learning_rate": 0.5}
    runs = [
        ({"parameters": usual | {"members": {"hospital_1": 100 + k}, "noise_multipliers": {"hospital_1": k}}}, {})
        for k in range(2)
    ]
    other = ({"parameters": usual | {"learning_rate": 0.1, "members": {}, "noise_multipliers": {}}}, {})
    assert private_views.by_promise([*runs, other]) == [runs, [other]]


def members(*sizes):
    return [SimpleNamespace(name=f"h{i}", train=range(n)) for i, n in enumerate(sizes)]


def test_noise_is_just_enough_for_all_rounds_and_a_small_hospital_needs_more():
    mine = private.usual_spec("record", 3.0)
    found = private.noise_multipliers(members(300, 900, 300), mine)
    assert found["h0"] == found["h2"] > found["h1"]
    for name, n in (("h0", 300), ("h1", 900)):
        rate, steps = privacy.sampling(n, 64)
        assert 2.97 < privacy.epsilon(found[name], rate, 15 * steps, 1e-4) <= 3.0
    twice = dataclasses.replace(mine, settings=dataclasses.replace(mine.settings, local_epochs=2))
    assert private.noise_multipliers(members(300), twice)["h0"] > found["h0"]
    hidden = private.noise_multipliers(members(300, 900), private.usual_spec("client", 8.0))
    assert hidden["h0"] == hidden["h1"] and 7.9 < privacy.epsilon(hidden["h0"], 1.0, 15, 1e-4) <= 8.0
    assert private.noise_multipliers(members(5), private.usual_spec("none")) == {"h0": 0.0}


def test_a_number_without_promise_is_refused():
    with pytest.raises(BadParameter, match="epsilon must be infinite for 'none'"):
        private.Spec("none", 3.0)


@pytest.mark.parametrize("level", ["record", "client"])
def test_a_promise_without_number_is_its_training_without_noise(level):
    control = private.usual_spec(level)
    assert set(private.noise_multipliers(private.hospitals(dataset(), control).members, control).values()) == {0.0}
    assert private.record_name("small", control) == f"small-iid-{level}-no-noise-s0"
    assert private_views.promise({"level": level, "epsilon": None}).endswith("clipped, no noise")


def test_levels_have_names():
    with pytest.raises(UnknownName, match="level of privacy"):
        private.Spec("patient", 1.0)


def test_the_client_step_is_dp_sgd_with_fresh_noise_and_tells_no_loss():
    data, settings = (
        small_networks.dataset(20).train,
        federated.Settings(local_epochs=2, learning_rate=0.1, optimizer="sgd"),
    )
    model = private.network(small_networks.SHAPE, 3)
    start, wanted = model.get_weights(), privacy.PrivateSgd(1.0, 1.0, 8)
    sent = federated.train_privately(model, start, data, settings, (5, 1, 7), private=wanted)
    assert sent.n == len(data) and sent.metrics == {}
    model.set_weights(start)
    optimizer = keras.optimizers.SGD(0.1)
    for epoch in range(2):
        privacy.train_epoch(model, optimizer, data, wanted, (5, 1, 7, epoch))
    for ours, theirs in zip(sent.weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    again, other = (
        federated.train_privately(model, start, data, settings, (5, number, 7), private=wanted) for number in (1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(sent.weights, again.weights, strict=True))
    assert not np.allclose(sent.weights[0], other.weights[0])


def test_the_server_hides_hospitals_with_new_noise_each_round():
    random, start = np.random.default_rng(0), [np.zeros((40, 5), np.float32)]
    server = federated.start(start, ["a", "b"])
    received = [
        federated.Received(name, "global", 1, start, [random.normal(size=(40, 5)).astype(np.float32)], n, {})
        for name, n in (("a", 30), ("b", 10))
    ]
    plain = federated.average(server, received).models["global"][0]
    sizes = {"a": 30, "b": 10}
    quiet = private.average_privately(server, received, sizes, math.inf, 0.0, 0)
    np.testing.assert_allclose(quiet.models["global"][0], plain, atol=1e-6)
    first = private.average_privately(server, received, sizes, 1e-6, 1e6, 0)
    second = private.average_privately(dataclasses.replace(server, memory=first.memory), received, sizes, 1e-6, 1e6, 0)
    assert (first.memory, second.memory) == ({"round": 1}, {"round": 2})
    one, two = (s.models["global"][0] for s in (first, second))
    assert not np.allclose(one, two)
    # Noise multiplier times clip norm times the larger share, 3/4; 400 values, so 3.5 % of standard error.
    assert np.std([one, two]) == pytest.approx(0.75, rel=0.15)


def test_one_hospital_moves_the_mean_by_no_more_than_the_noise_is_made_for():
    """Also where it sends nothing: its share is not given to the others."""
    start, sizes = [np.zeros(4, np.float32)], {"a": 10, "b": 10, "c": 20}
    server = federated.start(start, list(sizes))

    def mean(**lengths):
        received = [
            federated.Received(name, "global", 1, start, [np.array([length, 0, 0, 0], np.float32)], sizes[name], {})
            for name, length in lengths.items()
        ]
        return private.average_privately(server, received, sizes, 1.0, 0.0, 0).models["global"][0][0]

    whole = mean(a=1.0, b=1.0, c=1.0)
    for name, size in sizes.items():
        without = mean(**{other: 1.0 for other in sizes if other != name})
        assert whole - without == pytest.approx(size / 40) and size / 40 <= privacy.sensitivity([10, 10, 20], 1.0)


def test_a_hidden_hospital_is_never_refused_for_its_length_beside_the_others(monkeypatch):
    seen = []
    result = SimpleNamespace(weights=list)
    monkeypatch.setattr(federated, "run", lambda *args, **kwargs: seen.append(args[2].max_ratio) or result)
    for level in ("client", "record"):
        private.train(SimpleNamespace(set_weights=list), private.hospitals(dataset(), spec(level)), spec(level))
    assert seen == [None, 20.0]


def test_records_hold_what_the_attack_reads(kept):
    for result, record, arrays in kept.values():
        shared = private.hospitals(dataset(), spec("none"))
        model = private.network(small_networks.SHAPE, 3)
        model.set_weights(result.weights())
        labels, probabilities = private.answers(model, [member.train for member in shared.members])
        np.testing.assert_allclose(arrays["members/loss"], -privacy.loss_score(labels, probabilities), atol=1e-5)
        assert record["metrics"]["members"]["n"] == len(labels)
        assert record["metrics"]["members"]["accuracy"] == pytest.approx(np.mean(probabilities.argmax(1) == labels))
        assert record["metrics"]["others"]["n"] == sum(len(member.val) for member in shared.members)
        np.testing.assert_allclose(arrays["global"], federated.predict(model, dataset().test), atol=1e-3)
        np.testing.assert_array_equal(arrays["labels"], dataset().test.labels)
        assert record["metrics"]["test"]["accuracy"] == record["metrics"]["global"]["accuracy"]


def test_records_name_the_promise(kept):
    noise = {level: record["parameters"]["noise_multipliers"] for level, (_, record, _) in kept.items()}
    assert set(noise["none"].values()) == {0.0} and min(noise["record"].values()) > 0
    wanted = private.noise_multipliers(members(1), spec("client", 5.0))["h0"]
    assert noise["client"] == {f"hospital_{k}": wanted for k in (1, 2, 3)}
    assert [record["parameters"]["epsilon"] for _, record, _ in kept.values()] == [None, 5.0, 5.0]
    assert kept["record"][1]["id"] == "hospital/privacy/small-iid-record-epsilon5-rounds2-batch-size8-s0"
    assert private.record_name("x", private.usual_spec("none", seed=3)) == "x-iid-none-s3"
    assert all(record["cells"] == [] for _, record, _ in kept.values())


def test_nothing_that_was_counted_without_noise_leaves_a_private_hospital(kept):
    rows = federated.result.rows(kept["record"][0].history)
    assert len(rows) == 3 * ROUNDS and {row["status"] for row in rows} == {"ok"}
    assert all(row["loss"] is None and row["accuracy"] is None for row in rows)
    evaluated = federated.result.rows(kept["record"][0].history, "evaluation")
    assert {row["on"] for row in evaluated} == {"test"}


def test_one_table_for_all_runs(kept):
    runs = [(record, arrays) for _, record, arrays in kept.values()]
    table = private_views.utility_and_leak(runs)
    assert list(table["hidden"]) == ["none", "each image", "each hospital"]
    assert list(table["ε"]) == ["∞", "5", "5"]
    assert table["bound"][1] == f"{private_views.auc_bound(5, 1e-4):.3f}"
    assert set(table["bound"][[0, 2]]) == {"–"}
    assert table["network's AUC"][0] == f"{runs[0][0]['metrics']['global']['auc']:.3f}"
    found = private_views.membership(runs[0][1])
    assert table["attack's AUC"][0].startswith(f"{found.auc:.3f} [")
    figure = private_views.panels({"small": runs}, dataset=dataset())
    assert any("SYNTHETIC" in text.get_text() for text in figure.texts)
    plt.close(figure)


def test_seeds_of_one_promise_share_a_line(kept):
    (_, record, arrays), (_, other, its) = kept["none"], kept["client"]
    twin = {**record, "metrics": {**record["metrics"], "global": {**record["metrics"]["global"], "accuracy": 0.25}}}
    table = private_views.utility_and_leak([(record, arrays), (twin, arrays), (other, its)])
    accuracy = record["metrics"]["global"]["accuracy"]
    assert list(table["seeds"]) == [2, 1]
    low, high = sorted([accuracy, 0.25])
    assert table["test accuracy"][0] == f"{(accuracy + 0.25) / 2:.1%} [{low:.1%}, {high:.1%}]"


def arrays_of(members, others, test):
    return {"members/loss": members, "others/loss": others, "test/loss": test}


def test_membership_is_a_low_loss_and_the_test_images_are_another_question():
    same = np.linspace(0, 2, 40)
    arrays = arrays_of(same, same, same + 3)
    assert private_views.membership(arrays).auc == pytest.approx(0.5)
    # Test images that are harder than all others look like non-members although nothing leaked.
    assert private_views.membership(arrays, against="test").auc == 1.0
    assert private_views.membership(arrays_of(same, same + 3, same)).auc == 1.0


@pytest.mark.parametrize(("epsilon", "delta"), [(0.0, 0.0), (0.5, 0.0), (1.0, 0.05), (3.0, 1e-4), (8.0, 0.3)])
def test_the_bound_on_the_area_is_the_area_under_the_bound(epsilon, delta):
    rates = np.linspace(0, 1, 20_001)
    curve = [privacy.power_bound(rate, epsilon, delta) for rate in rates]
    assert private_views.auc_bound(epsilon, delta) == pytest.approx(np.trapezoid(curve, rates), abs=1e-4)
    if delta == 0:
        assert 2 * private_views.auc_bound(epsilon) - 1 == pytest.approx(privacy.advantage_bound(epsilon))
    assert private_views.auc_bound(math.inf, delta) == 1.0


def test_noise_against_signal_counts_what_the_mechanism_adds():
    sizes, clip_norm, numbers = [300, 200, 100], 1.0, 4000
    update = np.full(numbers, 1 / np.sqrt(numbers))
    updates = [[update], [update], [update]]
    table = private_views.noise_against_signal(
        updates, sizes, epsilons=(8.0, 2.0), rounds=5, delta=1e-4, clip_norm=clip_norm
    )
    z = privacy.noise_for(8.0, 1.0, 5, 1e-4)
    noised = privacy.noised_mean(updates, sizes, clip_norm=clip_norm, noise_multiplier=z, seed=0)[0]
    assert float(table["length of the signal"][0]) == pytest.approx(1.0)
    assert float(table["length of the noise"][0]) == pytest.approx(np.linalg.norm(noised - update), rel=0.05)
    # With that many equal hospitals noise and signal are equally long.
    assert z * clip_norm / table["hospitals"][0] * np.sqrt(numbers) == pytest.approx(1.0, rel=0.02)
    assert table["hospitals"][1] > table["hospitals"][0]


def test_the_server_sees_a_flat_histogram():
    numbers = privacy.to_integers([np.random.default_rng(0).normal(0, 0.01, 5000)], 1.0, 3)
    masked = numbers + np.random.default_rng(1).integers(0, 2**32, 5000, np.uint32)
    figure = private_views.what_the_server_sees(numbers, masked)
    heights = [np.array([bar.get_height() for bar in axis.patches]) for axis in figure.axes]
    assert [h.sum() for h in heights] == [5000, 5000]
    assert heights[0].max() > 4000 and heights[1].max() < 200
    plt.close(figure)


def test_sampling_is_drawn_as_a_saving():
    figure = private_views.accounts(0.1, 10, (1, 3), (2.0, 4.0), 1e-4)
    sampled, more_noise, unsampled = (line.get_ydata() for line in figure.axes[0].lines)
    assert np.all(more_noise < sampled) and np.all(sampled < unsampled) and sampled[0] < sampled[1]
    assert sampled[0] == pytest.approx(privacy.epsilon(2.0, 0.1, 10, 1e-4))
    plt.close(figure)


def test_recording_skips_what_is_there_and_refuses_synthetic_images(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path))
    monkeypatch.setenv("MEDTK_OFFLINE", "1")
    monkeypatch.delenv("MEDTK_DATA", raising=False)
    monkeypatch.setattr("sys.argv", ["private_recording", "breastmnist", "--epsilons", "--hospital-epsilons"])
    with pytest.raises(SystemExit, match="synthetic images are never recorded"):
        private_recording.main()
    folder = tmp_path / "hospital" / "privacy"
    assert not folder.exists()
    folder.mkdir(parents=True)
    (folder / "breastmnist-iid-none-s0.json").touch()
    capsys.readouterr()
    private_recording.main()
    assert capsys.readouterr().out == ""
