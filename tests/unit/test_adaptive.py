"""Networks whose gradients are masked, each in its own way, and networks whose gradients are not."""

from functools import partial

import keras
import numpy as np
import pytest
import small_networks
from keras import ops

from medtk import models
from medtk.data import Split
from medtk.defenses import adaptive, distillation, inputs, masking, students
from medtk.defenses.adaptive import evaluate_adaptively
from medtk.defenses.straight_through import straight_through
from medtk.errors import BadParameter
from medtk.models.gradients import loss_gradient, scores

EPSILON = 0.1
SETTINGS = {"steps": 10, "queries": 200, "random_draws": 30}


@pytest.fixture(scope="module")
def batch():
    return small_networks.images_and_labels(60, 2, (8, 8, 1), seed=1)


@pytest.fixture(scope="module")
def open_network():
    """A small network, trained as usual, of which nothing is hidden."""
    keras.utils.set_random_seed(0)
    model = students.build("tiny", 2, input_shape=(8, 8, 1))
    images, labels = small_networks.images_and_labels(320, 2, (8, 8, 1))
    model.compile(keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
    model.fit(images, labels, batch_size=16, epochs=6, verbose=0)
    return model


class Levels(keras.layers.Layer):
    """Rounds to a few grey levels: a staircase, flat wherever it has a gradient."""

    def call(self, images):
        return ops.round(images * 31) / 31


class Jagged(keras.layers.Layer):
    """Adds a fine wave: the gradient is steep and points to the next crest, not uphill."""

    def call(self, images):
        return images + 0.002 * ops.sin(images * 20_000.0)


def signs(report):
    return {check.name for check in report.checks if check.suspicious}


@pytest.fixture(scope="module")
def plain(open_network, batch):
    return evaluate_adaptively(open_network, *batch, EPSILON, **SETTINGS)


def test_an_open_network_shows_no_sign(plain):
    assert plain.accuracy["clean"] > 0.9 and plain.accuracy["pgd"] < 0.6
    assert signs(plain) == set(), plain
    assert plain.verdict.startswith("no sign of masking") and not plain.masked


def test_report_is_consistent(plain, open_network, batch):
    images, labels = batch
    clean = np.mean(open_network.predict(images, verbose=0).argmax(1) == labels)
    assert plain.accuracy["clean"] == clean and plain.n == 60
    others = [share for name, share in plain.accuracy.items() if name != "worst"]
    assert plain.accuracy["worst"] <= min(others) and clean == max(others)
    assert plain.accuracy["iterative"] == min(plain.step_sizes.values())
    np.testing.assert_allclose(list(plain.step_sizes), [0.005, 0.0125, 0.025, 0.05, 0.1])
    assert list(plain.epsilons) == [0.1, 0.2, 0.4, 0.8, 1.0] and plain.epsilons[0.1] == plain.accuracy["pgd"]
    assert plain.epsilons[1.0] == 0
    gradient = plain.gradient
    assert 0 < gradient["smallest_norm"] <= gradient["median_norm"] <= gradient["largest_norm"]


def test_surface_is_the_loss_that_keras_gives(plain, open_network, batch):
    images, labels = batch
    right = np.flatnonzero(open_network.predict(images, verbose=0).argmax(1) == labels)[:32]
    uphill = np.sign(loss_gradient(open_network, images[right], labels[right]))
    found = scores(open_network, images[right] + np.float32(EPSILON) * uphill)
    reference = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels[right], found)
    distances, loss = plain.surface["distances"], plain.surface["loss"]
    np.testing.assert_allclose(distances[[0, 4, 6]], [-2 * EPSILON, 0, EPSILON], atol=1e-7)
    np.testing.assert_allclose(loss[6, 4], float(reference), rtol=1e-4)
    assert np.all(np.diff(loss[:, 4]) > 0)  # uphill all along
    assert np.ptp(loss[4]) < np.ptp(loss[:, 4])


def test_an_open_network_with_normalisation_shows_no_sign(batch):
    """At a budget of 1 PGD walks badly on it: no sign, for every image falls at a smaller one."""
    model = small_networks.classifier(2, shape=(8, 8, 1), filters=(12, 24))
    images, labels = small_networks.images_and_labels(320, 2, (8, 8, 1))
    model.compile(keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
    model.fit(images, labels, batch_size=16, epochs=6, verbose=0)
    report = evaluate_adaptively(model, *batch, 2 * EPSILON, **SETTINGS)
    assert report.accuracy["worst"] < 0.3 and signs(report) == set(), report


def test_saturated_scores_are_called_masked(open_network, batch, plain):
    """The same decisions as the open network, so no more robust; cross-entropy has no gradient left."""
    masked = models.wrapped(open_network, factor=1e5)
    report = evaluate_adaptively(masked, *batch, EPSILON, **SETTINGS)
    assert report.accuracy["clean"] == plain.accuracy["clean"]
    assert report.accuracy["one_step"] > plain.accuracy["one_step"] + 0.2
    assert {"zero_gradients", "rescaled_scores_break_it"} <= signs(report)
    assert report.gradient["share_zero"] > 0.5
    assert report.verdict.startswith("gradients masked: zero gradients") and report.masked
    # What brings the gradient back makes the attack as strong as on the open network.
    assert abs(report.accuracy["rescaled"] - plain.accuracy["pgd"]) < 0.05


def test_a_quantised_input_is_called_masked(open_network, batch):
    """Here no rescaling helps: there is no gradient at all, and only attacks without one find anything."""
    report = evaluate_adaptively(models.wrapped(open_network, before=Levels()), *batch, EPSILON, **SETTINGS)
    assert report.gradient["share_zero"] == 1
    assert {"zero_gradients", "black_box_beats_white_box", "gradient_no_better_than_random"} <= signs(report)
    assert "rescaled_scores_break_it" not in signs(report)
    assert report.accuracy["square"] < report.accuracy["pgd"] - 0.1 and report.masked


@pytest.mark.parametrize("before", [inputs.jpeg, partial(inputs.reduce_bits, bits=3)])
def test_attacks_go_through_a_change_of_the_images(open_network, batch, before):
    images, labels = batch
    defended = straight_through(open_network, before)
    np.testing.assert_allclose(scores(defended, images), scores(open_network, before(images)), rtol=1e-4, atol=1e-5)
    expected = loss_gradient(open_network, before(images), labels)
    np.testing.assert_allclose(loss_gradient(defended, images, labels), expected, rtol=1e-3, atol=1e-6)
    report = evaluate_adaptively(defended, images, labels, EPSILON, surrogate=open_network, **SETTINGS)
    assert "zero_gradients" not in signs(report)
    assert report.accuracy["pgd"] <= report.accuracy["transfer"] < report.accuracy["clean"] - 0.2


def test_a_jagged_input_is_called_masked(open_network, batch):
    """Its gradients are large, so counting zeros would not do."""
    report = evaluate_adaptively(models.wrapped(open_network, before=Jagged()), *batch, EPSILON, **SETTINGS)
    assert "zero_gradients" not in signs(report) and report.gradient["share_tiny"] == 0
    assert "black_box_beats_white_box" in signs(report) and report.masked


def test_defensive_distillation_at_100_is_called_masked(open_network, batch):
    """Papernot et al.'s defence as Carlini and Wagner found it, with the open network's sure answers as teacher."""
    images, labels = small_networks.images_and_labels(640, 2, (8, 8, 1), seed=2)
    student = students.build("tiny", 2, input_shape=(8, 8, 1), seed=1)
    answers = 3 * scores(open_network, images)
    settings = {"temperature": 100.0, "teacher_temperature": 1.0, "epochs": 6, "batch_size": 16, "progress": False}
    distillation.distil(student, lambda: answers, Split(images, labels), tag="x", learning_rate=0.05, **settings)
    report = evaluate_adaptively(student, *batch, EPSILON, surrogate=open_network, **SETTINGS)
    assert report.accuracy["clean"] > 0.85
    assert "zero_gradients" in signs(report) and report.masked
    assert report.accuracy["transfer"] < report.accuracy["one_step"] - 0.1


def test_a_network_with_one_answer_is_not_called_robust(open_network, batch):
    constant = models.wrapped(open_network, before=keras.layers.Rescaling(0.0))
    report = evaluate_adaptively(constant, *batch, EPSILON, **SETTINGS)
    assert report.verdict == "nothing to attack: the network answers one class, whatever it is shown."
    assert not report.masked and report.accuracy["worst"] == report.accuracy["clean"] > 0.3


def test_a_network_that_is_always_wrong(open_network, batch):
    images, _ = batch
    wrong = 1 - scores(open_network, images).argmax(1)
    report = evaluate_adaptively(open_network, images, wrong, EPSILON, **SETTINGS)
    assert report.accuracy["clean"] == 0 and report.verdict.startswith("nothing to attack: the network is wrong")


def test_rescaled_keeps_decisions_and_sets_the_gap(open_network, batch):
    images, _ = batch
    found = scores(adaptive.rescaled(models.wrapped(open_network, factor=1e5), images), images)
    np.testing.assert_array_equal(found.argmax(1), scores(open_network, images).argmax(1))
    np.testing.assert_allclose(np.median(np.abs(found[:, 1] - found[:, 0])), 1, rtol=1e-3)


def first(share, n=1000):
    """The first images of n are still right."""
    return np.arange(n) < round(share * n)


def found(n=1000, **changes):
    """What `signs` takes, of a network without a sign; the images that withstand the stronger attack come first."""
    right = {"one_step": 0.4, "iterative": 0.3, "square": 0.35, "rescaled": 0.3, "clean": 0.9, "random": 0.5}
    right |= {name: changes.pop(name) for name in (*right, "transfer") if name in changes}
    usual = {
        "by_gradient": 0.3,
        "unbounded": 0.0,
        "epsilons": {0.1: 0.3, 0.2: 0.1, 1.0: 0.0},
        "tolerance": 0.02,
        "gradient": {"share_zero": 0.0},
        "surface": {"images": 32, "loss": np.add.outer(np.arange(9.0), np.zeros(9))},
    } | changes
    return {
        "withstood": {name: first(share, n) for name, share in right.items()},
        "by_budget": {budget: first(share, n) for budget, share in usual.pop("epsilons").items()},
    } | {name: first(value, n) if name in ("by_gradient", "unbounded") else value for name, value in usual.items()}


SIGNS = [
    ({"gradient": {"share_zero": 0.03}}, "zero_gradients"),
    ({"surface": {"images": 5, "loss": np.zeros((9, 9))}}, "gradient_no_better_than_random"),
    ({"one_step": 0.27}, "one_step_beats_iterative"),
    ({"square": 0.27}, "black_box_beats_white_box"),
    ({"transfer": 0.27}, "black_box_beats_white_box"),
    ({"unbounded": 0.03}, "unbounded_attack_fails"),
    ({"random": 0.27}, "random_search_finds_more"),
    ({"epsilons": {0.1: 0.1, 0.2: 0.15, 0.4: 0.0, 1.0: 0.0}}, "bigger_epsilon_does_not_help"),
    ({"epsilons": {0.1: 0.3, 0.2: 0.3, 1.0: 0.29}}, "bigger_epsilon_does_not_help"),
    ({"rescaled": 0.27}, "rescaled_scores_break_it"),
]


def seen_in(**changes):
    return [check.name for check in masking.signs(**found(**changes)) if check.suspicious]


@pytest.mark.parametrize(("changes", "name"), SIGNS)
def test_each_check_has_its_own_threshold(changes, name):
    assert seen_in() == []
    assert seen_in(**changes) == [name]
    if name != "gradient_no_better_than_random" and changes.get("epsilons", {}).get(1.0) != 0.29:
        assert seen_in(tolerance=0.06, **changes) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"epsilons": {0.1: 0.0, 0.2: 0.0, 1.0: 0.15}},  # weak from anywhere in the box, but every image fell before
        {"surface": {"images": 4, "loss": np.zeros((9, 9))}},
    ],
)
def test_what_is_no_sign(changes):
    assert seen_in(**changes) == []


@pytest.mark.parametrize(("changes", "name"), SIGNS)
def test_a_few_images_are_no_sign(changes, name):
    """The same shares of 60 images: two images more or less, of which chance is explanation enough."""
    if name != "gradient_no_better_than_random" and changes.get("epsilons", {}).get(1.0) != 0.29:
        assert seen_in(n=60, **changes) == []


def test_attacks_are_compared_image_by_image():
    weaker = first(0.5, 100)
    assert masking.beats(first(0.4, 100), weaker, 0.02)  # ten images, all in one direction
    # As large a difference, but 40 images go one way and 30 the other.
    other = np.concatenate([np.zeros(40, bool), np.ones(10, bool), np.ones(30, bool), np.zeros(20, bool)])
    assert weaker.sum() - other.sum() == 10
    assert not masking.beats(other, weaker, 0.02)


def test_too_few_images_are_not_called_open(open_network, batch):
    images, labels = batch
    report = evaluate_adaptively(open_network, images[:4], labels[:4], EPSILON, **SETTINGS)
    assert report.verdict.startswith("too few images to tell") and not report.masked


def test_repeats(plain, open_network, batch):
    again = evaluate_adaptively(open_network, *batch, EPSILON, **SETTINGS)
    assert again.accuracy == plain.accuracy and again.checks == plain.checks


@pytest.mark.parametrize(
    "wrong",
    [{"epsilon": 0.0}, {"epsilon": 1.0}, {"epsilon": 0.1, "tolerance": -1.0}, {"epsilon": 0.1, "surface_images": 0}],
)
def test_what_makes_no_sense(wrong, open_network, batch):
    with pytest.raises(BadParameter, match=r"epsilon|surface_images"):
        evaluate_adaptively(open_network, *batch, **wrong)
