"""Fill the ledger of paper 4 around the small network, skipping what is recorded already.

``python -m medtk.lab.edge_systems_recording distillation pneumoniamnist --seeds 0 1 2`` is what ``make record`` calls;
the other experiments are ``search``, ``federated``, ``transfer``, ``device`` and ``ladder``.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from medtk import edge
from medtk.data import Dataset
from medtk.edge import device, ladder, search
from medtk.edge.small import Architecture
from medtk.errors import DataUnavailable, MedtkError
from medtk.lab import edge_ladder, edge_lessons, edge_systems, session
from medtk.lab.edge_spec import Spec as TeacherSpec
from medtk.lab.hospital_spec import Spec as FederatedSpec
from medtk.settings import results_home

NOTEBOOKS = {"distillation": "43", "search": "43", "federated": "44", "transfer": "44", "device": "44",
             "ladder": "44"}  # fmt: skip
SIZES = {"pneumoniamnist": 32, "breastmnist": 32, "dermamnist": 32, "chest_xray": 100}
# The student is the network that the search is compared with: nobody has chosen it by its results.
STUDENTS = {size: Architecture(size=min(size, 64)) for size in (32, 100)}
SPACES = {
    32: search.Space(sizes=(16, 24, 32)),
    100: search.Space(sizes=(32, 64, 100)),
}
SOURCES = {"breastmnist": "pneumoniamnist", "pneumoniamnist": "breastmnist"}


def distillation(run: session.Run, dataset: Dataset, name: str, chosen: argparse.Namespace) -> dict:
    """Teacher, student alone, taught, cut and rounded."""
    teacher = TeacherSpec(dataset=dataset.name, network=chosen.teacher, size=dataset.image_shape[0], seed=run.seed)
    student = STUDENTS[dataset.image_shape[0]]
    lesson = edge_lessons.Lesson(teacher, student, epochs=chosen.epochs, seed=run.seed)
    made = edge_lessons.taught(dataset, lesson)
    return edge_lessons.lesson_record(run, made, lesson, name=name)


def searches(run: session.Run, dataset: Dataset, name: str, chosen: argparse.Namespace) -> dict:
    """NSGA-II and random search under one budget, and the network made by hand."""
    budget = edge_systems.Budget(max_ms=chosen.max_ms, n_trials=chosen.trials, epochs=chosen.epochs, seed=run.seed)
    space = SPACES[dataset.image_shape[0]]
    found = {way: edge_systems.searched(dataset, budget, space, sampler=way) for way in search.SAMPLERS}
    return edge_systems.search_record(run, dataset, budget, found, name=name)


def federated(run: session.Run, dataset: Dataset, name: str, chosen: argparse.Namespace) -> dict:
    """The small network over three hospitals."""
    size = dataset.image_shape[0]
    spec = FederatedSpec(network="small", size=size, rounds=chosen.rounds, learning_rate=1e-3, seed=run.seed)
    return edge_systems.federated(run, dataset, Architecture(size=size), spec, name=name)[1]


def transfer(run: session.Run, dataset: Dataset, name: str, chosen: argparse.Namespace) -> dict:
    """The small network from another data set to this one."""
    source = loaded(run, SOURCES[dataset.name], channels=1)
    architecture = Architecture(size=dataset.image_shape[0])
    return edge_systems.transferred(run, source, dataset, architecture, name=name, epochs=chosen.epochs, seed=run.seed)


def devices(run: session.Run, dataset: Dataset, name: str, chosen: argparse.Namespace) -> dict:
    """The small network, in floats and in whole numbers, and MobileNetV2 under every stand-in."""
    size = dataset.image_shape[0]
    fit, test = edge_systems.grown(Architecture(size=size), dataset, epochs=chosen.epochs, seed=run.seed)
    large = edge.build("mobilenetv2", dataset.n_classes, input_shape=(size, size, 3), weights="random")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        images = edge.calibration(dataset.train)
        files = {
            "small": edge.export(fit.model, home / "small.tflite"),
            "small-int8": edge.export(fit.model, home / "int8.tflite", "int8", calibration=images),
            "mobilenetv2": edge.export(large, home / "mobilenetv2.tflite"),
        }
        predictions = {"clean": edge_lessons.answers(fit.model, test.images)}
        predictions["int8"] = edge.predict(files["small-int8"], test.images)
        measured = edge_systems.limited(files, list(device.STAND_INS))
    parameters = {"architecture": Architecture(size=size).name, "epochs": chosen.epochs}
    return edge_lessons.record(run, dataset, "device", name, parameters, predictions, measured, fit.seconds)


def ladders(run: session.Run, dataset: Dataset, name: str, chosen: argparse.Namespace) -> dict:
    """How little memory the small network and two large ones run with, variant by variant."""
    return edge_ladder.ladder_record(run, dataset, name=name, frame_ms=chosen.frame_ms)


EXPERIMENTS: dict[str, Callable] = {
    "distillation": distillation,
    "search": searches,
    "federated": federated,
    "transfer": transfer,
    "device": devices,
    "ladder": ladders,
}


def record_name(experiment: str, dataset: str, chosen: argparse.Namespace, seed: int) -> str:
    """File name of a record."""
    detail = {
        "distillation": f"-{chosen.teacher}-e{chosen.epochs}",
        "search": f"-t{chosen.trials}-e{chosen.epochs}" + (f"-{chosen.max_ms:g}ms" if chosen.max_ms else ""),
        "federated": f"-r{chosen.rounds}",
        "ladder": f"-{chosen.frame_ms:g}ms",
    }.get(experiment, f"-e{chosen.epochs}")
    return f"{dataset}-{SIZES[dataset]}px{detail}-s{seed}"


def loaded(run: session.Run, name: str, *, channels: int) -> Dataset:
    """A data set that may be recorded; `DataUnavailable` if only synthetic images can be had."""
    dataset = run.load(name, size=SIZES[name], channels=channels)
    if dataset.is_synthetic:
        raise DataUnavailable(f"{name} is not here, and synthetic images are never recorded.")
    return dataset


def main(arguments: list[str] | None = None) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Record experiments of paper 4 around a small network.")
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("datasets", nargs="+", choices=SIZES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--teacher", default="mobilenetv2_035")
    parser.add_argument("--epochs", type=int, default=10, help="of the small network")
    parser.add_argument("--trials", type=int, default=24, help="of each search")
    parser.add_argument("--max-ms", type=float, help="limit of a search: measured milliseconds of an answer here")
    parser.add_argument("--rounds", type=int, default=10, help="of federated training")
    parser.add_argument("--frame-ms", type=float, default=ladder.FRAME_MS, help="of a ladder: slower is too slow")
    chosen = parser.parse_args(arguments)
    try:
        for dataset in chosen.datasets:
            for seed in chosen.seeds:
                name = record_name(chosen.experiment, dataset, chosen, seed)
                if (results_home() / edge_lessons.PAPER / chosen.experiment / f"{name}.json").is_file():
                    continue
                run = session.start(NOTEBOOKS[chosen.experiment], seed=seed, profile="scaled")
                images = loaded(run, dataset, channels=3 if chosen.experiment == "distillation" else 1)
                written = EXPERIMENTS[chosen.experiment](run, images, name, chosen)
                scores = {key: round(value["balanced_accuracy"], 4) for key, value in written["metrics"].items()
                          if "confusion" in value}  # fmt: skip
                print(name, scores, flush=True)
    except MedtkError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
