"""What is here: Python, packages, data, weights, the machine, and how long each profile will take."""

import importlib.metadata
import os
import platform
import shutil
from typing import Any

import psutil

from medtk import settings
from medtk.runner import execute, notebooks, profiles

PACKAGES = (
    "medtk", "tensorflow-cpu", "tensorflow", "keras", "numpy", "scikit-learn", "medmnist", "papermill",
    "jupyter-book", "sphinx", "jupyterlab",
)  # fmt: skip


def examine() -> dict[str, Any]:
    """Facts about this installation, ready for JSON.

    Returns
    -------
    dict
        ``python``, ``packages`` (name -> version or None), ``data`` (name -> source, path, note), ``weights``
        (network -> source, note), ``machine`` (cores, memory_gb, disk_free_gb), ``folders``, and ``minutes``
        (profile -> estimate, or None where nobody has measured).
    """
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "data": _data(),
        "weights": _weights(),
        "machine": _machine(),
        "folders": {
            "project": str(settings.project_root()),
            "data": str(settings.data_home() or ""),
            "cache": str(settings.cache_home()),
            "results": str(settings.results_home()),
        },
        "minutes": {profile: estimate(profile) for profile in profiles.names()},
    }


def estimate(profile: str) -> float | None:
    """Minutes that all notebooks take with a profile, as measured here or as its file says; else None."""
    written, total = profiles.minutes(profile), 0.0
    if not (paths := notebooks.all_notebooks()):
        return None
    for path in paths:
        measured = execute.last_run(execute.output_home(profile) / path.name).get("seconds")
        expected = written.get(path.stem) if measured is None else measured / 60
        if expected is None:
            return None
        total += expected
    return round(total, 1)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _data() -> dict[str, dict[str, str]]:
    from medtk import data

    found = {name: data.find(name) for name in data.names()}
    return {
        name: {"source": status.source, "path": str(status.path or ""), "note": status.note}
        for name, status in found.items()
    }


def _weights() -> dict[str, dict[str, str]]:
    from medtk.models import weights

    found = {network: weights.weights_source(network) for network in weights.FILES}
    return {network: {"source": state.source, "note": state.note} for network, state in found.items()}


def _machine() -> dict[str, Any]:
    root = settings.project_root()
    return {
        "system": platform.platform(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "disk_free_gb": round(shutil.disk_usage(root).free / 2**30, 1),
    }
