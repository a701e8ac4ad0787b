"""Two conditions on the same images: what differs from image to image and from seed to seed, and how sure that is.

Conditions of one record are of one network; which images were asked is then all the chance there is. Networks that
were trained apart differ by more than that, though nothing differed but the seed. Only several seeds tell how much.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from medtk.data import CATALOG
from medtk.evaluation import intervals
from medtk.reproduction.evidence import Case, Evidence, Key
from medtk.reproduction.quantities import FEWEST

LEARNED = 0.05  # of balanced accuracy above naming one class: less is no classifier
FEWEST_SEEDS = 3  # of two networks trained apart
# Conditions in which no image carries a trace of its true label; a record's own is the first that it has. A guessed
# label is the last resort: what a network reads from it is the guess, which may be right.
UNTOLD = ("server", "unattacked", "pgsl-guessed", "attacked-guessed")


class Side(NamedTuple):
    """A condition of one record."""

    record: dict
    condition: str


class Pairs(NamedTuple):
    """Two conditions on the same images.

    Attributes
    ----------
    by_seed : list of array of float, shape (2, n)
        A value an image and condition.
    shared : bool
        Whether every seed met the same images, so that more seeds are not more images.
    apart : bool
        Whether the conditions are of two records: of networks that were trained apart.
    """

    by_seed: list[np.ndarray]
    shared: bool
    apart: bool


def sides(evidence: Evidence, key: Key) -> dict[int, Side]:
    """Record and condition behind a cell, by seed; none for printed numbers."""
    records = {record["id"]: record for record in evidence.records}
    found = {}
    for run in evidence.runs.get(key, ()):
        if run.record in records:
            cells = records[run.record]["cells"]
            name = next(c["predictions"] for c in cells if (c["table"], c["row"], c["column"]) == key)
            found[run.seed] = Side(records[run.record], name)
    return found


def learned(side: Side) -> bool:
    """Whether the network behind a condition is better than one that names one class for every image.

    Asked, where the record says so, on images that carry no trace of their label: an attack made with the true label
    writes it into the image, and to read it there is not to know the classes.
    """
    metrics = side.record["metrics"]
    untold = next((name for name in UNTOLD if name in metrics), side.condition)
    found, name = metrics[untold], side.record["data"]["name"]
    known = len(found.get("confusion", ())) or len(CATALOG[name].class_names if name in CATALOG else ())
    if "balanced_accuracy" not in found or not known:
        return True
    return found["balanced_accuracy"] >= 1 / known + LEARNED


def errors(evidence: Evidence, one: Side, other: Side) -> tuple[np.ndarray, np.ndarray] | None:
    """Squared error of each image under two conditions; None where the images are not the same.

    In one record a condition that was measured on fewer images was measured on the first of them.
    """
    return _both(evidence, one, other, lambda stored, name: stored.get(f"{name}/mse"))


def answers(evidence: Evidence, one: Side, other: Side) -> tuple[np.ndarray, np.ndarray] | None:
    """Whether each image was answered rightly under two conditions, 1 or 0; None where the images are not the same."""

    def right(stored, name):
        return (stored[name].argmax(axis=1) == stored["labels"]).astype(float) if name in stored else None

    return _both(evidence, one, other, right)


def balanced_answers(evidence: Evidence, one: Side, other: Side) -> tuple[np.ndarray, np.ndarray] | None:
    """As `answers`, as values whose mean is the balanced accuracy; see `balanced`."""
    found, labels = answers(evidence, one, other), evidence.predictions(one.record)["labels"]
    return None if found is None else tuple(balanced(labels[: len(right)], right) for right in found)


def balanced(labels: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Values of images whose mean is the balanced accuracy, and which spread as the answers do within a class.

    How many images of each class a test set has is taken as given, so that how far classes differ is no chance.

    Parameters
    ----------
    labels, right : array, shape (n,)
        Classes, and whether each image was answered rightly.
    """
    _, classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    shares = np.bincount(classes, right) / sizes
    return shares.mean() + (right - shares[classes]) * len(labels) / (len(sizes) * sizes[classes])


def balanced_gap(
    labels: np.ndarray, ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray], *, apart: bool
) -> tuple[float, intervals.Interval]:
    """Balanced accuracy of some networks less that of others, mean over seeds, and its 95 % interval; see `span`.

    Parameters
    ----------
    labels : array of int, shape (n,)
        Of images that every seed has met.
    ours, theirs : sequence of array, shape (n, classes)
        Answers to them, one array a seed.
    apart : bool
        Whether ours and theirs of a seed were trained apart.
    """
    sides = ([balanced(labels, one.argmax(axis=1) == labels) for one in side] for side in (ours, theirs))
    gained = np.subtract(*map(np.stack, sides))
    return float(gained.mean()), intervals.Interval(*span(gained, shared=True, apart=apart))


def pairs(read, evidence: Evidence, ours: dict[int, Side], theirs: dict[int, Side]) -> Pairs | None:
    """Values of both sides for each common seed; None if an image set differs.

    They are read by `errors`, `answers` or `balanced_answers`.
    """
    seeds = sorted(ours.keys() & theirs.keys())
    found = [read(evidence, ours[seed], theirs[seed]) for seed in seeds]
    if not found or any(pair is None for pair in found):
        return None
    shared = same_images(evidence, [ours[seed].record for seed in seeds])
    apart = any(ours[seed].record["id"] != theirs[seed].record["id"] for seed in seeds)
    return Pairs([np.stack(pair) for pair in found], shared, apart)


def same_images(evidence: Evidence, records: Sequence[dict]) -> bool:
    """Whether the records of several seeds are of the same images: more seeds are then not more images."""
    labels = [evidence.predictions(record)["labels"] for record in records]
    return all(np.array_equal(one, labels[0]) for one in labels)


def gap(found: Pairs) -> tuple[float, float]:
    """95 % interval of the mean of the first values less the second; see `span`."""
    return span([first - second for first, second in found.by_seed], shared=found.shared, apart=found.apart)


def span(by_seed: Sequence[np.ndarray], *, shared: bool = False, apart: bool = False) -> tuple[float, float]:
    """95 % interval of a mean over images and seeds: the wider of what the images say and what the seeds say.

    As wide as can be for fewer than `FEWEST` images: Student's t takes a mean for nearly normal, which one of few
    squared errors is not. So it is for fewer than `FEWEST_SEEDS` seeds where networks were trained apart.

    Parameters
    ----------
    by_seed : sequence of array of float, shape (n,)
        A value an image, an array a seed.
    shared, apart : bool
        As in `Pairs`.
    """
    images = np.mean(by_seed, axis=0) if shared else np.concatenate(by_seed)
    center, half = float(np.mean([one.mean() for one in by_seed])), between_seeds(by_seed, apart=apart)
    if len(images) < FEWEST:
        return -np.inf, np.inf
    low, high = intervals.over_seeds(images)[:2]
    half = max(half, (high - low) / 2)
    return center - half, center + half


def between_seeds(by_seed: Sequence[np.ndarray], *, apart: bool) -> float:
    """Half the 95 % interval of a mean over seeds, from one value or array a seed; 0 for few seeds of one network."""
    if len(by_seed) < FEWEST_SEEDS:
        return np.inf if apart else 0.0
    low, high = intervals.over_seeds([float(np.mean(one)) for one in by_seed])[:2]
    return (high - low) / 2


def too_few(found: Pairs) -> str:
    """What stands behind a comparison that has too few images or seeds to decide anything; else nothing."""
    if found.apart and len(found.by_seed) < FEWEST_SEEDS:
        return f"; networks trained apart take {FEWEST_SEEDS} seeds, not {len(found.by_seed)}"
    images = found.by_seed[0].shape[1] if found.shared else sum(one.shape[1] for one in found.by_seed)
    return f"; {images} images are too few to tell" if images < FEWEST else ""


def of(evidence: Evidence, dataset: str, experiment: str) -> list[dict]:
    """Records of one experiment on one data set."""
    return [r for r in evidence.records if (r["experiment"], r["parameters"].get("dataset")) == (experiment, dataset)]


def case(evidence: Evidence, name: str, holds: bool | None, detail: str, keys: tuple[Key, ...]) -> Case:
    """Case with the cells behind it, or, if it stays open, with the records that leave it open."""
    if holds is not None:
        return Case(name, holds, detail, keys)
    return Case(name, None, detail, records=tuple(sorted({run.record for key in keys for run in evidence.runs[key]})))


def _both(evidence: Evidence, one: Side, other: Side, read) -> tuple[np.ndarray, np.ndarray] | None:
    if evidence.predictions is None:
        return None
    stored = [evidence.predictions(side.record) for side in (one, other)]
    # Two sets with the same labels in the same order may still be of other patients: the data must be the same.
    if one.record["id"] != other.record["id"] and (
        not np.array_equal(stored[0]["labels"], stored[1]["labels"]) or _images(one.record) != _images(other.record)
    ):
        return None
    first, second = (read(values, side.condition) for values, side in zip(stored, (one, other), strict=True))
    if first is None or second is None:
        return None
    n = min(len(first), len(second))
    return np.asarray(first[:n], float), np.asarray(second[:n], float)


def _images(record: dict) -> tuple:
    chosen = record["parameters"]
    names = ("split", "size", "n_test")
    return record["data"]["sha256"], record["seed"], *(chosen.get(name) for name in names)
