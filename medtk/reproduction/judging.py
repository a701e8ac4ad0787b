"""Verdict on one printed number: our runs of it, their interval, and which side of a reference both lie on."""

from collections.abc import Callable, Mapping
from functools import partial
from statistics import mean
from typing import NamedTuple

import numpy as np

from medtk.evaluation import intervals
from medtk.reproduction import paired, papers
from medtk.reproduction.answers import answering, comparable, entry_of, images_of, value_of
from medtk.reproduction.evidence import Evidence
from medtk.reproduction.papers import Cell
from medtk.reproduction.quantities import METRICS, one_answer, shown

LEVEL = 0.95
# An interval wider than this (of a share; of anything else: wider than the value itself) holds nearly every
# number that could have been printed, so it confirms none.
WIDEST = 0.25
READ = {"accuracy": paired.answers, "mse": paired.errors}  # what two records say of each image


class Reference(NamedTuple):
    """What a number is set beside: which side ours is on (1 above, -1 below, 0 neither, None unknown), and the
    printed value of the reference with its name in words.
    """

    sign: int | None
    printed: float | None
    name: str


def judge(cell: Cell, found: list[dict], read: Callable[[dict], Mapping] | None = None) -> dict:
    """Entry of one cell in `medtk.reproduction.compare.report`.

    Runs in which a network gave every image the same answer are left out: their accuracy is the share of a class.
    Nothing can be told if there are no others, or if none of the others has learned.

    Parameters
    ----------
    cell : Cell
        The printed number.
    found : list of dict
        All records of its paper.
    read : callable, optional
        ``read(record)`` gives the predictions of a record, so that two numbers can be compared image by image.
    """
    runs = answering(cell, found)
    looking = [run for run in runs if not _alike(run, cell)]
    used = looking or runs
    values = [value_of(record, cell) for record in used]
    entry = {
        "paper": cell.paper,
        "table": cell.table,
        "row": cell.row,
        "column": cell.column,
        "metric": cell.metric,
        "printed": cell.printed,
        "ours": mean(values) if values else None,
        "low": None,
        "high": None,
        "n": images_of(used[0], cell) if used else cell.n,
        "runs": len(used),
        "verdict": "unrecorded",
        "reason": f"No run is recorded; `{cell.command}` fills this cell.",
        "record": used[0]["id"] if used else None,
        "records": [record["id"] for record in used],
        "deviations": sorted({deviation for record in used for deviation in record["deviations"]}),
        "data_source": used[0]["data"]["source"] if used else None,
        "weights_source": used[0]["weights"]["source"] if used else None,
    }
    if not runs:
        return entry
    interval = _interval(values, [_taken_of(record, cell) for record in used], cell.metric)
    entry["low"], entry["high"] = interval or (None, None)
    entry["verdict"], entry["reason"] = _verdict(cell, used, entry, found, read)
    if not looking:
        entry["verdict"] = "not_testable"
        many = "the network" if len(runs) == 1 else f"each of the {len(runs)} networks"
        entry["reason"] += f" But {many} gave every image the same answer: what is measured is the share of a class."
    elif len(looking) < len(runs):
        left = len(runs) - len(looking)
        entry["reason"] += f" Of {len(runs)} runs {left} {'is' if left == 1 else 'are'} left out, whose network gave "
        entry["reason"] += "every image the same answer."
    if looking and not any(paired.learned(_plain(run, cell)) for run in looking):
        entry["verdict"] = "not_testable"
        entry["reason"] += " But no network here has learned: none is better than one answer for all would be."
    return entry


def _alike(record: dict, cell: Cell) -> bool:
    """Whether the network of a record gives every image the same answer."""
    return one_answer(record["metrics"][_plain(record, cell).condition])


def _plain(record: dict, cell: Cell) -> paired.Side:
    """Condition that tells what a network is worth: under attack, one answer for all may be what the attack did."""
    own = entry_of(record, cell)["predictions"]
    return paired.Side(record, "clean" if "clean" in record["metrics"] else own)


def _verdict(cell: Cell, runs: list[dict], entry: dict, found: list[dict], read) -> tuple[str, str]:
    known, say = entry["low"] is not None, partial(shown, metric=cell.metric)
    ours = f"ours is {say(entry['ours'])}" + (f" ({_span(entry)})" if known else "")
    if not comparable(runs[0], cell):
        name, source = runs[0]["data"]["name"], runs[0]["data"]["source"]
        return "not_testable", (
            f"Recorded on {entry['n']} images of {name} ({source}), which cannot stand for the paper's "
            f"test set; `{cell.command}` fills this cell where the official data can be had."
        )
    if cell.printed is None:
        return "not_testable", f"The paper printed no number here; {ours}. {cell.missing}".strip()
    if cell.given:
        return "not_testable", f"Printed {say(cell.printed)}, ours is {say(entry['ours'])}. {cell.given}"
    if (entry["n"] or 0) < METRICS[cell.metric].fewest:
        few = f"a mean over {entry['n']} images; fewer than {METRICS[cell.metric].fewest} say too little"
        return "not_testable", f"Printed {say(cell.printed)}, {ours}, {few} ({_counted(runs)})."
    half = 0.5 * 10**-cell.decimals
    many, lesser = _counted(runs), _lesser(cell, runs[0])
    basis = f"{many} on {entry['n']} images; {_span(entry)}" if known else many
    low, high = _ends(entry)
    if high - low > (WIDEST if METRICS[cell.metric].kind == "share" else abs(entry["ours"])):
        return "not_testable", f"Printed {say(cell.printed)}, {ours}: the runs say too little to tell ({many})."
    if low - half <= cell.printed <= high + half:
        where = "lies inside our interval" if known else "is ours after rounding"
        # Another network, smaller images or another start that happens on the number has not made it again.
        verdict = "direction" if lesser else "reproduced"
        return verdict, f"The printed {say(cell.printed)} {where} ({basis}){lesser}."
    beside = _reference(cell, runs, entry, found, read)
    if beside.sign and beside.printed is not None and beside.sign == np.sign(cell.printed - beside.printed):
        side = "above" if beside.sign > 0 else "below"
        return "direction", f"Printed {say(cell.printed)}, {ours}; both are {side} {beside.name} ({many})."
    if beside.name and beside.sign is None:
        unknown = f"too little is recorded of {beside.name}, so our side of it cannot be judged"
        return "not_testable", f"Printed {say(cell.printed)}, {ours}; {unknown} ({many})."
    missed = f"neither the number nor its side of {beside.name} is" if beside.name else "it is not"
    return "differs", f"Printed {say(cell.printed)}, {ours}; {missed} reproduced ({many}){lesser}."


def _lesser(cell: Cell, record: dict) -> str:
    """What a run has less of than the paper's, for the end of a sentence; nothing if it is all there."""
    if record["profile"] == "scaled":
        return ", in a run at smaller settings"
    if cell.needs.get("weights") == "imagenet" and record["weights"]["source"] == "random":
        return ", in a run that starts from random weights: nothing is transferred"
    return ""


def _reference(cell: Cell, runs: list[dict], entry: dict, found: list[dict], read) -> Reference:
    if not cell.reference:
        return Reference(None, None, "")
    if cell.reference == "majority":
        always = "the share of the commonest class"
        what = always if cell.metric == "accuracy" else "what always giving the commonest class would reach"
        return Reference(
            _sign(*_ends(entry), cell.majority), cell.majority, f"{what} ({shown(cell.majority, cell.metric)})"
        )
    other = papers.load(cell.paper).reference_of(cell)
    kind = "column" if other.row == cell.row else "row"
    sign = _side_of(other, cell, runs, entry, found, read)
    return Reference(sign, other.printed, f"the {cell.reference} {kind}'s value")


def _side_of(other: Cell, cell: Cell, runs: list[dict], entry: dict, found: list[dict], read) -> int | None:
    """1 if our runs are above those of another cell at the same seeds, -1 if below, 0 if neither can be said."""
    ours, theirs = ({run["seed"]: run for run in side} for side in (runs, answering(other, found)))
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return None
    if read is not None and cell.metric in READ:
        sides = [
            {seed: paired.Side(side[seed], entry_of(side[seed], where)["predictions"]) for seed in seeds}
            for side, where in ((ours, cell), (theirs, other))
        ]
        both = paired.pairs(READ[cell.metric], Evidence({}, found, read), *sides)
        if both is not None and not paired.too_few(both):
            return _sign(*paired.gap(both), 0.0)
    # Ten images and fifty may differ in how hard they are.
    if any(images_of(ours[seed], cell) != images_of(theirs[seed], other) for seed in seeds):
        return None
    gains = [value_of(ours[seed], cell) - value_of(theirs[seed], other) for seed in seeds]
    if len(gains) >= paired.FEWEST_SEEDS:
        return _sign(*intervals.over_seeds(gains), 0.0)
    if METRICS[cell.metric].kind == "number" or entry["low"] is None:
        return None
    return _sign(*_ends(entry), mean(value_of(theirs[seed], other) for seed in seeds))


def _ends(entry: dict) -> tuple[float, float]:
    """The interval of our value; the value itself where it has none."""
    return (entry["ours"],) * 2 if entry["low"] is None else (entry["low"], entry["high"])


def _sign(low: float, high: float, reference: float) -> int:
    return (low > reference) - (high < reference)


def _taken_of(record: dict, cell: Cell) -> float | None:
    """How many images a share or a count is taken of; None where it is of no number of them.

    A precision is a share of the images that were called positive. An F1 is twice the hits over those called and those
    that are positive, so nearly a share of half of both: a little less sure than it is.
    """
    if METRICS[cell.metric].of:
        return images_of(record, cell) if METRICS[cell.metric].of == "images" else cell.of
    entry = entry_of(record, cell)
    if cell.metric not in ("precision", "f1") or "confusion" not in record["metrics"][entry["predictions"]]:
        return None
    counts, one = np.array(record["metrics"][entry["predictions"]]["confusion"]), entry["of"]
    called, true = counts[:, one].sum(), counts[one].sum()
    return float(called if cell.metric == "precision" else (called + true) / 2) or None


def _interval(values: list[float], wholes: list[float | None], metric: str) -> intervals.Interval | None:
    """95 % interval for one more run; None with fewer than 3 runs of what is no share or count of images.

    `wholes` are what `_taken_of` gives for each run. Of two runs the hull of Wilson's intervals: they see the same
    images, so they do not make a test set of twice the size.
    """
    kind = METRICS[metric].kind
    if len(values) >= 3:
        low, high = intervals.over_seeds(values, LEVEL, "new_run")
        return intervals.Interval(max(0.0, low), min(1.0, high) if kind == "share" else high)
    if None in wholes or kind == "number":
        return None
    ends = []
    for value, whole in zip(values, wholes, strict=True):
        scale = 1 if kind == "share" else whole
        ends += [scale * end for end in intervals.wilson(value * whole / scale, whole, LEVEL)]
    return intervals.Interval(min(ends), max(ends))


def _counted(runs: list[dict]) -> str:
    return f"{len(runs)} runs" if len(runs) > 1 else "1 run"


def _span(entry: dict) -> str:
    if METRICS[entry["metric"]].kind == "share":
        return f"95 % interval {100 * entry['low']:.1f} to {100 * entry['high']:.1f} %"
    low, high = (shown(entry[end], entry["metric"]) for end in ("low", "high"))
    return f"95 % interval {low} to {high}"
