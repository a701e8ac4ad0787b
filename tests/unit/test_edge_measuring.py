"""The measuring function: its numbers are those of other rooms and of scikit-learn."""

import numpy as np
import pytest
import small_networks
from scipy import stats
from sklearn import metrics as sk

from medtk import edge
from medtk.edge import measuring
from medtk.reproduction import records


def answers(n=200, k=3, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, k, n)
    probabilities = random.dirichlet(np.ones(k), n)
    probabilities[np.arange(n), labels] += 0.5
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)


def test_quality_is_scikit_learns():
    labels, p = answers()
    found, said = measuring.quality(labels, p, repeats=50), p.argmax(1)
    expected = {
        "accuracy": sk.accuracy_score(labels, said),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, said),
        "precision": sk.precision_score(labels, said, average="macro"),
        "recall": sk.recall_score(labels, said, average="macro"),
        "f1": sk.f1_score(labels, said, average="macro"),
        "auc": sk.roc_auc_score(labels, p, multi_class="ovr"),
    }
    assert {name: value for name, (value, _, _) in found.items()} == pytest.approx(expected)
    assert all(low <= value <= high and high - low < 0.25 for value, low, high in found.values())


def test_a_class_that_is_never_named_counts_as_nought():
    found = measuring.scores(np.array([0, 0, 1]), np.array([[0.9, 0.1]] * 3))
    assert found["precision"] == pytest.approx(1 / 3) and found["f1"] == pytest.approx(0.4)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    model = small_networks.settled(3, seed=1)
    images, labels = small_networks.images_and_labels(30, seed=2)
    file = edge.export(model, tmp_path_factory.mktemp("m") / "float32.tflite")
    changed = edge.conditions(model, images, labels, epsilon=0.05, noise=0.2, blur=0.7, quality=40, seed=3)
    stored = file.with_name("whole.keras")
    model.save(stored)
    # A network that names the classes in turn, so that the paired test has something to count.
    other = np.eye(3)[np.arange(30) % 3]
    found = edge.measure(
        edge.variant("v", file, model), images, labels, float_probabilities=other, conditions=changed, threads=(1,),
        repeats=2, runs=3,
    )  # fmt: skip
    return model, images, labels, changed, other, found, stored


def test_sizes_and_counts(measured):
    model, *_, found, _ = measured
    content = found.variant.file.read_bytes()
    assert (found.bytes, found.shipped_bytes) == (len(content), len(content))
    assert 0 < found.deflated_bytes < found.bytes
    assert (found.variant.parameters, found.variant.macs) == (model.count_params(), edge.macs(model))


def test_the_paired_test_is_the_binomial_one(measured):
    model, images, labels, _, other, found, _ = measured
    right = model.predict(images, verbose=0).argmax(1) == labels
    right_other = other.argmax(1) == labels
    only = int(np.sum(right_other & ~right)), int(np.sum(right & ~right_other))
    assert found.against_float[:2] == only and sum(only) > 0
    assert found.against_float.p == pytest.approx(stats.binomtest(only[0], sum(only)).pvalue)
    tail = min(1.0, 2 * stats.binom.cdf(min(only), sum(only), 0.5))  # as statsmodels computes it
    assert found.against_float.p == pytest.approx(tail)


def test_worse_images_are_worse_and_in_range(measured):
    _, images, labels, changed, _, found, _ = measured
    assert list(changed) == ["noise", "blur", "jpeg", "fgsm"]
    for name, other in changed.items():
        assert other.shape == images.shape and other.dtype == np.float32
        assert other.min() >= 0 and other.max() <= 1 and np.abs(other - images).max() > 0
        assert found.predictions[name].shape == (30, 3)
    assert np.abs(changed["fgsm"] - images).max() <= 0.05 + 1e-6
    np.testing.assert_allclose(changed["blur"].mean(axis=(1, 2)), images.mean(axis=(1, 2)), atol=0.02)
    again = edge.conditions(measured[0], images, labels, epsilon=0.05, noise=0.2, blur=0.7, quality=40, seed=3)
    assert all(np.array_equal(again[name], changed[name]) for name in changed)


def test_measurements_make_a_record_that_verifies(measured, tmp_path):
    model, _, labels, *_, found, _ = measured
    record = records.write(
        tmp_path, experiment="edge", paper="lightweight", name="x-s0", cells=[], parameters={}, seed=0,
        profile="quick", data={"name": "small", "source": "synthetic"}, weights={"source": "random"}, labels=labels,
        predictions=found.predictions, seconds=1.0, deviations=[], measurements=found.measurements(),
    )  # fmt: skip
    assert records.verify(tmp_path) == []
    assert record["metrics"]["size"]["macs"] == edge.macs(model)
    assert record["metrics"]["best-threads=1"]["median_ms"] == pytest.approx(min(found.alone[1]["median_ms"]), rel=1e-6)


def test_a_network_of_keras_is_measured_alike(measured):
    model, images, labels, *_, stored = measured
    found = edge.measure(edge.variant("k", stored, model), images, labels, threads=(), repeats=1, runs=2)
    np.testing.assert_allclose(found.predictions["clean"], model.predict(images, verbose=0), atol=1e-6)
    assert found.alone == {} and found.bytes == stored.stat().st_size
