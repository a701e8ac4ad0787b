"""Two conditions on the same images: what differs from image to image, and how sure that makes of a mean."""

from typing import NamedTuple

import numpy as np

from medtk.evaluation import intervals
from medtk.reproduction.evidence import Case, Evidence, Key
from medtk.reproduction.quantities import FEWEST

LEARNED = 0.05  # of balanced accuracy above naming one class: less is no classifier


class Side(NamedTuple):
    """A condition of one record."""

    record: dict
    condition: str


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
    """Whether the classifier behind a condition is better than one that names one class for every image."""
    found = side.record["metrics"][side.condition]
    if "balanced_accuracy" not in found:
        return True
    return found["balanced_accuracy"] >= 1 / len(found["confusion"]) + LEARNED


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


def span(differences: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean of differences over images; as wide as can be for fewer than `FEWEST` images.

    Student's t takes a mean for nearly normal, which one of few squared errors is not.
    """
    if len(differences) < FEWEST:
        return -np.inf, np.inf
    low, high = intervals.over_seeds(differences)[:2]
    return float(low), float(high)


def of(evidence: Evidence, dataset: str, experiment: str) -> list[dict]:
    """Records of one experiment on one data set."""
    return [r for r in evidence.records if (r["experiment"], r["parameters"].get("dataset")) == (experiment, dataset)]


def case(evidence: Evidence, name: str, holds: bool | None, detail: str, keys: tuple[Key, ...]) -> Case:
    """Case with the cells behind it, or, if it stays open, with the records that leave it open."""
    if holds is not None:
        return Case(name, holds, detail, keys)
    return Case(name, None, detail, records=tuple(sorted({run.record for key in keys for run in evidence.runs[key]})))


def pairs(read, evidence: Evidence, ours: dict[int, Side], theirs: dict[int, Side]) -> np.ndarray | None:
    """Values of both sides, image by image over all common seeds, shape (2, n); None if an image set differs."""
    found = [read(evidence, ours[seed], theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())]
    return np.concatenate(found, axis=1) if found and all(pair is not None for pair in found) else None


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
