"""Tables of paper 4: variants beside their float network, and what each condition costs."""

from collections import Counter
from collections.abc import Callable, Iterable
from statistics import mean

import numpy as np
import pandas as pd

from medtk.edge.measuring import Measured, quality
from medtk.evaluation import intervals, metrics
from medtk.lab.edge_spec import EXPERIMENT, PAPER
from medtk.reproduction import records
from medtk.reproduction.evidence import Evidence
from medtk.reproduction.variants import memory, noise, processor, time
from medtk.settings import results_home

METRICS = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "auc")


def recorded(dataset: str | None = None, network: str | None = None, *, failed: bool = False) -> list[dict]:
    """Records of the variants, of one data set and network or of all: those that answer, or those that failed."""
    found = [r for r in records.read_all(results_home()) if (r["paper"], r["experiment"]) == (PAPER, EXPERIMENT)]
    return [
        r
        for r in found
        if dataset in (None, r["parameters"]["dataset"])
        and network in (None, r["parameters"]["network"])
        and ("failed" in r["parameters"]) == failed
    ]


def points(found: Iterable[dict]) -> pd.DataFrame:
    """One line a variant, numbers, means over seeds: what `medtk.lab.edge_plots.pareto` draws.

    Columns: dataset, network, pixels, form, recipe, seeds, accuracy, balanced_accuracy, auc, low and high (Wilson's
    interval for the accuracy), kilobytes (of the file, compressed), file_kb, parameters, macs, ms and ms2 (one and two
    threads, least disturbed block), p95, cold_ms, peak_mb, processor. What was not measured is not a number. Times and
    memory are those on one kind of processor, the one of most of the records: they mean nothing beside another one's.
    """
    found = list(found)
    commonest = Counter(map(processor, found)).most_common(1)
    groups: dict[tuple, list[dict]] = {}
    for record in found:
        p = record["parameters"]
        groups.setdefault((p["dataset"], p["network"], p["size"], p["form"], p["recipe"]), []).append(record)
    lines = []
    for key, runs in groups.items():

        def average(what, metric, runs=runs):
            return mean([run["metrics"][what][metric] for run in runs if what in run["metrics"]] or [np.nan])

        here = [run for run in runs if processor(run) == commonest[0][0]]
        n, accuracy = runs[0]["metrics"]["clean"]["n"], average("clean", "accuracy")
        low, high = intervals.wilson(accuracy * n, n)
        line = dict(zip(("dataset", "network", "pixels", "form", "recipe"), key, strict=True))
        line |= {"seeds": len(runs), "accuracy": accuracy, "low": low, "high": high}
        line |= {name: average("clean", name) for name in ("balanced_accuracy", "auc")}
        line |= {"kilobytes": average("size", "deflated_bytes") / 1e3, "file_kb": average("size", "bytes") / 1e3}
        line |= {name: average("size", name) for name in ("parameters", "macs")}
        line |= {
            "ms": average("best-threads=1", "median_ms", here),
            "ms2": average("best-threads=2", "median_ms", here),
        }
        line |= {"p95": average("threads=1", "p95_ms", here), "processor": commonest[0][0]}
        line |= {name: average("start-threads=1", name, here) for name in ("cold_ms", "peak_mb")}
        lines.append(line)
    return pd.DataFrame(lines)


def variants(dataset: str, network: str) -> pd.DataFrame:
    """Every recorded variant of a network, beside its float file: quality, sizes, times; means over seeds.

    ``changed`` counts test images that only the float file and only the variant gets right, with McNemar's exact p
    (the largest over seeds). Recipes that failed come last, with the reason.
    """
    found = recorded(dataset, network)
    if not found:
        return pd.DataFrame()
    table, floats = points(found), _by_variant(found).get(("float", "float32"), {})
    lines = {}
    for _, row in table.sort_values(["form", "kilobytes"], ascending=[True, False]).iterrows():
        mine = _by_variant(found)[row["form"], row["recipe"]]
        lines[f"{row['form']} as {row['recipe']}"] = {
            "seeds": row["seeds"],
            "accuracy": f"{row['accuracy']:.1%} [{row['low']:.1%}, {row['high']:.1%}]",
            "balanced": f"{row['balanced_accuracy']:.1%}",
            "AUC": f"{row['auc']:.3f}",
            "changed": _changed(floats, mine),
            "file kB": f"{row['file_kb']:,.0f}",
            "zipped kB": f"{row['kilobytes']:,.0f}",
            "million MACs": f"{row['macs'] / 1e6:.1f}",
            "ms": _measured(row["ms"], ".2f"),
            "ms, 2 threads": _measured(row["ms2"], ".2f"),
            "p95 ms": _measured(row["p95"], ".2f"),
            "first answer ms": _measured(row["cold_ms"], ",.0f"),
            "peak MB": _measured(row["peak_mb"], ".0f"),
            "measured on": row["processor"],
        }
    for record in recorded(dataset, network, failed=True):
        p = record["parameters"]
        lines[f"{p['form']} as {p['recipe']}"] = {"seeds": 1, "accuracy": f"failed: {p['failed']}"}
    return pd.DataFrame(lines).T.fillna("–")


def measures(dataset: str, network: str) -> pd.DataFrame:
    """Accuracy, precision, recall and F1 of every recorded variant, the last three as means over the classes.

    Precision of a class that is never named counts as 0. Recall is what other tables call balanced accuracy.
    """
    lines = {}
    for (form, recipe), by_seed in _by_variant(recorded(dataset, network)).items():
        found = []
        for record in by_seed.values():
            counts = np.array(record["metrics"]["clean"]["confusion"])
            shares = metrics.per_class(counts).values()
            found.append([np.trace(counts) / counts.sum(), *(share.mean() for share in shares)])
        values = (f"{value:.1%}" for value in np.mean(found, axis=0))
        lines[f"{form} as {recipe}"] = dict(zip(("accuracy", "precision", "recall", "F1"), values, strict=True))
    return pd.DataFrame(lines).T


def steadiness() -> str:
    """In words, how much files with the same operations differ in the ledger: less than that is no difference."""
    evidence = Evidence({}, recorded())
    times, rooms = noise(evidence, time), noise(evidence, memory)
    if times is None or rooms is None:
        return (
            "No two files with the same operations are recorded, so that no difference in time can be told from noise."
        )
    return (
        f"Recorded files with the same operations differ by a factor of up to {times:.2f} in time and {rooms:.2f} in "
        "memory. A smaller difference between two variants tells nothing."
    )


def this_run(found: dict[str, Measured]) -> pd.DataFrame:
    """Variants of the present run, with intervals; from a name to what `medtk.edge.measure` gave."""
    lines = {}
    for name, one in found.items():
        line = {
            metric.replace("_", " "): f"{value:.1%} [{low:.1%}, {high:.1%}]"
            for metric, (value, low, high) in one.quality.items()
            if metric in ("accuracy", "balanced_accuracy")
        }
        if one.against_float is not None:
            line["changed"] = _counts(one.against_float)
        line |= {"file kB": f"{one.bytes / 1e3:,.1f}", "zipped kB": f"{one.deflated_bytes / 1e3:,.1f}"}
        if one.shipped_bytes != one.bytes:
            line["packed weights kB"] = f"{one.shipped_bytes / 1e3:,.1f}"
        if 1 in one.alone:
            line |= {"ms": f"{min(one.alone[1]['median_ms']):.3f}", "peak MB": f"{one.alone[1]['peak_mb']:.0f}"}
        lines[name] = line
    return pd.DataFrame(lines).T.fillna("–")


def conditions(dataset: str, network: str, recipes: Iterable[str] = ("float32", "int8")) -> pd.DataFrame:
    """Recorded balanced accuracy of each variant on clean, noisy, blurred, coarsely stored and attacked images."""
    lines = {}
    for (form, recipe), by_seed in _by_variant(recorded(dataset, network)).items():
        if recipe in recipes:
            names = [n for n, m in next(iter(by_seed.values()))["metrics"].items() if "confusion" in m]
            lines[f"{form} as {recipe}"] = {
                name: f"{mean(r['metrics'][name]['balanced_accuracy'] for r in by_seed.values()):.1%}" for name in names
            }
    return pd.DataFrame(lines).T


def by_class(dataset: str, network: str, class_names: Iterable[str], recipes=("float32", "int8")) -> pd.DataFrame:
    """Recorded recall of each class: a small network may keep its accuracy and lose the rare disease."""
    lines = {}
    for (form, recipe), by_seed in _by_variant(recorded(dataset, network)).items():
        if recipe in recipes:
            counts = sum(np.array(r["metrics"]["clean"]["confusion"]) for r in by_seed.values())
            recalls = np.diag(counts) / counts.sum(axis=1)
            lines[f"{form} as {recipe}"] = {n: f"{r:.1%}" for n, r in zip(class_names, recalls, strict=True)}
    return pd.DataFrame(lines).T


def per_class(dataset: str, network: str, class_names: Iterable[str], recipes: Iterable[str] = ()) -> pd.DataFrame:
    """Precision, recall and F1 of each class and recorded variant, with 95 % intervals.

    Counts are those of the stored predictions for the unchanged test images, means over seeds. Intervals are Wilson's
    for one test set, of the images that are named so (precision) or are so (recall); `medtk.evaluation.intervals.f1`
    for F1. Where the share is one of no images there is a dash.

    Parameters
    ----------
    dataset, network : str
    class_names : iterable of str
        In the order of the class ids.
    recipes : iterable of str
        Which ones to show; all unless told.
    """
    lines = {}
    for (form, recipe), by_seed in _by_variant(recorded(dataset, network)).items():
        if recipes and recipe not in recipes:
            continue
        counts = np.mean([r["metrics"]["clean"]["confusion"] for r in by_seed.values()], axis=0)
        shares, sums = metrics.per_class(counts), (np.diag(counts), counts.sum(axis=1), counts.sum(axis=0))
        for name, precision, recall, f1, right, true, named in zip(class_names, *shares.values(), *sums, strict=True):
            lines[f"{form} as {recipe}", name] = {
                "images": f"{true:.0f}",
                "precision": _with_ends(precision, intervals.wilson, right, named),
                "recall": _with_ends(recall, intervals.wilson, right, true),
                "F1": _with_ends(f1, intervals.f1, right, true, named),
            }
    return pd.DataFrame(lines).T


def all_measures(labels: np.ndarray, probabilities: np.ndarray) -> pd.Series:
    """The six measures of quality with their intervals, as text."""
    found = quality(labels, probabilities)
    return pd.Series({name: f"{v:.1%} [{low:.1%}, {high:.1%}]" for name, (v, low, high) in found.items()})


def _by_variant(found: Iterable[dict]) -> dict[tuple[str, str], dict[int, dict]]:
    groups: dict[tuple[str, str], dict[int, dict]] = {}
    for record in found:
        p = record["parameters"]
        groups.setdefault((p["form"], p["recipe"]), {})[record["seed"]] = record
    return groups


def _changed(floats: dict[int, dict], mine: dict[int, dict]) -> str:
    tests = []
    for seed in sorted(floats.keys() & mine.keys()):
        before, after = (records.load_predictions(one[seed], results_home()) for one in (floats, mine))
        tests.append(intervals.mcnemar(before["labels"], before["clean"], after["clean"]))
    if not tests:
        return "–"
    worst = max(tests, key=lambda test: test.p)
    total = intervals.McNemar(sum(t.only_a for t in tests), sum(t.only_b for t in tests), worst.p)
    return _counts(total)


def _measured(value: float, form: str) -> str:
    return "–" if np.isnan(value) else f"{value:{form}}"


def _with_ends(value: float, interval: Callable, *counts: float) -> str:
    if max(counts) < 1:
        return "–"
    low, high = interval(*counts)
    return f"{value:.1%} [{low:.1%}, {high:.1%}]"


def _counts(test: intervals.McNemar) -> str:
    return f"−{test.only_a} +{test.only_b}, p {test.p:.2g}"
