"""The five studies as data: what they printed, cell by cell, and what they claim."""

import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from medtk.errors import UnknownName

IDS = ("robust_transfer", "clustered_covid", "pgsl", "lightweight", "hospital")


@dataclass(frozen=True)
class Cell:
    """One printed number.

    Attributes
    ----------
    paper, table, row, column : str
        Where it stands.
    printed : float or None
        The number as a fraction of 1; None where the paper printed none, see ``missing``.
    text : str
        The characters in the paper: ``"83.97%"``, ``"N/A*"``.
    decimals : int
        Decimals of ``printed`` as a fraction: 4 for ``"83.97%"``.
    n : int or None
        Images of the test set that the paper names.
    metric : str
        Key of `medtk.evaluation.metrics.classification`.
    needs : dict
        ``dataset``, ``network``, ``defense`` (``none``, ``at``, ``kd``), ``epsilon`` of the run that
        answers it.
    reference : str
        What the direction is judged against: ``"majority"`` (always saying the commonest class) or a
        column's name.
    majority : float or None
        Share of the commonest class in the test set.
    missing : str
        Why there is no printed number, in words; empty where there is one.
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
    metric: str
    needs: dict
    reference: str
    majority: float | None
    missing: str
    command: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Table, row and column, as a record's ``cells`` name them."""
        return self.table, self.row, self.column


@dataclass(frozen=True)
class Claim:
    """A statement of the paper in our words, with the rule of `medtk.reproduction.rules` that tests it."""

    id: str
    text: str
    rule: str
    where: str


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


def load_all() -> list[Paper]:
    """All five studies, in the book's order."""
    return [load(paper) for paper in IDS]


def parse(text: str) -> tuple[float | None, int]:
    """Fraction and its decimals: ``"83.97%"`` gives (0.8397, 4), ``"—"`` gives (None, 0)."""
    digits = text.strip().removesuffix("%").strip()
    try:
        value = float(digits)
    except ValueError:
        return None, 0
    shift = 2 if text.strip().endswith("%") else 0
    decimals = len(digits.partition(".")[2]) + shift
    return round(value / 10**shift, decimals), decimals


def _cells(paper: str, table: dict, datasets: dict) -> list[Cell]:
    cells = []
    for row in table["rows"]:
        for column, settings, text in zip(
            table["columns"], table["column_needs"], row["printed"], strict=True
        ):
            needs = {**table["needs"], **row["needs"], **settings}
            dataset = datasets.get(needs.get("dataset"), {})
            printed, decimals = parse(text)
            first = column == table["columns"][0]
            reference = (
                table["reference"] if first else table.get("reference_after_first", table["reference"])
            )
            cells.append(
                Cell(
                    paper=paper,
                    table=table["id"],
                    row=row["row"],
                    column=column,
                    printed=printed,
                    text=text,
                    decimals=decimals,
                    n=dataset.get("n_test"),
                    metric=table["metric"],
                    needs=needs,
                    reference=reference,
                    majority=dataset["majority"] / dataset["n_test"] if "majority" in dataset else None,
                    missing=row.get("missing", {}).get(column, "") if printed is None else "",
                    command=table["command"].format(**needs),
                )
            )
    return cells
