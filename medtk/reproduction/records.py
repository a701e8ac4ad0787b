"""The ledger's entries: what a run was, the predictions that it made, and a check of every number from them.

A record is ``<home>/<paper>/<experiment>/<name>.json`` beside ``<name>.<hash>.npz``. The file name of the
predictions holds the start of their SHA-256, so a new version never overwrites the file that the present JSON
speaks of, and renaming the JSON is the one moment at which a record appears or changes.
"""

import contextlib
import hashlib
import json
import math
import re
from pathlib import Path

import numpy as np

from medtk.errors import CorruptFile, MedtkError
from medtk.evaluation import metrics
from medtk.reproduction import papers, provenance
from medtk.reproduction.schema import SCHEMA, check
from medtk.reproduction.storage import as_json, pack, unpack, write_whole

MEND = "restore it or run its experiment again"
# Metrics that records have not always had.
LATER = {"loss", "confusion"}
TOLERANCE = 1e-9  # sums in another order, on another machine, differ in the last bits


def write(
    home,
    *,
    experiment: str,
    paper: str,
    name: str,
    cells: list[dict],
    parameters: dict,
    seed: int,
    profile: str,
    data: dict,
    weights: dict,
    labels,
    predictions: dict,
    seconds: float,
    deviations: list[str],
    measurements: dict | None = None,
    peak_memory_mb: float | None = None,
    while_training: dict | None = None,
) -> dict:
    """Write one record whole or not at all, and return it.

    Parameters
    ----------
    home : path
        Folder of records, `medtk.settings.results_home()`.
    experiment, name : str
        Folder and file name: letters, digits, ``_ - = + .``, not starting with a dot.
    paper : str
        One of `medtk.reproduction.papers.IDS`.
    cells : list of dict
        Cells that the record answers: ``table``, ``row``, ``column``, ``predictions`` (a key of
        ``predictions``), ``metric`` (``accuracy`` if left out) and ``of``, the class, where the metric has one.
    parameters : dict
        Everything that was set, as JSON.
    seed : int
    profile : str
        ``quick``, ``reader``, ``scaled`` or ``paper``; quick runs never count in a comparison.
    data : dict
        ``name``, ``source`` (official, mirror, substitute, synthetic, folder), ``sha256``, ``note``.
    weights : dict
        ``source`` (imagenet, mirror, random), ``note``.
    labels : array of int, shape (n,)
    predictions : dict of str to array of float, shape (n, k)
        Probabilities by condition: ``clean``, ``epsilon=0.001``. Stored as float16; metrics come from what
        is stored.
    seconds : float
        Duration of the run.
    deviations : list of str
        Differences from the paper's settings, one sentence each.
    peak_memory_mb : float, optional
        Measured here if left out.
    measurements : dict, optional
        What was measured and is no prediction: from a name (which a cell gives as its ``predictions``) to a dict from
        a metric to its values, one an image, a layer or a repetition. The record holds their mean, stored as float32.
    while_training : dict, optional
        What the training loop reported last (accuracy, loss). Not computed from the predictions, so `verify`
        cannot check it, and no cell may rest on it.

    Raises
    ------
    MedtkError
        If a name or a source is not as above, the disk is full, or the folder cannot be written.
    UnknownName
        If a cell is none of the paper's.
    ValueError
        If labels and probabilities do not fit (see `medtk.evaluation.metrics.classification`).
    """
    stored = _stored(labels, predictions, measurements or {})
    content = pack(stored)
    digest = hashlib.sha256(content).hexdigest()
    folder = Path(home) / paper / experiment
    record = {
        "schema": SCHEMA,
        "id": f"{paper}/{experiment}/{name}",
        "experiment": experiment,
        "paper": paper,
        "cells": [{"metric": "accuracy", **cell} for cell in cells],
        "parameters": parameters,
        "seed": seed,
        "profile": profile,
        "data": {"note": "", "sha256": "", **data},
        "weights": {"note": "", **weights},
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "hardware": provenance.hardware(),
        "backend": provenance.backend(),
        "seconds": round(float(seconds), 3),
        "peak_memory_mb": provenance.peak_memory_mb() if peak_memory_mb is None else float(peak_memory_mb),
        "while_training": while_training or {},
        "metrics": _metrics(stored),
        "predictions": {"file": f"{name}.{digest[:12]}.npz", "sha256": digest},
        "deviations": list(deviations),
    }
    if problems := check(record):
        raise MedtkError(f"This record cannot be written: {'; '.join(problems)}.")
    for cell in record["cells"]:
        papers.load(paper).cell(cell["table"], cell["row"], cell["column"])
    text = as_json(record)
    target = folder / record["predictions"]["file"]
    was_there = target.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(target, content)
        write_whole(folder / f"{name}.json", text.encode())
    except OSError as error:
        if not was_there:
            with contextlib.suppress(OSError):
                target.unlink()
        reason = error.strerror or str(error)
        raise MedtkError(f"The record {record['id']} was not written: {reason} ({folder}).") from error
    for other in _prediction_files(folder, name):
        if other != target:
            other.unlink(missing_ok=True)
    return json.loads(text)


def read(path) -> dict:
    """Read one record's JSON file.

    Raises
    ------
    CorruptFile
        If it is not a record; the message names the file and the first thing that is wrong.
    """
    path = Path(path)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CorruptFile(f"{path} is not readable JSON ({error}); {MEND}.") from error
    if problems := check(record):
        raise CorruptFile(f"{path} is not a record: {problems[0]}; {MEND}.")
    return record


def read_all(home) -> list[dict]:
    """All records below ``home``, ordered by id; an absent folder holds none.

    Raises
    ------
    CorruptFile
        At the first file that is not a record.
    """
    return sorted((read(path) for path in _json_files(home)), key=lambda record: record["id"])


def load_predictions(record: dict, home) -> dict[str, np.ndarray]:
    """Labels and probabilities behind a record.

    Parameters
    ----------
    record : dict
    home : path
        Folder of records.

    Returns
    -------
    dict
        ``labels`` int64 of shape (n,); every condition float16 of shape (n, k).

    Raises
    ------
    CorruptFile
        If the file is absent, is not the one that the record was written with, or cannot be read.
    """
    path = Path(home) / record["paper"] / record["experiment"] / record["predictions"]["file"]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CorruptFile(f"{path} cannot be read ({error.strerror}); {MEND}.") from error
    if hashlib.sha256(content).hexdigest() != record["predictions"]["sha256"]:
        raise CorruptFile(f"{path} is not the file that its record was written with (its SHA-256 differs).")
    try:
        stored = unpack(content)
    except Exception as error:  # a zip or npy reader fails in many ways on a damaged file
        raise CorruptFile(f"{path} cannot be read ({error}).") from error
    stored["labels"] = stored["labels"].astype(np.int64)
    return stored


def verify(home) -> list[str]:
    """Recompute every number of every record from its predictions.

    Returns
    -------
    list of str
        Problems, one sentence each, naming the file; empty when all is well. Metrics must agree to 1e-9.
    """
    home, problems, used = Path(home), [], set()
    for path in _json_files(home):
        try:
            record = read(path)
            used.add(path.parent / record["predictions"]["file"])
            found = _verify_one(record, path, home)
        except CorruptFile as error:
            found = [str(error)]
        problems += found
    for path in sorted(home.rglob("*.npz")):
        if path not in used:
            problems.append(f"{path} belongs to no record (a run was stopped while writing); delete it.")
    return problems


def _verify_one(record: dict, path: Path, home: Path) -> list[str]:
    if path != home / f"{record['id']}.json":
        return [f"{path} holds the record {record['id']}, which belongs elsewhere."]
    stored = load_predictions(record, home)
    again, problems = _metrics(stored), []
    if again.keys() != record["metrics"].keys():
        return [f"{path}: conditions {sorted(again)} are stored, {sorted(record['metrics'])} are written."]
    for condition, values in again.items():
        written = record["metrics"][condition]
        if not values.keys() - LATER <= written.keys() <= values.keys():
            problems.append(f"{path}: metrics of {condition} are {sorted(written)}, not {sorted(values)}.")
            continue
        for metric, value in written.items():
            if not _same(value, values[metric]):
                problems.append(f"{path}: {metric} of {condition} is written {value}, recomputed {values[metric]}.")
    return problems


def _same(written, value) -> bool:
    if isinstance(value, list):  # counts
        return written == value
    if value is None or not isinstance(written, int | float) or isinstance(written, bool):
        return written is value
    return math.isclose(written, value, rel_tol=0, abs_tol=TOLERANCE)


def _stored(labels, predictions: dict, measurements: dict) -> dict[str, np.ndarray]:
    labels = np.asarray(labels)
    names = [*predictions, *measurements]
    if "labels" in names or len(set(names)) < len(names) or any("/" in name for name in names):
        raise MedtkError("Conditions need different names; none can be called 'labels' or hold a '/'.")
    for probabilities in predictions.values():
        metrics.checked(labels, probabilities)
    small = {key: np.asarray(value).astype(np.float16) for key, value in predictions.items()}
    for name, measured in measurements.items():
        for metric, values in measured.items():
            values = np.atleast_1d(np.asarray(values, np.float32))
            if values.ndim != 1 or not len(values) or not np.all(np.isfinite(values)):
                raise MedtkError(f"The {metric} of {name} must be one or more finite numbers.")
            small[f"{name}/{metric}"] = values
    return {"labels": labels.astype(np.int16), **small}


def _metrics(stored: dict) -> dict[str, dict]:
    labels, found = stored["labels"].astype(np.int64), {}
    for key, values in stored.items():
        name, _, metric = key.partition("/")
        if metric:
            found.setdefault(name, {})[metric] = float(np.mean(values, dtype=np.float64))
            found[name]["n"] = len(values)
        elif name != "labels":
            found[name] = metrics.classification(labels, values)
    return found


def _json_files(home) -> list[Path]:
    return sorted(Path(home).glob("*/*/*.json"))


def _prediction_files(folder: Path, name: str) -> list[Path]:
    pattern = re.compile(re.escape(name) + r"\.[0-9a-f]{12}\.npz")
    return [path for path in folder.iterdir() if pattern.fullmatch(path.name)]
