"""Where a data set is: the user's folder, the cache, or the official address."""

import os
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from medtk import settings
from medtk.data import files, folders
from medtk.data.catalog import Card, Place, card
from medtk.errors import CorruptFile, DataUnavailable

_PROBE_SECONDS = 4.0
_reachable: dict[str, bool] = {}  # host -> whether it answered; asked once a process


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


def homes() -> list[Path]:
    """Folders that may hold data, in the order in which they are searched."""
    return [home for home in (settings.data_home(), settings.cache_home() / "data") if home]


def locate(entry: Card) -> tuple[Place, Path] | None:
    """Best place of a data set that exists on this machine: ``$MEDTK_DATA`` first, then the cache; or None.

    An official file in the cache goes before a substitute in ``$MEDTK_DATA``: who fetched it wants it used.
    """
    for place in entry.places:
        for home in homes():
            if (path := home / place.path).exists():
                return _which(entry, place, path), path
    return None


def _which(entry: Card, place: Place, path: Path) -> Place:
    """Of an official file and a mirror of the same path, the one that the checksum tells."""
    rivals = [other for other in entry.places if other.path == place.path]
    if len(rivals) == 1:
        return place
    sha256 = files.checksum(path)
    return next((rival for rival in rivals if rival.sha256 == sha256), place)


def find(name: str) -> Status:
    """Say where a data set would come from, without opening it and without the network.

    Parameters
    ----------
    name : str
        Name in the catalogue.

    Returns
    -------
    Status
        With ``source='missing'`` and what to do about it in `note`, if it is nowhere on this machine.
        Checksums are not looked at; `verify` does that.

    Raises
    ------
    UnknownName
        If there is no such data set.
    """
    entry = card(name)
    if found := locate(entry):
        place, path = found
        return Status(name, place.source, path, place.note)
    return Status(name, "missing", None, how_to_get(entry))


def how_to_get(entry: Card) -> str:
    """What to do to have a data set that is missing, in one sentence."""
    if entry.download:
        return f"Run `medtk data fetch {entry.name}`, or put the file at $MEDTK_DATA/{entry.places[0].path}."
    return f"Get it from {entry.url} and put it at $MEDTK_DATA/{entry.places[0].path}."


def remedy(entry: Card) -> str:
    """What to do about a broken file, in one sentence."""
    if entry.download:
        return f"Delete it and run `medtk data fetch {entry.name}`, or copy it again from where it came."
    return "Copy it again from where it came."


def fetch(name: str) -> Path:
    """Make sure that the official file of a data set is on this machine, downloading it if needed.

    Parameters
    ----------
    name : str
        Name in the catalogue.

    Returns
    -------
    Path
        The file, with the published checksum: in ``$MEDTK_DATA`` if it is there, else in the cache.

    Raises
    ------
    DataUnavailable
        If the set has no single official address, there is no network, or the download broke off.
    CorruptFile
        If what was downloaded has the wrong checksum. It is thrown away; a file that was there stays.
    """
    entry = card(name)
    place = entry.places[0]
    for home in homes():
        path = home / place.path
        if path.is_file() and entry.kind != "folder":
            try:
                files.check(path, md5=place.md5, sha256=place.sha256)
            except CorruptFile:
                continue
            return path
    if not entry.download:
        raise DataUnavailable(f"{name} has no official file that could be downloaded. {how_to_get(entry)}")
    if not _online(entry.download):
        raise DataUnavailable(f"{name} cannot be downloaded without a network. {how_to_get(entry)}")
    return _download(entry, place, settings.cache_home() / "data" / place.path)


def _download(entry: Card, place: Place, target: Path) -> Path:
    # Imported here: pooch and requests take a third of a second, and most runs never download.
    import pooch
    import requests

    host = urlsplit(entry.download).hostname
    known = f"md5:{place.md5}" if place.md5 else f"sha256:{place.sha256}"
    pooch.get_logger().setLevel("WARNING")
    try:
        pooch.retrieve(
            entry.download,
            known_hash=known,
            fname=target.name,
            path=target.parent,
            downloader=pooch.HTTPDownloader(timeout=30, progressbar=True),
        )
    except ValueError as error:
        raise CorruptFile(
            f"What {host} sent for {entry.name} does not have the published checksum, so it was thrown away; "
            "try again later, or look whether a proxy answers in its place."
        ) from error
    except (requests.RequestException, OSError) as error:
        reason = str(error).split("\n")[0]
        raise DataUnavailable(f"{entry.name} could not be downloaded from {host}: {reason}") from error
    return target


def _online(url: str) -> bool:
    """Whether the host of `url` answers within a few seconds; asked once a process, and said once if not."""
    if os.environ.get("MEDTK_OFFLINE", "").strip().lower() not in ("", "0", "no", "false"):
        return False
    host = urlsplit(url).hostname
    if host not in _reachable:
        # A name server that does not answer ignores the timeouts of sockets, hence the thread and its join.
        asking = threading.Thread(target=_probe, args=(url, host), daemon=True)
        asking.start()
        asking.join(_PROBE_SECONDS)
        if not _reachable.setdefault(host, False):
            warnings.warn(f"No answer from {host}: working without a network.", stacklevel=2)
    return _reachable[host]


def _probe(url: str, host: str) -> None:
    import requests

    try:
        requests.head(url, timeout=_PROBE_SECONDS / 2, allow_redirects=False)
    except requests.RequestException:
        return
    _reachable.setdefault(host, True)


def verify(name: str) -> Status:
    """Read all bytes of a data set that is on this machine and compare them with the expected checksum.

    Parameters
    ----------
    name : str
        Name in the catalogue.

    Returns
    -------
    Status
        As from `find`, now known to be true.

    Raises
    ------
    DataUnavailable
        If the set is not on this machine.
    CorruptFile
        If a file is missing in a folder, broken, or not the expected one.
    """
    entry = card(name)
    found = locate(entry)
    if found is None:
        raise DataUnavailable(f"{name} is not on this machine. {how_to_get(entry)}")
    place, path = found
    if entry.kind == "folder":
        folders.check(entry, place, path)
    else:
        files.check(path, md5=place.md5, sha256=place.sha256, remedy=remedy(entry))
    return Status(name, place.source, path, place.note)
