"""Chapter 23's answer: what each way to train gains over FedAvg of one model, with intervals that know of patients.

Two measures, because they ask two things. Balanced accuracy counts images on the right side of one half. The area
under the curve (AUC) asks only whether the ill come before the healthy, wherever the threshold is. A network may learn
to rank and still put everybody on one side.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from medtk import data
from medtk.data import Dataset, modalities
from medtk.evaluation import intervals
from medtk.lab import tables
from medtk.lab.covid_spec import DATASETS, SETTING, TITLES, WAYS
from medtk.lab.covid_tables import everything, kept
from medtk.reproduction import records
from medtk.reproduction.paired import FEWEST_SEEDS
from medtk.settings import results_home

LEAST_PATIENTS = 5  # of a class: the draws of a bootstrap over fewer people say little about other people
MEASURES = ("balanced", "AUC")


class Gain(NamedTuple):
    """In points: the mean over seeds, the ends of its 95 % interval, and the gain of each seed.

    With three seeds or more the interval is the wider one of two: what other patients would change, and what another
    training would.
    """

    mean: float
    low: float
    high: float
    by_seed: list[float]

    @property
    def side(self) -> str:
        """``better`` or ``worse`` where the interval and every seed say so, else empty."""
        if self.low > 0 and min(self.by_seed) > 0:
            return "better"
        return "worse" if self.high < 0 and max(self.by_seed) < 0 else ""


def gains(repeats: int = 1000, seed: int = 0) -> pd.DataFrame:
    """What each recorded way gains over FedAvg of one model with the same settings and seeds, in points.

    With a 95 % bootstrap interval, paired: both answered the same images. Where the data set is at hand, whole patients
    are drawn, and the table says how many healthy and ill ones there are, all seeds together. Else single images are
    drawn; frames of one patient are alike, so such an interval is too narrow. How much another training would differ
    no patients tell. So *reading* compares only where there are three seeds or more that agree, whose spread the
    interval then holds too, patients are known, and there are five of each class or more. *Processors* is 2 where the
    two ways of a pair were trained on different kinds: each rounds in its own way, which makes another training of it.
    """
    shown = [f"{title} {what}" for title in TITLES.values() for what in (*MEASURES, "patients")]
    lines, by_id, pools = [], {record["id"]: record for record in kept()}, _pools()
    decide = [*SETTING, "backend", "split"]
    for key, runs in everything().groupby(decide, sort=False):
        p = dict(zip(decide, key, strict=True))
        for way in [name for name in WAYS if name != "multi_modal"]:
            setting, told = tables.federated_setting(p, p["backend"]), []
            line = {"setting": setting, "split": p["split"], "way": WAYS[way]}
            for modality, title in TITLES.items():
                own = runs[runs["modality"] == modality].pivot_table(
                    index="seed", columns="way", values="id", aggfunc="first"
                )
                pairs = own[[way, "multi_modal"]].dropna() if {way, "multi_modal"} <= set(own.columns) else own[:0]
                if pairs.empty:
                    continue
                loaded = [[records.load_predictions(by_id[i], results_home()) for i in ids] for ids in pairs.values]
                people = [_patients(pools[modality], p["split"], s, both[0]["labels"])
                          for s, both in zip(pairs.index, loaded, strict=True)]  # fmt: skip
                found = paired(loaded, None if any(names is None for names in people) else people, repeats, seed)
                counts = _counted(loaded, people)
                line["seeds"] = len(pairs)
                line["processors"] = max(len({by_id[i]["hardware"]["processor"] for i in ids}) for ids in pairs.values)
                line |= {f"{title} {what}": _text(found[what]) for what in MEASURES}
                line[f"{title} patients"] = " + ".join(map(str, counts)) if counts else "not known"
                told.append(f"{title}: {_reading(found, counts, len(pairs))}")
            if told:
                lines.append(line | {"reading": "; ".join(told)})
    columns = ["setting", "split", "way", "seeds", "processors", *shown, "reading"]
    return pd.DataFrame(lines, columns=columns).sort_values(["setting", "split"], kind="stable")


def _text(gain: Gain) -> str:
    return f"{gain.mean:+.1f} [{gain.low:+.1f}, {gain.high:+.1f}]"


def _reading(found: dict[str, Gain], counts: list[int] | None, seeds: int) -> str:
    if seeds < FEWEST_SEEDS:
        return f"in {'this training' if seeds == 1 else f'these {seeds} trainings'}, no verdict"
    if counts is None:
        return "patients not known, interval too narrow"
    if min(counts) < LEAST_PATIENTS:
        return f"{min(counts)} patients of a class are too few"
    return ", ".join(f"{found[what].side} {what}" for what in MEASURES if found[what].side) or "not told apart"


def answer(found: pd.DataFrame | None = None) -> str:
    """Markdown that answers chapter 23's question: one paragraph for each setting and split.

    Parameters
    ----------
    found : DataFrame, optional
        Of `gains`, if it is at hand.
    """
    apart, shares = WAYS["specialised"], WAYS["clustered"]
    said = []
    for (setting, split), lines in (gains() if found is None else found).groupby(["setting", "split"]):
        by_way = lines.set_index("way")
        if not {apart, shares} <= set(by_way.index):
            continue
        seeds = int(by_way.loc[apart, "seeds"])
        head = f"**{setting}; split by {split}, {seeds} seed{'s' * (seeds > 1)}.** "
        numbers = "; ".join(
            f"on {title} a model a modality gains {_both(by_way.loc[apart], title)}, and Algorithm 1 "
            f"{_both(by_way.loc[shares], title)}"
            for title in TITLES.values()
        )
        said.append(
            f"{head}Over one averaged model, in points: {numbers}. Keeping clusters apart: "
            f"{by_way.loc[apart, 'reading']}. New shares alone, which is all that Algorithm 1 does: "
            f"{by_way.loc[shares, 'reading']}."
        )
    return "\n\n".join(said) or "No record answers it yet."


def _both(line: pd.Series, title: str) -> str:
    return f"{line[f'{title} balanced']} of balanced accuracy and {line[f'{title} AUC']} of AUC"


def paired(
    pairs: Sequence[Sequence[dict]], patients: Sequence[np.ndarray] | None, repeats: int = 1000, seed: int = 0
) -> dict[str, Gain]:
    """Gain of one network over another by `MEASURES`, mean over seeds, from answers to the same images.

    Intervals are those of `medtk.evaluation.intervals.bootstrap_weighted`: how often a patient was drawn is the weight
    of the patient's images. From three seeds on they are as wide as those of `medtk.evaluation.intervals.over_seeds`
    where these are wider.

    Parameters
    ----------
    pairs : sequence of pairs
        One a seed: what the record of ours and that of the other hold, ``labels`` (0 and 1) and ``clean``.
    patients : sequence of ndarray, optional
        One a seed: whose image each is. A patient who is tested with two seeds is drawn for both. Left out, images are
        drawn one by one.
    repeats, seed : int
        Number of draws, and their seed.
    """
    sizes = [len(ours["labels"]) for ours, _ in pairs]
    if patients is None:
        patients = [np.array([f"{k}-{i}" for i in range(size)]) for k, size in enumerate(sizes)]
    found = {}
    for what, gain in zip(MEASURES, (_balanced, _area), strict=True):

        def over_seeds(weights: np.ndarray, gain=gain) -> np.ndarray:
            parts = np.split(weights, np.cumsum(sizes)[:-1], axis=1)
            return np.mean([gain(*pair, part) for pair, part in zip(pairs, parts, strict=True)], axis=0)

        by_seed = [float(gain(*pair, np.ones((1, size)))[0]) for pair, size in zip(pairs, sizes, strict=True)]
        ends = [intervals.bootstrap_weighted(over_seeds, np.concatenate(patients), repeats=repeats, seed=seed)]
        if len(by_seed) >= FEWEST_SEEDS:
            ends.append(intervals.over_seeds(by_seed))
        low, high = min(low for low, _ in ends), max(high for _, high in ends)
        found[what] = Gain(float(np.mean(by_seed)), low, high, by_seed)
    return found


def _balanced(ours: dict, base: dict, weights: np.ndarray) -> np.ndarray:
    """Gain in balanced accuracy in each draw, in points; NaN where a draw lacks a class."""
    labels = ours["labels"]
    right = (ours["clean"].argmax(axis=1) == labels).astype(float) - (base["clean"].argmax(axis=1) == labels)
    with np.errstate(invalid="ignore"):
        recalls = [weights[:, c] @ right[c] / weights[:, c].sum(axis=1) for c in (labels == 0, labels == 1)]
    return 100 * np.mean(recalls, axis=0)


def _area(ours: dict, base: dict, weights: np.ndarray) -> np.ndarray:
    """Gain in the area under the curve in each draw, in points; NaN where a draw lacks a class."""
    healthy, ill = (ours["labels"] == c for c in (0, 1))
    above = _above(ours["clean"][:, 1], healthy, ill) - _above(base["clean"][:, 1], healthy, ill)
    area = ((weights[:, ill] @ above) * weights[:, healthy]).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return 100 * (area / (weights[:, ill].sum(axis=1) * weights[:, healthy].sum(axis=1)))


def _above(scores: np.ndarray, healthy: np.ndarray, ill: np.ndarray) -> np.ndarray:
    """For each pair of an ill and a healthy image 1 if the ill one has the higher score, one half if both have one."""
    scores = scores.astype(float)
    return (np.sign(scores[ill][:, None] - scores[healthy][None]) + 1) / 2


def _pools() -> dict[str, Dataset | None]:
    """The data set of each modality, or None where it is not on this machine."""
    here = {modality: data.find(name).source != "missing" for modality, name in DATASETS.items()}
    return {m: data.load(name, size=16, channels=1) if here[m] else None for m, name in DATASETS.items()}


def _patients(pool: Dataset | None, split: str, seed: int, labels: np.ndarray) -> np.ndarray | None:
    """Whose test image each is, from the split made again; None if these are not the images of the record."""
    if pool is None:
        return None
    test = modalities.split(pool, split, int(seed)).test
    return test.groups if np.array_equal(test.labels, labels) else None


def _counted(pairs: Sequence[Sequence[dict]], patients: Sequence[np.ndarray | None]) -> list[int] | None:
    """Healthy and ill patients among the test images of all seeds together."""
    if any(names is None for names in patients):
        return None
    labels = np.concatenate([ours["labels"] for ours, _ in pairs])
    return [len(set(np.concatenate(patients)[labels == c])) for c in (0, 1)]
