"""How little memory each variant of a few networks runs with: made, tried under tighter limits, recorded, shown."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medtk import edge
from medtk.data import Dataset
from medtk.edge import ladder, small
from medtk.edge.small import Architecture
from medtk.lab.edge_lessons import record
from medtk.lab.edge_spec import PAPER
from medtk.lab.session import Run
from medtk.reproduction import records
from medtk.settings import results_home

EXPERIMENT = "ladder"
LARGE = ("mobilenetv2_035", "mobilenetv2")
UNLIMITED = 1e9  # megabytes; a record holds finite numbers
RECIPES = ("float32", "int8")


def variants(dataset: Dataset, folder: Path, *, large: Sequence[str] = LARGE, recipes=RECIPES) -> dict[str, Path]:
    """Files of the small network and of large ones, untrained: the room that they take is the same after training.

    Parameters
    ----------
    dataset : Dataset
        Grey images, whose size the networks take.
    folder : path
    large, recipes : sequence of str
        Keys of `medtk.edge.NETWORKS` and `medtk.edge.RECIPES`.
    """
    size, images = dataset.image_shape[0], edge.calibration(dataset.train)
    networks = {"small": small.build(Architecture(size=size), dataset.n_classes)}
    for name in large:
        networks[name] = edge.build(name, dataset.n_classes, input_shape=(size, size, 3), weights="random")
    files = {}
    for name, model in networks.items():
        seen = np.repeat(images, model.input_shape[-1], axis=-1)
        for recipe in recipes:
            file = folder / f"{name}-{recipe}.tflite"
            files[f"{name} as {recipe}"] = edge.export(model, file, recipe, calibration=seen)
    return files


def climbs(files: Mapping[str, Path], limits: Sequence[float] = ladder.LIMITS, **options) -> dict[str, list]:
    """Rungs of each file by its name; options as in `medtk.edge.ladder.tried`."""
    return {name: ladder.climbed(file, limits, **options) for name, file in files.items()}


def ladder_record(
    run: Run, dataset: Dataset, *, name: str, frame_ms: float = ladder.FRAME_MS, limits=ladder.LIMITS, **chosen
) -> dict:
    """Climb with each variant and write the record: limits, outcomes, the least room, and how the first failure went.

    Parameters
    ----------
    run, dataset, name
        As in `medtk.lab.edge_lessons.record`.
    frame_ms, limits
        As in `medtk.edge.ladder.climbed`.
    chosen
        As in `variants`.
    """
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as home:
        files = variants(dataset, Path(home), **chosen)
        found = climbs(files, limits, frame_ms=frame_ms)
        sizes = {name: file.stat().st_size for name, file in files.items()}
    measured, failures = {}, {}
    for title, rungs in found.items():
        failed = ladder.failure(rungs)
        outcomes = [ladder.OUTCOMES.index(rung.outcome) for rung in rungs]
        tried = [min(rung.room_mb, UNLIMITED) for rung in rungs]
        least = ladder.smallest(rungs)
        measured[title] = {"limit_mb": tried, "outcome": outcomes, "bytes": [sizes[title]]}
        measured[title] |= {} if least is None else {"room_mb": [least]}
        if failed is not None:
            measured[title]["failed_mb"] = [min(failed.room_mb, UNLIMITED)]
            failures[title] = f"{failed.outcome} ({failed.detail})"
    parameters = {"frame_ms": frame_ms, "limits": list(limits), "outcomes": ladder.OUTCOMES, "failures": failures}
    return record(run, dataset, EXPERIMENT, name, parameters, {}, measured, time.perf_counter() - start)


def shown(found: Mapping[str, Sequence[ladder.Rung]]) -> pd.DataFrame:
    """Rungs of this run as a table: the least room with which each file ran, and what happened with less."""
    lines = []
    for name, rungs in found.items():
        failed = ladder.failure(rungs)
        how = "" if failed is None else f"{failed.outcome} ({failed.detail})"
        lines.append(_line(name, ladder.smallest(rungs), None if failed is None else failed.room_mb, how))
    return pd.DataFrame(lines)


def recorded() -> pd.DataFrame:
    """The same of all records, with the size of each file; empty where there is none."""
    lines = []
    for one in records.read_all(results_home()):
        if (one["paper"], one["experiment"]) != (PAPER, EXPERIMENT):
            continue
        failures = one["parameters"]["failures"]
        for name, found in one["metrics"].items():
            line = _line(name, found.get("room_mb"), found.get("failed_mb"), failures.get(name, ""))
            lines.append({"setting": one["id"].rpartition("/")[2], "file kB": f"{found['bytes'] / 1e3:,.0f}"} | line)
    return pd.DataFrame(lines, columns=None if lines else ["setting", "network", "runs with, MB"])


def _line(name: str, least: float | None, failed_at: float | None, failure: str) -> dict[str, str]:
    return {
        "network": name,
        "runs with, MB": "–" if least is None else f"{least:g}" + ("" if failure else " or less"),
        "fails with, MB": "–" if failed_at is None else "any" if failed_at >= UNLIMITED else f"{failed_at:g}",
        "how": failure or "–",
    }
