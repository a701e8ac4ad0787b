"""Data sets that are a folder of pictures: its table, its checksum, and a cache of decoded pixels."""

import csv
import hashlib
import re
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from medtk import settings
from medtk.data import files, preprocessing
from medtk.data.catalog import Card, Place
from medtk.errors import CorruptFile

_SUFFIXES = {".jpeg", ".jpg", ".png"}
_CACHE_FORMAT = 1
_CHUNK = 256


@dataclass(frozen=True)
class Row:
    """One picture of a folder: its path below the folder, class id, split and group."""

    file: str
    label: int
    split: str
    group: str | None


def rows(entry: Card, folder: Path) -> list[Row]:
    """Pictures of a folder: from its table, or from ``split/class/file`` where there is no table.

    Raises
    ------
    CorruptFile
        If the table lacks a column, names an unknown class or split, or leaves nothing.
    """
    table = folder / entry.manifest["table"]
    found = _from_table(entry, table) if table.is_file() else _from_folders(entry, folder)
    if not {"train", "test"} <= {row.split for row in found}:
        raise CorruptFile(
            f"{folder} holds neither {table.name} nor train/ and test/ with a folder for each class "
            f"({', '.join(entry.class_names)}). Copy it again from where it came."
        )
    return found


def _from_table(entry: Card, table: Path) -> list[Row]:
    options = entry.manifest
    ids = {name: i for i, name in enumerate(entry.class_names)}
    flag = options.get("only", "")
    found = []
    try:
        with open(table, newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                if flag and line[flag] != "1":
                    continue
                if line["split"] not in ("train", "val", "test"):
                    raise CorruptFile(f"{table} names a split {line['split']!r}, not train, val or test.")
                group = line[options["group"]]
                if options.get("group_within_split"):
                    group = f"{line['split']}/{group}"
                found.append(Row(line[options["file"]], ids[line["label"].lower()], line["split"], group))
    except (KeyError, AttributeError, UnicodeDecodeError, csv.Error) as error:
        raise CorruptFile(f"{table} is not the table it should be ({error}). Copy it again.") from error
    return found


def _from_folders(entry: Card, folder: Path) -> list[Row]:
    ids = {name: i for i, name in enumerate(entry.class_names)}
    pattern = entry.manifest.get("group_pattern")
    found = []
    for path in sorted(folder.glob("*/*/*")):
        split, label = path.parts[-3], path.parts[-2].lower()
        if path.suffix.lower() not in _SUFFIXES or split not in ("train", "val", "test") or label not in ids:
            continue
        match = re.match(pattern, path.name) if pattern else None
        group = f"{split}/{match.group() if match else path.stem}"
        found.append(Row(path.relative_to(folder).as_posix(), ids[label], split, group))
    return found


def _all_files(entry: Card, folder: Path, found: list[Row]) -> list[Path]:
    """Table (if any) and every picture that it names, in its order, also those that a card leaves out."""
    table = folder / entry.manifest["table"]
    if not table.is_file():
        return [folder / row.file for row in found]
    with open(table, newline="", encoding="utf-8") as file:
        named = dict.fromkeys(line[entry.manifest["file"]] for line in csv.DictReader(file))
    return [table, *(folder / name for name in named)]


def digest(paths: list[Path]) -> str:
    """SHA-256 over the bytes of all files, in order.

    Raises
    ------
    CorruptFile
        If one of them is missing or cannot be read.
    """
    sha = hashlib.sha256()
    for path in paths:
        try:
            sha.update(path.read_bytes())
        except OSError as error:
            raise CorruptFile(f"{path} cannot be read ({error.strerror}). Copy it again.") from error
    return sha.hexdigest()


def check(entry: Card, place: Place, folder: Path) -> str:
    """Digest of a folder; `CorruptFile` if it is not the expected one (without a table, none is expected)."""
    found = rows(entry, folder)
    sha256 = digest(_all_files(entry, folder, found))
    has_table = (folder / entry.manifest["table"]).is_file()
    if has_table and place.sha256 and sha256 != place.sha256:
        raise CorruptFile(
            f"The pictures in {folder} are not those of its card (sha256 {sha256}, not {place.sha256}). "
            "Copy the folder again from where it came."
        )
    return sha256


def read(entry: Card, place: Place, folder: Path, size: int) -> tuple[np.ndarray, list[Row], str]:
    """Decode and resize all pictures of a folder, or take them from the cache of an earlier call.

    Parameters
    ----------
    entry : Card
        Its card.
    place : Place
        Which of the card's places `folder` is.
    folder : Path
        The folder.
    size : int
        Side in pixels of the result.

    Returns
    -------
    images : ndarray of uint8, shape (n, size, size, channels)
        Rounded to 8 bits after resizing.
    found : list of Row
        What each image is.
    sha256 : str
        Digest of the folder.

    Raises
    ------
    CorruptFile
        If a file is missing, broken, or not the expected one.
    """
    found = rows(entry, folder)
    key = _state(entry, folder, found)
    cached = settings.cache_home() / "data" / "decoded" / f"{entry.name}-{size}-{key}.npz"
    if cached.is_file():
        try:
            arrays = files.read_npz(cached, ("images", "sha256"))
            if arrays["images"].shape == (len(found), size, size, entry.shape[2]):
                return arrays["images"], found, str(arrays["sha256"])
        except CorruptFile as error:
            warnings.warn(f"{error} It is set aside and made anew.", stacklevel=2)
            cached.replace(cached.with_suffix(".bad"))
    sha256 = check(entry, place, folder)
    images = np.empty((len(found), size, size, entry.shape[2]), np.uint8)
    with ThreadPoolExecutor() as pool:  # Pillow decodes without holding Python's lock
        for start in range(0, len(found), _CHUNK):
            paths = [folder / row.file for row in found[start : start + _CHUNK]]
            part = list(pool.map(lambda path: _decode(path, entry.shape[2]), paths))
            images[start : start + _CHUNK] = _resize_like(part, size)
    try:
        files.write_atomically(cached, lambda file: np.savez(file, images=images, sha256=np.array(sha256)))
    except (OSError, zipfile.LargeZipFile) as error:
        warnings.warn(f"{cached} could not be kept ({error}); the next load decodes again.", stacklevel=2)
    return images, found, sha256


def _state(entry: Card, folder: Path, found: list[Row]) -> str:
    """Short key of the files as they are, from sizes and times: hashing all bytes each time would be slow."""
    key = hashlib.sha256(f"{_CACHE_FORMAT} {[place.sha256 for place in entry.places]}".encode())
    for path in _all_files(entry, folder, found):
        try:
            stat = path.stat()
        except OSError as error:
            raise CorruptFile(f"{path} cannot be read ({error.strerror}). Copy it again.") from error
        key.update(f"{path} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return key.hexdigest()[:16]


def _decode(path: Path, channels: int) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("L" if channels == 1 else "RGB")).reshape(
                image.height, image.width, channels
            )
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CorruptFile(f"{path} cannot be read as a picture ({error}). Copy it again.") from error


def _resize_like(part: list[np.ndarray], size: int) -> np.ndarray:
    if len({image.shape for image in part}) == 1:
        resized = preprocessing.resize(np.stack(part), size)
    else:
        resized = np.concatenate([preprocessing.resize(image[None], size) for image in part])
    return np.rint(resized).astype(np.uint8)
