"""The ledger as pages of the book: Markdown made from `medtk.reproduction.compare.report`, never typed."""

from medtk.reproduction import forensics, papers
from medtk.reproduction.paired import FEWEST_SEEDS, LEARNED
from medtk.reproduction.quantities import FEWEST, METRICS, shown

# Words carry the verdict; the sign helps to find it on a full page, in any colour and without one.
WORDS = {
    "reproduced": "✓ reproduced",
    "direction": "≈ direction holds",
    "differs": "✗ differs",
    "not_testable": "– not testable here",
    "unrecorded": "· not recorded",
}
CLAIM_WORDS = {
    **WORDS,
    "reproduced": "✓ holds",
    "direction": "≈ holds in part",
    "differs": "✗ does not hold",
}
RULE = f"""A number is **reproduced** when the printed value lies inside our 95 % interval: where there are
three or more runs, where one more would fall; else from the lowest to the highest end of Wilson's intervals, one a
run, for the test images. **Direction holds** when both numbers lie on the same side of a reference: what always giving
the commonest class would reach, or the number that the paper sets beside it (for attacked images the value on clean
ones). Ours is on a side of the latter when the same images say so at the same seeds. A run at smaller settings
that meets a number, or one from random weights where the paper starts from ImageNet's, shows a direction at most; one
that misses it **differs**, and the sentence says what the run has less of.

Nothing can be told where the interval of a share is wider than 25 points, or that of another quantity wider than
its value, nor from networks that have not learned, whose balanced accuracy on clean images is less than
{100 * LEARNED:.0f} points above one answer for all, nor from a squared error over fewer than {FEWEST} images. A run
whose network gives every image the same answer is left out, and the sentence says so.

A claim compares conditions on the seeds that all of them were recorded with, wants more than 1 point of difference
where it is about accuracies alone, and ranks no network that starts from random weights against one that does not.
Where it is about one image after the other, a difference must be more than images and seeds explain, and two networks
that were trained apart need {FEWEST_SEEDS} seeds. Where the same networks with normalisation statistics measured
again answer otherwise, that is said beside the verdict. Runs on synthetic images and quick runs never count."""


AGAIN = """Verdicts are on networks as training left them. *Measured again* asks the same networks after their
normalisation statistics were measured on the training images, where that is recorded; {ref}`nb-transfer` tells why it
can matter so much. It is another experiment than the printed one, so it is counted apart."""


def scoreboard_page(report: dict) -> str:
    """Page with the counts of every paper and the verdict of every claim.

    Parameters
    ----------
    report : dict
        As `medtk.reproduction.compare.report` gives it.
    """
    names = list(WORDS)
    lines = ["(scoreboard)=", "# Scoreboard", "", RULE, "", "## Printed numbers", ""]
    lines += _table(
        ["Paper", "Numbers", *(WORDS[name] for name in names)],
        [
            [papers.load(paper).short, counts["cells"], *(counts[name] for name in names)]
            for paper, counts in report["papers"].items()
        ],
    )
    lines += [*_counted_again(report["cells"]), "", "## Claims", ""]
    lines += _table(
        ["Paper", "Claim", "Verdict", "Why"],
        [[papers.load(c["paper"]).short, c["claim"], CLAIM_WORDS[c["verdict"]], c["reason"]] for c in report["claims"]],
    )
    return "\n".join(lines) + "\n"


def paper_page(report: dict, paper: str) -> str:
    """Page with every table of one paper, cell by cell, its claims, and what its numbers say themselves.

    Parameters
    ----------
    report : dict
        As `medtk.reproduction.compare.report` gives it.
    paper : str
        One of `medtk.reproduction.papers.IDS`.
    """
    study = papers.load(paper)
    cells = [cell for cell in report["cells"] if cell["paper"] == paper]
    again = any(cell["measured_again"] for cell in cells)
    lines = [f"({paper.replace('_', '-')}-tables)=", "# Printed and recorded numbers", ""]
    lines += [f"*{study.title}.* {RULE}", *(["", AGAIN] if again else [])]
    if not study.cells:
        lines += ["", "This study prints no table and no measured value. Its claims are what can be tested."]
    for table, facts in study.tables.items():
        name = table if table.startswith("Fig") else f"Table {table}"
        lines += ["", f"## {name}: {facts['title']}", ""]
        mine = [cell for cell in cells if cell["table"] == table]
        head = ["Row", "Column", "Printed", "Ours", "95 % interval", "Images, runs", "Data, weights", "Verdict"]
        head += ["Measured again", "Verdict then"] if again else []
        lines += _table(head, [_row(study, cell) + (_row_again(cell) if again else []) for cell in mine])
        lines += _smaller(mine) + _notes(mine)
    if claims := [claim for claim in report["claims"] if claim["paper"] == paper]:
        lines += ["", "## Claims", ""]
        rows = [
            [claim["claim"], CLAIM_WORDS[claim["verdict"]], claim["reason"], _behind(claim["records"])]
            for claim in claims
        ]
        lines += _table(["Claim", "Verdict", "Why", "Records behind it"], rows)
    if found := forensics.findings(study):
        lines += ["", "## What the printed numbers say themselves", ""]
        rows = [[f["check"], f["where"], f["verdict"], f["finding"]] for f in found]
        lines += _table(["Check", "Where", "Result", "Finding"], rows)
    return "\n".join(lines) + "\n"


def _row(study: papers.Paper, cell: dict) -> list[str]:
    text = study.cell(cell["table"], cell["row"], cell["column"]).text
    low, high = cell["low"], cell["high"]
    interval = f"{shown(low, cell['metric'])} to {shown(high, cell['metric'])}" if low is not None else ""
    recorded = cell["ours"] is not None
    return [
        cell["row"],
        cell["column"],
        text if cell["printed"] is not None else f"{text} (none)",
        shown(cell["ours"], cell["metric"]) if recorded else "",
        interval,
        f"{cell['n']}, {cell['runs']}" if recorded else "",
        f"{cell['data_source']}, {cell['weights_source']}" if recorded else "",
        WORDS[cell["verdict"]],
    ]


def _row_again(cell: dict) -> list[str]:
    """Number and verdict with the statistics measured again; empty where that is no other number."""
    again = cell["measured_again"]
    return [shown(again["ours"], cell["metric"]), WORDS[again["verdict"]]] if again else ["", ""]


def _counted_again(cells: list[dict]) -> list[str]:
    """Verdicts by paper where statistics were measured again; nothing without any. Other cells keep their verdict."""
    rows = []
    for paper in papers.IDS:
        mine = [cell for cell in cells if cell["paper"] == paper]
        if any(cell["measured_again"] for cell in mine):
            verdicts = [(cell["measured_again"] or cell)["verdict"] for cell in mine]
            rows.append([papers.load(paper).short, len(mine), *map(verdicts.count, WORDS)])
    head = ["With statistics measured again", "Numbers", *WORDS.values()]
    return ["", AGAIN, "", *_table(head, rows)] if rows else []


def _behind(ids: list[str], shown: int = 3) -> str:
    """Names of the first records, as code, and how many more there are; the paper's own name is left out."""
    names = ", ".join(f"`{name.partition('/')[2]}`" for name in ids[:shown])
    return names + (f" and {len(ids) - shown} more" if len(ids) > shown else "")


def _smaller(cells: list[dict]) -> list[str]:
    """Sentence on the columns in which a smaller number is the better one."""
    small = {cell["column"]: None for cell in cells if METRICS[cell["metric"]].better == "lower"}
    if not small:
        return []
    every = len(small) == len({cell["column"] for cell in cells})
    return ["", "Smaller is better." if every else f"Smaller is better in: {', '.join(small)}."]


def _notes(cells: list[dict]) -> list[str]:
    """Sentences on the cells that were not reproduced, and the deviations behind recorded ones, each once."""
    open_cells = [c for c in cells if c["verdict"] in ("differs", "not_testable", "direction")]
    reasons = [f"- {c['row']}, {c['column']}: {_plain(c['reason'])}" for c in open_cells]
    deviations = sorted({deviation for cell in cells for deviation in cell["deviations"]})
    lines = []
    if reasons:
        lines += ["", ":::{dropdown} Why, cell by cell", *reasons, ":::"]
    if deviations:
        lines += ["", "Differences from the paper's settings in these runs:", ""]
        lines += [f"- {_plain(deviation)}" for deviation in deviations]
    return lines


def _table(head: list[str], rows: list[list]) -> list[str]:
    """Lines of a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(_plain(str(value)) for value in line) + " |" for line in lines]


def _plain(text: str) -> str:
    """Text that Markdown takes as it stands: no table bars, emphasis or mathematics by accident."""
    parts = text.replace("|", "\\|").split("`")
    for i in range(0, len(parts), 2):  # the odd ones are code
        parts[i] = parts[i].replace("*", "\\*").replace("_", "\\_").replace("$", "\\$")
    return "`".join(parts)
