"""Chapter 14's tables: gradients that vanish in one loss and not in another, and students of the ledger."""

import keras
import ledger
import numpy as np
import pandas as pd
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
        (20.0, [0, 0, 0]),  # scores 5 apart: nothing is flat
        (80.0, [1, 0, 0]),  # 20 apart: the probability is within 1e-7 of 1
        (800.0, [1, 1, 0]),  # 200 apart: exp(-200) is zero in 32 bits
    ],
)
def test_confidence_hides_gradients_of_one_loss_after_the_other(split, gap, zero):
    near, far = (distilled_tables.gradients({"linear": linear(gap)}, split, epsilon) for epsilon in (0.2, 0.3))
    assert list(far["zero"]) == zero
    shown = distilled_tables.gradients_shown(far)
    assert shown["median L1 norm"].iloc[2] == f"{gap:.0f}"
    assert shown["right, after many steps"].iloc[2].startswith("0.0% [")
    # Where there is a gradient, a change of 0.3 crosses a boundary that is 0.25 away, and one of 0.2 does not.
    assert list(near["after"]) == list(near["before"]) == [2, 2, 2]
    assert list(far["after"]) == [2 * none for none in zero]


def measured(zero, after, n=100):
    """All labels are 0; each ascent leaves the first images right."""
    lines = zip(distilled_tables.LOSSES, zero, after, strict=True)
    return pd.DataFrame(
        {"network": "hidden", "loss": loss, "norm": 1.0, "zero": share, "before": 80, "after": left, "images": n,
         "answers": np.eye(2)[(np.arange(n) >= left).astype(int)]}
        for loss, share, left in lines
    )  # fmt: skip


@pytest.mark.parametrize(
    ("zero", "after", "end"),
    [
        ((0.9, 0.1, 0.0), (75, 30, 10), "is masked"),
        # Intervals of the two shares would meet, but the images are the same: ten fall to one loss alone.
        ((0.9, 0.1, 0.0), (75, 70, 65), "is masked"),
        ((0.9, 0.1, 0.0), (75, 72, 70), "no masking can be shown"),
        ((0.0, 0.0, 0.0), (12, 10, 10), "hides nothing"),
        ((0.9, 0.9, 0.9), (0, 0, 0), "no masking can be shown"),
    ],
)
def test_the_sentences_on_masking_follow_the_table(zero, after, end):
    said = distilled_tables.hidden_in_words(measured(zero, after), "hidden", np.zeros(100, int))
    assert end in said[-1]
    assert f"{zero[0]:.1%}" in said[1] and f"{after[2]} of 80" in said[3]


def test_the_sentences_on_robustness_follow_the_answers():
    labels = np.zeros(40, int)

    def right(k):
        return np.eye(2)[(np.arange(40) >= k).astype(int)]

    networks = {"teacher": (right(38), right(2)), "student": (right(36), right(30)), "control": (right(36), right(28))}
    said = distilled_tables.robust_in_words(networks, labels)
    assert said[0] == "teacher: 38 of 40 right, 2 under the attack."
    assert said[3].startswith("Both “student” and “control” lose fewer") and "may well be chance (p = 0.5)" in said[4]
    said = distilled_tables.robust_in_words(networks | {"student": (right(39), right(0))}, labels)
    assert said[3].startswith("Not both") and "chance seldom" in said[4]
    said = distilled_tables.robust_in_words(networks | {"student": (right(40),) * 2}, labels)
    assert "same answer" in said[1] and "accuracy tells little" in said[-1] and len(said) == 4
    assert "AUC" not in said[1]  # of one class alone it is not defined
    some = np.arange(40) % 2
    said = distilled_tables.robust_in_words(networks | {"student": (right(40),) * 2}, some)
    assert said[1].endswith("its AUC goes from 0.500 to 0.500.")


def test_an_ascent_is_never_weaker_than_one_step_of_its_size_and_keeps_to_epsilon():
    model, split = small_networks.settled(), small_networks.dataset(40).test
    many = distilled_tables.ascent(model, split, 0.05, cross_entropy)
    assert np.abs(many - split.images).max() <= 0.05 + 1e-6
    step = attacks.fgsm(model, split.images, split.labels, 0.05, clip=False)
    right = [np.mean(scores(model, images).argmax(axis=1) == split.labels) for images in (split.images, step, many)]
    assert right[0] > right[2] and right[1] >= right[2]
    one = distilled_tables.ascent(model, split, 0.2, cross_entropy, steps=1)
    np.testing.assert_allclose(one, step, atol=1e-6)


def student(home, name, seed=0, right=131, changes=None, **changed):
    settings = {"dataset": "breastmnist", "network": "mobilenetv2", "student": "small", "student_temperature": 1.0}
    settings |= {"student_teacher_temperature": None, "student_teacher_statistics": "moving", "student_epochs": 5}
    settings |= {"student_batch_size": 32, "student_learning_rate": 0.001, "trainable": "all", "scaling": "unit"}
    settings |= {"learning_rate": 0.001, "epochs": 5, "batch_size": 32}
    extra = {"teacher": 120, "epsilon=0.003": right - 30, "transfer-epsilon=0.003": right - 6}
    ledger.write(home, right, name=name, seed=seed, experiment="distillation", cells=[], extra=extra,
                 parameters=settings | {"student_alpha": 1.0} | changed, **(changes or {}))  # fmt: skip


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
    assert first["clean"].startswith(f"{126 / 156:.1%} [") and first["one step"].startswith(f"{96 / 156:.1%} [")
    assert first["on the teacher"].startswith(f"{120 / 156:.1%} [") and first["many steps"] == "–"
    assert set(table["one answer"]) == {""}
    assert set(table["constant"]) == {f"{114 / 156:.1%}"}
    assert len(distilled_tables.students("hospital", 0.003)) == 0


def test_students_of_other_weights_batches_or_images_stand_apart(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path))
    student(tmp_path, "a")
    student(tmp_path, "b", changes={"weights": {"source": "mirror", "note": ""}})
    student(tmp_path, "c", student_batch_size=16, trainable="frozen_bn")
    student(tmp_path, "d", changes={"data": {"name": "breastmnist", "source": "substitute", "sha256": "0" * 64}})
    student(tmp_path, "e", changes={"profile": "scaled"})
    table = distilled_tables.students("robust_transfer", 0.003)
    assert list(table["seeds"]) == [1] * 5
    assert sorted(set(table["weights"])) == ["mirror", "random"]
    assert set(table["data"]) == {"breastmnist", "breastmnist (substitute, n=156)"}
    assert set(table["otherwise"]) == {"", "teacher: normalisation held still, student: batch size 16"}
