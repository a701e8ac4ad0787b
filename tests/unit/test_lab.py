import dataclasses
import logging
from types import SimpleNamespace

import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import small_networks
from keras import layers
from scipy.special import softmax
from scipy.stats import binomtest, chi2

from medtk import attacks, data, lab, training
from medtk.evaluation import intervals
from medtk.lab import check, plots, transfer
from medtk.reproduction import papers, records
from medtk.settings import cache_home, results_home

RIGHT = {
    check.majority_accuracy: lambda train, test: np.mean(test == np.bincount(train).argmax()),
    check.wilson_interval: lambda k, n: intervals.wilson(k, n)[:2],
    check.eight_bits: lambda images: np.rint(255 * np.clip(images, 0, 1)) / 255,
    check.targeted_step: lambda images, gradient, epsilon: images - epsilon * np.sign(gradient),
    check.projection: lambda moved, image, e: np.clip(np.clip(moved, image - e, image + e), 0, 1),
    check.mcnemar: lambda a, b: binomtest(a, a + b).pvalue,
    check.softened: lambda scores, t: softmax(scores / t, axis=1),
    check.distillation_gradient: lambda z, v, t: t * (softmax(z / t, axis=1) - softmax(v / t, axis=1)),
    check.smallest_step: lambda x, w, b: -(w @ x + b) / (w @ w) * w,
    check.worst_of: lambda right: right.all(axis=0).mean(),
    check.pooled_statistics: lambda m, v, n: (m @ n / n.sum(), (v + m**2) @ n / n.sum() - (m @ n / n.sum()) ** 2),
    check.clipped_update: lambda s, w, c: s + (w - s) * (c / max(c, np.linalg.norm(w - s))),
    check.one_hot_counts: lambda m: (m.trace(), *2 * [m.sum() - m.trace()], m.sum() * (len(m) - 2) + m.trace()),
    check.images_needed: lambda p, q: np.ceil((1.96 + 0.8416) ** 2 * (p * (1 - p) + q * (1 - q)) / (p - q) ** 2),
    check.clipped_rows: lambda rows, c: rows / np.maximum(1, np.linalg.norm(rows, axis=1, keepdims=True) / c),
    check.noise_on_the_mean: lambda sizes, c, z: z * c * max(sizes) / sum(sizes),
    check.separable_cost: lambda k, before, after: (k * k * before + before * after) / (k * k * before * after),
    check.hypervolume: lambda points, corner: staircase(points, corner, carry=True),
    check.images_for_an_update: lambda loss, apart: 1.645**2 * (apart - loss**2) / loss**2,
    check.traffic: lambda n, hospitals, rounds, bits: 2 * n * hospitals * rounds * bits / 8,
}


def staircase(points, corner, *, carry):
    """Area under the steps of a front; without `carry` every step has its own height, not the best so far."""
    area, best = 0.0, corner[1]
    points = sorted(map(tuple, points))
    for (cost, quality), (after, _) in zip(points, [*points[1:], corner], strict=True):
        best = max(best, quality) if carry else quality
        area += max(0, min(after, corner[0]) - cost) * (best - corner[1])
    return area


def wald(k, n):
    return tuple(k / n + sign * 1.96 * np.sqrt(k / n * (1 - k / n) / n) for sign in (-1, 1))


WRONG = [
    (check.majority_accuracy, lambda train, test: np.mean(test == np.bincount(test).argmax())),
    (check.majority_accuracy, lambda train, test: np.mean(train == np.bincount(train).argmax())),
    (check.wilson_interval, wald),
    (check.eight_bits, lambda images: (255 * np.clip(images, 0, 1)).astype(np.uint8) / 255),
    (check.eight_bits, lambda images: np.rint(255 * images) / 255),
    (check.eight_bits, lambda images: np.rint(255 * np.clip(images, 0, 1))),
    (check.targeted_step, lambda images, gradient, epsilon: images + epsilon * np.sign(gradient)),
    (check.targeted_step, lambda images, gradient, epsilon: images - epsilon * gradient),
    (check.projection, lambda moved, image, e: np.clip(moved, image - e, image + e)),
    (check.projection, lambda moved, image, e: np.clip(image + e * np.sign(moved - image), 0, 1)),
    (check.mcnemar, lambda a, b: binomtest(a, a + b, alternative="greater").pvalue),
    (check.mcnemar, lambda a, b: chi2.sf((a - b) ** 2 / (a + b), 1)),
    (check.softened, lambda scores, t: softmax(scores, axis=1) / t),
    (check.softened, lambda scores, t: np.exp(scores / t) / np.exp(scores / t).sum(axis=1, keepdims=True)),
    (check.distillation_gradient, lambda z, v, t: softmax(z / t, axis=1) - softmax(v / t, axis=1)),
    (check.distillation_gradient, lambda z, v, t: t * (softmax(v / t, axis=1) - softmax(z / t, axis=1))),
    (check.smallest_step, lambda x, w, b: -(w @ x + b) / np.linalg.norm(w) * w),
    (check.smallest_step, lambda x, w, b: -np.sign(w) * abs(w @ x + b) / abs(w).sum()),
    (check.worst_of, lambda right: right.mean(axis=1).min()),
    (check.worst_of, lambda right: right.any(axis=0).mean()),
    (check.pooled_statistics, lambda m, v, n: (m @ n / n.sum(), v @ n / n.sum())),
    (check.pooled_statistics, lambda m, v, n: (m.mean(), v.mean() + m.var())),
    (check.clipped_update, lambda s, w, c: s + (w - s) * c / np.linalg.norm(w - s)),
    (check.clipped_update, lambda s, w, c: w * (c / max(c, np.linalg.norm(w)))),
    (check.one_hot_counts, lambda m: (m[1, 1], m[0, 1], m[1, 0], m[0, 0])),
    (check.one_hot_counts, lambda m: (m.trace(), *2 * [m.sum() - m.trace()], m.trace())),
    (check.images_needed, lambda p, q: 1.96**2 * (p * (1 - p) + q * (1 - q)) / (p - q) ** 2),
    (check.images_needed, lambda p, q: 2 * (1.96 + 0.8416) ** 2 * (p * (1 - p) + q * (1 - q)) / (p - q) ** 2),
    (check.clipped_rows, lambda rows, c: rows * min(1, c / np.linalg.norm(rows))),
    (check.clipped_rows, lambda rows, c: c * rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)),
    (check.clipped_rows, lambda rows, c: np.clip(rows, -c, c)),
    (check.noise_on_the_mean, lambda sizes, c, z: z * c / len(sizes)),
    (check.noise_on_the_mean, lambda sizes, c, z: z * c * min(sizes) / sum(sizes)),
    (check.noise_on_the_mean, lambda sizes, c, z: z * c),
    (check.separable_cost, lambda k, before, after: 1 / after),
    (check.separable_cost, lambda k, before, after: 1 / before + 1 / k**2),
    (check.hypervolume, lambda points, corner: staircase(points, corner, carry=False)),
    (check.hypervolume, lambda points, corner: staircase(points, (corner[0], 0.0), carry=True)),
    (check.hypervolume, lambda points, corner: max((corner[0] - c) * (q - corner[1]) for c, q in points)),
    (check.images_for_an_update, lambda loss, apart: 1.645**2 * apart / loss**2),
    (check.images_for_an_update, lambda loss, apart: 1.96**2 * (apart - loss**2) / loss**2),
    (check.traffic, lambda n, hospitals, rounds, bits: n * hospitals * rounds * bits / 8),
    (check.traffic, lambda n, hospitals, rounds, bits: 2 * n * hospitals * rounds * bits),
]


def raises(*_):
    raise NotImplementedError("write me")


@pytest.mark.parametrize("strict", ["0", "1"])
@pytest.mark.parametrize("judge", RIGHT, ids=lambda judge: judge.__name__)
def test_check_accepts_the_right_answer(judge, strict, monkeypatch, capsys):
    monkeypatch.setenv("MEDTK_STRICT_CHECKS", strict)
    judge(RIGHT[judge])
    assert capsys.readouterr().out == "Right.\n"


@pytest.mark.parametrize(
    ("judge", "answer"), [*WRONG, *((judge, lambda *_: None) for judge in RIGHT), *((judge, raises) for judge in RIGHT)]
)
def test_check_refuses_a_wrong_answer_with_a_hint(judge, answer, monkeypatch, capsys):
    monkeypatch.delenv("MEDTK_STRICT_CHECKS", raising=False)
    judge(answer)
    said = capsys.readouterr().out
    assert said.startswith("Not yet: ") and len(said) > 40
    assert answer is not raises or "your answer raised NotImplementedError: write me" in said
    monkeypatch.setenv("MEDTK_STRICT_CHECKS", "1")
    with pytest.raises(AssertionError, match="Not yet"):
        judge(answer)


def test_every_check_is_tested():
    public = {f for f in vars(check).values() if getattr(f, "__module__", "") == check.__name__}
    assert public == {check.verdict, *RIGHT}


FIGURES = {
    "gallery": lambda d: plots.gallery(d.test.images[:7], [str(i) for i in range(7)], columns=3, dataset=d),
    "class_counts": lambda d: plots.class_counts(d),
    "accuracy_curves": lambda d: plots.accuracy_curves(
        [0, 0.1], {"a": [(0.9, 0.8, 1.0), (0.4, float("nan"), float("nan"))]}, floor=0.5, dataset=d
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_say_when_the_data_are_synthetic(name):
    real = SimpleNamespace(is_synthetic=False)
    synthetic = small_networks.dataset()
    for key in ("test", "train", "n_classes", "class_names"):
        setattr(real, key, getattr(synthetic, key))
    stamped, plain = FIGURES[name](synthetic), FIGURES[name](real)
    assert isinstance(stamped, plt.Figure)
    assert any("SYNTHETIC" in text.get_text() for text in stamped.texts)
    assert not any("SYNTHETIC" in text.get_text() for text in plain.texts)
    for figure in (stamped, plain):
        figure.canvas.draw()
        plt.close(figure)


def test_tables_of_a_run_show_whole_sentences_and_tensorflow_is_quiet(capsys):
    logging.getLogger("tensorflow").setLevel("INFO")
    pd.set_option("display.max_colwidth", 50)
    lab.start("11")
    assert "x" * 99 in pd.DataFrame({"why": ["x" * 99]}).to_html()
    assert not logging.getLogger("tensorflow").isEnabledFor(logging.WARNING)


def test_palette_and_markers_tell_curves_apart_without_colour():
    assert len(set(plots.PALETTE)) == len(plots.PALETTE) == len(set(plots.MARKERS))


def of_card(name):
    return SimpleNamespace(name=name, card=data.CATALOG[name])


def test_cells_are_those_of_the_paper():
    paper, answered = papers.load("robust_transfer"), set()
    datasets = {cell.needs["dataset"] for cell in paper.cells}
    for dataset in datasets:
        for network in transfer.TITLES:
            for named in transfer.cells(of_card(dataset), network):
                cell = paper.cell(named["table"], named["row"], named["column"])
                assert (cell.needs["dataset"], cell.needs["network"]) == (dataset, network)
                assert transfer.condition(cell.needs["epsilon"]) == named["predictions"]
                assert cell.needs["defense"] == "none"
                answered.add(cell.key)
    # No baseline cell of the three tables is forgotten.
    assert answered == {cell.key for cell in paper.cells if cell.needs["defense"] == "none"}


def test_under_attack_is_fgsm_then_predict():
    model, split = small_networks.settled(), small_networks.dataset().test
    found = transfer.under_attack(model, split, (0.01, 0.1))
    assert list(found) == ["clean", "epsilon=0.01", "epsilon=0.1"]
    attacked = attacks.fgsm(model, split.images, split.labels, 0.1, clip=False)
    np.testing.assert_array_equal(found["epsilon=0.1"], model.predict(attacked, batch_size=256, verbose=0))


def one_norm(nested):
    keras.utils.set_random_seed(0)
    images = keras.Input((4, 4, 3), name="image")
    norm = layers.BatchNormalization(momentum=0.99, name="norm")
    normalised = keras.Model(images, norm(images))(images) if nested else norm(images)
    scores = layers.Dense(2, name="logits")(layers.Flatten()(normalised))
    return keras.Model(images, layers.Softmax()(scores)), norm


@pytest.mark.parametrize("nested", [False, True])
def test_refreshed_statistics_are_mean_and_variance(nested):
    model, norm = one_norm(nested)
    images = small_networks.images_and_labels(24, shape=(4, 4, 3))[0] * 3 + 5
    rest = [v.numpy() for v in model.trainable_variables]
    transfer.statistics_refreshed(model, images)
    np.testing.assert_allclose(norm.moving_mean.numpy(), images.mean(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(norm.moving_variance.numpy(), images.var(axis=(0, 1, 2)), rtol=1e-4)
    assert norm.momentum == 0.99
    for old, new in zip(rest, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def test_refreshed_statistics_in_batches_are_the_batches_average():
    model, norm = one_norm(False)
    images, _ = small_networks.images_and_labels(24, shape=(4, 4, 3))
    transfer.statistics_refreshed(model, images, batch_size=8)
    batches = images.reshape(3, -1, 3)
    np.testing.assert_allclose(norm.moving_mean.numpy(), images.mean(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(norm.moving_variance.numpy(), batches.var(axis=1).mean(axis=0), rtol=1e-4)


def test_a_short_last_batch_counts_by_its_images():
    model, norm = one_norm(False)
    images, _ = small_networks.images_and_labels(25, shape=(4, 4, 3))
    images[-1] += 40
    transfer.statistics_refreshed(model, images, batch_size=8)
    np.testing.assert_allclose(norm.moving_mean.numpy(), images.mean(axis=(0, 1, 2)), rtol=1e-5)


@pytest.fixture
def homes(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path / "results"))
    monkeypatch.delenv("MEDTK_DATA", raising=False)
    monkeypatch.setenv("MEDTK_OFFLINE", "1")


def record(run, dataset):
    labels = dataset.test.labels
    return run.record(
        dataset,
        "resnet50",
        weights="random",
        experiment="transfer",
        paper="robust_transfer",
        name="tried",
        cells=[],
        parameters={},
        predictions={"clean": np.eye(3)[labels]},
        seconds=1.0,
    )


@pytest.mark.parametrize("profile", ["quick", "reader", None, "scaled", "paper"])
def test_only_recorded_profiles_write_to_the_ledger(homes, profile, monkeypatch, capsys):
    if profile:
        monkeypatch.setenv("MEDTK_PROFILE", profile)
    else:
        monkeypatch.delenv("MEDTK_PROFILE", raising=False)
    run = lab.start("11", seed=3)
    written = record(run, small_networks.dataset())
    assert (written["profile"], written["seed"]) == (profile or "reader", 3)
    assert written["weights"]["source"] == "random"
    assert any("random starting weights" in said for said in written["deviations"])
    assert any("synthetic" in said for said in written["deviations"])
    cached, ledger = cache_home() / "records", results_home()
    home, other = (ledger, cached) if profile in ("scaled", "paper") else (cached, ledger)
    assert [r["id"] for r in records.read_all(home)] == [written["id"]] == run.written
    assert records.verify(home) == []
    assert not other.exists()
    run.finish()
    assert "Records written: 1" in capsys.readouterr().out


def test_start_sets_the_seeds(homes):
    drawn = []
    for _ in range(2):
        lab.start("11", seed=5)
        drawn.append((np.random.random(), float(keras.random.uniform((1,))[0])))
    assert drawn[0] == drawn[1]


@pytest.mark.filterwarnings("ignore:breastmnist could not be had")
def test_load_says_synthetic_and_takes_a_part(homes, capsys):
    run = lab.start("11", seed=1)
    dataset = run.load("breastmnist", n_train=30, n_test=20)
    assert (len(dataset.train), len(dataset.test)) == (30, 20)
    assert dataset.image_shape == (32, 32, 3) and run.sources == {"breastmnist": "synthetic"}
    run.finish()
    said = capsys.readouterr().out
    assert "SYNTHETIC DATA" in said and "breastmnist: synthetic" in said


def test_a_record_of_unusual_settings_has_its_own_name():
    usual = training.Spec("mobilenetv2", seed=1)
    assert transfer.record_name("breastmnist", usual) == "breastmnist-mobilenetv2-all-unit-s1"
    unusual = dataclasses.replace(usual, epochs=3, learning_rate=1e-4)
    assert (
        transfer.record_name("breastmnist", unusual)
        == "breastmnist-mobilenetv2-all-unit-epochs3-learning-rate0.0001-s1"
    )
