"""Stand-ins for small devices: this machine's processor, held to some cores and a limit of memory.

They are stand-ins and no more. A phone's cores are slower, its caches smaller, its memory shared; none of that is
imitated. What a stand-in shows is whether a network still answers with so little, and what the limits alone cost.
"""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from medtk.edge.runtime import alone
from medtk.errors import BadParameter, MedtkError, UnknownName
from medtk.settings import project_root

COLUMNS = ("when", "machine", "cores", "system", "network", "sha256", "stand_in", "threads", "kilobytes", "cold_ms",
           "median_ms", "p95_ms", "peak_mb")  # fmt: skip
SAME = ("network", "sha256", "stand_in", "threads")


@dataclass(frozen=True)
class StandIn:
    """Limits that a measurement runs under.

    Attributes
    ----------
    cores : int or None
        Processor cores that the process may use; None: all.
    address_mb : int or None
        Most megabytes of address space. That is more than the memory in use: libraries reserve what they never touch.
    said : str
        What the limits are, in words.
    """

    cores: int | None
    address_mb: int | None
    said: str


STAND_INS = {
    "none": StandIn(None, None, "no limit"),
    "one_core": StandIn(1, None, "one core of this machine"),
    "one_core_1gb": StandIn(1, 1024, "one core of this machine and 1 GB of address space"),
    "one_core_400mb": StandIn(1, 400, "one core of this machine and 400 MB of address space"),
}


def measured(file: Path, stand_in: str = "none", *, threads: int = 1, repeats: int = 5, runs: int = 30) -> dict:
    """Memory, first answer and time of an exported network under the limits of a stand-in.

    Parameters
    ----------
    file : path
        A ``.tflite`` file.
    stand_in : str
        A key of `STAND_INS`.
    threads, repeats, runs : int
        As in `medtk.edge.alone`, whose result this is.

    Raises
    ------
    UnknownName, BadParameter
        On another stand-in, or limits that this system does not have.
    MedtkError
        If the network cannot run under the limits.
    """
    if stand_in not in STAND_INS:
        raise UnknownName("stand-in", stand_in, STAND_INS)
    limits = STAND_INS[stand_in]
    if limits == STAND_INS["none"]:
        return alone(file, threads=threads, repeats=repeats, runs=runs)
    if not hasattr(os, "sched_setaffinity"):
        raise BadParameter(f"Limits of cores and memory are set on Linux only; measure with {next(iter(STAND_INS))!r}.")
    numbers = [str(number) for number in (threads, repeats, runs)]
    command = [sys.executable, "-m", "medtk.edge.device", str(limits.cores or 0), str(limits.address_mb or 0)]
    done = subprocess.run([*command, str(file), *numbers], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it was ended by the system"])[-1]
        raise MedtkError(f"{Path(file).name} does not run with {limits.said}: {last}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def table_of_machines() -> Path:
    """The project's table, to which ``medtk edge bench`` adds and from which the book makes its page of machines."""
    return project_root() / "benchmarks" / "edge_machines.csv"


def row(
    machine: Mapping, name: str, sha256: str, size: int, stand_in: str, threads: int, times: Mapping
) -> dict[str, str]:
    """Line of the table of machines.

    Parameters
    ----------
    machine : dict
        ``processor``, ``cores`` and ``system``, without the name of the machine or of its user.
    name, sha256 : str
        Of the network's file.
    size : int
        Its bytes.
    stand_in : str
    threads : int
    times : dict
        From `measured`.
    """
    middle = sorted(times["median_ms"])[len(times["median_ms"]) // 2]
    values = {
        "when": datetime.now(UTC).strftime("%Y-%m-%d"), "machine": machine["processor"], "cores": machine["cores"],
        "system": machine["system"], "network": name, "sha256": sha256[:12], "stand_in": stand_in, "threads": threads,
        "kilobytes": f"{size / 1000:.1f}", "cold_ms": f"{times['cold_ms']:.2f}", "median_ms": f"{middle:.3f}",
        "p95_ms": f"{max(times['p95_ms']):.3f}", "peak_mb": f"{times['peak_mb']:.0f}",
    }  # fmt: skip
    return {key: str(value) for key, value in values.items()}


def together(lines: Sequence[Mapping[str, str]]) -> dict[tuple[str, ...], list[Mapping[str, str]]]:
    """Lines that may be compared: the same bytes of a network under the same limits with as many threads.

    Returns
    -------
    dict
        From network, digest, stand-in and threads to the lines of all machines, in the order of the table.
    """
    groups: dict[tuple[str, ...], list[Mapping[str, str]]] = {}
    for line in lines:
        groups.setdefault(tuple(line[name] for name in SAME), []).append(line)
    return groups


def add(table: Path, line: Mapping[str, str]) -> None:
    """Add a line to a table of machines; what stands there already stays, whoever wrote it.

    The line goes out in one call on a file opened for appending, so that two programs cannot mix their lines.

    Raises
    ------
    BadParameter
        If the file has other columns.
    """
    if set(line) != set(COLUMNS):
        raise BadParameter(f"A line of the table has {', '.join(COLUMNS)}, not {', '.join(line)}.")
    table = Path(table)
    table.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    try:
        with table.open("x", encoding="utf-8") as file:
            file.write(",".join(COLUMNS) + "\n")
    except FileExistsError:
        read(table)
    if not table.read_text(encoding="utf-8").endswith("\n"):
        text.write("\n")  # somebody's editor took the end of the last line
    writer.writerow(line)
    handle = os.open(table, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(handle, text.getvalue().encode())
    finally:
        os.close(handle)


def read(table: Path) -> list[dict[str, str]]:
    """Lines of a table of machines; an absent one has none."""
    if not Path(table).is_file():
        return []
    with Path(table).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise BadParameter(f"{table} has other columns than {', '.join(COLUMNS)}; give another file.")
        return list(reader)


def _limit_and_measure(cores: int, address_mb: int, rest: list[str]) -> None:
    # The limits hold for this process and outlast exec, so that the program that is measured starts under them.
    import resource

    if cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    if address_mb:
        resource.setrlimit(resource.RLIMIT_AS, (address_mb << 20, address_mb << 20))
    os.execv(sys.executable, [sys.executable, "-m", "medtk.edge.runtime", *rest])


if __name__ == "__main__":
    _limit_and_measure(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
