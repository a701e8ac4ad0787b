"""Which data sets medtk knows: one card each, kept as data in ``cards.toml``."""

import tomllib
from dataclasses import dataclass, field
from importlib.resources import files

from medtk.errors import UnknownName


@dataclass(frozen=True)
class Place:
    """One file or folder that can hold a data set, relative to a data home.

    Attributes
    ----------
    path : str
        Relative path, with forward slashes.
    source : {'official', 'mirror', 'substitute'}
        What the images are if this place is used.
    md5, sha256 : str
        Expected checksum; empty if not known. For a folder: over its table and all files that it names.
    note : str
        One sentence: what is lost against the official files; empty if nothing is.
    """

    path: str
    source: str
    md5: str = ""
    sha256: str = ""
    note: str = ""


@dataclass(frozen=True)
class Card:
    """What a reader must know of a data set before using it.

    Attributes
    ----------
    name, title, modality, task : str
        ``task`` is ``'binary'``, ``'multi-class'`` or ``'ordinal'``.
    class_names : tuple of str
        In the order of the integer labels.
    counts : dict
        Images in ``train``, ``val`` and ``test`` of the published set. ``val`` is 0 where the source has no
        validation split; `medtk.data.load` then takes one tenth of the training groups for it.
    shape : tuple of int
        Stored height, width and channels.
    licence, citation, url : str
        ``citation`` is a BibTeX key of the book's references.
    cautions : tuple of str
        Known leaks, shortcuts and limits, one sentence each.
    md5 : str
        Published checksum of the official file; empty where there is none.
    comparable : bool
        Whether results on a substitute may be set beside printed numbers of the official set.
    kind : {'medmnist', 'keras', 'folder'}
        How the files are laid out.
    places : tuple of Place
        Where to look, best first.
    download : str
        Official address of the file at ``places[0]``; empty if it cannot be downloaded by one address.
    default_size : int or None
        Side in pixels that `medtk.data.load` uses when none is asked for; None: as stored.
    shares : tuple of float
        Share of each class in the published training split; empty if not known.
    look : str
        Which generator of `medtk.data.synthetic` draws the stand-in.
    manifest : dict
        For a folder: the table of its files and which columns and rows of it to use.
    """

    name: str
    title: str
    modality: str
    task: str
    class_names: tuple[str, ...]
    counts: dict[str, int]
    shape: tuple[int, int, int]
    licence: str
    citation: str
    url: str
    kind: str
    look: str
    places: tuple[Place, ...]
    cautions: tuple[str, ...] = ()
    comparable: bool = True
    download: str = ""
    default_size: int | None = None
    shares: tuple[float, ...] = ()
    manifest: dict[str, str] = field(default_factory=dict)

    @property
    def md5(self) -> str:
        """Published MD5 of the official file, or an empty string."""
        return next((place.md5 for place in self.places if place.source == "official"), "")

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)


def _read() -> dict[str, Card]:
    table = tomllib.loads(files("medtk.data").joinpath("cards.toml").read_text(encoding="utf-8"))
    cards = {}
    for name, entry in table.items():
        places = tuple(Place(**place) for place in entry.pop("places"))
        lists = {key: tuple(value) for key, value in entry.items() if isinstance(value, list)}
        cards[name] = Card(name=name, places=places, **{**entry, **lists})
    return cards


CATALOG: dict[str, Card] = _read()


def names() -> list[str]:
    """Names of all data sets, in the order of the catalogue."""
    return list(CATALOG)


def card(name: str) -> Card:
    """Card of the data set `name`; `UnknownName` with the nearest names if there is none."""
    if name not in CATALOG:
        raise UnknownName("data set", name, CATALOG)
    return CATALOG[name]
