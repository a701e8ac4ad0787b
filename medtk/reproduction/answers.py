"""Which records answer a printed cell: one configuration of several, one run a seed."""

import json
from collections.abc import Mapping

from medtk import data
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
    `PREFERRED`, then fewest deviations, most seeds, and name is taken.
    """
    groups: dict[str, dict[int, dict]] = {}
    for record in counted(found):
        if record["paper"] == cell.paper and entry_of(record, cell):
            seeds = groups.setdefault(_configuration(record), {})
            seeds[record["seed"]] = record
    if not groups:
        return []

    def rank(seeds: dict[int, dict]) -> tuple:
        record = next(iter(seeds.values()))
        sources = {"profile": record["profile"]} | {k: record[k]["source"] for k in ("data", "weights")}
        order = [_place(PREFERRED[key], sources[key]) for key in ("data", "profile", "weights")]
        return (*order, len(record["deviations"]), -len(seeds), record["id"])

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


def _configuration(record: dict) -> str:
    parameters = {key: value for key, value in record["parameters"].items() if key != "seed"}
    parts = [record["experiment"], record["profile"], record["data"]["name"], record["data"]["source"]]
    return json.dumps([*parts, record["weights"]["source"], parameters], sort_keys=True)


def _place(order: tuple[str, ...], name: str) -> int:
    return order.index(name) if name in order else len(order)
