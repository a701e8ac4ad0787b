"""Tables that set the paper, the ledger and the present run side by side."""

from collections.abc import Iterable, Mapping
from statistics import mean

import numpy as np
import pandas as pd

from medtk import data
from medtk.data import Dataset
from medtk.evaluation import intervals
from medtk.lab import robust_tables
from medtk.reproduction import compare, papers, records
from medtk.reproduction.answers import reestimated
from medtk.reproduction.quantities import METRICS, shown
from medtk.settings import results_home

VERDICTS = {
    "reproduced": "reproduced",
    "direction": "direction holds",
    "differs": "differs",
    "not_testable": "not testable here",
    "unrecorded": "no record yet",
}
COUNTS = ("images", "parameters")  # of a data set or a network; nothing is tested


def cells(paper: str) -> list[dict]:
    """Judged cells of a paper, from the records of this project; no other paper is looked at, and no claim."""
    return compare.cells(records.read_all(results_home()), results_home(), [paper])


def beside_paper(paper: str, table: str, *, rows: str = "", this_run: dict | None = None) -> pd.DataFrame:
    """One table of the paper: printed, recorded with its interval, this run, verdict, and what the records differ in.

    ``images`` are those that the recorded number was measured on, ``seeds`` the runs that it is a mean of.

    Parameters
    ----------
    paper, table : str
        Such as ``"robust_transfer"`` and ``"I"``.
    rows : str
        Keep the rows whose name starts with this.
    this_run : dict, optional
        A record; the cells that it answers are filled in.
    """
    mine = {}
    for cell in (this_run or {}).get("cells", []):
        value = this_run["metrics"][cell["predictions"]][cell.get("metric", "accuracy")]
        mine[cell["table"], cell["row"], cell["column"]] = value
    lines = []
    for cell in cells(paper):
        if cell["table"] != table or not cell["row"].startswith(rows):
            continue
        now = mine.get((table, cell["row"], cell["column"]))
        recorded = "" if cell["ours"] is None else _brief(cell["ours"], cell["metric"])
        if cell["low"] is not None:
            recorded += f" [{_brief(cell['low'], cell['metric'])}, {_brief(cell['high'], cell['metric'])}]"
        lines.append(
            {
                "row": cell["row"],
                "column": cell["column"],
                "paper": "" if cell["printed"] is None else _brief(cell["printed"], cell["metric"], 2),
                "recorded": recorded,
                "this run": "" if now is None else _brief(now, cell["metric"]),
                "verdict": VERDICTS[cell["verdict"]],
                "images": f"{cell['n']:,}" if cell["runs"] and cell["metric"] not in COUNTS else "",
                "seeds": str(cell["runs"] or ""),
                "differs in": "; ".join(deviation.partition(":")[0] for deviation in cell["deviations"]),
            }
        )
    return pd.DataFrame(lines)


def _brief(value: float, metric: str, decimals: int = 1) -> str:
    """A share with few decimals, anything else as the book's tables write it."""
    return f"{value:.{decimals}%}" if METRICS[metric].kind == "share" else shown(value, metric)


def claims(paper: str, ids: list[str], *, behind: bool = False) -> pd.DataFrame:
    """Verdicts of the ledger on the claims of a paper with these ids; `behind` adds the records that they rest on."""
    wanted = {claim.text for claim in papers.load(paper).claims if claim.id in ids}
    home = results_home()
    judged = compare.claims(records.read_all(home), home, [paper])
    found = [claim for claim in judged if claim["claim"] in wanted]
    lines = [{"claim": c["claim"], "verdict": VERDICTS[c["verdict"]], "why": c["reason"]} for c in found]
    if behind:
        lines = [line | {"records": _abbreviated(c["records"])} for line, c in zip(lines, found, strict=True)]
    return pd.DataFrame(lines)


def _abbreviated(ids: list[str]) -> str:
    """Ids of records without the paper, those that differ in nothing but the seed as one."""
    seeds: dict[str, list[str]] = {}
    for name in ids:
        stem, _, seed = name.split("/", 1)[-1].rpartition("-s")
        seeds.setdefault(stem, []).append(seed)
    return "; ".join(f"{stem}-s{','.join(sorted(found))}" for stem, found in seeds.items()) or "–"


def by_group(paper: str, dataset: str) -> pd.DataFrame:
    """Recorded baselines on the published split of a data set and on the split by group, over seeds, unattacked.

    The state is that with the normalisation statistics measured again where it was recorded; intervals are those of
    `medtk.lab.robust_tables.accuracy`. Always saying the commonest class has balanced accuracy 1 / classes and AUC
    0.5.
    """
    groups: dict[tuple, list[dict]] = {}
    for record in records.read_all(results_home()):
        name = record["data"]["name"]
        if (record["paper"], record["experiment"]) == (paper, "transfer") and name in (dataset, dataset + data.GROUPED):
            p, metrics = record["parameters"], record["metrics"]
            split = "published" if name == dataset else "by group"
            setting = (p["network"], record["weights"]["source"], p["trainable"], p["scaling"], split)
            groups.setdefault(setting, []).append(metrics[_state(metrics, "clean")])
    names, lines = ("network", "weights", "trained", "pixels", "split"), []
    for setting, runs in sorted(groups.items(), reverse=True):
        aucs = [run["auc"] for run in runs]
        line = dict(zip(names, setting, strict=True)) | {"seeds": len(runs), "accuracy": robust_tables.accuracy(runs)}
        line["balanced accuracy"] = robust_tables.balanced(runs)
        lines.append(line | {"auc": "–" if None in aucs else f"{mean(aucs):.1%}"})
    return pd.DataFrame(lines, columns=[*names, "seeds", "accuracy", "balanced accuracy", "auc"])


def seen_or_not(paper: str, dataset: Dataset) -> pd.DataFrame:
    """Recorded answers to test images whose group was also trained on, and to the others, unattacked.

    Parameters
    ----------
    paper : str
    dataset : Dataset
        With groups, its whole test split; records of other test images are left out.
    """
    seen, lines = data.seen_in_training(dataset), []
    for record in records.read_all(results_home()):
        if (record["paper"], record["experiment"], record["data"]["name"]) != (paper, "transfer", dataset.name):
            continue
        kept = records.load_predictions(record, results_home())
        if not np.array_equal(kept["labels"], dataset.test.labels):
            continue
        right = kept[_state(record["metrics"], "clean")].argmax(axis=1) == kept["labels"]
        line = {"network": record["parameters"]["network"], "seed": record["seed"]}
        for what, part in (("seen", seen), ("not seen", ~seen)):
            each = [right[part & (kept["labels"] == c)] for c in np.unique(kept["labels"][part])]
            line[f"right, {what}"] = _counted(right[part])
            line[f"balanced, {what}"] = f"{mean(float(np.mean(one)) for one in each):.1%}" if each else "–"
        lines.append(line)
    return pd.DataFrame(lines)


def spread(values: Iterable[float], form: str, *, n: int = 0, within: tuple = (-float("inf"), float("inf"))) -> str:
    """A mean over seeds, with how far it could be off.

    Two values: their range, as ``(low to high)``. Three or more: the 95 % interval of the mean over seeds, Student's t,
    as ``[low, high]``, cut off at the ends of `within`. One value: Wilson's interval for a share of `n` images, if `n`
    is given. No value: a dash.
    """
    values = [float(value) for value in values]
    if not values:
        return "–"
    said = f"{mean(values):{form}}"
    if len(values) == 2:
        return f"{said} ({min(values):{form}} to {max(values):{form}})"
    if len(values) == 1 and not n:
        return said
    low, high = intervals.over_seeds(values) if len(values) > 2 else intervals.wilson(round(values[0] * n), n)
    return f"{said} [{max(low, within[0]):{form}}, {min(high, within[1]):{form}}]"


def conditions(kept: dict[str, dict], ways: dict[str, str]) -> pd.DataFrame:
    """Accuracy of several networks in several conditions, with 95 % Wilson intervals.

    Parameters
    ----------
    kept : dict
        From the name of a network to its stored predictions, with ``labels``.
    ways : dict
        From what to call a condition to its name in the predictions.
    """
    lines = {what: {who: _share(found, name) for who, found in kept.items()} for what, name in ways.items()}
    return pd.DataFrame(lines).T


def federated_setting(parameters: Mapping, backend: str) -> str:
    """One line with what decides a federated run beside its images, its clients' shares, its way and its seed.

    The backend is named where it is not TensorFlow.
    """
    p = parameters
    computed = "" if backend == "tensorflow" else f", on {backend}"
    clinics = f"{p['clients']} clinics a modality, " if "clients" in p else ""
    weights = "" if p["weights"] == "auto" else f" ({p['weights']} weights)"
    epochs = f"{p['local_epochs']} epoch{'s' * (p['local_epochs'] > 1)}"
    return (
        f"{p['network']}{weights}, {p['size']} pixels, {clinics}{p['rounds']} rounds of {epochs}, "
        f"batch {p['batch_size']}, rate {p['learning_rate']:g}{computed}"
    )


def _share(predictions: dict, name: str) -> str:
    return _counted(predictions[name].argmax(axis=1) == predictions["labels"])


def _counted(right: np.ndarray) -> str:
    if not len(right):
        return "–"
    low, high = intervals.wilson(int(right.sum()), len(right))[:2]
    return f"{right.mean():.1%} [{low:.1%}, {high:.1%}]"


def _state(metrics: dict, name: str) -> str:
    """Name of a condition in its re-estimated state where that was recorded."""
    again = reestimated(name)
    return again if again in metrics else name
