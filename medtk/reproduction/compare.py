"""Printed numbers beside recorded ones: a verdict and a sentence for every cell and every claim."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from medtk.reproduction import papers, records, rulebook
from medtk.reproduction.answers import answering, comparable, counted, measured_again, restated, value_of
from medtk.reproduction.evidence import Case, Evidence, Run, key_of, printed, reading
from medtk.reproduction.judging import judge
from medtk.reproduction.papers import Cell

AGAIN = ("ours", "low", "high", "verdict", "reason")  # what is said of networks with statistics measured again
VERDICTS = ("reproduced", "direction", "differs", "not_testable", "unrecorded")


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
        ``data_source``, ``weights_source``, ``measured_again`` (``ours``, ``low``, ``high``, ``verdict`` and
        ``reason`` with normalisation statistics measured again; None where that is no other number). A claim has
        ``paper``, ``claim``, ``verdict``, ``reason``, ``records``.
    """
    found = records.read_all(home)
    judged, counts = cells(found, home, ids), {}
    for paper in ids:
        tally = Counter(entry["verdict"] for entry in judged if entry["paper"] == paper)
        total = tally.total()
        counts[paper] = {"cells": total, "recorded": total - tally["unrecorded"]} | {v: tally[v] for v in VERDICTS}
    return {"papers": counts, "cells": judged, "claims": claims(found, home, ids)}


def cells(found: list[dict], home=None, ids: Iterable[str] = papers.IDS) -> list[dict]:
    """Entry of every cell of the studies asked for, as in `report`.

    Parameters
    ----------
    found : list of dict
        All records.
    home : path, optional
        Folder of records; without it no two numbers are compared image by image.
    ids : iterable of str
        Of `medtk.reproduction.papers.IDS`.
    """
    judged, read = [], None if home is None else reading(home)
    for paper in map(papers.load, ids):
        mine = _of(paper, found)
        again, read_again = _asked_again(mine, read)
        same = again == mine
        for cell in paper.cells:
            entry = judge(cell, mine, read)
            other = entry if same else judge(cell, again, read_again)
            changed = other["ours"] != entry["ours"]
            entry["measured_again"] = {name: other[name] for name in AGAIN} if changed else None
            judged.append(entry)
    return judged


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
    judged, read = [], None if home is None else reading(home)
    for paper in map(papers.load, ids):
        evidence, elsewhere = _evidence(paper, found, read)
        again, _ = _evidence(paper, *_asked_again(found, read))
        if again.records == evidence.records:
            again = None
        own = printed(paper)
        judged += [_claim(claim, paper.id, evidence, elsewhere, own, again) for claim in paper.claims]
    return judged


def _asked_again(found: list[dict], read: Callable[[dict], Mapping] | None) -> tuple:
    """Records, and the function that gives their predictions, of the networks with statistics measured again."""
    return [restated(record) for record in found], read and (lambda record: measured_again(read(record)))


def _claim(
    claim: papers.Claim, paper: str, evidence: Evidence, elsewhere: bool, own: Evidence, again: Evidence | None
) -> dict:
    if claim.untestable:
        said = {"verdict": "not_testable", "reason": claim.untestable, "records": []}
        return {"paper": paper, "claim": claim.text, **said}
    cases = rulebook.cases(claim, paper, evidence)
    tested = [case for case in cases if case.holds is not None]
    held = sum(case.holds for case in tested)
    aside = _tally(rulebook.cases(claim, paper, own), "The paper's own numbers support it in")
    other = [] if again is None else rulebook.cases(claim, paper, again)
    if [case.holds for case in other] != [case.holds for case in cases]:
        aside = _tally(other, "With normalisation statistics measured again it holds in") + aside
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


def _tally(cases: list[Case], said: str) -> str:
    decided = [case.holds for case in cases if case.holds is not None]
    return f" {said} {sum(decided)} of {len(decided)} cases." if decided else ""


def _evidence(paper: papers.Paper, found: list[dict], read: Callable | None) -> tuple[Evidence, bool]:
    """Comparable recorded accuracies, and whether there are recorded ones that are not comparable."""
    runs, elsewhere, mine = {}, False, _of(paper, found)
    for cell in paper.cells:
        group = answering(cell, mine)
        if group and comparable(group[0], cell):
            runs.setdefault(key_of(cell), tuple(_run(record, cell) for record in group))
        elsewhere |= bool(group) and not comparable(group[0], cell)
    return Evidence(runs, mine, read), elsewhere


def _of(paper: papers.Paper, found: list[dict]) -> list[dict]:
    return [record for record in counted(found) if record["paper"] == paper.id]


def _run(record: dict, cell: Cell) -> Run:
    return Run(record["id"], record["seed"], value_of(record, cell), record["weights"]["source"] == "random")
