"""Tables of chapters 51 and 52: the study's own, what they should have been, and what the ledger holds."""

from collections.abc import Mapping, Sequence
from statistics import mean

import numpy as np
import pandas as pd

from medtk.evaluation import calibration, fairness
from medtk.evaluation.intervals import wilson
from medtk.lab import tables
from medtk.lab.hospital_spec import EXPERIMENT, PAPER
from medtk.reproduction import arithmetic, papers, records
from medtk.reproduction.quantities import METRICS, value
from medtk.settings import results_home

# Labels and probabilities of each hospital's own test images, by the hospital's name.
Groups = dict[str, tuple[np.ndarray, np.ndarray]]
METRICS_OF_GAPS = {
    "accuracy": fairness.accuracy,
    "sensitivity": fairness.true_positive_rate,
    "false alarms": fairness.false_positive_rate,
}


def groups(found: Mapping[str, dict], home, condition: str = "clean") -> Groups:
    """Stored answers by hospital, from the records of a run as `medtk.lab.hospital.recorded` gives them."""
    stored = {which: records.load_predictions(r, home) for which, r in found.items() if which != "all"}
    return {f"hospital {which}": (s["labels"], s[condition]) for which, s in stored.items()}


def layers(counts: Mapping[str, int]) -> pd.DataFrame:
    """Fig. 1: parameters printed and counted, layer by layer."""
    printed = {cell.row: cell.printed for cell in papers.load(PAPER).cells if cell.table == "Fig. 1"}
    lines = [
        {"layer": row, "printed": f"{printed[row]:,.0f}", "counted": f"{n:,}", "equal": n == printed[row]}
        for row, n in counts.items()
    ]
    return pd.DataFrame(lines)


def as_printed(found: Mapping[str, dict]) -> pd.DataFrame:
    """Tables 1 and 2 in the study's own columns: printed, recorded in the ledger, and of the present run.

    Parameters
    ----------
    found : mapping
        Records of this run by hospital, and ``all``.
    """
    judged = {(cell["table"], cell["row"], cell["column"]): cell["ours"] for cell in tables.ledger(PAPER)[0]}
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for cell in papers.load(PAPER).cells:
        if cell.table in ("1", "2"):
            mine = found.get(cell.needs["hospital"])
            now = None if mine is None else value(mine["metrics"]["clean"], cell.metric)
            for source, number in (("printed", cell.printed), ("recorded", judged[cell.key]), ("this run", now)):
                lines.setdefault((cell.row, source), {})[cell.column] = _plain(number, cell.metric)
    return pd.DataFrame(lines.values(), index=pd.MultiIndex.from_tuples(lines))


def by_class(found: Mapping[str, dict], condition: str = "clean") -> pd.DataFrame:
    """Tables 1 and 2 as they should be: shares of one class, with 95 % Wilson intervals.

    Rows are hospitals and all; class 1, the pneumonia, is the positive one.
    """
    lines = {}
    for which in sorted(found, key=lambda name: name != "all"):
        metrics = found[which]["metrics"][condition]
        name = "all images" if which == "all" else f"hospital {which}"
        lines[name] = {"images": metrics["n"]} | _shares(metrics["confusion"])
        lines[name] |= {"macro F1": f"{metrics['macro_f1']:.3f}", "loss": f"{metrics['loss']:.3f}"}
    return pd.DataFrame(lines).T


def ways(found: Mapping[str, dict]) -> pd.DataFrame:
    """Several ways to train beside each other, on all test images.

    Parameters
    ----------
    found : mapping
        From what to call a way to a record of all images, or to a pair of it and a condition (else ``clean``).
    """
    lines = {}
    for name, given in found.items():
        record, condition = given if isinstance(given, tuple) else (given, "clean")
        metrics = record["metrics"][condition]
        lines[name] = _shares(metrics["confusion"])
        lines[name] |= {"balanced": f"{metrics['balanced_accuracy']:.1%}", "loss": f"{metrics['loss']:.3f}"}
    return pd.DataFrame(lines).T


def recorded() -> pd.DataFrame:
    """Every recorded run of the study, one line a setting, means over seeds; no lines from an empty ledger.

    ``fewest`` is the number of training images of the smallest hospital, and ``gap`` the largest accuracy of a
    hospital minus the smallest. ``re-estimated`` has normalisation statistics measured again after the last round.
    """
    columns = ["setting", "partition", "alpha", "way", "seeds", "fewest"]
    columns += ["accuracy", "balanced", "re-estimated", "sensitivity", "specificity", "gap"]
    lines = []
    for (setting, partition, alpha, way), runs in sorted(_recorded_runs().items(), key=str):
        totals = [run["all"]["metrics"] for run in runs]
        recalls = [[row[c] / sum(row) for c, row in enumerate(t["clean"]["confusion"])] for t in totals]
        spread = [
            np.ptp([r["metrics"]["clean"]["accuracy"] for which, r in run.items() if which != "all"]) for run in runs
        ]
        smallest = [min(2 * m["images"] for name, m in t.items() if name.startswith("training-")) for t in totals]
        shown = [
            mean(t["clean"]["accuracy"] for t in totals),
            mean(t["clean"]["balanced_accuracy"] for t in totals),
            mean(t["reestimated"]["balanced_accuracy"] for t in totals) if "reestimated" in totals[0] else None,
            *(mean(recall[c] for recall in recalls) for c in (1, 0)),
            float(mean(spread)),
        ]
        shown = ["–" if share is None else f"{share:.1%}" for share in shown]
        lines.append([setting, partition, alpha, way, len(runs), f"{mean(smallest):.0f}", *shown])
    return pd.DataFrame(lines, columns=columns)


def right_by_class() -> dict[str, tuple[int, int]]:
    """Right answers on pneumonia and on normal images behind each printed row, the larger taken for pneumonia.

    Accuracy and macro F1 fix them, whatever the sizes of the classes. A hospital whose macro F1 fits no counts gets
    what the others leave over of the global row.
    """
    paper, found = papers.load(PAPER), {}
    for cell in (cell for cell in paper.cells if cell.metric == "macro_f1"):
        fits = arithmetic.right_by_class(cell.n, _right(cell), cell.printed, cell.decimals)
        found[cell.row] = fits[0] if len(fits) == 1 else None
    whole, *parts = found
    known = [found[part] for part in parts if found[part]]
    left = tuple(found[whole][c] - sum(pair[c] for pair in known) for c in (0, 1))
    return {row: pair or left for row, pair in found.items()}


def matrices() -> pd.DataFrame:
    """What each printed row says and what lies behind it, if each hospital has a third of the official test set."""
    cells = [cell for cell in papers.load(PAPER).cells if cell.metric == "macro_f1"]
    lines = []
    for cell, (ill, well) in zip(cells, right_by_class().values(), strict=True):
        n_ill, n_well = _classes(cell.n)
        lines.append(
            {
                "row": cell.row,
                "images": cell.n,
                "printed FN": cell.n - _right(cell),
                "printed macro F1": cell.text,
                "macro F1 of these counts": f"{arithmetic.macro_f1(ill, well, cell.n):.{cell.decimals}f}",
                "missed": n_ill - ill,
                "false alarms": n_well - well,
                "sensitivity": _rate(fairness.rate(ill, n_ill)),
                "specificity": _rate(fairness.rate(well, n_well)),
            }
        )
    return pd.DataFrame(lines)


def rebuilt() -> Groups:
    """Labels and answers, as sure as can be, that give the counts behind the printed rows of the three hospitals."""
    found = {}
    for row, (ill, well) in list(right_by_class().items())[1:]:
        n = papers.load(PAPER).cell("2", row, "F1 Avg").n
        n_ill, n_well = _classes(n)
        labels = np.repeat([1, 0], [n_ill, n_well])
        said = np.repeat([1, 0, 0, 1], [ill, n_ill - ill, well, n_well - well])
        found[row.lower()] = (labels, np.eye(2)[said])
    return found


def _right(cell: papers.Cell) -> int:
    return round(papers.load(PAPER).cell(cell.table, cell.row, "TP").printed)


def _classes(n: int) -> tuple[int, int]:
    """Pneumonia and normal images among n with the class shares of the official test set."""
    facts = papers.load(PAPER).datasets["chest_xray"]
    return tuple(round(n * facts["classes"][name] / facts["n_test"]) for name in ("pneumonia", "normal"))


def gaps(found: Groups, *, repeats: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Largest difference between hospitals, its 95 % bootstrap interval, and how often chance gives as large a one.

    Parameters
    ----------
    found : dict
        From `groups`.
    repeats, seed : int
        Of the bootstrap and of the shuffles.
    """
    lines = []
    for name, metric in METRICS_OF_GAPS.items():
        gap = fairness.gap(found, metric, repeats=repeats, seed=seed)
        if gap is None:
            continue
        chance = fairness.gap_by_chance(found, metric, repeats=repeats, seed=seed)
        low, high = (100 * end for end in gap.interval)
        line = {"gap in": name, "points": f"{100 * gap.value:.1f}", "95 % interval": f"{low:.1f} to {high:.1f}"}
        highest, lowest = (gap.highest, gap.lowest) if gap.value else ("–", "–")  # all are equal
        lines.append(line | {"highest": highest, "lowest": lowest, "as large by chance": f"{chance:.0%}"})
    return pd.DataFrame(lines)


def recorded_gaps(repeats: int = 500) -> pd.DataFrame:
    """Gaps in sensitivity between the hospitals of every recorded run of FedAvg, with what chance alone gives."""
    lines = []
    for (setting, partition, alpha, way), runs in sorted(_recorded_runs().items(), key=str):
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


def _recorded_runs() -> dict[tuple, list[dict[str, dict]]]:
    """Complete runs of the ledger by setting: each a dict of records by hospital, with one of all images."""
    runs: dict[str, dict[str, dict]] = {}
    for record in records.read_all(results_home()):
        if (record["paper"], record["experiment"]) == (PAPER, EXPERIMENT):
            which = record["parameters"]["hospital"]
            stem, _, seed = record["id"].rpartition("-s")
            runs.setdefault(f"{stem.removesuffix(f'-{which}')}-s{seed}", {})[which] = record
    settings: dict[tuple, list] = {}
    for run in runs.values():
        if "all" in run:
            p = run["all"]["parameters"]
            alpha = p["dirichlet_alpha"] if p["partition"] in ("dirichlet", "quantity_skew") else "–"
            settings.setdefault((tables.federated_setting(p), p["partition"], alpha, p["way"]), []).append(run)
    return settings


def _shares(confusion: Sequence[Sequence[int]]) -> dict[str, str]:
    (true_negative, false_positive), (false_negative, true_positive) = confusion
    ill, well = false_negative + true_positive, true_negative + false_positive
    return {
        "accuracy": _rate(fairness.rate(true_negative + true_positive, ill + well)),
        "sensitivity": _rate(fairness.rate(true_positive, ill)),
        "specificity": _rate(fairness.rate(true_negative, well)),
        "missed": false_negative,
        "false alarms": false_positive,
    }


def _rate(rate: fairness.Rate) -> str:
    if rate.value is None:
        return "–"
    low, high = wilson(rate.k, rate.n)[:2]
    return f"{rate.value:.1%} [{low:.1%}, {high:.1%}]"


def _plain(number: float | None, metric: str) -> str:
    if number is None:
        return "–"
    return f"{number:.0f}" if METRICS[metric].kind == "count" else f"{number:.4f}"
