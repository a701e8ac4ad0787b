"""What a notebook's output depends on, as one hash: equal hash, equal page, no need to run again."""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from medtk import settings

LEDGER_FIELDS = ("id", "cells", "parameters", "metrics", "predictions", "deviations")


def key(notebook: Path, profile: str, parameters: dict[str, Any]) -> str:
    """SHA-256 of everything that can change a run's output.

    That is the notebook, its parameters (with the files of a folder that they name), the package, the locked versions,
    the Python version, which data can be reached, and what the ledger says (a page quotes it).

    Parameters
    ----------
    notebook : Path
        The source notebook.
    profile : str
        Name of the profile; a notebook may print it.
    parameters : dict
        Values that are passed to it.
    """
    parts = {
        "notebook": _digest(notebook),
        "profile": profile,
        "parameters": {name: repr(value) for name, value in sorted(parameters.items())},
        "package": package(),
        "python": list(sys.version_info[:2]),
        "data": data_in_reach(),
        "ledger": ledger(),
    }
    if folder := parameters.get("folder"):
        parts["folder"] = own_files(Path(folder).expanduser())
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def own_files(folder: Path) -> list:
    """Name, size and time of change of each file of the reader's own folder; a picture that comes or goes is seen."""
    found = [(path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file()]
    return [[path.relative_to(folder).as_posix(), about.st_size, about.st_mtime_ns] for path, about in found]


def package() -> str:
    """SHA-256 over the package's code and tables and over ``requirements.lock``."""
    root = Path(__file__).resolve().parent.parent
    files = sorted([*root.rglob("*.py"), *root.rglob("*.toml")])
    lock = settings.project_root() / "requirements.lock"
    digests = {path.relative_to(root).as_posix(): _digest(path) for path in files}
    digests["requirements.lock"] = _digest(lock) if lock.is_file() else ""
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def data_in_reach() -> dict[str, str]:
    """Where each data set would come from now; a page made from stand-ins ages when images come."""
    from medtk import data

    sources = {name: str(data.find(name).source) for name in data.names()}
    return {
        "MEDTK_DATA": str(settings.data_home()),
        "offline": os.environ.get("MEDTK_OFFLINE", ""),
        **sources,
    }


def ledger() -> str:
    """SHA-256 of what the records say, without when and how fast; quick runs are no part of it.

    A run that writes the record which was there before therefore leaves the hash as it was.
    """
    said = []
    for path in sorted(settings.results_home().rglob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            said.append([path.name, _digest(path)])
            continue
        if isinstance(record, dict) and record.get("profile") != "quick":
            said.append([record.get(field) for field in LEDGER_FIELDS])
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
