"""Chapter 14's tables: gradients that vanish in one loss and not in another, and students of the ledger."""

import keras
import ledger
import numpy as np
import pytest
import small_networks
from keras import layers

from medtk import attacks
from medtk.data import Split
from medtk.lab import distilled_tables
from medtk.models.gradients import cross_entropy, scores


def linear(gap):
    """Two classes whose scores differ by `gap` times the mean of the pixels less one half.

    Both scores move: in 32 bits the gradient by the winner's score is rounded away before that by the loser's.
    """
    images = keras.Input((2, 2, 1))
    scores = layers.Dense(2, name="logits")(layers.Flatten()(images))
    model = keras.Model(images, layers.Softmax()(scores))
    signs = np.array([-1, 1], np.float32)
    model.get_layer("logits").set_weights([np.tile(signs * gap / 8, (4, 1)), -signs * gap / 4])
    return model


@pytest.fixture
def split():
    """Both classes, 0.25 from the boundary."""
    images = np.full((2, 2, 2, 1), [[[0.25]], [[0.25]]], np.float32)
    images[1] = 0.75
    return Split(images, np.array([0, 1]))


@pytest.mark.parametrize(
    ("gap", "zero"),
    [
        (20.0, ["0.0%", "0.0%", "0.0%"]),  # scores 5 apart: nothing is flat
        (80.0, ["100.0%", "0.0%", "0.0%"]),  # 20 apart: the probability is within 1e-7 of 1
        (800.0, ["100.0%", "100.0%", "0.0%"]),  # 200 apart: exp(-200) is zero in 32 bits
    ],
)
def test_confidence_hides_gradients_of_one_loss_after_the_other(split, gap, zero):
    near, far = (distilled_tables.gradients({"linear": linear(gap)}, split, epsilon) for epsilon in (0.2, 0.3))
    assert list(far["exactly zero"]) == zero
    assert far["median L1 norm"].iloc[2] == f"{gap:.0f}"
    # Where there is a gradient, a change of 0.3 crosses a boundary that is 0.25 away, and one of 0.2 does not.
    for short, long, none in zip(near["10 steps, ε = 0.2"], far["10 steps, ε = 0.3"], zero, strict=True):
        assert short.startswith("100.0%")
        assert long.startswith("100.0%" if none == "100.0%" else "0.0%")


def test_an_ascent_is_never_weaker_than_one_step_of_its_size_and_keeps_to_epsilon():
    model, split = small_networks.settled(), small_networks.dataset(40).test
    many = distilled_tables.ascent(model, split, 0.05, cross_entropy)
    assert np.abs(many - split.images).max() <= 0.05 + 1e-6
    right = [np.mean(scores(model, images).argmax(axis=1) == split.labels)
             for images in (split.images, attacks.fgsm(model, split.images, split.labels, 0.05), many)]  # fmt: skip
    assert right[0] > right[2] and right[1] >= right[2]
    one = distilled_tables.ascent(model, split, 0.2, cross_entropy, steps=1)
    np.testing.assert_allclose(one, attacks.fgsm(model, split.images, split.labels, 0.05), atol=1e-6)


def student(home, name, seed=0, right=131, **changed):
    settings = {"dataset": "breastmnist", "network": "mobilenetv2", "student": "small", "student_temperature": 1.0}
    settings |= {"student_teacher_temperature": None, "student_teacher_statistics": "moving", "student_epochs": 5}
    extra = {"teacher": 120, "epsilon=0.003": right - 30, "transfer-epsilon=0.003": right - 6}
    ledger.write(home, right, name=name, seed=seed, experiment="distillation", cells=[], extra=extra,
                 parameters=settings | {"student_alpha": 1.0} | changed)  # fmt: skip


def test_students_are_means_over_seeds_beside_the_constant_predictor(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path))
    assert len(distilled_tables.students("robust_transfer", 0.003)) == 0
    student(tmp_path, "a", right=120)
    student(tmp_path, "b", seed=1, right=132)
    student(tmp_path, "c", student_temperature=20.0, student_teacher_temperature=1.0)
    ledger.write(tmp_path, name="other")
    table = distilled_tables.students("robust_transfer", 0.003)
    assert list(table["seeds"]) == [2, 1]
    assert list(table["teacher's T"]) == [1.0, 1.0] and list(table["T"]) == [1.0, 20.0]
    first = table.iloc[0]
    assert first["clean"] == f"{126 / 156:.1%}" and first["one step"] == f"{96 / 156:.1%}"
    assert first["on the teacher"] == f"{120 / 156:.1%}" and first["many steps"] == "–"
    assert set(table["constant"]) == {f"{114 / 156:.1%}"}
    assert len(distilled_tables.students("hospital", 0.003)) == 0
