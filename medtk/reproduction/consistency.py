"""What binds several printed numbers of one experiment together, and whether it holds."""

from collections import defaultdict

from medtk.evaluation.intervals import wilson
from medtk.reproduction import papers
from medtk.reproduction.arithmetic import (
    attainable,
    confusion_matrices,
    consistent,
    macro_f1,
    nearest_macro_f1,
    right_by_class,
)
from medtk.reproduction.evidence import percent, points
from medtk.reproduction.papers import Cell, Paper
from medtk.reproduction.quantities import shown

SMALL = 100  # images; an interval on fewer is wider than the differences that papers speak of
COUNTS = ("true_positives", "false_negatives", "false_positives", "true_negatives")


def finding(check: str, where: str, verdict: str, text: str) -> dict:
    """One entry of `medtk.reproduction.forensics.findings`."""
    return {"check": check, "where": where, "verdict": verdict, "finding": text}


def statements(paper: Paper) -> list[dict]:
    """Findings on what the text states: sums, shares, settings said twice, differences of printed numbers."""
    said = paper.statements
    return [
        *(_sum(statement) for statement in said.get("sums", [])),
        *(_share(statement) for statement in said.get("shares", [])),
        *(_setting(statement) for statement in said.get("settings", [])),
        *(_difference(paper, statement) for statement in said.get("differences", [])),
    ]


def numbers(paper: Paper, cells: list[Cell]) -> list[dict]:
    """Findings on numbers of the tables that must fit each other; ``cells`` are those with a printed value."""
    rows = defaultdict(dict)
    for cell in cells:
        # All numbers of one run on one set; a metric of a class bears its name.
        settings = tuple(sorted(item for item in cell.needs.items() if item[0] != "class"))
        rows[cell.table, settings][cell.metric, cell.needs.get("class")] = cell
    found = []
    for row in rows.values():
        found += [*_harmonic(row), *_matrix(paper, row), *_macro(paper, row)]
    pooled = [_pooled(paper, statement) for statement in paper.statements.get("pooled", [])]
    return [*_micro(rows.values()), *found, *pooled, *_scale(cells), *_small(paper, cells)]


def _sum(statement: dict) -> dict:
    total, parts, beside = statement["total"], statement["parts"], statement.get("beside")
    verdict = "note" if beside else "consistent" if sum(parts) == total else "problem"
    text = f"{statement['what']}: {' + '.join(map(str, parts))} = {sum(parts)}, {beside or 'stated'} {total}."
    return finding("counts", statement["where"], verdict, text)


def _share(statement: dict) -> dict:
    n, other = statement["n"], statement["beside"]
    value, decimals = papers.parse(statement["text"])
    counts = attainable(value, n, decimals)
    can = " or ".join(map(str, counts)) or "no count"
    text = (
        f"{statement['what']}: {statement['text']} of {n} images can be {can}; "
        f"{statement['beside_what']} gives {other} ({percent(other / n)})."
    )
    return finding("shares", statement["where"], "note" if counts else "problem", text)


def _setting(statement: dict) -> dict:
    said = statement["said"]
    verdict = "consistent" if len({text for _, text in said}) == 1 else "problem"
    text = f"{statement['what']}: {'; '.join(f'{text} ({where})' for where, text in said)}."
    return finding("said twice", ", ".join(where for where, _ in said), verdict, text)


def _difference(paper: Paper, statement: dict) -> dict:
    stated, decimals = papers.parse(statement["text"])
    more, less = ([paper.cell(*place) for place in statement[key]] for key in ("more", "less"))
    readings = {"as a plain mean": [1] * len(more)} if len(more) > 1 else {"the tables": [1]}
    if "weights" in statement:
        readings["weighted by images"] = statement["weights"]
    # Every printed number may be off by half a unit of its last decimal, and so may the stated one.
    slack = sum(max(0.5 * 10**-cell.decimals for cell in group) for group in (more, less))
    slack += 0.5 * 10**-decimals + 1e-12
    parts, fits = [], []
    for name, weights in readings.items():
        gain = _mean(more, weights) - _mean(less, weights)
        fits.append(abs(gain - stated) <= slack)
        parts.append(f"{name} {'give' if name == 'the tables' else 'it is'} {points(gain)}")
        if len(more) > 1:
            parts[-1] += " (fits)" if fits[-1] else " (does not fit)"
    text = f"{statement['what']}: stated {statement['text']}; {', '.join(parts)}."
    return finding("differences", statement["where"], "consistent" if any(fits) else "problem", text)


def _mean(cells: list[Cell], weights: list[int]) -> float:
    return sum(w * cell.printed for w, cell in zip(weights, cells, strict=True)) / sum(weights)


def _harmonic(row: dict) -> list[dict]:
    """F1 of a class must be the harmonic mean of its precision and recall."""
    found = []
    for name in dict.fromkeys(name for metric, name in row if metric == "f1"):
        trio = [row.get((metric, name)) for metric in ("precision", "recall", "f1")]
        if None in trio or consistent(*(cell.printed for cell in trio), trio[2].decimals):
            continue
        precision, recall, f1 = trio
        mean = 2 * precision.printed * recall.printed / (precision.printed + recall.printed)
        text = f"F1 is printed as {f1.text}; precision {precision.text} and recall {recall.text} give {mean:.4f}."
        found.append(finding("harmonic mean", f"table {f1.table}, {f1.row}, {f1.column}", "problem", text))
    return found


def _matrix(paper: Paper, row: dict) -> list[dict]:
    """Precision, recall and F1 of both classes on one test set: which confusion matrices give all six?"""
    trio, names = ("precision", "recall", "f1"), list(dict.fromkeys(name for _, name in row))
    if len(names) != 2 or len(row) != 6 or any((metric, name) not in row for name in names for metric in trio):
        return []
    first = row["f1", names[0]]
    sizes = [paper.datasets[first.needs["dataset"]]["classes"][name] for name in names]
    asked = {"": names[0], "negative_": names[1]}
    printed = {f"{kind}{metric}": row[metric, name] for kind, name in asked.items() for metric in trio}
    where = f"table {first.table}, {first.needs['dataset']}, {first.column.partition(' / ')[0]}"

    def fitting(left_out=None):
        values = {key: cell.printed for key, cell in printed.items() if key != left_out}
        return confusion_matrices(*sizes, first.decimals, **values)

    def said(matrix):
        return f"{matrix['tp']} of {sizes[0]} {names[0]} and {matrix['tn']} of {sizes[1]} {names[1]} images right"

    if matrices := fitting():
        count = "One confusion matrix gives" if len(matrices) == 1 else f"{len(matrices)} confusion matrices give"
        text = f"{count} all six numbers: {'; or '.join(map(said, matrices))}."
        return [finding("confusion matrix", where, "consistent", text)]
    text = "No confusion matrix gives all six numbers."
    for key, cell in printed.items():
        if others := fitting(key):
            text += f" Without {cell.text}, the {cell.metric} of {cell.needs['class']}, there is "
            text += f"{'; or '.join(map(said, others))}."
    return [finding("confusion matrix", where, "problem", text)]


def _micro(rows) -> list[dict]:
    """Find micro-averages: with one answer an image, precision and recall repeat the accuracy."""
    needed, found, same = ("accuracy", "micro_precision", "micro_recall", *COUNTS), [], []
    for row in rows:
        if any((metric, None) not in row for metric in needed):
            continue
        accuracy, precision, recall, *counts = (row[metric, None] for metric in needed)
        tp, fn, fp, tn = (int(cell.printed) for cell in counts)
        right = tp in attainable(accuracy.printed, accuracy.n, accuracy.decimals) and tp + fn == accuracy.n
        if right and accuracy.text == precision.text == recall.text and tp == tn and fn == fp:
            same.append(f"{accuracy.row} ({tp} right, {fn} wrong)")
            continue
        text = f"TP {tp}, FN {fn}, FP {fp}, TN {tn} do not give accuracy {accuracy.text} on {accuracy.n} images."
        found.append(finding("micro-average", f"table {accuracy.table}, {accuracy.row}", "problem", text))
    if same:
        text = (
            f"Accuracy = precision = recall, FN = FP and TP = TN in {', '.join(same)}. These are averages over both "
            "outputs of a network that gives one answer an image: each wrong image counts once as FN and once as "
            "FP. So the table holds no sensitivity, and FN is all errors, not the patients missed."
        )
        found.append(finding("micro-average", "tables with TP, FN, FP, TN", "note", text))
    return found


def _macro(paper: Paper, row: dict) -> list[dict]:
    """Right answers of each class, from accuracy and macro F1."""
    if any((metric, None) not in row for metric in ("accuracy", "macro_f1")):
        return []
    accuracy, f1 = row["accuracy", None], row["macro_f1", None]
    found, n = [], accuracy.n
    classes = sorted(paper.datasets[f1.needs["dataset"]]["classes"].items(), key=lambda item: -item[1])
    whole = sum(size for _, size in classes)
    for right in attainable(accuracy.printed, n, accuracy.decimals):
        text = f"With {right} of {n} right, a macro F1 of {f1.text}"
        pairs = right_by_class(n, right, f1.printed, f1.decimals)
        if pairs:
            text += f" means {' or '.join(f'{a} and {b}' for a, b in pairs)} right in the two classes."
        else:
            text += f" is not possible; the nearest is {nearest_macro_f1(n, right, f1.printed):.{f1.decimals}f}."
        if pairs and not any(n * size % whole for _, size in classes):
            sizes = [n * size // whole for _, size in classes]
            given = {"accuracy": right / n, "macro_f1": f1.printed}
            fits = " or ".join(
                f"{m['tp']} of {sizes[0]} {classes[0][0]} and {m['tn']} of {sizes[1]} {classes[1][0]} right"
                for m in confusion_matrices(*sizes, f1.decimals, **given)
            )
            text += f" If {sizes[0]} images are {classes[0][0]} and {sizes[1]} {classes[1][0]}: {fits}."
        found.append(finding("macro F1", f"table {f1.table}, {f1.row}", "consistent" if pairs else "problem", text))
    return found


def _pooled(paper: Paper, statement: dict) -> dict:
    """Whether one row is the sum of others: then it is no further evidence."""

    def row(table, name):
        cells = [cell for cell in paper.cells if (cell.table, cell.row) == (table, name)]
        return {cell.metric: cell for cell in cells}

    whole, parts = row(*statement["whole"]), [row(*place) for place in statement["parts"]]
    names = [name for _, name in statement["parts"]]
    sums = {m: sum(int(part[m].printed) for part in parts) for m in COUNTS}
    adds = all(total == int(whole[m].printed) for m, total in sums.items())
    loss = sum(part["loss"].printed * part["loss"].n for part in parts) / whole["loss"].n
    equal = abs(loss - whole["loss"].printed) <= 0.5 * 10 ** -parts[0]["loss"].decimals
    text = (
        f"The counts of {', '.join(names)} give {', '.join(map(str, sums.values()))} together and their losses "
        f"{loss:.4f} on average; {statement['whole'][1]} has {', '.join(whole[m].text for m in COUNTS)} and "
        f"{whole['loss'].text}."
    )
    if adds and equal:
        text += (
            " One network asked about three parts of one test set gives just this. Then that the whole is close to "
            "its parts is arithmetic, not evidence."
        ) + _left_over(whole, parts, names)
    return finding("pooled rows", f"table {statement['whole'][0]}", "note" if adds and equal else "problem", text)


def _left_over(whole: dict, parts: list[dict], names: list[str]) -> str:
    """What the whole leaves for the one part whose macro F1 fits no counts."""
    pairs = [
        right_by_class(row["macro_f1"].n, int(row["true_positives"].printed), row["macro_f1"].printed, decimals)
        for row in (whole, *parts)
        for decimals in [row["macro_f1"].decimals]
    ]
    open_parts = [i for i, fits in enumerate(pairs[1:]) if not fits]
    if len(open_parts) != 1 or any(len(fits) > 1 for fits in pairs) or not pairs[0]:
        return ""
    one, two = (pairs[0][0][k] - sum(fits[0][k] for fits in pairs[1:] if fits) for k in (0, 1))
    row = parts[open_parts[0]]["macro_f1"]
    value = macro_f1(one, two, row.n)
    return (
        f" Of the right answers by class the others leave {one} and {two} for {names[open_parts[0]]}: a macro F1 of "
        f"{value:.{row.decimals}f}, printed {row.text}."
    )


def _scale(cells: list[Cell]) -> list[dict]:
    """Squared errors above 1 cannot be of images from 0 to 1."""
    found = []
    for dataset in dict.fromkeys(cell.needs.get("dataset") for cell in cells):
        mine = [c for c in cells if c.metric == "mse" and c.needs.get("dataset") == dataset]
        above = [cell for cell in mine if cell.printed > 1]
        if above:
            largest = max(cell.printed for cell in above)
            text = (
                f"{len(above)} of {len(mine)} mean squared errors are above 1, the largest {largest:g}; for images "
                "from 0 to 1 that is impossible, and no scale is stated."
            )
            found.append(finding("scale", f"table {above[0].table}, {dataset}", "problem", text))
    return found


def _small(paper: Paper, cells: list[Cell]) -> list[dict]:
    """How much a small test set leaves open."""
    found = []
    for name, facts in paper.datasets.items():
        mine = [c for c in cells if c.metric == "accuracy" and c.needs.get("dataset") == name and c.n <= SMALL]
        if not mine:
            continue
        best = max(mine, key=lambda cell: cell.printed)
        spans = [wilson(cell.printed * cell.n, cell.n) for cell in mine]
        at = sum(low <= cell.majority <= high for cell, (low, high) in zip(mine, spans, strict=True))
        low, high = wilson(best.printed * best.n, best.n)
        text = (
            f"On {best.n} images even the best value, {best.text}, lies between {percent(low)} and {percent(high)} "
            f"at 95 %. {at} of {len(mine)} values cannot be told from always giving the commonest class "
            f"({shown(best.majority, 'accuracy')})."
        )
        found.append(finding("small test set", facts["title"], "note", text))
    return found
