"""How little memory a network runs with: a limit that is tightened until loading or answering fails.

Each limit is tried in a process of its own. It counts from the moment at which Python and the interpreter's code are in
memory, since a device would bring other ones: what is limited is the *room* for the network, its file, its activations
and what the interpreter prepares for them.

This is a stand-in, and no device. It limits address space, which is more than the memory in use, and what Python has
already taken and no longer needs, a fraction of a megabyte, is free to use.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medtk.edge.runtime import blocks, open_network, stored
from medtk.errors import BadParameter, MedtkError

LIMITS = (0.5, 1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32, 40, 48, 64, 96)
OUTCOMES = ("runs", "no memory", "killed", "too slow")
FRAME_MS = 100.0  # ten answers a second, which a person sees as at once
PATIENCE = 60.0  # seconds, for opening the file and all answers


@dataclass(frozen=True)
class Rung:
    """One limit that was tried.

    Attributes
    ----------
    room_mb : float
        Megabytes (2**20 bytes) of address space for the network.
    outcome : str
        One of `OUTCOMES`. ``no memory``: the interpreter or Python said so and went on. ``killed``: the process was
        ended by a signal. ``too slow``: it answers, but not within the frame.
    detail : str
        The error or the signal; the time of an answer where there is one.
    """

    room_mb: float
    outcome: str
    detail: str


def tried(file: Path, room_mb: float, *, frame_ms: float = FRAME_MS, runs: int = 10) -> Rung:
    """Whether a network loads and answers with so much room.

    Parameters
    ----------
    file : path
        A ``.tflite`` file.
    room_mb : float
        Above 0; infinity for no limit.
    frame_ms : float
        Most milliseconds of an answer on one thread (median of the block that was disturbed least).
    runs : int
        Answers in each of three blocks.

    Raises
    ------
    BadParameter
        If a number is not above 0, or on a system other than Linux.
    """
    if not (room_mb > 0 and frame_ms > 0 and runs > 0):
        raise BadParameter(f"Room, frame and runs have to be above 0, not {room_mb} MB, {frame_ms} ms and {runs}.")
    if not Path("/proc/self/statm").is_file():
        raise BadParameter("Limits of memory are set on Linux only; run the ladder there.")
    command = [sys.executable, "-m", "medtk.edge.ladder", str(file), str(room_mb), str(runs)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return Rung(room_mb, "too slow", f"no answer in {PATIENCE:.0f} s")
    if done.returncode < 0:
        return Rung(room_mb, "killed", signal.Signals(-done.returncode).name)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
        return Rung(room_mb, "no memory", last)
    said = json.loads(done.stdout.strip().splitlines()[-1])
    if "error" in said:
        return Rung(room_mb, "no memory", said["error"])
    return Rung(room_mb, "runs" if said["ms"] <= frame_ms else "too slow", f"{said['ms']:.3g} ms")


def climbed(file: Path, limits: Sequence[float] = LIMITS, **options) -> list[Rung]:
    """The step between two limits at which a network stops running, found by halving.

    Both sides of the step are tried. A network that is too slow without any limit has that as its only rung, of
    infinite room.

    Parameters
    ----------
    file : path
        A ``.tflite`` file.
    limits : sequence of float
        Megabytes, in any order.
    options
        As in `tried`.

    Raises
    ------
    MedtkError
        If there is no such network, or none that runs at all.
    """
    free = tried(file, float("inf"), **options)
    if free.outcome == "too slow":
        return [free]
    if free.outcome != "runs":
        raise MedtkError(f"{Path(file).name} does not run without a limit either: {free.outcome} ({free.detail}).")
    steps, rungs = sorted(limits), []
    fails, runs = -1, len(steps)
    while runs - fails > 1:
        middle = (fails + runs) // 2
        rungs.append(tried(file, steps[middle], **options))
        fails, runs = (fails, middle) if rungs[-1].outcome == "runs" else (middle, runs)
    return sorted(rungs, key=lambda rung: -rung.room_mb)


def smallest(rungs: Sequence[Rung]) -> float | None:
    """Least room in megabytes with which the network ran; None where it did with none."""
    return min((rung.room_mb for rung in rungs if rung.outcome == "runs"), default=None)


def failure(rungs: Sequence[Rung]) -> Rung | None:
    """The failure with the most room; None where nothing failed."""
    failed = [rung for rung in rungs if rung.outcome != "runs"]
    return max(failed, key=lambda rung: rung.room_mb, default=None)


def _answer(file: Path, room_mb: float, runs: int) -> dict:
    import resource

    import numpy as np
    from ai_edge_litert import interpreter  # noqa: F401  (before the limit: it is not the network's memory)

    blocks(lambda: None, repeats=3, runs=runs)
    before, most = resource.getrlimit(resource.RLIMIT_AS)
    if room_mb != float("inf"):
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (taken + int(room_mb * 2**20), most))
    try:
        network = open_network(file)
        end = network.get_input_details()[0]
        network.set_tensor(end["index"], stored(np.full(tuple(end["shape"]), 0.5, np.float32), end))
        network.invoke()
        return {"ms": min(blocks(network.invoke, repeats=3, runs=runs)["median_ms"])}
    except (MedtkError, MemoryError, OSError, RuntimeError, ValueError) as error:
        cause = error.__cause__ or error  # what the interpreter said itself
        return {"error": f"{type(cause).__name__}: {str(cause).partition(chr(10))[0]}"[:160]}
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, most))  # what follows needs memory of its own


if __name__ == "__main__":
    print(json.dumps(_answer(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))))
