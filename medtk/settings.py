"""Where things are: the folders, each of which an environment variable can move."""

import os
import sys
from pathlib import Path


def project_root() -> Path:
    """Folder of ``notebooks/`` and ``results/``: ``$MEDTK_ROOT``, else this checkout, else the working folder."""
    if root := os.environ.get("MEDTK_ROOT"):
        return Path(root).expanduser().resolve()
    checkout = Path(__file__).resolve().parent.parent
    return checkout if (checkout / "notebooks").is_dir() else Path.cwd()


def data_home() -> Path | None:
    """Folder of data files that the user already has (``$MEDTK_DATA``), or None."""
    home = os.environ.get("MEDTK_DATA")
    return Path(home).expanduser().resolve() if home else None


def cache_home() -> Path:
    """Folder of downloads and trained models: ``$MEDTK_CACHE``, else the platform's cache folder."""
    if home := os.environ.get("MEDTK_CACHE"):
        return Path(home).expanduser().resolve()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "medtk"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "medtk"


def results_home() -> Path:
    """Folder of records: ``$MEDTK_RESULTS``, else ``results/`` of the project."""
    if home := os.environ.get("MEDTK_RESULTS"):
        return Path(home).expanduser().resolve()
    return project_root() / "results"
