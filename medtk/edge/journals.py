"""What a search over architectures has found out so far, in a file, so that a search that was stopped can go on.

What is kept are the times and qualities of each architecture and not the state of the search: run again with the same
seed, the search takes the same way, and finds those of the first part of it here.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from medtk.data import files
from medtk.edge.small import Architecture
from medtk.errors import BadParameter, CorruptFile


class Known(NamedTuple):
    """Quality in [0, 1] and measured milliseconds of each architecture that was asked about."""

    qualities: dict[Architecture, float]
    times: dict[Architecture, float]


def kept(journal: Path | None, settings: dict) -> Known:
    """What a journal holds; nothing where there is none.

    Raises
    ------
    BadParameter
        If the journal is of a search with other settings.
    CorruptFile
        If it cannot be read.
    """
    if journal is None or not Path(journal).is_file():
        return Known({}, {})
    try:
        stored = json.loads(Path(journal).read_text(encoding="utf-8"))
        same = stored["settings"] == json.loads(json.dumps(settings))
        # Journals of a search without a limit of time held no times.
        parts = (stored["qualities"], stored.get("times", []))
        known = Known(*({Architecture(**numbers): value for numbers, value in part} for part in parts))
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptFile(f"{journal} cannot be read ({error}); delete it, and the search starts anew.") from error
    if not same:
        raise BadParameter(f"{journal} holds a search with other settings; give this one a file of its own.")
    return known


def keep(journal: Path | None, settings: dict, known: Known) -> None:
    """Write a journal anew, whole or not at all; without a path nothing is kept."""
    if journal is not None:
        parts = {name: [[asdict(one), v] for one, v in part.items()] for name, part in known._asdict().items()}
        content = json.dumps({"settings": settings} | parts)
        files.write_atomically(Path(journal), lambda stream: stream.write(content.encode()))
