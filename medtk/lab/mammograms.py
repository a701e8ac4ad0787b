"""Can the mammograms be learned at all? What was tried, each judged on women that the classifier has not seen."""

import csv
import time
from collections import defaultdict
from dataclasses import replace
from functools import partial

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medtk import data, models, split_learning
from medtk.data import Dataset, Split, resize
from medtk.errors import BadParameter, DataUnavailable
from medtk.evaluation import metrics
from medtk.lab.pgsl_spec import PAPER
from medtk.lab.session import Run
from medtk.training import be_deterministic, epoch_order, moved

EXPERIMENT = "mammograms"
FILM = 256  # pixels a side of a film here; the table counts in 1024
# What is asked of an image, and the names of its classes.
VIEWS = {
    "film": ("whole film", ("normal", "benign", "malignant")),
    "abnormal": ("whole film", ("normal", "abnormal")),
    "difference": ("film less the woman's other film, mirrored", ("normal", "abnormal")),
    "lesion": ("marked place, or the same place of the woman's other breast", ("other breast", "finding")),
    "severity": ("marked place", ("benign", "malignant")),
}
LEARNERS = {
    "pixels": "logistic regression on 16 x 16 grey values",
    "imagenet": "logistic regression on MobileNetV2's ImageNet features",
    "study": "the study's seven convolutions, longer, with class weights and moved images",
}
# Pixels a side that a learner is shown of a film and of a marked place.
SIDES = {"pixels": (16, 16), "imagenet": (224, 96), "study": (32, 32)}
STUDY_VIEWS = ("film", "lesion")  # it trains for minutes
PLACES = ("lesion", "severity")
FOLDS = 5
EPOCHS, BATCH = 40, 32
PENALTY = 1e-3  # scikit-learn's C: many features and few women. One value, never varied
PERMUTATIONS = 99  # times that a regression is fitted again to labels that were dealt anew


def lines_of(dataset: Dataset, split: Split) -> list[dict[str, str]]:
    """Line of the mammograms' table behind each image of a split.

    Parameters
    ----------
    dataset : Dataset
        ``mias`` or ``mias_paper``, as loaded.
    split : Split
        Of whole women of that set.

    Raises
    ------
    DataUnavailable
        If the table is not on this machine: synthetic mammograms have none.
    BadParameter
        If the images are not those of the table, in its order.
    """
    home = data.find(dataset.name).path
    table = home / dataset.card.manifest["table"] if home else None
    if dataset.is_synthetic or table is None or not table.is_file():
        raise DataUnavailable(f"The table of {dataset.name} is not on this machine; `medtk data list` says what is.")
    waiting: dict[str, list[dict]] = defaultdict(list)
    with table.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            waiting[line["patient_id"]].append(line)
    # A split is a choice of whole patients, each one's films in the order of the table.
    mine = [waiting[group].pop(0) if waiting[group] else {} for group in split.groups]
    if [line.get("label") for line in mine] != [dataset.class_names[label] for label in split.labels]:
        raise BadParameter(f"The images of {dataset.name} are not in the order of its table; load it again.")
    return mine


def shown(films: Split, lines: list[dict[str, str]], view: str, side: int) -> Split:
    """What a learner is shown, with its labels and women.

    Left films are mirrored, so that every breast looks the same way.

    Parameters
    ----------
    films : Split
        Images of shape (n, 256, 256, 1); labels as in `VIEWS` of ``film``.
    lines : list of dict
        From `lines_of`.
    view : str
        A key of `VIEWS`. A finding without a marked place is left out of ``lesion`` and ``severity``, and so is one
        whose woman has a finding in the other breast too from ``lesion``.
    side : int
        Pixels a side of the result.

    Returns
    -------
    Split
        Of ``lesion`` the finding and, behind it, the same place of the other breast; both are the same woman's.
    """
    images = np.array([image[:, ::-1] if line["side"] == "left" else image
                       for image, line in zip(films.images, lines, strict=True)])  # fmt: skip
    women, labels = np.asarray(films.groups), films.labels
    others = [_other(lines, i) for i in range(len(lines))]
    if view not in PLACES:
        if view == "difference":
            both = np.array([i for i, other in enumerate(others) if other is not None])
            images = np.array([(1 + images[i] - images[others[i]]) / 2 for i in both])
            women, labels = women[both], labels[both]
        return Split(resize(images, side), labels if view == "film" else (labels > 0).astype(np.int64), women)
    places = [i for i, line in enumerate(lines) if line["x"] and line["radius"]]
    if view == "severity":
        cut = [crop(images[i], lines[i], side) for i in places]
        return Split(np.array(cut), labels[places] - 1, women[places])
    pairs = [(i, others[i]) for i in places if others[i] is not None and labels[others[i]] == 0]
    cut = [crop(images[j], lines[i], side) for i, other in pairs for j in (i, other)]
    return Split(np.array(cut), np.tile([1, 0], len(pairs)), np.repeat([women[i] for i, _ in pairs], 2))


def crop(film: np.ndarray, line: dict[str, str], side: int) -> np.ndarray:
    """Square around a marked place, 2.5 radii wide, from a film that looks like a right breast.

    Parameters
    ----------
    film : ndarray, shape (256, 256, 1)
    line : dict
        ``x``, ``y`` and ``radius`` in pixels of a film of 1024, from the bottom left; ``side`` of the marked breast.
        The square has 32 to 128 pixels of `film`, with black beyond its edge.
    side : int
        Pixels a side of the result.
    """
    scale = FILM / 1024
    x, y, radius = (int(line[name]) * scale for name in ("x", "y", "radius"))
    x, y = (FILM - 1 - x if line["side"] == "left" else x), FILM - y
    width = int(np.clip(round(2.5 * radius), 32, 128))
    black = np.pad(film, ((FILM, FILM), (FILM, FILM), (0, 0)))
    top, left = (round(middle) + FILM - width // 2 for middle in (y, x))
    return resize(black[None, top : top + width, left : left + width], side)[0]


def features(images: np.ndarray, learner: str) -> np.ndarray:
    """What a logistic regression sees of images, shape (n, k): their pixels, or the features of a frozen network."""
    if learner == "pixels":
        return images.reshape(len(images), -1)
    whole = models.build("mobilenetv2", 2, input_shape=(*images.shape[1:3], 3), scaling="network")
    network = keras.Model(whole.input, whole.get_layer("pool").output)
    return network.predict(np.repeat(images, 3, axis=-1), batch_size=16, verbose=0)


def regression(known: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Probabilities of a balanced logistic regression, shape (n, classes)."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=1000))
    return model.fit(known, labels).predict_proba(asked)


def network(known: np.ndarray, labels: np.ndarray, asked: np.ndarray, seed: int = 0) -> np.ndarray:
    """Probabilities of the study's network, trained with class weights on images that are moved a little."""
    be_deterministic()
    count = np.bincount(labels)
    weights = dict(enumerate(len(labels) / len(count) / count))
    model = split_learning.build(len(count), split_learning.to_channels(known[:1]).shape[1:], seed=seed)
    for epoch in range(EPOCHS):
        order, random = epoch_order(len(known), seed, epoch), np.random.default_rng((seed, epoch, 1))
        inputs = split_learning.to_channels(moved(known[order], random))
        model.fit(inputs, labels[order], batch_size=BATCH, shuffle=False, verbose=0, class_weight=weights)
    return model.predict(split_learning.to_channels(asked), batch_size=256, verbose=0)


def held_out(seen: np.ndarray, split: Split, answer=regression, seed: int = 0) -> np.ndarray:
    """Answers to every image by a learner that was given other women only, shape (n, classes).

    Parameters
    ----------
    seen : ndarray, shape (n, ...)
        What the learner sees of each image.
    split : Split
        For labels and women; its images are not used.
    answer : callable
        ``answer(known, labels, asked)``.
    seed : int
        Of the folds.
    """
    found = np.zeros((len(seen), split.labels.max() + 1))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for known, asked in folds.split(seen, split.labels, split.groups):
        found[asked] = answer(seen[known], split.labels[known], seen[asked])
    return found


def dealt_anew(split: Split, random: np.random.Generator, *, within: bool = False) -> np.ndarray:
    """Labels that say nothing of the images, as many of each as before.

    Parameters
    ----------
    split : Split
    random : numpy Generator
    within : bool
        Whether to exchange labels inside each woman, where she has images of both kinds. Else whole women exchange
        theirs with women who have as many images: two films of one woman are no two draws.
    """
    labels, members = split.labels.copy(), defaultdict(list)
    for woman in np.unique(split.groups):
        rows = np.flatnonzero(split.groups == woman)
        members[woman if within else len(rows)].append(rows)
    for blocks in members.values():
        if within:
            labels[blocks[0]] = random.permutation(split.labels[blocks[0]])
        else:
            blocks = np.array(blocks)
            labels[blocks] = split.labels[random.permutation(blocks)]
    return labels


def balanced(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Balanced accuracy of probabilities, shape (n, classes)."""
    classes = probabilities.shape[1]
    return metrics.balanced_accuracy(metrics.confusion(labels, probabilities.argmax(axis=1), classes))


def by_chance(seen: np.ndarray, split: Split, view: str, seed: int) -> np.ndarray:
    """Balanced accuracies that `held_out` reaches when labels are dealt anew, one each of `PERMUTATIONS` times."""
    random, found = np.random.default_rng(seed), []
    for _ in range(PERMUTATIONS):
        nothing = replace(split, labels=dealt_anew(split, random, within=view == "lesion"))
        found.append(balanced(nothing.labels, held_out(seen, nothing, seed=seed)))
    return np.array(found)


def recorded(run: Run, view: str, learner: str, *, part: str = "cv") -> dict:
    """Try one learner on one view and record it.

    Parameters
    ----------
    run : Run
    view, learner : str
        Keys of `VIEWS` and `LEARNERS`.
    part : {'cv', 'test'}
        ``cv``: the training women, in five folds. ``test``: the test women, by a learner that had all the others; for
        the one setting that the folds have chosen.

    Returns
    -------
    dict
        The record. Its condition is ``held out``; ``permuted`` has the balanced accuracies of labels dealt anew, and
        ``woman`` the number of each image's woman, for an interval that keeps her images together.
    """
    began = time.perf_counter()
    dataset = run.load("mias_paper", size=FILM, channels=1)
    if dataset.is_synthetic:
        raise DataUnavailable("mias_paper is not here, and synthetic images are never recorded.")
    side = SIDES[learner][view in PLACES]
    films = dataset.train_and_val
    known = split = shown(films, lines_of(dataset, films), view, side)
    if part == "test":
        split = shown(dataset.test, lines_of(dataset, dataset.test), view, side)
    eye, answer = partial(features, learner=learner), regression
    if learner == "study":
        eye, answer = np.asarray, partial(network, seed=run.seed)
    seen, measured = eye(split.images), {"woman": {"number": np.unique(split.groups, return_inverse=True)[1]}}
    if part == "test":
        found = answer(eye(known.images), known.labels, seen)
    else:
        found = held_out(seen, split, answer, run.seed)
        if learner != "study":  # it would train for hours
            measured["permuted"] = {"balanced_accuracy": by_chance(seen, split, view, run.seed)}
    return run.record(
        replace(dataset, test=split, class_names=VIEWS[view][1]),
        "mobilenetv2" if learner == "imagenet" else "seven_convolutions",  # a regression starts from nothing, too
        experiment=EXPERIMENT,
        paper=PAPER,
        name=record_name(view, learner, part, run.seed),
        cells=[],
        parameters={
            "dataset": dataset.name,
            "view": view,
            "learner": learner,
            "part": part,
            "size": side,
            "folds": FOLDS,
            "epochs": EPOCHS if learner == "study" else 0,
            "penalty": 0.0 if learner == "study" else PENALTY,
        },
        predictions={"held out": found},
        measurements=measured,
        seconds=time.perf_counter() - began,
    )


def record_name(view: str, learner: str, part: str, seed: int) -> str:
    """File name of a record."""
    return f"mias_paper-{view}-{learner}-{part}-s{seed}"


def _other(lines: list[dict[str, str]], i: int) -> int | None:
    """First line of the film of the same woman's other breast."""
    for j, line in enumerate(lines):
        if (line["patient_id"], line["side"] == lines[i]["side"]) == (lines[i]["patient_id"], False):
            return j
    return None
