"""The aims that we set ourselves for paper 4 before the first run, the yardsticks, and which files come near."""

from statistics import mean

import numpy as np
import pandas as pd

from medtk.evaluation.intervals import Interval
from medtk.lab.edge_spec import NAMES
from medtk.lab.edge_tables import points, recorded
from medtk.reproduction import records
from medtk.reproduction.paired import balanced_gap
from medtk.reproduction.variants import at_least, quality, trained_as_long
from medtk.settings import results_home

SMALLER, FASTER, WITHIN = 20, 4, 0.01
COLUMNS = ("network", "form", "recipe", "times smaller", "times faster", "points lost", "below the best", "met", "open")


def yardsticks(dataset: str = "chest_xray") -> pd.DataFrame:
    """Recorded float files, the best first: what `targets` compares with, and what it could have compared with.

    ``right`` counts the test images of each class that are answered right, of all of that class, summed over seeds.
    """
    lines = []
    for (network, form, recipe), runs in _by_seed(dataset).items():
        if (form, recipe) != ("float", "float32"):
            continue
        counts = sum(np.array(r["metrics"]["clean"]["confusion"]) for r in runs.values())
        line = {"network": NAMES[network], "seeds": len(runs), "balanced": f"{_quality(runs):.1%}"}
        line["right"] = ", ".join(f"{n} of {of}" for n, of in zip(np.diag(counts), counts.sum(axis=1), strict=True))
        lines.append((_quality(runs), line))
    return pd.DataFrame([line for _, line in sorted(lines, key=lambda pair: -pair[0])])


def targets(dataset: str = "chest_xray") -> pd.DataFrame:
    """Files nearest our aims: 20 times smaller than float MobileNetV2, 4 times faster than Keras, within 1 point.

    The yardsticks are MobileNetV2 of width 1 as a float file (compressed size, balanced accuracy) and the same network
    answering in Keras, one image, one thread. ``below the best`` compares with the best float file of all, see
    `yardsticks`; it counts as a fourth aim, since a poor yardstick is easily met. A form that was trained on is
    compared with float networks that were trained on as long, and has a dash where there are none.

    Points have the 95 % interval of the difference on the same images: of these trained networks, not of other seeds.
    An aim is met, or missed, by the whole interval; else it is open. Only files that are at least half as good on size
    and time are shown, those that meet most aims first. That order was found on the test images.
    """
    runs, table = _by_seed(dataset), points(recorded(dataset))
    wide = {} if table.empty else table[(table["network"] == "mobilenetv2") & (table["form"] == "float")]
    if len(wide) == 0 or not {"float32", "keras"} <= set(wide["recipe"]):
        return pd.DataFrame(columns=COLUMNS)
    wide, lines = wide.set_index("recipe"), []
    for _, row in table[table["recipe"] != "keras"].iterrows():
        smaller = wide.loc["float32", "kilobytes"] / row["kilobytes"]
        faster = wide.loc["keras", "ms"] / row["ms"]
        if smaller < SMALLER / 2 or not faster >= FASTER / 2:  # not a number: timed on another processor
            continue
        mine = runs[row["network"], row["form"], row["recipe"]]
        twin = (trained_as_long(row["form"]), "float32")
        floats = {network: r for (network, *kind), r in runs.items() if tuple(kind) == twin}
        best = max(floats.values(), key=_quality, default={})
        changes = [_change(mine, floats.get("mobilenetv2", {})), _change(mine, best)]
        met = [smaller >= SMALLER, faster >= FASTER, *(change and at_least(change[1], -WITHIN) for change in changes)]
        shown = [f"{smaller:.1f}", f"{faster:.1f}", *map(_lost, changes), f"{met.count(True)} of 4", met.count(None)]
        order = (-met.count(True), -met.count(None), -smaller)
        lines.append((order, [NAMES[row["network"]], row["form"], row["recipe"], *shown]))
    return pd.DataFrame([line for _, line in sorted(lines, key=lambda pair: pair[0])], columns=COLUMNS)


def _by_seed(dataset: str) -> dict[tuple[str, str, str], dict[int, dict]]:
    """Records by network, form and recipe, then by seed."""
    groups: dict[tuple[str, str, str], dict[int, dict]] = {}
    for record in recorded(dataset):
        p = record["parameters"]
        groups.setdefault((p["network"], p["form"], p["recipe"]), {})[record["seed"]] = record
    return groups


def _quality(runs: dict[int, dict]) -> float:
    return mean(map(quality, runs.values()))


def _change(mine: dict[int, dict], yardstick: dict[int, dict]) -> tuple[float, Interval] | None:
    """Balanced accuracy of a file less that of its yardstick, and the interval; None without a common seed."""
    seeds = sorted(mine.keys() & yardstick.keys())
    if not seeds:
        return None
    stored = [[records.load_predictions(side[seed], results_home()) for seed in seeds] for side in (mine, yardstick)]
    answers = ([found["clean"] for found in side] for side in stored)
    return balanced_gap(stored[0][0]["labels"], *answers, apart=False)


def _lost(change: tuple[float, Interval] | None) -> str:
    if change is None:
        return "–"
    value, (low, high) = change
    lost = (0.0 - 100 * end for end in (value, high, low))  # and not a minus, which would make -0.0 of nothing
    return "{:+.1f} [{:+.1f}, {:+.1f}]".format(*lost)
