"""What the printed numbers themselves say, before anything is trained.

Shares must be whole numbers of images, sums must add up, the same run printed twice must agree, and what is said
in the text must be what the tables show. `medtk.reproduction.arithmetic` does the reckoning,
`medtk.reproduction.consistency` asks what binds several numbers of one experiment together.
"""

import re
from collections import defaultdict
from itertools import pairwise

from medtk.evaluation.intervals import wilson
from medtk.reproduction import consistency, papers, rulebook
from medtk.reproduction.arithmetic import attainable, smallest_whole
from medtk.reproduction.consistency import finding
from medtk.reproduction.evidence import key_of, percent, printed
from medtk.reproduction.papers import Cell, Paper
from medtk.reproduction.quantities import METRICS


def findings(paper: Paper | str) -> list[dict]:
    """Everything that the checks find in a paper's printed numbers.

    Parameters
    ----------
    paper : Paper or str
        A study or its id.

    Returns
    -------
    list of dict
        ``check``, ``where``, ``verdict`` (``consistent``, ``note`` or ``problem``) and ``finding`` (a
        sentence).
    """
    paper = papers.load(paper) if isinstance(paper, str) else paper
    cells = [cell for cell in paper.cells if cell.printed is not None]
    if not cells:
        return [*_silent(paper), *consistency.statements(paper)]
    return [
        *_attainable(paper, cells),
        *_repeats(cells),
        *_twins(cells),
        *consistency.statements(paper),
        *consistency.numbers(paper, cells),
        *_majority(cells),
        *_rises(cells),
        *_claims(paper),
    ]


def _silent(paper: Paper) -> list[dict]:
    text = f"The study prints no table and no measured value; it makes {len(paper.claims)} claims that can be tested."
    return [finding("numbers", "the whole text", "note", text)]


def _attainable(paper: Paper, cells: list[Cell]) -> list[dict]:
    groups = defaultdict(list)
    for cell in cells:
        if METRICS[cell.metric].kind == "share" and cell.of:
            groups[cell.needs["dataset"], cell.of].append(cell)
    found = []
    for (name, n), mine in groups.items():
        facts, decimals = paper.datasets[name], max(cell.decimals for cell in mine)
        where = facts["title"] if n == facts["n_test"] else f"{facts['title']}, {n} images"
        good = [cell for cell in mine if attainable(cell.printed, n, cell.decimals)]
        by_chance = percent(min(1.0, (n + 1) / (10**decimals + 1)))
        text = f"{len(good)} of {len(mine)} printed values are a whole number of right answers among {n} images"
        if len(good) == len(mine):
            text += f"; a value chosen blindly is one with a chance of {by_chance}."
            found.append(finding("attainable values", where, "consistent", text))
            continue
        wrong = next(cell for cell in mine if cell not in good)
        text += f" ({wrong.text} in table {wrong.table}, {wrong.row}, is not)"
        values = {(cell.printed, cell.decimals) for cell in mine}
        text += f"; no set of fewer than {smallest_whole(values)} images fits all of them"
        if all(attainable(value, facts.get("n_val", n), places) for value, places in values):
            text += f". The {facts['n_val']} validation images would, as any set of that size does"
        found.append(finding("attainable values", where, "problem", text + "."))
    return found


def _repeats(cells: list[Cell]) -> list[dict]:
    same = defaultdict(list)
    for cell in cells:
        same[cell.metric, tuple(sorted(cell.needs.items()))].append(cell)
    twice = [group for group in same.values() if len(group) > 1]
    found = []
    for group in [g for g in twice if len({cell.text for cell in g}) > 1]:
        text = ", ".join(f"{cell.text} in table {cell.table}" for cell in group)
        found.append(finding("repeated values", group[0].row, "problem", f"One run is printed as {text}."))
    if twice and not found:
        tables = ", ".join(sorted({cell.table for group in twice for cell in group}))
        text = f"{len(twice)} runs stand in more than one of the tables {tables}, always with the same number."
        found.append(finding("repeated values", f"tables {tables}", "consistent", text))
    return found


def _twins(cells: list[Cell]) -> list[dict]:
    """Find rows of one table that are called differently and are equal in every column."""
    rows = defaultdict(dict)
    for cell in cells:
        rows[cell.table, cell.row][cell.column] = cell.text
    same = defaultdict(list)
    for (table, row), texts in rows.items():
        if len(texts) > 1:
            same[table, tuple(texts.items())].append(row)
    return [
        finding(
            "equal rows",
            f"table {table}",
            "note",
            f"{' and '.join(names)} are equal in every column: {', '.join(text for _, text in texts)}.",
        )
        for (table, texts), names in same.items()
        if len(names) > 1
    ]


def _majority(cells: list[Cell]) -> list[dict]:
    """Find rows that a classifier with one answer for every image could have produced, by their intervals."""
    rows = defaultdict(list)
    for cell in cells:
        if cell.majority and cell.n and cell.metric == "accuracy":
            rows[cell.table, cell.row].append(cell)
    found = []
    for (table, row), group in rows.items():
        spans = [wilson(cell.printed * cell.n, cell.n) for cell in group]
        at = sum(low <= group[0].majority <= high for low, high in spans)
        flat = max(cell.printed for cell in group) - min(cell.printed for cell in group) <= 0.05
        if len(group) > 3 and flat and at > len(group) / 2:
            text = (
                f"{at} of {len(group)} values cannot be told from always giving the commonest class "
                f"({percent(group[0].majority)}): {', '.join(cell.text for cell in group)}."
            )
            found.append(finding("majority class", f"table {table}, {row}", "note", text))
    return found


def _rises(cells: list[Cell]) -> list[dict]:
    """Find rows in which a stronger attack leaves a higher accuracy."""
    rows = defaultdict(list)
    for cell in cells:
        rows[cell.table, cell.row].append(cell)
    found = []
    seen = set()
    for (table, row), group in rows.items():
        run = tuple(key_of(group[0])[:3])
        if len({cell.needs.get("epsilon") for cell in group}) < 2 or run in seen:
            continue
        seen.add(run)
        group = sorted(group, key=lambda cell: cell.needs["epsilon"])
        if ups := [(a, b) for a, b in pairwise(group) if b.printed > a.printed]:
            text = ", ".join(f"{a.text} at {a.needs['epsilon']} → {b.text} at {b.needs['epsilon']}" for a, b in ups)
            text = f"Accuracy rises with epsilon: {text}."
            if group[0].printed == min(cell.printed for cell in group):
                text += " The clean images are the hardest of all."
            found.append(finding("rising with epsilon", f"table {table}, {row}", "note", text))
    return found


def _claims(paper: Paper) -> list[dict]:
    found, evidence = [], printed(paper)
    for claim in paper.claims:
        cases = [case for case in rulebook.cases(claim, paper.id, evidence) if case.holds is not None]
        if against := [f"{case.name} ({case.detail})" for case in cases if not case.holds]:
            verdict = "problem" if 2 * len(against) >= len(cases) else "note"
            text = f"{claim.text} The printed numbers say otherwise in {len(against)} of {len(cases)} cases: "
            named = re.match("[A-Z][a-z]", claim.where)  # "Abstract", not "IV-B"
            where = claim.where if named else f"section {claim.where}"
            found.append(finding("claims", where, verdict, text + "; ".join(against) + "."))
    return found
