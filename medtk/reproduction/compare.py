"""Printed numbers beside recorded ones: a verdict and a sentence for every cell and every claim."""

from collections import Counter
from collections.abc import Iterable
from functools import partial
from statistics import mean

from medtk.evaluation import intervals
from medtk.reproduction import papers, records, rulebook
from medtk.reproduction.answers import answering, comparable, counted, entry_of, images_of, value_of
from medtk.reproduction.evidence import Evidence, Run, key_of, printed, reading
from medtk.reproduction.papers import Cell
from medtk.reproduction.quantities import METRICS, one_answer, shown

VERDICTS = ("reproduced", "direction", "differs", "not_testable", "unrecorded")
LEVEL = 0.95
# An interval wider than this (of a share; of anything else: wider than the value itself) holds nearly every
# number that could have been printed, so it confirms none.
WIDEST = 0.25


def report(home, ids: Iterable[str] = papers.IDS) -> dict:
    """Everything that ``medtk report`` prints.

    Parameters
    ----------
    home : path
        Folder of records.
    ids : iterable of str
        Studies to look at.

    Returns
    -------
    dict
        ``papers`` (counts of verdicts by paper id), ``cells`` and ``claims`` (lists of dict). A cell has
        ``paper``, ``table``, ``row``, ``column``, ``metric``, ``printed``, ``ours``, ``low``, ``high`` (in the
        unit of the metric, shares as fractions of 1; or None), ``n`` (test images), ``runs``, ``verdict`` (one of
        `VERDICTS`), ``reason``, ``record`` (id of the first run or None), ``records``, ``deviations``,
        ``data_source``, ``weights_source``. A claim has ``paper``, ``claim``, ``verdict``, ``reason``,
        ``records``.
    """
    found = records.read_all(home)
    judged, counts = cells(found, ids), {}
    for paper in ids:
        tally = Counter(entry["verdict"] for entry in judged if entry["paper"] == paper)
        total = tally.total()
        counts[paper] = {"cells": total, "recorded": total - tally["unrecorded"]} | {v: tally[v] for v in VERDICTS}
    return {"papers": counts, "cells": judged, "claims": claims(found, home, ids)}


def cells(found: list[dict], ids: Iterable[str] = papers.IDS) -> list[dict]:
    """Entry of every cell of the studies asked for, as in `report`; ``found`` are all records."""
    judged = []
    for paper in map(papers.load, ids):
        mine = _of(paper, found)
        judged += [judge(cell, mine) for cell in paper.cells]
    return judged


def judge(cell: Cell, found: list[dict]) -> dict:
    """Entry of one cell in `report`, from all records."""
    runs = answering(cell, found)
    values = [value_of(record, cell) for record in runs]
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
        "n": images_of(runs[0], cell) if runs else cell.n,
        "runs": len(runs),
        "verdict": "unrecorded",
        "reason": f"No run is recorded; `{cell.command}` fills this cell.",
        "record": runs[0]["id"] if runs else None,
        "records": [record["id"] for record in runs],
        "deviations": sorted({deviation for record in runs for deviation in record["deviations"]}),
        "data_source": runs[0]["data"]["source"] if runs else None,
        "weights_source": runs[0]["weights"]["source"] if runs else None,
    }
    if runs:
        whole = entry["n"] if METRICS[cell.metric].of == "images" else cell.of
        interval = _interval(values, whole, cell.metric)
        entry["low"], entry["high"] = interval or (None, None)
        entry["verdict"], entry["reason"] = _verdict(cell, runs, entry, found)
        same = sum(one_answer(record["metrics"][entry_of(record, cell)["predictions"]]) for record in runs)
        if same == len(runs) and entry["verdict"] in ("reproduced", "direction"):
            entry["verdict"] = "not_testable"
        if same:
            many = "the network" if len(runs) == 1 else f"{same} of {len(runs)} networks"
            entry["reason"] += f" But {many} gave every image the same answer, which measures nothing."
    return entry


def claims(found: list[dict], home=None, ids: Iterable[str] = papers.IDS) -> list[dict]:
    """Verdict of every claim of the studies asked for, from the recorded cells that are comparable.

    ``reproduced``: it holds in every recorded case; ``direction``: in more than half of them; ``differs``: in
    fewer.

    Parameters
    ----------
    found : list of dict
        Records, as `medtk.reproduction.records.read_all` gives them.
    home : path, optional
        Folder of records; without it the claims that need predictions stay unrecorded.
    ids : iterable of str
        Of `medtk.reproduction.papers.IDS`.
    """
    judged = []
    for paper in map(papers.load, ids):
        evidence, elsewhere = _evidence(paper, found, home)
        own = printed(paper)
        judged += [_claim(claim, paper.id, evidence, elsewhere, own) for claim in paper.claims]
    return judged


def _claim(claim: papers.Claim, paper: str, evidence: Evidence, elsewhere: bool, own: Evidence) -> dict:
    if claim.untestable:
        said = {"verdict": "not_testable", "reason": claim.untestable, "records": []}
        return {"paper": paper, "claim": claim.text, **said}
    cases = rulebook.cases(claim, paper, evidence)
    tested = [case for case in cases if case.holds is not None]
    held = sum(case.holds for case in tested)
    alone = [c.holds for c in rulebook.cases(claim, paper, own) if c.holds is not None]
    aside = f" The paper's own numbers support it in {sum(alone)} of {len(alone)} cases." if alone else ""
    if not tested:
        verdict = "not_testable" if elsewhere and cases else "unrecorded"
        said = "No comparable run is recorded for it." if verdict == "not_testable" else "No run is recorded for it."
        if looked := [f"{case.name} ({case.detail})" for case in cases if case.records]:
            verdict, said = "not_testable", f"Recorded runs leave it open: {'; '.join(looked[:3])}."
    else:
        # A claim about every data set is not confirmed by the few that are recorded.
        whole = held == len(tested) and 2 * len(tested) > len(cases)
        verdict = "reproduced" if whole else "direction" if held > len(tested) / 2 else "differs"
        said = f"Holds in {held} of {len(tested)} recorded cases"
        if len(tested) == held == 1:
            said += f": {tested[0].name} ({tested[0].detail})"
        if against := [f"{case.name} ({case.detail})" for case in tested if not case.holds]:
            more = f" and {len(against) - 3} more" if len(against) > 3 else ""
            said += f"; not for {'; '.join(against[:3])}{more}"
        said += "."
        if missing := len(cases) - len(tested):
            said += f" {missing} more cases are not recorded, not comparable or not decided."
    used = {name for case in tested or cases for name in case.records}
    used |= {run.record for case in tested for key in case.keys for run in evidence.runs[key]}
    profiles = {record["profile"] for record in evidence.records if record["id"] in used}
    if verdict == "reproduced" and profiles == {"scaled"}:
        verdict, said = "direction", f"{said} All of them are runs at smaller settings."
    return {
        "paper": paper,
        "claim": claim.text,
        "verdict": verdict,
        "reason": said + aside,
        "records": sorted(used),
    }


def _evidence(paper: papers.Paper, found: list[dict], home) -> tuple[Evidence, bool]:
    """Comparable recorded accuracies, and whether there are recorded ones that are not comparable."""
    runs, elsewhere, mine = {}, False, _of(paper, found)
    for cell in paper.cells:
        group = answering(cell, mine)
        if group and comparable(group[0], cell):
            runs.setdefault(key_of(cell), tuple(_run(record, cell) for record in group))
        elsewhere |= bool(group) and not comparable(group[0], cell)
    return Evidence(runs, mine, None if home is None else reading(home)), elsewhere


def _of(paper: papers.Paper, found: list[dict]) -> list[dict]:
    return [record for record in counted(found) if record["paper"] == paper.id]


def _run(record: dict, cell: Cell) -> Run:
    return Run(record["id"], record["seed"], value_of(record, cell), record["weights"]["source"] == "random")


def _verdict(cell: Cell, runs: list[dict], entry: dict, found: list[dict]) -> tuple[str, str]:
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
    many = _counted(runs)
    basis = f"{many} on {entry['n']} images; {_span(entry)}" if known else many
    low, high = (entry["low"], entry["high"]) if known else (entry["ours"],) * 2
    if high - low > (WIDEST if METRICS[cell.metric].kind == "share" else abs(entry["ours"])):
        return "not_testable", f"Printed {say(cell.printed)}, {ours}: the seeds differ too much to tell ({many})."
    if low - half <= cell.printed <= high + half:
        where = "lies inside our interval" if known else "is ours after rounding"
        met = f"The printed {say(cell.printed)} {where} ({basis})"
        # Another network, smaller images or another start that happens on the number has not made it again.
        if runs[0]["profile"] == "scaled":
            return "direction", f"{met}, in a run at smaller settings."
        if cell.needs.get("weights") == "imagenet" and runs[0]["weights"]["source"] == "random":
            return "direction", f"{met}, in a run that starts from random weights: nothing is transferred."
        return "reproduced", f"{met}."
    here, there, what = _references(cell, found, entry["n"])
    if here is not None and there is not None and cell.printed != there:
        above = cell.printed > there
        if (low > here) if above else (high < here):
            side = "above" if above else "below"
            return "direction", f"Printed {say(cell.printed)}, {ours}; both are {side} {what} ({many})."
    if what and here is None:
        beside = f"{what} is not recorded on as many images, so its side of it cannot be judged"
        return "not_testable", f"Printed {say(cell.printed)}, {ours}; {beside} ({many})."
    missed = f"neither the number nor its side of {what} is reproduced" if what else "it is not reproduced"
    return "differs", f"Printed {say(cell.printed)}, {ours}; {missed} ({many})."


def _references(cell: Cell, found: list[dict], n: int) -> tuple[float | None, float | None, str]:
    """Reference value for our number and for the printed one, and its name in words."""
    if not cell.reference:
        return None, None, ""
    if cell.reference == "majority":
        always = "the share of the commonest class"
        what = always if cell.metric == "accuracy" else "what always giving the commonest class would reach"
        return cell.majority, cell.majority, f"{what} ({shown(cell.majority, cell.metric)})"
    other = papers.load(cell.paper).reference_of(cell)
    # Ten images and fifty may differ in how hard they are.
    values = [value_of(record, other) for record in answering(other, found) if images_of(record, other) == n]
    kind = "column" if other.row == cell.row else "row"
    return (mean(values) if values else None), other.printed, f"the {cell.reference} {kind}'s value"


def _interval(values: list[float], whole: int | None, metric: str) -> intervals.Interval | None:
    """95 % interval for one more run; None with fewer than 3 runs of what is no share or count of images."""
    kind = METRICS[metric].kind
    if len(values) >= 3:
        low, high = intervals.over_seeds(values, LEVEL, "new_run")
        return intervals.Interval(max(0.0, low), min(1.0, high) if kind == "share" else high)
    if whole is None or kind == "number":
        return None
    # Two runs see the same images, so they do not make a test set of twice the size.
    right = mean(values) * (whole if kind == "share" else 1)
    low, high = intervals.wilson(right, whole, LEVEL)
    return intervals.Interval(low, high) if kind == "share" else intervals.Interval(low * whole, high * whole)


def _counted(runs: list[dict]) -> str:
    return f"{len(runs)} runs" if len(runs) > 1 else "1 run"


def _span(entry: dict) -> str:
    if METRICS[entry["metric"]].kind == "share":
        return f"95 % interval {100 * entry['low']:.1f} to {100 * entry['high']:.1f} %"
    low, high = (shown(entry[end], entry["metric"]) for end in ("low", "high"))
    return f"95 % interval {low} to {high}"
