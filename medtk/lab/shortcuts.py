"""Chapter 21: what 64 grey values know, which frames have a twin, and whether an image tells its source."""

import csv
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medtk import data
from medtk.data import Dataset, Split, modalities, resize
from medtk.lab.session import Run
from medtk.reproduction import papers, records

PAPER, EXPERIMENT = "clustered_covid", "thumbnails"
OTHER = "chest_xray"  # sick and healthy children of the hospital that the healthy X-rays come from
SIDE = 8  # pixels of a thumbnail
BINS = 16


def _ring() -> np.ndarray:
    ring = np.ones((SIDE, SIDE), bool)
    ring[1:-1, 1:-1] = False
    return ring.ravel()


def thumbnail(images: np.ndarray) -> np.ndarray:
    """Grey values of images shrunk to 8 x 8, shape (n, 64)."""
    return resize(images.mean(axis=-1, keepdims=True), SIDE).reshape(len(images), -1)


def edge(images: np.ndarray) -> np.ndarray:
    """The outer ring of the thumbnail, shape (n, 28): neither lung nor heart, nearly nothing of the chest."""
    return thumbnail(images)[:, _ring()]


def histogram(images: np.ndarray) -> np.ndarray:
    """How much of an image has which grey, in 16 steps, shape (n, 16): nothing about where."""
    return np.stack([np.histogram(image, BINS, (0, 1))[0] / image.size for image in images])


VIEWS = {"thumbnail": thumbnail, "edge": edge, "histogram": histogram}


def baseline(train: Split, test: Split, view: str = "thumbnail") -> np.ndarray:
    """Probabilities that a logistic regression gives the test images, shape (n, 2).

    Parameters
    ----------
    train, test : Split
        Of two classes.
    view : {'thumbnail', 'edge', 'histogram'}
        What it sees of an image. Each value is scaled by its mean and spread over the training images; the ridge
        penalty is scikit-learn's default and was not tuned.
    """
    seen = VIEWS[view]
    model = _regression()
    return model.fit(seen(train.images), train.labels).predict_proba(seen(test.images)).astype(np.float32)


def _regression():
    # The usual tolerance stops two hundredths of a probability short of the optimum.
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000, tol=1e-6))


def conditions(images: Mapping[str, Dataset]) -> dict[str, dict[str, np.ndarray]]:
    """Answers to the test images by modality and by what was asked.

    ``thumbnail``, ``edge`` and ``histogram``: a regression for each modality, on one view of it. ``joint``: one for all
    modalities, on thumbnails, which is not told the modality.
    """
    pooled = Split(
        *(np.concatenate([getattr(d.train, what) for d in images.values()]) for what in ("images", "labels"))
    )
    return {
        modality: {view: baseline(d.train, d.test, view) for view in VIEWS} | {"joint": baseline(pooled, d.test)}
        for modality, d in images.items()
    }


class Nearest(NamedTuple):
    """The nearest training thumbnail of each test image: its row, its distance, and whether it is the same patient."""

    row: np.ndarray
    distance: np.ndarray
    same_patient: np.ndarray


def nearest(dataset: Dataset) -> Nearest:
    """Training image whose thumbnail is nearest to each test image's, by the mean squared difference of grey values."""
    train, test = thumbnail(dataset.train.images), thumbnail(dataset.test.images)
    distance, row = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(train).kneighbors(test)
    same = dataset.train.groups[row[:, 0]] == dataset.test.groups
    return Nearest(row[:, 0], distance[:, 0] / SIDE, same)


def elsewhere(dataset: Dataset, other: Dataset) -> dict[str, np.ndarray]:
    """Whether images of another collection are called class 1, by their own class: bool of each of its test images.

    A regression on thumbnails is trained on `dataset`. Asked about sick children of the hospital that its healthy
    images come from, it has to choose: sickness, or hospital?
    """
    called = baseline(dataset.train, other.test).argmax(axis=1) == 1
    return {name: called[other.test.labels == c] for c, name in enumerate(other.class_names)}


class Probe(NamedTuple):
    """Whether images of one class tell which of two sources they come from.

    ``names``: the sources. ``labels``: 1 for the second, one an image. ``scores``: probability of the second, from
    a regression that has seen other patients only. ``groups``: patients.
    """

    names: tuple[str, str]
    labels: np.ndarray
    scores: np.ndarray
    groups: np.ndarray


def which_source(dataset: Dataset, label: int = 1, seed: int = 0, folds: int = 5) -> Probe | None:
    """Ask thumbnails of one class for the web site that published them: the two sites with most images.

    All of these images have the same disease. What tells them apart is how they were made and prepared.

    Parameters
    ----------
    dataset : Dataset
        Its splits are pooled.
    label : int
        Class whose images are used.
    seed : int
        Of the folds; a patient is in one of them.
    folds : int
        At least 2.

    Returns
    -------
    Probe or None
        None where no table tells the sources (stand-ins), or there are not `folds` patients of each of two of them.
    """
    found = of_two_sources(dataset, label)
    if found is None or min(len(set(found[1].groups[found[1].labels == side])) for side in (0, 1)) < folds:
        return None
    names, shown = found
    features, scores = thumbnail(shown.images), np.empty(len(shown))
    parts = GroupKFold(folds, shuffle=True, random_state=seed).split(features, shown.labels, shown.groups)
    for fitted, asked in parts:
        model = _regression()
        scores[asked] = model.fit(features[fitted], shown.labels[fitted]).predict_proba(features[asked])[:, 1]
    return Probe(names, shown.labels, scores, shown.groups)


def of_two_sources(dataset: Dataset, label: int = 1) -> tuple[tuple[str, str], Split] | None:
    """The two web sites with most images of a class, and these images, labelled 1 where they are of the second.

    None where no table tells the sources, or there are not two.
    """
    site = _sites(dataset)
    rows = [
        (split, i)
        for split in (dataset.train, dataset.val, dataset.test)
        for i in np.flatnonzero(split.labels == label)
    ]
    known = [(split, i, site.get(str(split.groups[i]))) for split, i in rows] if site else []
    common = [name for name, _ in Counter(name for *_, name in known if name).most_common(2)]
    if len(common) < 2:
        return None
    chosen = [(split.images[i], common.index(name), split.groups[i]) for split, i, name in known if name in common]
    return (common[0], common[1]), Split(*(np.array(part) for part in zip(*chosen, strict=True)))


def _sites(dataset: Dataset) -> dict[str, str]:
    """Web site of each patient, from the address in the table beside the images; empty where there is none."""
    found = data.find(dataset.name)
    if dataset.is_synthetic or found.path is None:
        return {}
    with open(found.path / dataset.card.manifest["table"], newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    return {line[dataset.card.manifest["group"]]: urlsplit(line["url"]).netloc.removeprefix("www.") for line in lines}


def record_name(split: str, modality: str, seed: int) -> str:
    """File name of a record."""
    return f"thumbnails-{split}-{modality}-s{seed}"


def recorded(
    run: Run, images: Mapping[str, Dataset], split: str, seed: int, other: Dataset | None = None
) -> dict[str, dict]:
    """Answer the test images from thumbnails and write one record a modality.

    Parameters
    ----------
    run : Run
        Its `home` is written to.
    images : mapping
        Data sets by modality, split by `split` with `seed`.
    split : {'frame', 'patient'}
    seed : int
    other : Dataset, optional
        X-rays of another collection, for `elsewhere`.

    Returns
    -------
    dict
        Records by modality.
    """
    found = {}
    answers = conditions(images)
    for modality, dataset in images.items():
        twin, probe = nearest(dataset), which_source(dataset, seed=seed)
        measured = {"nearest": {"same_patient": twin.same_patient, "distance": twin.distance}}
        if probe is not None:
            measured["which_source"] = {"label": probe.labels, "score": probe.scores}
        if modality == "xray" and other is not None:
            measured |= {f"elsewhere-{name}": {"called_sick": c} for name, c in elsewhere(dataset, other).items()}
        measured |= _counts(dataset)
        deviations = [f"{dataset.source} data"] if dataset.source in ("substitute", "synthetic") else []
        found[modality] = records.write(
            run.home,
            experiment=EXPERIMENT,
            paper=PAPER,
            name=record_name(split, modality, seed),
            cells=cells(dataset, split),
            parameters={"dataset": dataset.name, "modality": modality, "network": "regression", "split": split},
            seed=seed,
            profile=run.profile,
            data={"name": dataset.name, "source": dataset.source, "sha256": dataset.sha256, "note": dataset.note},
            weights={"source": "random", "note": "A regression starts from nothing."},
            labels=dataset.test.labels,
            predictions=answers[modality],
            measurements=measured,
            seconds=0.0,
            deviations=[*run.deviations, *deviations],
        )
        run.written.append(found[modality]["id"])
    return found


def _counts(dataset: Dataset) -> dict[str, dict]:
    """Images of each class in both parts, as the cells of Table I name them."""
    return {
        f"{part}-{name}": {"images": [int(np.sum(getattr(dataset, part).labels == c))]}
        for part in ("train", "test")
        for c, name in enumerate(dataset.class_names)
    }


def cells(dataset: Dataset, split: str) -> list[dict]:
    """Cells of Table I that a record answers: by frame only, since the study's counts are kept there."""
    return [
        {"table": "I", "row": cell.row, "column": cell.column, "metric": "images"}
        | {"predictions": f"{cell.needs['split']}-{cell.needs['class']}"}
        for cell in papers.load(PAPER).cells
        if split == "frame" and cell.table == "I" and cell.needs["dataset"] == dataset.name
    ]


def load(run: Run, names: Mapping[str, str], split: str, seed: int, *, size: int = 32) -> dict[str, Dataset]:
    """Data sets by modality, grey, split by frame or by patient."""
    return {m: modalities.split(run.load(name, size=size, channels=1), split, seed) for m, name in names.items()}
