"""The audit of chapter 52: differences between hospitals, what chance gives, and what a stated probability means."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from medtk.data.hospitals import Hospital
from medtk.evaluation import calibration, fairness
from medtk.lab.hospital_spec import called, hospital_of
from medtk.lab.hospital_tables import Groups, recorded_runs
from medtk.reproduction import records
from medtk.settings import results_home

OUTCOMES = {"accuracy": fairness.is_right, "sensitivity": fairness.is_found, "false alarms": fairness.is_alarm}


def groups(found: Mapping[str, dict], home, condition: str = "clean") -> Groups:
    """Stored answers by hospital, from the records of a run as `medtk.lab.hospital.recorded` gives them."""
    stored = {hospital_of(r): records.load_predictions(r, home) for which, r in found.items() if which != "all"}
    return {name: (s["labels"], s[condition]) for name, s in stored.items()}


def patients_of(members: Sequence[Hospital]) -> dict[str, np.ndarray] | None:
    """Patient of each test image, by hospital as `groups` names them; None where the source does not tell."""
    found = {called(member.name): member.test.groups for member in members}
    return None if any(one is None for one in found.values()) else found


def gaps(
    found: Groups, *, patients: Mapping[str, np.ndarray] | None = None, repeats: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Largest difference between hospitals, its 95 % interval, and how often chance gives as large a one.

    Parameters
    ----------
    found : dict
        From `groups`.
    patients : dict, optional
        From `patients_of`; without it every image counts as a patient.
    repeats, seed : int
        Of the shuffles.
    """
    lines = []
    for name, outcome in OUTCOMES.items():
        gap = fairness.gap(found, outcome, patients=patients)
        if gap is None:
            continue
        chance = fairness.gap_by_chance(found, outcome, repeats=repeats, seed=seed, patients=patients)
        low, high = (100 * end for end in gap.interval)
        line = {"gap in": name, "points": f"{100 * gap.value:.1f}", "95 % interval": f"{low:.1f} to {high:.1f}"}
        highest, lowest = (gap.highest, gap.lowest) if gap.value else ("–", "–")  # all are equal
        lines.append(line | {"highest": highest, "lowest": lowest, "as large by chance": f"{chance:.0%}"})
    return pd.DataFrame(lines)


def recorded_gaps(repeats: int = 500) -> pd.DataFrame:
    """Gaps in sensitivity between the hospitals of every recorded run of FedAvg, with what chance alone gives.

    A record does not hold the patients, so every image counts as one here.
    """
    lines = []
    for (setting, partition, alpha, way), runs in sorted(recorded_runs().items(), key=str):
        for run in runs if way == "fedavg" else []:
            gap = gaps(groups(run, results_home()), repeats=repeats).set_index("gap in").loc["sensitivity"]
            line = {"setting": setting, "partition": partition, "alpha": alpha, "seed": run["all"]["seed"]}
            lines.append(line | gap.to_dict())
    columns = ["setting", "partition", "alpha", "seed", "points", "95 % interval", "highest", "lowest"]
    return pd.DataFrame(lines, columns=[*columns, "as large by chance"])


def calibrated(found: Groups, *, repeats: int = 500, seed: int = 0) -> pd.DataFrame:
    """Confidence, accuracy and calibration error of each hospital, beside the error of perfect probabilities.

    With few images a calibration error is above 0 though nothing is wrong. How far above is found by drawing: the
    labels come from the probabilities themselves, so that these are right by construction.
    """
    random, lines = np.random.default_rng(seed), []
    for name, (labels, given) in found.items():
        probabilities = np.asarray(given, np.float64)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        below = probabilities.cumsum(axis=1)[:, :-1]
        drawn = [
            calibration.expected_error((random.random((len(labels), 1)) > below).sum(axis=1), probabilities)
            for _ in range(repeats)
        ]
        lines.append(
            {
                "hospital": name,
                "images": len(labels),
                "mean confidence": f"{probabilities.max(axis=1).mean():.1%}",
                "accuracy": f"{fairness.accuracy(labels, probabilities):.1%}",
                "calibration error": f"{calibration.expected_error(labels, probabilities):.3f}",
                "if perfect: mean": f"{np.mean(drawn):.3f}",
                "95 % below": f"{np.quantile(drawn, 0.95):.3f}",
            }
        )
    return pd.DataFrame(lines)


def rates(found: Groups) -> dict[str, dict[str, fairness.Rate]]:
    """What a heatmap should show: by hospital, four shares with their intervals; class 1 is the positive one."""
    shown = {}
    for name, (labels, probabilities) in found.items():
        sick = fairness.per_class(labels, probabilities)[1]
        right = int(np.sum(np.asarray(probabilities).argmax(axis=1) == labels))
        shown[name] = {"accuracy": fairness.rate(right, len(labels))} | {
            what: sick[what] for what in ("sensitivity", "specificity", "precision")
        }
    return shown
