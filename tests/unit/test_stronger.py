"""The table of stronger attacks on small networks: what is kept, what the worst case is, what is recorded."""

import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pytest
import small_networks
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from medtk import data, lab, models, training
from medtk.errors import UnknownName
from medtk.evaluation import metrics
from medtk.lab import attack_measures, attack_views, stronger
from medtk.reproduction import records

EPSILON = 0.03
BOUNDED = {"fgsm", "bim", "pgd", "mi-fgsm", "apgd", "apgd-margin", "square", "universal", "transfer"}
SMALLEST = {"deepfool", "carlini-wagner", "fab", "jsma", "one-pixel"}


@pytest.fixture(scope="module")
def attacked():
    """A network whose labels are its own answers but for one, its data, and everything that was done to them."""
    model, dataset = small_networks.settled(), small_networks.dataset(24)
    labels = stronger.answers(model, dataset.test.images).argmax(axis=1)
    labels[0] = (labels[0] + 1) % 3
    dataset = dataclasses.replace(dataset, test=data.Split(dataset.test.images, labels))
    source = small_networks.settled(seed=1)
    found = stronger.attack_all(model, dataset, EPSILON, source=source, steps=10, queries=40, progress=False)
    return model, dataset, found, stronger.answers(model, dataset.test.images)


def right(probabilities, dataset):
    return probabilities.argmax(axis=1) == dataset.test.labels


def test_every_attack_is_there_and_bounded_ones_stay_in_the_ball(attacked):
    model, dataset, found, _ = attacked
    assert set(found) == BOUNDED | SMALLEST
    for name, one in found.items():
        assert one.images.shape == dataset.test.images.shape
        assert one.images.min() >= 0 and one.images.max() <= 1, name
        np.testing.assert_allclose(one.probabilities, model.predict(one.images, verbose=0), atol=1e-5)
        if name in BOUNDED:
            assert np.abs(one.images - dataset.test.images).max() <= EPSILON + 1e-6, name
    # Each attack looks for something else, so no two did the same.
    assert len({one.images.tobytes() for one in found.values()}) == len(found)


def test_settings_say_steps_step_size_and_queries(attacked):
    said = {name: one.settings for name, one in attacked[2].items()}
    assert said["fgsm"] == "1 step"
    assert said["pgd"] == "steps 10, step size 0.0075"
    assert said["apgd-margin"] == "steps 10, margin"
    assert said["square"] == "queries 40"
    assert "population 40, generations 1" in said["one-pixel"]
    assert all(said.values())


def test_conditions_keep_their_promises(attacked):
    _, dataset, found, clean = attacked
    kept = attack_measures.conditions(found, clean, dataset.test, EPSILON)
    worst = right(kept[f"worst-epsilon={EPSILON:g}"], dataset)
    assert not right(clean, dataset)[0] and right(clean, dataset)[1:].all()
    for name in BOUNDED:
        survived = right(kept[f"{name}-epsilon={EPSILON:g}"], dataset)
        assert not np.any(worst & ~survived), name
    assert set(kept) >= {"clean", "deepfool-rms=0.003", "fab-linf=0.003", "jsma-share=0.01", "one-pixel-share=0.01"}
    for name, measure in attack_measures.MEASURES.items():
        shares = [np.mean(right(kept[f"{name}-{measure}={limit:g}"], dataset)) for limit in attack_measures.LIMITS]
        assert shares == sorted(shares, reverse=True), name
    # The network is weak enough for the attacks to do something, or none of this would be seen.
    assert worst.mean() < right(clean, dataset).mean()
    assert np.mean(right(kept["deepfool-rms=0.05"], dataset)) < right(clean, dataset).mean()


def test_a_change_that_is_too_large_counts_as_no_attack():
    originals = np.zeros((2, 2, 2, 1), np.float32)
    images = originals.copy()
    images[0, 0, 0], images[1] = 0.2, 0.5
    one = attack_measures.Attacked(images, np.array([[0.1, 0.9], [0.2, 0.8]]), "", 0.0)
    clean = np.array([[0.7, 0.3], [0.6, 0.4]])
    for measure, sizes in (("rms", (0.1, 0.5)), ("linf", (0.2, 0.5)), ("share", (0.25, 1.0))):
        np.testing.assert_allclose(attack_measures.sizes(images, measure), sizes, atol=1e-6)
        between = attack_measures.limited(one, clean, originals, measure, sum(sizes) / 2)
        np.testing.assert_array_equal(between, [[0.1, 0.9], [0.6, 0.4]])
        np.testing.assert_array_equal(
            attack_measures.limited(one, clean, originals, measure, sizes[1]), one.probabilities
        )


@given(arrays.arrays(np.float64, (4, 6, 3), elements=st.floats(0.01, 1)), st.integers(0, 100))
def test_the_worst_case_is_wrong_where_any_attack_is(raw, seed):
    found = list(raw / raw.sum(axis=2, keepdims=True))
    labels = np.random.default_rng(seed).integers(0, 3, 6)
    worst = attack_measures.worst_of(found, labels)
    own = np.array([one[np.arange(6), labels] for one in found])
    strictly = np.array([np.sum(one >= one[np.arange(6), labels][:, None], axis=1) == 1 for one in found])
    beaten = np.array([np.any(one > one[np.arange(6), labels][:, None], axis=1) for one in found])
    kept = worst.argmax(axis=1) == labels
    assert not np.any(kept & beaten.any(axis=0))
    assert np.all(kept[strictly.all(axis=0)])
    assert all(any(np.array_equal(worst[i], one[i]) for one in found) for i in range(6))
    assert np.all(worst[np.arange(6), labels] <= own.max(axis=0))


@given(arrays.arrays(np.float32, (5, 3), elements=st.floats(0.3125, 0.34375, width=32)))
def test_rounding_to_float16_changes_no_answer(raw):
    probabilities = raw / raw.sum(axis=1, keepdims=True)
    stored = attack_measures.decided(probabilities)
    assert stored.dtype == np.float16
    np.testing.assert_array_equal(stored.argmax(axis=1), probabilities.argmax(axis=1))
    np.testing.assert_allclose(stored, probabilities, atol=6e-4)


def test_rounding_alone_would_change_answers():
    near = np.array([[0.49999, 0.50001]], np.float32)
    assert near.astype(np.float16).argmax() == 0 and attack_measures.decided(near).argmax() == 1


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(models, "build", small_networks.built_for_fit)
    # A few attacks are enough to see what is recorded, and they compile fast.
    bounded, smallest = stronger.bounded, stronger.smallest
    monkeypatch.setattr(stronger, "bounded", lambda *budget, **given: _some(bounded(*budget, **given)))
    monkeypatch.setattr(stronger, "smallest", lambda **given: {"deepfool": smallest(**given)["deepfool"]})
    return lab.start("15", seed=0, profile="paper")


def _some(ways):
    return {name: ways[name] for name in ("pgd", "mi-fgsm")}


@pytest.mark.parametrize("defense", stronger.DEFENSES)
def test_each_defence_is_recorded_and_verified(run, defense):
    dataset = small_networks.dataset(24)
    spec = training.Spec("mobilenetv2", epochs=1)
    found, record = stronger.record(run, dataset, spec, EPSILON, defense=defense, steps=3, queries=5, progress=False)
    assert record["cells"] == [] and record["experiment"] == "attacks"
    assert record["id"].endswith(f"small-mobilenetv2-all-unit-{defense}-epsilon0.03-n12-s0")
    names = ("pgd", "mi-fgsm", "universal", "transfer", "worst")
    assert {f"{name}-epsilon=0.03" for name in names} <= set(record["metrics"])
    assert record["parameters"]["defense"] == defense
    assert record["parameters"]["attack_pgd"] == found["pgd"].settings
    kept = records.load_predictions(record, run.home)
    accuracy = np.mean(right(found["pgd"].probabilities, dataset))
    assert np.mean(right(kept["pgd-epsilon=0.03"], dataset)) == accuracy
    assert records.verify(run.home) == []
    table = lab.robust_tables.strong_attacks(EPSILON)
    column = table[f"mobilenetv2 on small (synthetic, n=12), defence {defense}"]
    assert column["pgd"].startswith(f"{accuracy:.1%} [") and column["images, seeds"] == "12, 1"
    assert "transfer mi-fgsm on " in column["attacks"]
    assert len(lab.robust_tables.strong_attacks(0.5)) == 0


def test_an_unknown_defence_is_refused():
    with pytest.raises(UnknownName, match="hope"):
        stronger.network(small_networks.dataset(), training.Spec("mobilenetv2"), "hope")


def test_tables_say_what_was_found(attacked):
    _, dataset, found, clean = attacked
    table = attack_views.within_budget(found, clean, dataset, EPSILON).set_index("attack")
    assert set(table.index) == BOUNDED | {"none", "worst of all"}
    share = np.mean(right(found["pgd"].probabilities, dataset))
    assert table.loc["pgd", "still right"].startswith(f"{share:.1%} [")
    assert table.loc["pgd", "AUC"] == f"{metrics.auc(dataset.test.labels, found['pgd'].probabilities):.3f}"
    assert table.loc["square", "sees"] == "answers" and table.loc["pgd", "sees"] == "gradients"
    table = attack_views.smallest_changes(found, clean, dataset, EPSILON).set_index("attack")
    assert set(table.index) == SMALLEST
    turned = right(clean, dataset) & ~right(found["deepfool"].probabilities, dataset)
    assert table.loc["deepfool", "turned"] == f"{turned.sum()} of {right(clean, dataset).sum()}"
    sizes = attack_measures.sizes(found["deepfool"].images - dataset.test.images, "rms")[right(clean, dataset)]
    if turned.sum() == len(sizes):
        assert float(table.loc["deepfool", "median change, rms"]) == pytest.approx(255 * np.median(sizes), rel=0.01)


def test_a_median_that_was_not_reached_is_not_made_up():
    assert attack_views._median(np.array([1.0, np.inf, np.inf]), "{:g}") == "more than it found"
    assert attack_views._median(np.array([1.0, 2.0, np.inf]), "{:g}") == "2"
    assert attack_views._median(np.array([]), "{:g}") == "–"


def test_figures_are_stamped_and_drawn(attacked):
    _, dataset, found, clean = attacked
    frames = attack_views.rising(
        dataset.test.images[:3], np.array([0.9, 0.5, 0.1]), [0, 0.01, 0.02], said="abc", truth="a", dataset=dataset
    )
    assert len(frames) == 3
    pairs = attack_views.each_attack(found, dataset, 1, columns=4)  # 14 attacks: four rows of four, two places empty
    assert [axis.get_title() for axis in pairs.axes].count("") == 4
    assert len(pairs.axes) == 2 * 16
    surface = {"distances": np.linspace(-0.1, 0.1, 9), "loss": np.arange(81.0).reshape(9, 9)}
    survival = attack_views.survival(found, clean, dataset, EPSILON)
    assert len(survival.axes[0].get_lines()) == 4  # three attacks measure a size, and one line marks epsilon
    for figure in [*frames, survival, pairs, attack_views.loss_surface(surface, 0.05, dataset=dataset)]:
        assert any("SYNTHETIC" in text.get_text() for text in figure.texts)
        figure.canvas.draw()
        plt.close(figure)


def written(home, name, split, labels, probabilities):
    return records.write(
        home,
        experiment="transfer",
        paper="robust_transfer",
        name=name,
        cells=[],
        parameters={"dataset": split, "network": "resnet50", "trainable": "all", "scaling": "unit"},
        seed=int(name[-1]),
        profile="paper",
        data={"name": split, "source": "substitute"},
        weights={"source": "random"},
        labels=labels,
        predictions={"clean": probabilities, "reestimated": probabilities[:, ::-1]},
        seconds=1.0,
        deviations=[],
    )


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    """Two seeds on the published split and one on the split by group; measured again, the answers are reversed."""
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path))
    labels = np.array([0, 0, 1, 1, 1, 1])
    always_right = np.eye(2)[labels]
    once_wrong = np.eye(2)[[0, 0, 1, 1, 1, 0]]
    written(tmp_path, "x-s0", "small", labels, 1 - always_right)
    written(tmp_path, "x-s1", "small", labels, 1 - once_wrong)
    written(tmp_path, "y-s0", "small-by-group", labels, 1 - once_wrong)
    written(tmp_path, "z-s0", "other", labels, always_right)
    split = small_networks.dataset().train
    groups = np.array([f"{i}" for i in range(len(split))])
    test = data.Split(split.images[:6], labels, np.array(["0", "0", "1", "1", "new", "new"]))
    train = data.Split(split.images, split.labels, groups)
    return dataclasses.replace(small_networks.dataset(), train=train, test=test)


def test_the_two_splits_stand_beside_each_other(ledger):
    table = lab.tables.by_group("robust_transfer", "small").set_index("split")
    assert list(table.index) == ["published", "by group"]
    assert list(table["seeds"]) == [2, 1]
    # 6 and 5 of 6 right; balanced: mean of 2 of 2 and 3 of 4.
    assert table.loc["published", "accuracy"].startswith("91.7% [")
    assert table.loc["by group", "accuracy"].startswith("83.3% [")
    assert table.loc["by group", "balanced accuracy"] == "87.5%"
    assert len(lab.tables.by_group("robust_transfer", "nothing")) == 0


def test_seen_groups_are_told_from_unseen_ones(ledger):
    first, second = lab.tables.seen_or_not("robust_transfer", ledger).to_dict("records")
    assert first["right, seen"].startswith("100.0% [") and first["right, not seen"].startswith("100.0% [")
    assert second["right, seen"].startswith("100.0% [") and second["right, not seen"].startswith("50.0% [")
    assert (second["balanced, seen"], second["balanced, not seen"]) == ("100.0%", "50.0%")
    other = dataclasses.replace(
        ledger, test=data.Split(ledger.test.images, ledger.test.labels[::-1], ledger.test.groups)
    )
    assert len(lab.tables.seen_or_not("robust_transfer", other)) == 0


def test_claims_name_the_records_behind_them():
    shown = lab.tables._abbreviated(["p/transfer/a-s0", "p/transfer/a-s12", "p/attacks/b-n3-s1"])
    assert shown == "transfer/a-s0,12; attacks/b-n3-s1"
    assert lab.tables._abbreviated([]) == "–"
    table = lab.tables.claims("robust_transfer", ["chest_flip"], behind=True)
    assert list(table.columns) == ["claim", "verdict", "why", "records"]
