"""The recorded "which hospital?" probe, in the numbers of Table III, so that it can stand beside the diagnoses.

No list tells the hospital of an image. What is known is the web site that published it, which stands for it here.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from medtk import data
from medtk.data import modalities
from medtk.evaluation import intervals
from medtk.lab import shortcut_tables
from medtk.lab.shortcuts import Probe, of_two_sources
from medtk.reproduction import records
from medtk.settings import results_home

METRICS = ("Precision", "Recall", "F1-Score")
ROW = ("X-ray / Which hospital?", "64 grey values, other patients")


class Share(NamedTuple):
    """Mean over the recorded seeds, and its 95 % interval over patients; None where the patients are not known."""

    mean: float
    ends: intervals.Interval | None

    def __str__(self) -> str:
        """With two decimals, as the study prints its own."""
        return f"{self.mean:.2f}" + (f" [{self.ends.low:.2f}, {self.ends.high:.2f}]" if self.ends else "")


def recorded() -> list[Probe]:
    """Probes of the ledger, one a seed; without names and patients where the images are not on this machine.

    Records by frame hold the same probe as those by patient: it pools both parts and leaves out patients by itself.
    """
    found = []
    for record in shortcut_tables.ledger_of("xray", "patient"):
        stored = records.load_predictions(record, results_home())
        if "which_source/label" not in stored:
            continue
        labels, scores = stored["which_source/label"].astype(np.int64), stored["which_source/score"]
        names, groups = _patients(record, labels)
        found.append(Probe(names, labels, scores, groups))
    return found


def _patients(record: dict, labels: np.ndarray) -> tuple[tuple[str, str], np.ndarray | None]:
    """Sources, and whose image each is, from the split made again; None if these are not the images of the record."""
    name = record["parameters"]["dataset"]
    if data.find(name).source != "missing":
        pool = data.load(name, size=16, channels=1)
        again = of_two_sources(modalities.split(pool, record["parameters"]["split"], record["seed"]))
        if again is not None and np.array_equal(again[1].labels, labels):
            return again[0], again[1].groups
    return ("one", "the other"), None


def shares(probes: Sequence[Probe], repeats: int = 1000, seed: int = 0) -> dict[str, Share]:
    """Precision, recall and F1 of naming the source: each the mean of both sources, then over seeds.

    Parameters
    ----------
    probes : sequence of Probe
        Of the same images, one a seed; at least one.
    repeats, seed : int
        As in `medtk.evaluation.intervals.bootstrap_weighted`. A patient is drawn for all seeds at once.
    """
    ends = np.cumsum([len(probe.labels) for probe in probes])[:-1]
    known = all(probe.groups is not None for probe in probes)
    found = {}
    for metric in METRICS:

        def over_seeds(weights: np.ndarray, metric=metric) -> np.ndarray:
            parts = np.split(weights, ends, axis=1)
            return np.mean([_share(probe, part, metric) for probe, part in zip(probes, parts, strict=True)], axis=0)

        mean = float(over_seeds(np.ones((1, sum(len(probe.labels) for probe in probes))))[0])
        people = np.concatenate([probe.groups for probe in probes]) if known else None
        drawn = intervals.bootstrap_weighted(over_seeds, people, repeats=repeats, seed=seed) if known else None
        found[metric] = Share(mean, drawn)
    return found


def _share(probe: Probe, weights: np.ndarray, metric: str) -> np.ndarray:
    """A metric of the draws, shape (repeats,), mean of both sources; NaN where a source has none."""
    each = []
    for source in (0, 1):
        named, true = (probe.scores > 0.5) == source, probe.labels == source
        right, named, true = (weights @ which.astype(float) for which in (named & true, named, true))
        below = {"Precision": named, "Recall": true, "F1-Score": (named + true) / 2}[metric]
        with np.errstate(invalid="ignore"):
            each.append(right / below)
    return np.mean(each, axis=0)


def said(probes: Sequence[Probe] | None = None) -> str:
    """How to read the line of Table III, in a few sentences.

    Parameters
    ----------
    probes : sequence of Probe, optional
        Of `recorded`, if they are at hand.
    """
    probes = recorded() if probes is None else probes
    if not probes:
        return "No record of the probe answers which hospital an image is from."
    one, found = probes[0], shares(probes)
    where = "from one of two web sites" if one.groups is None else f"from {' or '.join(one.names)}"
    people = "" if one.groups is None else f" of {len(set(one.groups))} patients"
    text = (
        f"*Which hospital?* asks for no disease: all {len(one.labels)} X-rays{people} show COVID-19 and are {where}, "
        "which a regression on 64 grey values has to name, for patients that it has not seen. Precision, recall and "
        f"F1 are means of both sites, over {len(probes)} seeds; a coin has a recall of 0.50. "
    )
    ends = found["Recall"].ends
    if ends is None:
        return text + "The patients are not on this machine, so there is no interval, and nothing can be concluded."
    if ends.low > 0.5:
        return text + "The interval of the recall lies above that: the grey values tell where an image is from."
    return text + (
        "The interval of the recall does not lie above that: these two sites are not told apart here. That is no "
        "proof that a network could not, and it says nothing about the step from sick adults to healthy children."
    )
