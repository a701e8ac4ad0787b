"""Tables and figures of the chapters around a small network: this run, the ledger, and what a search tried."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from medtk.data import Dataset
from medtk.edge import search
from medtk.evaluation import intervals, metrics
from medtk.lab.edge_spec import PAPER
from medtk.lab.plots import MARKERS, PALETTE, stamp
from medtk.reproduction import records
from medtk.reproduction.variants import processor
from medtk.settings import results_home

# Conditions of each experiment in the order of a table, and the names of their costs.
ROWS = {
    "distillation": {
        "teacher": ("teacher", "cost-teacher"),
        "small, alone": ("alone", "cost-alone"),
        "small, taught": ("clean", "cost-distilled"),
        "taught, then half the filters": ("pruned", "cost-pruned"),
        "… then whole numbers": ("int8", "cost-int8"),
    },
    "search": {
        "by hand": ("by_hand", "cost-by_hand"),
        "found at random": ("random", "cost-random"),
        "found by NSGA-II": ("clean", "cost-nsga2"),
    },
    "federated": {
        "each hospital alone": ("local", None),
        "averaged": ("clean", None),
        "in one place": ("centralised", None),
    },
    "transfer": {
        "from scratch": ("scratch", None),
        "last layer only": ("head", None),
        "taken over": ("clean", None),
    },
}
REFERENCE = {"distillation": "alone", "search": "by_hand", "federated": "centralised", "transfer": "scratch"}


def compared(record: Mapping, home: Path) -> pd.DataFrame:
    """One record: each network's quality on the same images, what it costs, and McNemar's test against one of them.

    Parameters
    ----------
    record : dict
        Of one of the experiments of `ROWS`.
    home : path
        Folder of the record.
    """
    kept, measured, lines = records.load_predictions(record, home), record["metrics"], []
    reference = REFERENCE[record["experiment"]]
    for title, (condition, costs) in ROWS[record["experiment"]].items():
        labels, answers = kept["labels"], kept[condition]
        right = int(np.sum(answers.argmax(axis=1) == labels))
        low, high = intervals.wilson(right, len(labels))[:2]
        found = measured[condition]
        line = {"network": title, "accuracy": f"{found['accuracy']:.1%} [{low:.1%}, {high:.1%}]"}
        line |= {"balanced": f"{found['balanced_accuracy']:.1%}", "AUC": _auc(found["auc"])}
        p = intervals.mcnemar(labels, kept[reference], answers).p
        line["p beside " + _title(record["experiment"], reference)] = "–" if condition == reference else f"{p:.3f}"
        if costs:
            line |= _sizes(measured[costs]) | {"ms an image": f"{measured[costs]['median_ms']:.3g}"}
        lines.append(line)
    return pd.DataFrame(lines)


def recorded(experiment: str) -> pd.DataFrame:
    """All records of an experiment, means over seeds: balanced accuracy of each network, and what it costs.

    Times are means over the seeds that were measured on one kind of processor, with its name.
    """
    groups: dict[str, list[dict]] = {}
    for record in records.read_all(results_home()):
        if (record["paper"], record["experiment"]) == (PAPER, experiment):
            groups.setdefault(record["id"].rpartition("/")[2].rpartition("-s")[0], []).append(record)
    lines = []
    for name, runs in groups.items():
        for title, (condition, costs) in ROWS[experiment].items():
            values = [run["metrics"][condition]["balanced_accuracy"] for run in runs]
            line = {"setting": name, "network": title, "seeds": len(runs), "balanced": f"{mean(values):.1%}"}
            line["least to most"] = f"{min(values):.1%} to {max(values):.1%}" if len(runs) > 1 else "–"
            line["AUC"] = _auc(mean(run["metrics"][condition]["auc"] for run in runs))
            if costs:
                sizes = {what: mean(run["metrics"][costs][what] for run in runs) for what in ("bytes", "macs")}
                line |= _sizes(sizes) | {"ms an image": _by_processor(runs, costs)}
            lines.append(line)
    return pd.DataFrame(lines, columns=None if lines else ["setting", "network", "seeds", "balanced"])


def devices() -> pd.DataFrame:
    """Recorded times under stand-ins for devices; a network that does not run there has none."""
    lines = []
    for record in records.read_all(results_home()):
        if (record["paper"], record["experiment"]) == (PAPER, "device"):
            found = {name: m for name, m in record["metrics"].items() if "runs" in m}
            setting = {"setting": record["id"].rpartition("/")[2], "measured on": processor(record)}
            lines += [setting | line for line in times(found).to_dict("records")]
    return pd.DataFrame(lines, columns=None if lines else ["setting", "network and limit", "median ms"])


def times(measurements: Mapping[str, Mapping]) -> pd.DataFrame:
    """Times under stand-ins, from `medtk.lab.edge_systems.limited` or the metrics of its record."""
    lines = []
    for name, found in measurements.items():
        # The first records of devices were made with one thread everywhere, and do not say so.
        threads = f"{np.mean(found['threads']):.0f}" if "threads" in found else "1" if "median_ms" in found else "–"
        line = {"network and limit": name, "threads": threads}
        for what, title in (("cold_ms", "first answer, ms"), ("median_ms", "median ms"), ("p95_ms", "95 % within, ms"),
                            ("peak_mb", "memory, MB")):  # fmt: skip
            line[title] = f"{np.median(found[what]):.3g}" if what in found else "does not run"
        lines.append(line)
    return pd.DataFrame(lines)


def candidates(found: Sequence[search.Found]) -> pd.DataFrame:
    """The front of a search, with the measured milliseconds of one answer if the search had a limit of time."""
    lines = []
    for one in search.front(found):
        line = {
            "architecture": one.architecture.name,
            "validation, balanced": f"{one.quality:.1%}",
            "kB": f"{one.price.bytes / 1e3:.1f}",
            "million multiplications": f"{one.price.macs / 1e6:.2f}",
        }
        lines.append(line | ({} if one.ms is None else {"ms": f"{one.ms:.3f}"}))
    return pd.DataFrame(lines)


def timed(record: Mapping, home: Path) -> pd.DataFrame:
    """Searches with a limit of time: what each tried, how long an answer took, and what the limit forbade.

    Parameters
    ----------
    record : dict
        Of a search. One without a limit of time gives an empty table.
    home : path
        Folder of the record.
    """
    kept, limit, lines = records.load_predictions(record, home), record["parameters"].get("max_ms"), []
    for sampler in search.SAMPLERS:
        if f"timed-{sampler}/ms" in kept:
            ms, trained = kept[f"timed-{sampler}/ms"], kept[f"timed-{sampler}/trained"]
            lines.append(
                {
                    "search": sampler,
                    "candidates": len(ms),
                    "ms, least to most": f"{ms.min():.3f} to {ms.max():.3f}",
                    f"over {limit:g} ms": int(np.sum(ms > limit)),
                    "trained": int(trained.sum()),
                    "measured on": "{processor}, {cores} cores".format(**record["hardware"]),
                }
            )
    return pd.DataFrame(lines)


def fronts(found: Mapping[str, Sequence[search.Found]], *, max_macs: int, dataset: Dataset | None = None) -> plt.Figure:
    """What each search tried, its front as a line, and the limit; candidates over the limit lie at the bottom.

    Parameters
    ----------
    found : dict
        By name of the search.
    max_macs : int
    dataset : Dataset, optional
        Marks the figure if the data are synthetic.
    """
    figure, axis = plt.subplots(figsize=(6.6, 3.8))
    for (name, tried), colour, marker in zip(found.items(), PALETTE, MARKERS, strict=False):
        trained = [one for one in tried if one.quality is not None]
        x, y = ([f(one) for one in trained] for f in (lambda one: one.price.macs / 1e6, lambda one: one.quality))
        axis.scatter(x, y, color=colour, marker=marker, alpha=0.45, label=f"{name}: {len(trained)} trained")
        best: list[search.Found] = []
        for one in search.front(tried):  # in two dimensions: what costs more has to be better
            if not best or one.quality > best[-1].quality:
                best.append(one)
        axis.step([one.price.macs / 1e6 for one in best], [one.quality for one in best], where="post", color=colour)
    axis.axvline(max_macs / 1e6, color="black", linestyle=":", label="limit")
    axis.set(xscale="log", xlabel="million multiplications for one image", ylabel="balanced accuracy, validation")
    axis.legend(fontsize=8)
    figure.tight_layout()
    return stamp(figure, dataset)


def interval(record: Mapping, condition: str, home: Path) -> tuple[float, float, float]:
    """Balanced accuracy of a condition of a record, and its 95 % bootstrap interval."""
    kept = records.load_predictions(record, home)
    labels, answers = kept["labels"], kept[condition].astype(np.float64)

    def balanced(drawn_labels, drawn):
        return metrics.balanced_accuracy(metrics.confusion(drawn_labels, drawn.argmax(axis=1), drawn.shape[1]))

    return (balanced(labels, answers), *intervals.bootstrap(labels, answers, balanced, repeats=500))


def bars(found: Mapping[str, tuple[float, float, float]], *, dataset: Dataset | None = None) -> plt.Figure:
    """Values with their intervals, one a line; dotted is one half, what a constant answer gets with two classes."""
    figure, axis = plt.subplots(figsize=(6.6, 0.42 * len(found) + 1.1))
    for place, (value, low, high) in enumerate(found.values()):
        axis.errorbar(
            value,
            -place,
            xerr=[[max(value - low, 0)], [max(high - value, 0)]],
            fmt=MARKERS[0],
            color=PALETTE[0],
            capsize=3,
        )
    axis.axvline(0.5, color="black", linestyle=":")
    axis.set_yticks(-np.arange(len(found)), list(found))
    axis.set(xlabel="balanced accuracy, test images")
    figure.tight_layout()
    return stamp(figure, dataset)


def _sizes(found: Mapping) -> dict[str, str]:
    return {"kB": f"{found['bytes'] / 1e3:,.0f}", "million multiplications": f"{found['macs'] / 1e6:,.2f}"}


def _by_processor(runs: Sequence[Mapping], costs: str) -> str:
    times: dict[str, list[float]] = {}
    for run in runs:
        times.setdefault(processor(run), []).append(run["metrics"][costs]["median_ms"])
    return "; ".join(f"{mean(ms):.3g} ({name})" for name, ms in times.items())


def _auc(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _title(experiment: str, condition: str) -> str:
    return next(title for title, (name, _) in ROWS[experiment].items() if name == condition)
