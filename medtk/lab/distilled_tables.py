"""Tables of chapter 14: how large a network's gradients are for each loss, and the students of the ledger."""

from collections.abc import Callable, Mapping
from statistics import mean

import keras
import numpy as np
import pandas as pd
from keras import ops

from medtk.attacks.common import margin
from medtk.data import Split
from medtk.evaluation import intervals
from medtk.models.gradients import cross_entropy, loss_gradient, scores
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


def ascent(model: keras.Model, split: Split, epsilon: float, loss: Callable, *, steps: int = 10) -> np.ndarray:
    """Images after many steps uphill in a loss, each of a quarter of epsilon, without clipping to [0, 1].

    Parameters
    ----------
    model : keras.Model
        Images to probabilities, with a layer ``logits``.
    split : Split
        Images and their true labels.
    epsilon : float
        Largest change of a pixel.
    loss : callable
        ``loss(scores, labels)``, one value an image.
    steps : int
        At least 1.

    Returns
    -------
    ndarray of float32, shape of the images
    """
    change = np.zeros_like(split.images)
    for _ in range(steps):
        gradient = loss_gradient(model, split.images + change, split.labels, loss=loss)
        change = np.clip(change + np.float32(epsilon / 4) * np.sign(gradient), -epsilon, epsilon)
    return split.images + change


def gradients(networks: Mapping[str, keras.Model], split: Split, epsilon: float, *, steps: int = 10) -> pd.DataFrame:
    """Size of the gradients by the image, for three losses, and what an ascent in each does.

    A step looks only at the sign of a derivative: a small gradient serves as well as a large one, a zero does not.

    Parameters
    ----------
    networks : mapping
        Name to network.
    split, epsilon, steps
        As in `ascent`.

    Returns
    -------
    DataFrame
        One line a network and loss: the median over images of the gradient's L1 norm, the share of images whose
        gradient is exactly zero, and the share that is right before and after the ascent, with 95 % Wilson intervals.
    """
    lines = []
    for name, model in networks.items():
        for what, loss in LOSSES.items():
            norms = gradient_norms(model, split, loss)
            typical = np.median(norms)
            lines.append(
                {
                    "network": name,
                    "gradient of the": what,
                    "median L1 norm": f"{typical:,.0f}" if typical >= 100 else f"{typical:.2g}",
                    "exactly zero": f"{np.mean(norms == 0):.1%}",
                    "clean": _right(model, split.images, split.labels),
                    f"{steps} steps, ε = {epsilon:g}": _right(
                        model, ascent(model, split, epsilon, loss, steps=steps), split.labels
                    ),
                }
            )
    return pd.DataFrame(lines)


def gradient_norms(model: keras.Model, split: Split, loss: Callable = cross_entropy) -> np.ndarray:
    """L1 norm of each image's gradient of the loss, shape (n,): times epsilon, about what one step gains."""
    return np.abs(loss_gradient(model, split.images, split.labels, loss=loss)).sum(axis=(1, 2, 3))


def _right(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> str:
    right = int(np.sum(scores(model, images).argmax(axis=1) == labels))
    low, high = intervals.wilson(right, len(labels))[:2]
    return f"{right / len(labels):.1%} [{low:.1%}, {high:.1%}]"


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
