"""Where a data set is: the user's folder, the cache, or the official address."""

from dataclasses import dataclass
from pathlib import Path

from medtk import settings
from medtk.data.catalog import Card, Place

_REMEDY = "Delete it and run `medtk data fetch {name}`, or copy it again from where it came."


@dataclass(frozen=True)
class Status:
    """What was found for a data set, without opening it.

    Attributes
    ----------
    name : str
        Name in the catalogue.
    source : {'official', 'mirror', 'substitute', 'missing'}
        What the images would be.
    path : Path or None
        The file or folder; None if missing.
    note : str
        One sentence: the loss of a substitute, or what to do about a missing set.
    """

    name: str
    source: str
    path: Path | None
    note: str


def locate(entry: Card) -> tuple[Place, Path] | None:
    """Best place of a data set that exists on this machine: ``$MEDTK_DATA`` first, then the cache; or None.

    An official file in the cache goes before a substitute in ``$MEDTK_DATA``: who fetched it wants it used.
    """
    homes = [home for home in (settings.data_home(), settings.cache_home() / "data") if home]
    for place in entry.places:
        for home in homes:
            if (path := home / place.path).exists():
                return place, path
    return None


def remedy(entry: Card) -> str:
    """What to do about a broken file, in one sentence."""
    if entry.download:
        return _REMEDY.format(name=entry.name)
    return "Copy it again from where it came."
