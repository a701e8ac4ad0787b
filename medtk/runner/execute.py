"""Runs notebooks: parameters checked first, one process each, outputs whole or not at all."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from medtk import settings
from medtk.errors import UnknownName
from medtk.runner import fingerprint, notebooks, profiles
from medtk.runner.progress import Progress

KERNEL_SETTINGS = {
    "PYTHONHASHSEED": "0",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "JUPYTER_PREFER_ENV_PATH": "1",  # this environment's kernel, not another `python3` of the user's
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}


@dataclass(frozen=True)
class Outcome:
    """What became of one notebook.

    Attributes
    ----------
    notebook : str
        Its name without ``.ipynb``.
    state : str
        ``"ran"``, ``"kept"`` (nothing had changed) or ``"failed"``.
    output : Path
        The executed notebook; of a failed run what there is of it, as ``.failed.ipynb``.
    seconds, peak_memory_mb : float
        Of the run that made the output.
    error : str
        The first failing cell's error in one line, else empty.
    log : Path or None
        What the processes wrote to standard error.
    """

    notebook: str
    state: str
    output: Path
    seconds: float
    peak_memory_mb: float
    error: str = ""
    log: Path | None = None


def output_home(profile: str) -> Path:
    """Folder of the executed notebooks of a profile."""
    return settings.project_root() / "build" / "notebooks" / profile


def plan(paths: Iterable[Path], profile: str, given: dict[str, Any] | None = None) -> list[tuple[Path, dict]]:
    """Notebooks with the values each will get: the profile's, then `given`; all checked, nothing run.

    A given parameter goes to the notebooks that have it; one that none of them has is an error.
    """
    paths, given, values = list(paths), given or {}, profiles.overlay(profile)
    known = {path: notebooks.parameters(path) for path in paths}
    for name in given:
        if not any(name in names for names in known.values()):
            raise UnknownName("parameter", name, {name for names in known.values() for name in names})
    jobs = []
    for path in paths:
        wanted = {name: value for name, value in given.items() if name in known[path]}
        jobs.append((path, notebooks.check(path, values.get(path.stem, {}) | wanted)))
    return jobs


def run_all(
    paths: Iterable[Path],
    profile: str = profiles.READER,
    given: dict[str, Any] | None = None,
    *,
    out: Path | None = None,
    resume: bool = False,
    jobs: int = 1,
    console: Console | None = None,
) -> list[Outcome]:
    """Run notebooks and say how it went.

    Parameters
    ----------
    paths : iterable of Path
        The notebooks.
    profile : str
        Whose parameter values are used, see `profiles`.
    given : dict, optional
        Parameter values that go before the profile's.
    out : Path, optional
        Folder of the outputs; ``build/notebooks/<profile>`` unless told.
    resume : bool
        Keep an output whose notebook, parameters, package, data and ledger are what they were.
    jobs : int
        Notebooks at a time.
    console : rich.console.Console, optional
        Where progress goes; standard error unless told.

    Returns
    -------
    list of Outcome
        In the order of `paths`. A failing notebook does not stop the others.

    Raises
    ------
    UnknownName, BadParameter
        Before anything runs.
    """
    work = plan(paths, profile, given)
    out = out or output_home(profile)
    out.mkdir(parents=True, exist_ok=True)
    running: list[subprocess.Popen] = []
    stopping = threading.Event()
    with Progress(console or Console(stderr=True), total=len(work)) as progress:

        def one(job):
            return _one(
                *job,
                profile=profile,
                out=out,
                resume=resume,
                progress=progress,
                running=running,
                stopping=stopping,
            )

        pool = ThreadPoolExecutor(jobs)
        try:
            return list(pool.map(one, work))
        except BaseException:
            stopping.set()
            pool.shutdown(wait=False, cancel_futures=True)
            stop(running)
            raise
        finally:
            pool.shutdown(wait=True)


def _one(path, parameters, *, profile, out, resume, progress, running, stopping) -> Outcome:
    key = fingerprint.key(path, profile, parameters)
    target = out / path.name
    if resume and (last := last_run(target)).get("key") == key:
        outcome = Outcome(path.stem, "kept", target, last["seconds"], last["peak_memory_mb"])
    elif stopping.is_set():
        raise KeyboardInterrupt
    else:
        progress.begin(path.stem)
        outcome = run_one(
            path,
            parameters,
            target,
            {"MEDTK_PROFILE": profile},
            key=key,
            running=running,
            on_cell=lambda cell, cells: progress.cell(path.stem, cell, cells),
        )
    if not stopping.is_set():
        progress.end(outcome)
    return outcome


def run_one(
    path: Path,
    parameters: dict[str, Any],
    target: Path,
    environment: dict[str, str],
    *,
    key: str = "",
    on_cell: Callable[[int, int], None] | None = None,
    running: list[subprocess.Popen] | None = None,
) -> Outcome:
    """Run one notebook in a process of its own and put the result at `target`, whole or not at all.

    Parameters
    ----------
    path, target : Path
        The source, and where the executed notebook goes. A failed run leaves `target` alone and puts what it
        made beside it as ``.failed.ipynb``.
    parameters : dict
        Checked values.
    environment : dict of str
        Variables for the kernel, beside this process's own.
    key : str
        `fingerprint.key`, stored with the output.
    on_cell : callable, optional
        Called with (cell, cells) when a cell starts.
    running : list, optional
        Holds the process while it lives, so that the caller can `stop` it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial, failed, log = (target.with_suffix(suffix) for suffix in (".part.ipynb", ".failed.ipynb", ".log"))
    job = {"notebook": str(path), "output": str(partial), "parameters": parameters}
    began = time.perf_counter()
    report: dict[str, Any] = {}
    running = [] if running is None else running
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "medtk.runner.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**KERNEL_SETTINGS, **os.environ, **environment},
            start_new_session=True,
        )
        running.append(process)
        try:
            process.stdin.write(json.dumps(job).encode() + b"\n")
            process.stdin.flush()
            for line in process.stdout:
                report = json.loads(line)
                if "cell" in report and on_cell:
                    on_cell(report["cell"], report["cells"])
            process.wait()
        finally:
            stop([process])
            running.remove(process)
    seconds, peak = report.get("seconds", time.perf_counter() - began), report.get("peak_memory_mb", 0.0)
    error = report.get("error", f"the process ended with code {process.returncode}")
    if error:
        if partial.exists():
            partial.replace(failed)
        return Outcome(path.stem, "failed", failed, seconds, peak, error, log)
    _finish(partial, target, {"key": key, "seconds": seconds, "peak_memory_mb": peak, "parameters": parameters})
    failed.unlink(missing_ok=True)
    return Outcome(path.stem, "ran", target, seconds, peak, log=log)


def _finish(partial: Path, target: Path, facts: dict) -> None:
    content = json.loads(partial.read_text(encoding="utf-8"))
    content["metadata"]["medtk"] = facts
    with partial.open("w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False, indent=1)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(target)


def last_run(target: Path) -> dict[str, Any]:
    """What an executed notebook says of its run: key, seconds, peak_memory_mb, parameters; empty if none."""
    try:
        return json.loads(target.read_text(encoding="utf-8"))["metadata"]["medtk"]
    except (OSError, ValueError, KeyError):
        return {}


def stop(processes: list[subprocess.Popen]) -> None:
    """End workers with their kernels: a worker whose standard input closes ends itself and its kernel."""
    for process in list(processes):
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    for process in list(processes):
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def summary(outcomes: list[Outcome]) -> Table:
    """Table of a run: state, minutes and peak memory of each notebook."""
    table = Table("notebook", "state", "minutes", "peak MB", title="Notebooks")
    for outcome in outcomes:
        minutes = f"{outcome.seconds / 60:.1f}"
        table.add_row(outcome.notebook, outcome.state, minutes, f"{outcome.peak_memory_mb:.0f}")
    return table
