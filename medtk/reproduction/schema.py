"""The form of a record: its keys, its allowed values, and what must fit together."""

import re

from medtk.reproduction import papers, quantities

SCHEMA = 1
KEYS = (
    *("schema", "id", "experiment", "paper", "cells", "parameters", "seed", "profile", "data", "weights"),
    *("versions", "commit", "hardware", "backend", "seconds", "peak_memory_mb"),
    *("while_training", "metrics", "predictions", "deviations"),
)
# `folder`: the reader's own pictures, of which no paper has printed anything.
DATA_SOURCES = ("official", "mirror", "substitute", "synthetic", "folder")
WEIGHT_SOURCES = ("imagenet", "mirror", "random")


def check(record) -> list[str]:
    """What is wrong with the form of a record, without looking at its predictions; empty when nothing is."""
    if not isinstance(record, dict):
        return ["it is not a JSON object"]
    if missing := [key for key in KEYS if key not in record]:
        return [f"it lacks {', '.join(missing)}"]
    if record["schema"] != SCHEMA:
        return [f"schema {record['schema']!r} is not {SCHEMA}"]
    try:
        return _check_fields(record)
    except (KeyError, TypeError, AttributeError) as error:
        return [f"a field has the wrong form ({type(error).__name__}: {error})"]


def _check_fields(record: dict) -> list[str]:
    problems = []
    parts = record["id"].split("/")
    if len(parts) != 3 or parts[:2] != [record["paper"], record["experiment"]]:
        problems.append(f"id {record['id']!r} is not paper/experiment/name")
    for part in parts:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.=+-]*", part):
            problems.append(f"{part!r} cannot be a folder or file name (letters, digits, _ - = + . only)")
    if record["paper"] not in papers.IDS:
        problems.append(f"paper {record['paper']!r} is none of {', '.join(papers.IDS)}")
    for field, valid in (("data", DATA_SOURCES), ("weights", WEIGHT_SOURCES)):
        if record[field]["source"] not in valid:
            problems.append(f"{field} source {record[field]['source']!r} is none of {', '.join(valid)}")
    if not re.fullmatch(re.escape(parts[-1]) + r"\.[0-9a-f]{12}\.npz", record["predictions"]["file"]):
        problems.append(f"predictions file {record['predictions']['file']!r} does not belong to {parts[-1]}")
    if record["cells"] and record["data"]["source"] == "folder":
        problems.append("it is of the reader's own images and cannot answer a paper's cells")
    if not record["metrics"]:
        problems.append("it holds no predictions")
    for cell in record["cells"]:
        if cell["predictions"] not in record["metrics"]:
            problems.append(f"cell {cell['row']} / {cell['column']} uses unknown predictions {cell['predictions']!r}")
        elif not _can_be_had(record["metrics"][cell["predictions"]], cell):
            problems.append(f"cell {cell['row']} / {cell['column']} uses unknown metric {cell['metric']!r}")
    return problems


def _can_be_had(found: dict, cell: dict) -> bool:
    try:
        quantities.value(found, cell["metric"], cell.get("of"))
    except (KeyError, IndexError):
        return False
    return True
