"""Start processes that outlive the command, note them in their folder, and stop them again."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import psutil

import medtk
from medtk.errors import MedtkError
from medtk.federated.flower.progress import read, write

FLOWER = "1.41.0"
# Nothing is reported, looked up or installed behind the user's back.
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def check_flower() -> None:
    """Say in a sentence if Flower is not here, or another one than medtk was built on."""
    try:
        found = metadata.version("flwr")
    except metadata.PackageNotFoundError as error:
        raise MedtkError(
            "Several machines are joined by Flower, which is not installed: pip install 'medtk[federated]'. The "
            "engine for one machine, medtk.federated.run, needs nothing else."
        ) from error
    if found != FLOWER:
        raise MedtkError(f"medtk speaks with Flower {FLOWER}, and {found} is installed: pip install flwr=={FLOWER}.")


def check_port(host: str, port: int) -> None:
    """`MedtkError` if nothing can listen there."""
    try:
        with socket.create_server((host, port)):
            return
    except (OSError, OverflowError) as error:
        raise MedtkError(
            f"Nothing can listen at {host}:{port} ({getattr(error, 'strerror', None) or error}): choose another "
            "--port, or stop what uses it."
        ) from error


def free_port() -> int:
    """A port of this machine's own address that nobody uses at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as line:
        return line.getsockname()[1]


def start(folder: Path, name: str, module: str, arguments: Sequence[str]) -> None:
    """Start ``python -m module arguments`` in the background; its output goes to ``logs/<name>.log``."""
    here = str(Path(medtk.__file__).resolve().parent.parent)
    environment = os.environ | QUIET | {"FLWR_HOME": str(folder / "flower")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    for key in ("NO_PROXY", "no_proxy"):  # the processes of one machine speak with each other directly
        environment[key] = ",".join(filter(None, [os.environ.get(key), "127.0.0.1,localhost"]))
    log = folder / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=folder,
            start_new_session=True,
        )  # fmt: skip
    known = read(folder, "processes", {})
    known[name] = {"pid": process.pid, "created": psutil.Process(process.pid).create_time()}
    write(folder, "processes", known)


def _found(folder: Path) -> dict[str, psutil.Process]:
    """Noted processes that still run; a number that the system has given to another program does not count."""
    found = {}
    for name, noted in (read(folder, "processes", {}) or {}).items():
        try:
            process = psutil.Process(noted["pid"])
            # Reading a process's birth twice can differ by the clock's last digit.
            if abs(process.create_time() - noted["created"]) < 1 and process.status() != psutil.STATUS_ZOMBIE:
                found[name] = process
        except psutil.NoSuchProcess:
            continue
    return found


def running(folder: Path) -> dict[str, bool]:
    """For each noted process, whether it runs."""
    found = _found(folder)
    return {name: name in found for name in read(folder, "processes", {}) or {}}


def stop(folder: Path, seconds: float = 10) -> list[str]:
    """Stop the noted processes, at first politely; names of those that were running."""
    found = _found(folder)
    everything = [child for process in found.values() for child in _children(process)] + list(found.values())
    for process in everything:
        _tell(process, "terminate")
    for process in psutil.wait_procs(everything, seconds)[1]:
        _tell(process, "kill")
    psutil.wait_procs(everything, seconds)
    (folder / "processes.json").unlink(missing_ok=True)
    return list(found)


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _tell(process: psutil.Process, what: str) -> None:
    try:
        getattr(process, what)()
    except psutil.NoSuchProcess:
        return


def last_words(folder: Path, name: str) -> str:
    """What a log says at its end: the reason that Flower gives for an exit, or else the last line."""
    log = folder / "logs" / f"{name}.log"
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    # "Exit Code: 305", the reason in some lines, an empty line, and an address with more.
    reason = text.rpartition("Exit Code:")[2].split("\n\n")[0] if "Exit Code:" in text else text.strip()
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    return f"{' '.join(lines[1:]) if 'Exit Code:' in text else (lines or ['nothing'])[-1]} ({log})"
