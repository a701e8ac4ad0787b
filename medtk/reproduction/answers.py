"""Which records answer a printed cell: one configuration of several, one run a seed."""

import json
from collections.abc import Mapping, Sequence

from medtk import data
from medtk.reproduction import papers
from medtk.reproduction.papers import Cell
from medtk.reproduction.quantities import value

# Of several recorded settings the one nearest the paper's answers a cell, never the one nearest its number.
PREFERRED = {
    "profile": ("paper", "reader", "scaled"),
    "data": ("official", "mirror", "substitute"),
    "weights": ("imagenet", "mirror", "random"),
}


def counted(found: list[dict]) -> list[dict]:
    """Records that may count: not from synthetic images or the reader's own, not from the quick profile."""
    return [r for r in found if r["data"]["source"] not in ("synthetic", "folder") and r["profile"] != "quick"]


def measured_again(stored: Mapping) -> dict:
    """What a record holds by condition, where it can of the network with normalisation statistics measured again."""
    return {name: stored.get(reestimated(name), found) for name, found in stored.items()}


def reestimated(name: str) -> str:
    """Name of the same condition for the network whose normalisation statistics were measured again."""
    return "reestimated" if name == "clean" else f"reestimated-{name}"


def restated(record: dict) -> dict:
    """A record with the metrics of `measured_again`: claims and cells then ask that network."""
    return record | {"metrics": measured_again(record["metrics"])}


def answering(cell: Cell, found: list[dict]) -> list[dict]:
    """Records of the one configuration that answers a cell, one a seed, ordered by seed.

    Records belong together when they differ in nothing but the seed. Of several configurations the first by
    `PREFERRED`, then most columns of the row that its setting answers, fewest deviations, most seeds, and name is
    taken. The columns of a row are read beside each other: a setting that only one of them has compares nothing.
    """
    groups: dict[str, dict[int, dict]] = {}
    columns: dict[str, set[str]] = {}
    varied = _varied(cell)
    for record in counted(found):
        answered = {entry["column"] for entry in record["cells"] if (entry["table"], entry["row"]) == cell.key[:2]}
        if record["paper"] == cell.paper and answered:
            columns.setdefault(_configuration(record, varied), set()).update(answered)
            if cell.column in answered:
                groups.setdefault(_configuration(record), {})[record["seed"]] = record
    if not groups:
        return []

    def rank(seeds: dict[int, dict]) -> tuple:
        record = next(iter(seeds.values()))
        sources = {"profile": record["profile"]} | {k: record[k]["source"] for k in ("data", "weights")}
        order = [_place(PREFERRED[key], sources[key]) for key in ("data", "profile", "weights")]
        together = columns[_configuration(record, varied)]
        return (*order, -len(together), len(record["deviations"]), -len(seeds), record["id"])

    best = min(groups.values(), key=rank)
    return [best[seed] for seed in sorted(best)]


def comparable(record: dict, cell: Cell) -> bool:
    """Whether a record's images may stand for the test set that the paper names."""
    name = cell.needs.get("dataset", record["data"]["name"])
    same = record["data"]["name"] == name and images_of(record, cell) == (cell.n or images_of(record, cell))
    if record["data"]["source"] == "substitute":
        return same and name in data.CATALOG and data.CATALOG[name].comparable
    return same


def entry_of(record: dict, cell: Cell) -> dict | None:
    """What a record says of a cell: its conditions and metric; None if it does not answer it."""
    for entry in record["cells"]:
        if (entry["table"], entry["row"], entry["column"]) == cell.key:
            return entry
    return None


def value_of(record: dict, cell: Cell) -> float:
    """The number of a record that stands for a cell, in the unit of the metric."""
    entry = entry_of(record, cell)
    return value(record["metrics"][entry["predictions"]], entry["metric"], entry.get("of"))


def images_of(record: dict, cell: Cell) -> int:
    """How many images that number was measured on."""
    return record["metrics"][entry_of(record, cell)["predictions"]]["n"]


def _varied(cell: Cell) -> list[str]:
    """What the columns of a cell's row differ in by their needs: words that stand in the records' parameters too."""
    row = [other.needs for other in papers.load(cell.paper).cells if other.key[:2] == cell.key[:2]]
    words = {(name, word) for needs in row for name, word in needs.items() if isinstance(word, str)}
    return [word for name, word in words if any(needs.get(name) != word for needs in row)]


def _configuration(record: dict, varied: Sequence[str] = ()) -> str:
    """All that decides a record but its seed, and but what the columns of a table vary."""
    found = record["parameters"].items()
    parameters = {key: value for key, value in found if key != "seed" and value not in varied}
    parts = [record["experiment"], record["profile"], record["data"]["name"], record["data"]["source"]]
    return json.dumps([*parts, record["weights"]["source"], parameters], sort_keys=True)


def _place(order: tuple[str, ...], name: str) -> int:
    return order.index(name) if name in order else len(order)
