"""What the printed numbers themselves say, before anything is trained.

A share of n images can only be k/n (Brown and Heathers, "The GRIM test", 2017); precision, recall and F1 fix
each other; few confusion matrices fit a set of rounded metrics; the same run printed twice must agree.
"""

from collections import defaultdict
from itertools import pairwise

import numpy as np

from medtk.evaluation.intervals import wilson
from medtk.reproduction import papers, rules
from medtk.reproduction.evidence import key_of, percent, printed
from medtk.reproduction.papers import Cell, Paper


def attainable(printed: float, n: int, decimals: int) -> list[int]:
    """Counts k for which k/n rounds to a printed share (halves may go either way).

    Parameters
    ----------
    printed : float
        Fraction of 1.
    n : int
        Images, 1 or more.
    decimals : int
        Decimals of ``printed`` as a fraction: 4 for ``83.97%``.

    Returns
    -------
    list of int
        Empty when no number of right answers among n gives the printed value.
    """
    scale = 10**decimals
    units = round(printed * scale)
    # Whole numbers throughout: |k/n - units/scale| <= 1/(2 scale), free of rounding.
    lowest = -((n - 2 * n * units) // (2 * scale))
    highest = (2 * n * units + n) // (2 * scale)
    return list(range(max(0, lowest), min(n, highest) + 1))


def consistent(precision: float, recall: float, f1: float, decimals: int) -> bool:
    """Whether a rounded F1 can be the harmonic mean of a rounded precision and recall (fractions of 1)."""
    half = 0.5 * 10**-decimals

    def harmonic(p, r):
        return 2 * p * r / (p + r) if p + r else 0.0

    lowest = harmonic(max(0.0, precision - half), max(0.0, recall - half))
    highest = harmonic(min(1.0, precision + half), min(1.0, recall + half))
    return lowest - half - 1e-12 <= f1 <= highest + half + 1e-12


def confusion_matrices(n_positive: int, n_negative: int, decimals: int, **printed: float) -> list[dict]:
    """Every two-class confusion matrix that gives all the printed metrics after rounding.

    Parameters
    ----------
    n_positive, n_negative : int
        Images of each class.
    decimals : int
        Decimals of the printed fractions.
    **printed : float
        Any of ``accuracy``, ``precision``, ``recall``, ``specificity``, ``f1``, ``macro_f1``.

    Returns
    -------
    list of dict
        ``tp``, ``fn``, ``fp``, ``tn``; a metric that is 0/0 counts as 0.
    """
    tp, fp = np.meshgrid(np.arange(n_positive + 1), np.arange(n_negative + 1), indexing="ij")
    fn, tn = n_positive - tp, n_negative - fp

    def share(part, whole):
        return np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)

    f1 = share(2 * tp, 2 * tp + fp + fn)
    values = {
        "accuracy": (tp + tn) / (n_positive + n_negative),
        "precision": share(tp, tp + fp),
        "recall": share(tp, tp + fn),
        "specificity": share(tn, tn + fp),
        "f1": f1,
        "macro_f1": (f1 + share(2 * tn, 2 * tn + fp + fn)) / 2,
    }
    half = 0.5 * 10**-decimals + 1e-12
    fits = np.ones(tp.shape, dtype=bool)
    for metric, value in printed.items():
        fits &= np.abs(values[metric] - value) <= half
    grids = {"tp": tp, "fn": fn, "fp": fp, "tn": tn}
    return [{name: int(grid[i]) for name, grid in grids.items()} for i in map(tuple, np.argwhere(fits))]


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
    return [
        *_attainable(paper, cells),
        *_repeats(cells),
        *_statements(paper),
        *_majority(cells),
        *_rises(cells),
        *_claims(paper),
    ]


def _finding(check: str, where: str, verdict: str, finding: str) -> dict:
    return {"check": check, "where": where, "verdict": verdict, "finding": finding}


def _attainable(paper: Paper, cells: list[Cell]) -> list[dict]:
    found = []
    for name, facts in paper.datasets.items():
        mine = [cell for cell in cells if cell.needs.get("dataset") == name]
        if not mine:
            continue
        n, decimals = facts["n_test"], max(cell.decimals for cell in mine)
        good = [cell for cell in mine if attainable(cell.printed, n, cell.decimals)]
        by_chance = percent(min(1.0, (n + 1) / (10**decimals + 1)))
        text = (
            f"{len(good)} of {len(mine)} printed values are a whole number of right answers among {n} images"
        )
        if len(good) == len(mine):
            text += f"; a value chosen blindly is one with a chance of {by_chance}."
            found.append(_finding("attainable values", facts["title"], "consistent", text))
            continue
        wrong = next(cell for cell in mine if cell not in good)
        text += f" ({wrong.text} in table {wrong.table}, {wrong.row}, is not)"
        values = {(cell.printed, cell.decimals) for cell in mine}
        if all(attainable(value, facts["n_val"], places) for value, places in values):
            text += (
                f"; no set of fewer than {_smallest(values)} images fits all of them. The {facts['n_val']} "
                "validation images would, as any set of that size does"
            )
        found.append(_finding("attainable values", facts["title"], "problem", text + "."))
    return found


def _smallest(values: set[tuple[float, int]]) -> int:
    return next(n for n in range(1, 10**6) if all(attainable(value, n, places) for value, places in values))


def _repeats(cells: list[Cell]) -> list[dict]:
    same = defaultdict(list)
    for cell in cells:
        same[tuple(sorted(cell.needs.items()))].append(cell)
    twice = [group for group in same.values() if len(group) > 1]
    found = []
    for group in [g for g in twice if len({cell.text for cell in g}) > 1]:
        text = ", ".join(f"{cell.text} in table {cell.table}" for cell in group)
        found.append(_finding("repeated values", group[0].row, "problem", f"One run is printed as {text}."))
    if twice and not found:
        tables = ", ".join(sorted({cell.table for group in twice for cell in group}))
        text = (
            f"{len(twice)} runs stand in more than one of the tables {tables}, always with the same number."
        )
        found.append(_finding("repeated values", f"tables {tables}", "consistent", text))
    return found


def _statements(paper: Paper) -> list[dict]:
    found = []
    for statement in paper.statements.get("sums", []):
        total, parts = statement["total"], statement["parts"]
        verdict = "consistent" if sum(parts) == total else "problem"
        text = f"{statement['what']}: {' + '.join(map(str, parts))} = {sum(parts)}, stated {total}."
        found.append(_finding("counts", statement["where"], verdict, text))
    for statement in paper.statements.get("shares", []):
        n, other = statement["n"], statement["beside"]
        value, decimals = papers.parse(statement["text"])
        counts = attainable(value, n, decimals)
        can = " or ".join(map(str, counts)) or "no count"
        text = (
            f"{statement['what']}: {statement['text']} of {n} images can be {can}; "
            f"{statement['beside_what']} gives {other} ({percent(other / n)})."
        )
        found.append(_finding("shares", statement["where"], "note" if counts else "problem", text))
    return found


def _majority(cells: list[Cell]) -> list[dict]:
    """Find rows that a classifier with one answer for every image could have produced, by their intervals."""
    rows = defaultdict(list)
    for cell in cells:
        if cell.majority and cell.n:
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
            found.append(_finding("majority class", f"table {table}, {row}", "note", text))
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
            text = ", ".join(
                f"{a.text} at {a.needs['epsilon']} → {b.text} at {b.needs['epsilon']}" for a, b in ups
            )
            text = f"Accuracy rises with epsilon: {text}."
            if group[0].printed == min(cell.printed for cell in group):
                text += " The clean images are the hardest of all."
            found.append(_finding("rising with epsilon", f"table {table}, {row}", "note", text))
    return found


def _claims(paper: Paper) -> list[dict]:
    found, evidence = [], printed(paper)
    for claim in paper.claims:
        cases = [case for case in getattr(rules, claim.rule)(evidence) if case.holds is not None]
        if against := [f"{case.name} ({case.detail})" for case in cases if not case.holds]:
            verdict = "problem" if 2 * len(against) >= len(cases) else "note"
            text = f"{claim.text} The printed numbers say otherwise in {len(against)} of {len(cases)} cases: "
            found.append(
                _finding("claims", f"section {claim.where}", verdict, text + "; ".join(against) + ".")
            )
    return found
