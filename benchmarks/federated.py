"""Time the federated engine beside bare training: ``python benchmarks/federated.py``.

The floor is the same client steps, with the same images and weights, called one after the other: no drawing, no checks,
no aggregation, no state on disk. What the engine adds to that is its overhead. With ``--flower`` the same rounds also
run as separate processes on this machine, joined by Flower: what messages, certificates and waiting cost.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from saving import save

from medtk import federated, models
from medtk.data import Split
from medtk.data.hospitals import Hospital, Share
from medtk.federated.flower.processes import free_port


def hospitals(images: int, clients: int, side: int) -> list[Hospital]:
    """Random images, shared out evenly without a copy."""
    random = np.random.default_rng(0)
    whole = Split(random.random((images, side, side, 3), np.float32), random.integers(0, 2, images))
    shares = np.array_split(random.permutation(images), clients)
    return [Hospital(f"hospital_{k + 1}", Share(whole, rows)) for k, rows in enumerate(shares)]


def bare(model, members: list[Hospital], settings: federated.Settings) -> None:
    """Run the client steps of all rounds, and nothing else."""
    weights = model.get_weights()
    for _ in range(settings.rounds):
        for member in members:
            federated.train(model, weights, member.train, settings)
    model.set_weights(weights)


def engine(model, members: list[Hospital], settings: federated.Settings, keep: bool) -> float:
    """Run the engine over the same rounds; with `keep` each round's state is written, to a new folder.

    Returns the time outside the client steps as a part of the time inside them, within this one run.
    """
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MEDTK_CACHE"] = folder
        start = time.perf_counter()
        result = federated.run(model, members, settings, keep=keep, progress=False)
        steps = sum(row["seconds"] for row in federated.rows(result.history))
        return (time.perf_counter() - start) / steps - 1


def flower(model, members: list[Hospital], settings: federated.Settings, network: str) -> dict[str, float]:
    """Run the same rounds with a process a hospital; seconds a round and inside the slowest step, the first left out.

    In the first round each process compiles its step. One round more is run, so that as many are measured.
    """
    from medtk import data
    from medtk.federated import flower as engine

    few = members[0].train.take(np.arange(2))
    members = [Hospital(member.name, member.train, few, few) for member in members]
    side = members[0].train.take([0]).images.shape[1]
    plan = engine.Plan(
        tuple(member.name for member in members), ("a", "b"), network=network, weights="random", size=side,
        rounds=settings.rounds + 1, validate=False,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        run, images = Path(folder) / "run", Path(folder) / "images"
        data.write_hospitals(data.hospitals.Hospitals(tuple(members), few, ("a", "b"), "synthetic"), images)
        try:
            engine.up(run, plan, port=free_port())
            for name in plan.hospitals:
                engine.join(run / "invitations" / name, engine.Source(folder=str(images)))
            while (found := engine.status(run))["state"] not in ("finished", "failed", "stopped"):
                time.sleep(0.5)
        finally:
            engine.down(run)
    if found["state"] != "finished":
        raise SystemExit(found["said"])
    later = found["history"][1:]
    steps = [max(row["seconds"] for row in entry["clients"]) for entry in later]
    return {
        "round_s": statistics.median(entry["seconds"] for entry in later),
        "slowest_step_s": statistics.median(steps),
    }


def timed(call: Callable) -> tuple[float, float, float]:
    """Seconds by the clock, seconds of the processor in this process, and what the call itself says is outside."""
    clock, processor = time.perf_counter(), time.process_time()
    outside = call() or 0.0
    return time.perf_counter() - clock, time.process_time() - processor, outside


def summary(found: list[tuple], floor: list[tuple]) -> dict[str, float]:
    """Medians of seconds, of the ratios to the floor within a turn, and of the time outside the steps."""
    row = {"outside_steps": statistics.median(seconds[2] for seconds in found)}
    for i, name in enumerate(("clock", "processor")):
        row[f"{name}_s"] = statistics.median(seconds[i] for seconds in found)
        row[f"{name}_overhead"] = statistics.median(a[i] / b[i] for a, b in zip(found, floor, strict=True)) - 1
    return row


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="small", choices=list(models.HOSPITAL_NETWORKS))
    parser.add_argument("--images", type=int, default=600, help="of all hospitals together")
    parser.add_argument("--side", type=int, default=100, help="pixels a side")
    parser.add_argument("--hospitals", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5, help="turns at most; one at least is made")
    parser.add_argument("--minutes", type=float, help="begin no turn after so many; compiling is not counted")
    parser.add_argument("--flower", action="store_true", help="also as separate processes, joined by Flower")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/federated-<network>.json")
    chosen = parser.parse_args()
    model = models.build_hospital(chosen.network, input_shape=(chosen.side, chosen.side, 3), weights="random")
    members = hospitals(chosen.images, chosen.hospitals, chosen.side)
    settings = federated.Settings(rounds=chosen.rounds)
    contenders = {
        "bare": lambda who: bare(model, who, settings),
        "engine": lambda who: engine(model, who, settings, keep=False),
        "engine, kept": lambda who: engine(model, who, settings, keep=True),
    }
    seconds = {name: [] for name in contenders}
    few = [Hospital(member.name, member.train.take(np.arange(2))) for member in members]
    for call in contenders.values():  # compiles; the step takes any number of images
        call(few)
    began = time.perf_counter()
    for turn in range(chosen.repeats):  # in turn, so that a busy moment of the machine hits all of them
        if turn and chosen.minutes is not None and time.perf_counter() - began > 60 * chosen.minutes:
            break
        for name, call in contenders.items():
            seconds[name].append(timed(partial(call, members)))
    chosen.repeats = len(seconds["bare"])  # what the medians are of
    times = {name: summary(found, seconds["bare"]) for name, found in seconds.items()}
    print(
        f"{chosen.network}, {chosen.rounds} rounds of {chosen.hospitals} hospitals, {chosen.images} images of "
        f"{chosen.side} x {chosen.side} x 3, median of {chosen.repeats}"
    )
    print(f"{'':14}{'clock':>10}{'overhead':>10}{'processor':>14}{'overhead':>10}{'outside steps':>15}")
    for name, row in times.items():
        print(
            f"{name:14}{row['clock_s']:>8.3f} s{row['clock_overhead']:>10.1%}"
            f"{row['processor_s']:>12.3f} s{row['processor_overhead']:>10.1%}{row['outside_steps']:>15.1%}"
        )
    if chosen.flower:
        times["flower"] = row = flower(model, members, settings, chosen.network)
        one = times["engine"]["clock_s"] / settings.rounds
        print(
            f"a round as {chosen.hospitals} processes: {row['round_s']:.3f} s, of it {row['slowest_step_s']:.3f} s in "
            f"the slowest step; in one process: {one:.3f} s"
        )
    if chosen.save:
        save(f"federated-{chosen.network}", vars(chosen), times)


if __name__ == "__main__":
    main()
