"""Tables of chapters 51 and 52: the study's own, what they should have been, and what the ledger holds.

The audit of the hospitals, gaps and calibration, is in `medtk.lab.hospital_audit`.
"""

from collections.abc import Mapping, Sequence
from statistics import mean

import numpy as np
import pandas as pd

from medtk.evaluation import fairness
from medtk.evaluation.intervals import wilson
from medtk.lab import tables
from medtk.lab.hospital_spec import EXPERIMENT, PAPER, hospital_of
from medtk.reproduction import arithmetic, papers, records
from medtk.reproduction.quantities import METRICS, value
from medtk.settings import results_home

# Labels and probabilities of each hospital's own test images, by the hospital's name.
Groups = dict[str, tuple[np.ndarray, np.ndarray]]


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
    judged = {(cell["table"], cell["row"], cell["column"]): cell["ours"] for cell in tables.cells(PAPER)}
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
        name = "all images" if which == "all" else hospital_of(found[which])
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
    Where there are several seeds, ``balanced`` has the lowest and the highest in brackets.
    """
    columns = ["setting", "partition", "alpha", "way", "seeds", "fewest"]
    columns += ["accuracy", "balanced", "re-estimated", "sensitivity", "specificity", "gap"]
    lines = []
    for (setting, partition, alpha, way), runs in sorted(recorded_runs().items(), key=str):
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
        if len(runs) > 1:
            balanced = [t["clean"]["balanced_accuracy"] for t in totals]
            shown[1] += f" [{min(balanced):.1%}, {max(balanced):.1%}]"
        lines.append([setting, partition, alpha, way, len(runs), f"{mean(smallest):.0f}", *shown])
    return pd.DataFrame(lines, columns=columns)


def alpha_sweep() -> str:
    """What the recorded sweep over alpha shows, and whether it is larger than the difference between two seeds.

    For FedAvg, in balanced accuracy, a paragraph for each setting with several values of alpha; empty without any.
    """
    sweeps: dict[str, dict[float, list[dict]]] = {}
    for (setting, partition, alpha, way), runs in recorded_runs().items():
        if (partition, way) == ("dirichlet", "fedavg"):
            sweeps.setdefault(setting, {})[alpha] = [run["all"]["metrics"] for run in runs]
    said = []
    for setting, found in sorted(sweeps.items()):
        if len(found) < 2:
            continue
        scores = {alpha: [t["clean"]["balanced_accuracy"] for t in found[alpha]] for alpha in sorted(found)}
        between = float(np.ptp([mean(values) for values in scores.values()]))
        within = max(float(np.ptp(values)) for values in scores.values())
        single = [f"{alpha:g}" for alpha, values in scores.items() if len(values) == 1]
        said.append(
            f"{setting}: over alpha the mean moves by {100 * between:.1f} points, over seeds at one alpha by up to "
        )
        said[-1] += f"{100 * within:.1f}."
        if single:
            said[-1] += f" One seed only at alpha {', '.join(single)}."
        if single or between < 2 * within:
            said[-1] += " So the sweep does not resolve an effect of alpha."
        fewest = {a: round(min(2 * m["images"] for t in found[a] for n, m in t.items() if n.startswith("training-")))
                  for a in scores}  # fmt: skip
        least = min(fewest, key=fewest.get)
        said[-1] += f" At alpha {least:g} the smallest hospital has {fewest[least]} training images."
    return "\n".join(said)


def copies() -> str:
    """Recorded runs of Krum or the median whose every answer is that of one hospital alone, a sentence each."""
    runs, said = recorded_runs(), []
    for (setting, partition, alpha, way), found in sorted(runs.items(), key=str):
        alone = {run["all"]["seed"]: run["all"] for run in runs.get((setting, partition, alpha, "local"), [])}
        for record in (run["all"] for run in found if way in ("krum", "median", "trimmed_mean")):
            if record["seed"] not in alone:
                continue
            mine = records.load_predictions(record, results_home())["clean"]
            theirs = records.load_predictions(alone[record["seed"]], results_home())
            same = [n for n in theirs if n.startswith("hospital_") and np.array_equal(theirs[n], mine)]
            said += [
                f"{way}, {partition} {alpha}, seed {record['seed']}: each answer is that of {n} alone." for n in same
            ]
    return "\n".join(said)


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


def recorded_runs() -> dict[tuple, list[dict[str, dict]]]:
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
            setting = f"{tables.federated_setting(p, run['all']['backend'])}, {p['n_train']:,} images"
            settings.setdefault((setting, p["partition"], alpha, p["way"]), []).append(run)
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
