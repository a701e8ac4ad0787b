"""Distillation: what it minimises, whom it asks, and that it goes on after an interruption."""

import dataclasses
import shutil

import keras
import numpy as np
import pytest
import small_networks
from scipy.special import softmax

from medtk import models, training
from medtk.data import Split
from medtk.defenses import distillation, students
from medtk.defenses.distillation import Spec, distil
from medtk.errors import BadParameter, UnknownName
from medtk.models.gradients import scores
from medtk.settings import cache_home
from medtk.training import fitting

TEACHER = training.Spec("mobilenetv2", weights="random", epochs=2, batch_size=8)


@pytest.fixture(scope="module")
def dataset():
    return small_networks.dataset(40)


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    """Folder with the cache entry of the teacher."""
    with pytest.MonkeyPatch.context() as patch:
        return small_networks.trained_cache(TEACHER, dataset, tmp_path_factory.mktemp("trained"), patch)


@pytest.fixture(autouse=True)
def small(monkeypatch, trained):
    """Small networks, and a cache in which that one is trained already."""
    monkeypatch.setattr(fitting.models, "build", small_networks.built_for_fit)
    shutil.copytree(trained, cache_home())


def run(spec, dataset):
    return distillation.fit_or_load(spec, dataset, progress=False)


def student(seed=0):
    return students.build("tiny", 3, input_shape=small_networks.SHAPE, seed=seed)


def assert_same(one, other):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_papers_own_is_keras_divergence_on_the_teachers_probabilities(dataset):
    """Defaults of the spec = a student compiled with Keras' loss and fitted to the teacher's probabilities."""
    teacher = training.fit_or_load(TEACHER, dataset, progress=False).model
    answers = teacher.predict(dataset.train.images, verbose=0)
    by_hand = student(seed=5)
    by_hand.compile(keras.optimizers.Adam(1e-3), loss="kl_divergence")
    for epoch in range(2):
        order = training.epoch_order(40, 5, epoch)
        by_hand.fit(dataset.train.images[order], answers[order], batch_size=32, shuffle=False, verbose=0)
    fit = run(Spec(TEACHER, "tiny", epochs=2, seed=5), dataset)
    for a, b in zip(fit.model.get_weights(), by_hand.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4)
    assert not np.allclose(fit.model.get_weights()[0], student(seed=5).get_weights()[0], atol=2e-3)


def test_alpha_zero_is_ordinary_training(dataset):
    by_hand = student()
    by_hand.compile(keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy")
    order = training.epoch_order(40, 0, 0)
    by_hand.fit(dataset.train.images[order], dataset.train.labels[order], batch_size=32, shuffle=False, verbose=0)
    fit = distil(student(), lambda: np.zeros((40, 3)), dataset.train, tag="x", alpha=0.0, epochs=1, progress=False)
    for a, b in zip(fit.model.get_weights(), by_hand.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_student_comes_to_answer_as_its_teacher(dataset):
    train = dataset.train.take(np.arange(640) % 40)
    images = train.images
    wanted = np.stack([10 * images[..., 0].mean((1, 2)), np.full(640, 5.0), np.zeros(640)], axis=1)
    fit = distil(student(), lambda: wanted, train, tag="x", epochs=5, learning_rate=0.02, progress=False)
    said, asked = fit.model.predict(images, verbose=0), softmax(wanted, axis=1)
    assert np.abs(said - asked).mean() < 0.05 < np.abs(asked - asked.mean(axis=0)).mean()
    assert fit.history[-1]["loss"] < 0.1 * fit.history[0]["loss"]
    # Accuracy in the history is against the true labels, which this teacher does not know.
    assert abs(fit.history[-1]["accuracy"] - np.mean(said.argmax(1) == train.labels)) < 0.2


def test_a_teacher_at_temperature_one_swells_the_scores_of_a_hot_student(dataset):
    """Defensive distillation: same probabilities at T, so scores T times as large, and gradients that vanish."""
    train = dataset.train.take(np.arange(640) % 40)
    wanted = 3 * np.eye(3)[train.labels]
    common = {"tag": "x", "temperature": 10.0, "epochs": 5, "learning_rate": 0.02, "progress": False}
    sizes = {}
    for name, alone in (("both", None), ("student alone", 1.0)):
        fit = distil(student(), lambda: wanted, train, teacher_temperature=alone, **common)
        sizes[name] = np.ptp(scores(fit.model, dataset.train.images), axis=1).mean()
    assert sizes["student alone"] > 4 * sizes["both"]


def test_interrupted_equals_whole_and_the_teacher_is_asked_once_and_only_if_needed(dataset, monkeypatch, trained):
    spec = Spec(TEACHER, "tiny", temperature=4.0, alpha=0.5, epochs=3)
    asked, teacher = [], distillation.teacher

    def counted(*given, **named):
        asked.append(1)
        return teacher(*given, **named)

    monkeypatch.setattr(distillation, "teacher", counted)
    whole = run(spec, dataset)
    assert len(asked) == 1 and not whole.from_cache
    again = run(spec, dataset)
    assert len(asked) == 1 and again.from_cache and again.history == whole.history
    assert_same(whole.model, again.model)

    shutil.rmtree(cache_home())
    shutil.copytree(trained, cache_home())
    save, saved = training.loop.checkpoints.save, []

    def interrupted(*given):
        if saved:  # the second epoch is trained but not stored
            raise KeyboardInterrupt
        saved.append(given)
        save(*given)

    monkeypatch.setattr(training.loop.checkpoints, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(spec, dataset)
    monkeypatch.setattr(training.loop.checkpoints, "save", save)
    resumed = run(spec, dataset)
    assert_same(whole.model, resumed.model)
    assert [e["loss"] for e in resumed.history] == [e["loss"] for e in whole.history]
    assert len(models.logits(resumed.model).get_weights()) == len(whole.model.get_weights())


def test_a_teacher_with_refreshed_statistics_answers_otherwise(dataset):
    as_it_stands = distillation.teacher(Spec(TEACHER), dataset, progress=False)
    refreshed = distillation.teacher(Spec(TEACHER, teacher_statistics="refreshed"), dataset, progress=False)
    images = dataset.train.images
    assert np.abs(scores(as_it_stands, images) - scores(refreshed, images)).max() > 1e-3
    training.statistics_refreshed(as_it_stands, images)
    np.testing.assert_array_equal(scores(as_it_stands, images), scores(refreshed, images))


def test_key_changes_with_every_field(dataset, monkeypatch):
    names = []

    def named(model, name, *_, **__):
        names.append(name)
        return training.Fit(model, [], 0.0, True)

    monkeypatch.setattr(training, "train_or_load", named)
    spec = Spec(TEACHER, "tiny")
    others = {
        "teacher": dataclasses.replace(TEACHER, seed=1),
        "student": "small",
        "temperature": 2.0,
        "alpha": 0.9,
        "teacher_temperature": 2.0,
        "teacher_statistics": "refreshed",
        "epochs": 4,
        "batch_size": 16,
        "learning_rate": 2e-3,
        "seed": 1,
    }
    assert set(others) == {field.name for field in dataclasses.fields(Spec)}
    for change in [{}, {}, *({name: value} for name, value in others.items())]:
        run(dataclasses.replace(spec, **change), dataset)
    darker = dataclasses.replace(dataset, train=Split(dataset.train.images * 0.5, dataset.train.labels))
    run(spec, darker)
    assert names[0] == names[1] and len(set(names)) == len(others) + 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0.0},
        {"temperature": float("inf")},
        {"teacher_temperature": -1.0},
        {"alpha": 1.1},
        {"alpha": float("nan")},
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
    ],
    ids=str,
)
def test_what_makes_no_sense(wrong, dataset):
    with pytest.raises(BadParameter, match=next(iter(wrong))):
        Spec(TEACHER, **wrong)
    with pytest.raises(BadParameter, match=next(iter(wrong))):
        distil(student(), lambda: np.zeros((40, 3)), dataset.train, tag="x", **wrong)


@pytest.mark.parametrize("answers", [np.zeros((39, 3)), np.zeros((40, 2)), np.full((40, 3), -np.inf)])
def test_answers_of_another_shape_or_none(answers, dataset):
    with pytest.raises(BadParameter, match="finite scores of 40 images and 3 classes"):
        distil(student(), lambda: answers, dataset.train, tag="x", progress=False)


def test_statistics_that_do_not_exist():
    with pytest.raises(UnknownName, match="moving"):
        Spec(TEACHER, teacher_statistics="movin")
