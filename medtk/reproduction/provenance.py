"""Where and with what a record was made: versions, commit, hardware, backend, memory."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

from medtk.settings import project_root

PACKAGES = ("medtk", "tensorflow", "tensorflow-cpu", "keras", "jax", "numpy", "scipy", "medmnist")


@cache
def versions() -> dict[str, str]:
    """Version of Python and of each installed package that can change a number."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@cache
def commit() -> str:
    """Commit of the project, with ``+changes`` if package or notebooks differ; ``unknown`` without git."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=project_root(), capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "medtk", "notebooks", "params")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def backend() -> str:
    """Keras backend in use, or the one that Keras would use; Keras itself is not imported for it."""
    if keras := sys.modules.get("keras"):
        return keras.backend.backend()
    return os.environ.get("KERAS_BACKEND", "tensorflow")


def hardware() -> dict:
    """Processor, cores, memory in GB, accelerators and operating system; no host name, no user."""
    import psutil

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "accelerators": _accelerators(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def peak_memory_mb() -> float | None:
    """Largest resident memory of this process so far in MB; None where it is not told (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3), 1)  # bytes on macOS, kilobytes elsewhere


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _accelerators() -> list[str]:
    if (keras := sys.modules.get("keras")) is None:
        return []
    return [device for device in keras.distribution.list_devices() if not device.startswith("cpu")]
