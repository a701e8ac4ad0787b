"""Time the federated engine beside bare training: ``python benchmarks/federated.py``.

The floor is the same client steps, with the same images and weights, called one after the other: no drawing, no checks,
no aggregation, no state on disk. What the engine adds to that is its overhead.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from medtk import federated, models
from medtk.data import Split
from medtk.data.hospitals import Hospital, Share


def hospitals(images: int, clients: int, side: int) -> list[Hospital]:
    """Random images, shared out evenly without a copy."""
    random = np.random.default_rng(0)
    whole = Split(random.random((images, side, side, 3), np.float32), random.integers(0, 2, images))
    shares = np.array_split(random.permutation(images), clients)
    return [Hospital(f"hospital_{k + 1}", Share(whole, rows)) for k, rows in enumerate(shares)]


def bare(model, members: list[Hospital], settings: federated.Settings) -> float:
    """Seconds of the client steps of all rounds alone."""
    weights, start = model.get_weights(), time.perf_counter()
    for _ in range(settings.rounds):
        for member in members:
            federated.train(model, weights, member.train, settings)
    seconds = time.perf_counter() - start
    model.set_weights(weights)
    return seconds


def engine(model, members: list[Hospital], settings: federated.Settings, keep: bool) -> float:
    """Seconds of the engine over the same rounds; with `keep` each round's state is written, to a new folder."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MEDTK_CACHE"] = folder
        start = time.perf_counter()
        federated.run(model, members, settings, keep=keep, progress=False)
        return time.perf_counter() - start


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="small", choices=list(models.HOSPITAL_NETWORKS))
    parser.add_argument("--images", type=int, default=600, help="of all hospitals together")
    parser.add_argument("--side", type=int, default=100, help="pixels a side")
    parser.add_argument("--hospitals", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/federated-<network>.json")
    chosen = parser.parse_args()
    model = models.build_hospital(chosen.network, input_shape=(chosen.side, chosen.side, 3), weights="random")
    members = hospitals(chosen.images, chosen.hospitals, chosen.side)
    settings = federated.Settings(rounds=chosen.rounds)
    contenders = {
        "bare": lambda: bare(model, members, settings),
        "engine": lambda: engine(model, members, settings, keep=False),
        "engine, kept": lambda: engine(model, members, settings, keep=True),
    }
    seconds = {name: [] for name in contenders}
    for call in contenders.values():  # compiles
        call()
    for _ in range(chosen.repeats):  # in turn, so that a busy moment of the machine hits all of them
        for name, call in contenders.items():
            seconds[name].append(call())
    # Ratios within a turn: a machine that slows down for a while slows down all of a turn.
    times = {
        name: {
            "median_s": statistics.median(found),
            "fastest_s": min(found),
            "overhead": statistics.median(a / b for a, b in zip(found, seconds["bare"], strict=True)) - 1,
            "overhead_of_fastest": min(found) / min(seconds["bare"]) - 1,
        }
        for name, found in seconds.items()
    }
    print(
        f"{chosen.network}, {chosen.rounds} rounds of {chosen.hospitals} hospitals, {chosen.images} images of "
        f"{chosen.side} x {chosen.side} x 3, median of {chosen.repeats}"
    )
    print(f"{'':14}{'median':>10}{'fastest':>11}{'overhead':>10}{'of fastest':>12}")
    for name, row in times.items():
        print(
            f"{name:14}{row['median_s']:>8.3f} s{row['fastest_s']:>9.3f} s{row['overhead']:>10.1%}"
            f"{row['overhead_of_fastest']:>12.1%}"
        )
    if chosen.save:
        path = Path(__file__).parent / "results" / f"federated-{chosen.network}.json"
        path.parent.mkdir(exist_ok=True)
        machine = {"processor": platform.machine(), "cores": os.cpu_count(), "system": platform.system()}
        versions = {"python": platform.python_version(), "tensorflow": tf.__version__}
        said = {"settings": vars(chosen), "machine": machine, "versions": versions, "times": times}
        path.write_text(json.dumps(said, indent=1) + "\n")
        print(f"Written to {path}")


if __name__ == "__main__":
    main()
