"""Small JSON files by which the processes of a run tell others how it goes."""

import json
from pathlib import Path
from typing import Any

from medtk.data import files


def write(folder: Path, name: str, content: Any) -> None:
    """Write ``<name>.json``, whole or not at all."""
    text = json.dumps(content, indent=1).encode()
    files.write_atomically(folder / f"{name}.json", lambda file: file.write(text))


def read(folder: Path, name: str, default: Any = None) -> Any:
    """Content of ``<name>.json``, or `default` if there is none."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else default
