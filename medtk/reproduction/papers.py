"""The five studies as data: what they printed, cell by cell, and what they claim."""

import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from medtk.errors import UnknownName
from medtk.reproduction.quantities import METRICS, constant

# Of such a cell at most its side of another one can be judged.
SCALE = "Its column holds errors above 1, impossible for squared pixels from 0 to 1, and the paper names no scale."
IDS = ("robust_transfer", "clustered_covid", "pgsl", "lightweight", "hospital")


@dataclass(frozen=True)
class Cell:
    """One printed number.

    Attributes
    ----------
    paper, table, row, column : str
        Where it stands.
    printed : float or None
        The number, a percentage as a fraction of 1; None where the paper printed none, see ``missing``.
    text : str
        The characters in the paper: ``"83.97%"``, ``"N/A*"``; ``"plotted"`` for a point of a figure.
    decimals : int
        Decimals of ``printed``: 4 for ``"83.97%"``, 2 for ``"1.85"``.
    n : int or None
        Images of the test set that the paper names; None where the number is not taken over it.
    of : int or None
        Images that a share or a count is taken of: all of them for an accuracy, those of one class for its
        recall; None where the paper does not say.
    metric : str
        Key of `medtk.reproduction.quantities.METRICS`.
    needs : dict
        What the run that answers it was made with: ``dataset`` always, then for paper 1 ``network``,
        ``defense`` (``none``, ``at``, ``kd``) and ``epsilon``, for the others what their tables vary.
    reference : str
        What the direction is judged against: ``"majority"`` (always saying the commonest class), a column's
        or a row's name, or empty for nothing.
    majority : float or None
        What always saying the commonest class of the test set gives in this metric.
    missing : str
        Why there is no printed number, in words; empty where there is one.
    given : str
        Why agreement would say nothing, in words: our data are made from the printed number. Empty elsewhere.
    command : str
        The command line that fills the cell where the official data can be had.
    """

    paper: str
    table: str
    row: str
    column: str
    printed: float | None
    text: str
    decimals: int
    n: int | None
    of: int | None
    metric: str
    needs: dict
    reference: str
    majority: float | None
    missing: str
    given: str
    command: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Table, row and column, as a record's ``cells`` name them."""
        return self.table, self.row, self.column


@dataclass(frozen=True)
class Claim:
    """A statement of the paper in our words, with the name of the rule that tests it.

    A rule is a function of `medtk.reproduction.rulebook`; a claim whose rule is not there stays unrecorded.
    ``untestable`` is the sentence that says why no run of ours can speak to it; empty for all others.
    """

    id: str
    text: str
    rule: str
    where: str
    untestable: str = ""


@dataclass(frozen=True)
class Paper:
    """A study: who, what, and its tables and claims."""

    id: str
    title: str
    short: str
    authors: tuple[str, ...]
    year: int | None
    citation: str
    tables: dict[str, dict]
    cells: tuple[Cell, ...]
    claims: tuple[Claim, ...]
    datasets: dict[str, dict] = field(default_factory=dict)
    statements: dict = field(default_factory=dict)

    def cell(self, table: str, row: str, column: str) -> Cell:
        """Return the cell at a place.

        Raises
        ------
        UnknownName
            If the paper has no such cell; the message gives the nearest ones.
        """
        places = {" | ".join(cell.key): cell for cell in self.cells}
        name = " | ".join((table, row, column))
        if name not in places:
            raise UnknownName(f"cell of paper {self.id}", name, places)
        return places[name]

    def reference_of(self, cell: Cell) -> Cell:
        """Cell that the direction of another is judged against: of the same row, or of the same column."""
        if cell.reference in self.tables[cell.table]["columns"]:
            return self.cell(cell.table, cell.row, cell.reference)
        return self.cell(cell.table, cell.reference, cell.column)


@cache
def load(paper: str) -> Paper:
    """Read one study of `IDS`.

    Parameters
    ----------
    paper : str
        One of `IDS`.

    Raises
    ------
    UnknownName
        If it is none of them.
    """
    if paper not in IDS:
        raise UnknownName("paper", paper, IDS)
    path = Path(__file__).parent / "papers" / f"{paper}.toml"
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    datasets = content.get("datasets", {})
    tables = content.get("tables", [])
    return Paper(
        id=paper,
        title=content["title"],
        short=content["short"],
        authors=tuple(content["authors"]),
        year=content.get("year"),
        citation=content["citation"],
        tables={t["id"]: {k: t[k] for k in ("title", "columns", "metric")} for t in tables},
        cells=tuple(cell for table in tables for cell in _cells(paper, table, datasets)),
        claims=tuple(Claim(**claim) for claim in content.get("claims", [])),
        datasets=datasets,
        statements=content.get("statements", {}),
    )


def parse(text: str) -> tuple[float | None, int]:
    """Value and its decimals: ``"83.97%"`` gives (0.8397, 4), ``"1,024"`` (1024.0, 0), ``"—"`` (None, 0)."""
    digits = text.strip().removesuffix("%").strip().replace(",", "")
    try:
        value = float(digits)
    except ValueError:
        return None, 0
    shift = 2 if text.strip().endswith("%") else 0
    decimals = len(digits.partition(".")[2]) + shift
    return round(value / 10**shift, decimals), decimals


def _cells(paper: str, table: dict, datasets: dict) -> list[Cell]:
    cells, columns = [], table["columns"]
    # One value above 1 shows that a column of squared errors is not of pixels from 0 to 1.
    beyond = [any((parse(row["printed"][i])[0] or 0) > 1 for row in table["rows"]) for i in range(len(columns))]
    settings = table.get("column_needs", [{}] * len(columns))
    for row in table["rows"]:
        for i, (column, text) in enumerate(zip(columns, row["printed"], strict=True)):
            needs = {**table["needs"], **row["needs"], **settings[i]}
            dataset = datasets.get(needs.get("dataset"), {})
            metric, n = _of_column(table["metric"], i), row.get("n", dataset.get("n_test"))
            if METRICS[metric].kind == "number" and not METRICS[metric].of:
                n = None  # parameters need no test set, and rebuilt images may be any
            sizes = {"images": n, "class": dataset.get("classes", {}).get(needs.get("class"))}
            share = dataset["majority"] / dataset["n_test"] if "majority" in dataset else None
            classes = len(dataset.get("classes", {}))
            (printed, decimals), reference = parse(text), _reference(table, row, i)
            cells.append(
                Cell(
                    paper=paper,
                    table=table["id"],
                    row=row["row"],
                    column=column,
                    printed=printed,
                    text=text,
                    decimals=decimals,
                    n=n,
                    of=sizes.get(METRICS[metric].of),
                    metric=metric,
                    needs=needs,
                    reference=reference,
                    majority=None if share is None else constant(metric, share, classes),
                    missing="" if printed is not None else _missing(row, column),
                    given=table.get("given", "") or (SCALE if metric == "mse" and beyond[i] and not reference else ""),
                    command=row.get("command", table["command"]).format(**needs),
                )
            )
    return cells


def _of_column(value, i: int):
    """One value for the whole table, or a list with one for each column."""
    return value[i] if isinstance(value, list) else value


def _reference(table: dict, row: dict, i: int) -> str:
    """The row's own reference, else the table's for this column."""
    rest = "reference_after_first" if i and "reference_after_first" in table else "reference"
    return row.get("reference", _of_column(table[rest], i))


def _missing(row: dict, column: str) -> str:
    """Why a number is missing: one sentence for the whole row, or one for each column."""
    reason = row.get("missing", {})
    return reason if isinstance(reason, str) else reason.get(column, "")
