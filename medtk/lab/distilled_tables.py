"""Tables of chapter 14: how large a network's gradients are for each loss, and the students of the ledger."""

from collections.abc import Mapping
from statistics import mean

import keras
import numpy as np
import pandas as pd
from keras import ops

from medtk.attacks.common import margin
from medtk.data import Split
from medtk.evaluation import intervals
from medtk.models.gradients import cross_entropy, loss_and_gradient, scores
from medtk.reproduction import records
from medtk.settings import results_home

# Keras' own bound: it keeps probabilities this far from 0 and 1 before it takes their logarithm.
CLIPPED = 1e-7
SETTINGS = {
    "data": "dataset",
    "teacher": "network",
    "statistics": "student_teacher_statistics",
    "student": "student",
    "T": "student_temperature",
    "teacher's T": "student_teacher_temperature",
    "alpha": "student_alpha",
    "epochs": "student_epochs",
}


def cross_entropy_of_probabilities(given_scores, labels):
    """Cross-entropy as it is when only probabilities are at hand, shape (n,); where one is near 1 it is flat."""
    probabilities = ops.clip(ops.softmax(given_scores, axis=-1), CLIPPED, 1 - CLIPPED)
    return -ops.log(ops.sum(ops.one_hot(labels, given_scores.shape[-1]) * probabilities, axis=-1))


LOSSES = {
    "cross-entropy of probabilities": cross_entropy_of_probabilities,
    "cross-entropy of scores": cross_entropy,
    "difference of two scores": margin,
}


def all_losses(given_scores, labels):
    """Every loss of `LOSSES` in a row, shape (n, losses)."""
    return ops.stack([loss(given_scores, labels) for loss in LOSSES.values()], axis=1)


def gradients(networks: Mapping[str, keras.Model], split: Split, epsilon: float) -> pd.DataFrame:
    """Size of the gradients by the image, for three losses, and what one step along each does.

    A step looks only at the sign of a derivative: a small gradient serves as well as a large one, a zero does not.

    Parameters
    ----------
    networks : mapping
        Name to network, images to probabilities with a layer ``logits``.
    split : Split
        Test images and their true labels.
    epsilon : float
        Size of the step in each pixel, without clipping.

    Returns
    -------
    DataFrame
        One line a network and loss: the median over images of the gradient's L1 norm, the share of images whose
        gradient is exactly zero, and the share that is right after the step, with its 95 % Wilson interval.
    """
    lines = []
    for name, model in networks.items():
        found = loss_and_gradient(model, split.images, split.labels, loss=all_losses)[2]
        for number, what in enumerate(LOSSES):
            gradient = found[:, number]
            norms = np.abs(gradient).sum(axis=(1, 2, 3))
            said = scores(model, split.images + np.float32(epsilon) * np.sign(gradient)).argmax(axis=1)
            right = int(np.sum(said == split.labels))
            low, high = intervals.wilson(right, len(split))[:2]
            lines.append(
                {
                    "network": name,
                    "gradient of the": what,
                    "median L1 norm": f"{np.median(norms):.2g}",
                    "exactly zero": f"{np.mean(norms == 0):.1%}",
                    f"right after one step of {epsilon:g}": f"{right / len(split):.1%} [{low:.1%}, {high:.1%}]",
                }
            )
    return pd.DataFrame(lines)


def students(paper: str, epsilon: float) -> pd.DataFrame:
    """Every student in the ledger, one line a setting, means over seeds.

    Parameters
    ----------
    paper : str
        Such as ``"robust_transfer"``.
    epsilon : float
        Size of the attacks shown.

    Returns
    -------
    DataFrame
        Accuracy of the teacher and of the student: clean, under one step on itself, under one step on the teacher,
        and under many steps on itself; and that of always saying the commonest class. No lines from an empty ledger.
    """
    home = results_home()
    groups: dict[tuple, list[dict]] = {}
    for record in records.read_all(home):
        if (record["paper"], record["experiment"]) == (paper, "distillation"):
            known = record["parameters"]
            groups.setdefault(tuple(known.get(name) for name in SETTINGS.values()), []).append(record)
    ways = {
        "teacher, clean": "teacher",
        "clean": "clean",
        "one step": f"epsilon={epsilon:g}",
        "on the teacher": f"transfer-epsilon={epsilon:g}",
        "many steps": f"pgd-epsilon={epsilon:g}",
    }
    lines = []
    for setting, runs in sorted(groups.items(), key=lambda group: tuple(map(str, group[0]))):
        line = dict(zip(SETTINGS, setting, strict=True))
        line["teacher's T"] = line["T"] if line["teacher's T"] is None else line["teacher's T"]
        line["seeds"] = len(runs)
        for what, name in ways.items():
            found = [record["metrics"][name]["accuracy"] for record in runs if name in record["metrics"]]
            line[what] = f"{mean(found):.1%}" if found else "–"
        counts = np.bincount(records.load_predictions(runs[0], home)["labels"])
        lines.append(line | {"constant": f"{counts.max() / counts.sum():.1%}"})
    return pd.DataFrame(lines, columns=[*SETTINGS, "seeds", *ways, "constant"])
