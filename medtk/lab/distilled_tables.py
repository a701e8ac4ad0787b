"""Tables of chapter 14: how large a network's gradients are for each loss, and the students of the ledger."""

from collections.abc import Callable, Mapping

import keras
import numpy as np
import pandas as pd
from keras import ops

from medtk import training
from medtk.attacks.common import margin
from medtk.data import Split
from medtk.defenses import distillation
from medtk.evaluation import intervals, metrics
from medtk.lab import robust_tables
from medtk.models.gradients import cross_entropy, loss_gradient, scores
from medtk.reproduction import records
from medtk.settings import results_home

# Keras' own bound: it keeps probabilities this far from 0 and 1 before it takes their logarithm.
CLIPPED = 1e-7
SETTINGS = {
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
        One line a network and loss: ``norm``, the median over images of the gradient's L1 norm; ``zero``, the share
        of images whose gradient is exactly zero; ``before`` and ``after``, how many of the ``images`` are right
        without and with the ascent; ``answers``, the scores with the ascent, shape (n, classes).
    """
    lines = []
    for name, model in networks.items():
        for what, loss in LOSSES.items():
            norms = gradient_norms(model, split, loss)
            moved = ascent(model, split, epsilon, loss, steps=steps)
            line = {"network": name, "loss": what, "norm": np.median(norms), "zero": np.mean(norms == 0)}
            before, after = (scores(model, images) for images in (split.images, moved))
            line |= {"before": _right(before, split.labels), "after": _right(after, split.labels)}
            lines.append(line | {"images": len(split), "answers": after})
    return pd.DataFrame(lines)


def gradients_shown(found: pd.DataFrame) -> pd.DataFrame:
    """`gradients` for the reader, accuracies with 95 % Wilson intervals."""
    return pd.DataFrame(
        {
            "network": found["network"],
            "gradient of the": found["loss"],
            "median L1 norm": [f"{norm:,.0f}" if norm >= 100 else f"{norm:.2g}" for norm in found["norm"]],
            "exactly zero": [f"{share:.1%}" for share in found["zero"]],
            "right, clean": [share_of(k, n) for k, n in zip(found["before"], found["images"], strict=True)],
            "right, after many steps": [share_of(k, n) for k, n in zip(found["after"], found["images"], strict=True)],
        }
    )


def hidden_in_words(found: pd.DataFrame, network: str, labels: np.ndarray) -> list[str]:
    """What the lines of one network in `gradients` say about its gradients, in sentences.

    The verdict is *masked* where the ascent of another loss leaves fewer images right than that of the probabilities,
    by McNemar's exact test, since all losses meet the same images. Two losses are tried, so each at half of 5 %.
    """
    lines = found[found["network"] == network].set_index("loss")
    probabilities, given, gap = (lines.loc[what] for what in LOSSES)
    said = [f"The {network} student, on {probabilities['images']} images:"]
    for what, line in (("probabilities", probabilities), ("scores", given), ("difference of two scores", gap)):
        said.append(
            f"- along the {what}, {line['zero']:.1%} of the gradients are exactly zero, "
            f"and many steps leave {line['after']} of {line['before']} right answers."
        )
    tests = [intervals.mcnemar(labels, probabilities["answers"], other["answers"]) for other in (given, gap)]
    if any(test.only_a > test.only_b and test.p < 0.05 / len(tests) for test in tests):
        said.append("The gradient of its probabilities is masked: another loss breaks what that one left.")
    elif probabilities["zero"] > 0:
        said.append("Some gradients are zero, but no other loss breaks clearly more: no masking can be shown here.")
    else:
        said.append("In this run it hides nothing: no gradient of its probabilities is zero.")
    return said


def robust_in_words(answers: Mapping[str, tuple[np.ndarray, np.ndarray]], labels: np.ndarray) -> list[str]:
    """How many right answers an attack costs each network, and whether a student differs from its control.

    Parameters
    ----------
    answers : mapping
        Name to probabilities without and under the attack, shape (n, classes) each: first the teacher, then the
        student, then the student's control.
    labels : ndarray of int, shape (n,)

    Returns
    -------
    list of str
        A sentence on each network, one on the student and its control beside the teacher, and one on the student
        beside its control: McNemar's exact test on the attacked images. Where student or control gives every image the
        same answer, its AUC stands beside it, the last is missing, and the one before says so.
    """
    said, lost, constant = [], {}, set()
    for name, both in answers.items():
        before, after = (int(np.sum(probabilities.argmax(axis=1) == labels)) for probabilities in both)
        lost[name] = before - after
        if len(np.unique(both[0].argmax(axis=1))) == 1:
            constant.add(name)
        areas = [metrics.auc(labels, probabilities) for probabilities in both]
        shown = "" if None in areas else f"; its AUC goes from {areas[0]:.3f} to {areas[1]:.3f}"
        one = f" It gives every image the same answer{shown}." if name in constant else ""
        said.append(f"{name}: {before} of {len(labels)} right, {after} under the attack.{one}")
    teacher, student, control = list(answers)[:3]
    pair = f"“{student}” and “{control}”"
    if constant & {student, control}:
        said.append(
            "Where every image gets one answer, accuracy tells little: this run does not say what the teacher added."
        )
        return said
    if max(lost[student], lost[control]) < lost[teacher]:
        said.append(f"Both {pair} lose fewer images than the {teacher}.")
    else:
        said.append(f"Not both of {pair} lose fewer images than the {teacher}.")
    test = intervals.mcnemar(labels, answers[student][1], answers[control][1])
    alone = f"{test.only_a} images only with the {student}, {test.only_b} only with its control"
    verdict = "that may well be chance" if test.p > 0.05 else "chance seldom does that"
    said.append(f"Right under the attack: {alone}. By McNemar's test {verdict} (p = {test.p:.2g}).")
    return said


def gradient_norms(model: keras.Model, split: Split, loss: Callable = cross_entropy) -> np.ndarray:
    """L1 norm of each image's gradient of the loss, shape (n,): times epsilon, about what one step gains."""
    return np.abs(loss_gradient(model, split.images, split.labels, loss=loss)).sum(axis=(1, 2, 3))


def _right(answers: np.ndarray, labels: np.ndarray) -> int:
    return int(np.sum(answers.argmax(axis=1) == labels))


def share_of(right: int, n: int) -> str:
    """Share with its 95 % Wilson interval, in words."""
    low, high = intervals.wilson(right, n)
    return f"{right / n:.1%} [{low:.1%}, {high:.1%}]"


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
        and under many steps on itself, with intervals as in `medtk.lab.robust_tables.accuracy`; balanced accuracy and
        AUC on clean images, how many students give every image the same answer, and the accuracy of always saying the
        commonest class. Runs in one line differ in nothing but the seed; *otherwise* says what no other column does.
        No lines from an empty ledger.
    """
    home = results_home()
    groups: dict[str, list[dict]] = {}
    for record in records.read_all(home):
        if (record["paper"], record["experiment"]) == (paper, "distillation"):
            groups.setdefault(robust_tables.setting(record), []).append(record)
    ways = {
        "teacher, clean": "teacher",
        "clean": "clean",
        "one step": f"epsilon={epsilon:g}",
        "on the teacher": f"transfer-epsilon={epsilon:g}",
        "many steps": f"pgd-epsilon={epsilon:g}",
    }
    lines = []
    for runs in sorted(groups.values(), key=_place):
        known = runs[0]["parameters"]
        line = {"data": robust_tables.named(runs[0]), "weights": runs[0]["weights"]["source"]}
        line |= {what: known.get(name) for what, name in SETTINGS.items()} | {"otherwise": _otherwise(runs[0])}
        line["teacher's T"] = line["T"] if line["teacher's T"] is None else line["teacher's T"]
        line["seeds"] = len(runs)
        for what, name in ways.items():
            found = [record["metrics"][name] for record in runs if name in record["metrics"]]
            line[what] = robust_tables.accuracy(found) if found else "–"
        clean = [record["metrics"]["clean"] for record in runs]
        line |= {"clean, balanced": robust_tables.balanced(clean), "clean, AUC": robust_tables.auc(clean)}
        line["one answer"] = robust_tables.single_answers(clean)
        counts = np.bincount(records.load_predictions(runs[0], home)["labels"])
        lines.append(line | {"constant": f"{counts.max() / counts.sum():.1%}"})
    scored = ["clean, balanced", "clean, AUC", "one answer", "constant"]
    return pd.DataFrame(lines, columns=["data", "weights", *SETTINGS, "otherwise", "seeds", *ways, *scored])


def _place(runs: list[dict]) -> tuple[str, ...]:
    known = runs[0]["parameters"]
    return robust_tables.named(runs[0]), *(str(known.get(name)) for name in SETTINGS.values())


def _otherwise(record: dict) -> str:
    """What else is not as usual: the teacher's training, the student's batches and rate."""
    p, usual = record["parameters"], distillation.Spec(training.Spec(record["parameters"]["network"]))
    said = [f"teacher: {words}" for words in robust_tables.departures(record)]
    for name in ("batch_size", "learning_rate"):
        if p[f"student_{name}"] != getattr(usual, name):
            said.append(f"student: {name.replace('_', ' ')} {p[f'student_{name}']:g}")
    return ", ".join(said)
