"""Hospitals as folders of pictures: written from a data set, and read back, or from the reader's own pictures."""

import csv
import json
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from medtk.data import preprocessing
from medtk.data.dataset import Split
from medtk.data.hospitals import Hospital, Hospitals, batches
from medtk.errors import BadParameter, CorruptFile, DataUnavailable, MedtkError, UnknownName

GLOBAL, MEMBERS, SPLITS = "GLOBAL_TEST_DATASET", "HOSPITAL", ("train", "val", "test")
_TABLE, _ABOUT = "manifest.csv", "partition.json"


def write_hospitals(hospitals: Hospitals, folder: Path, about: dict | None = None) -> Path:
    """Write hospitals as PNG files in the layout of the hospital study (its section 5), whole or not at all.

    ``GLOBAL_TEST_DATASET/<class>/`` and ``HOSPITAL/<name>/{train,val,test}/<class>/``; beside them ``manifest.csv``
    (file, hospital, split, class, group) and ``partition.json`` (how it was made).

    Parameters
    ----------
    hospitals : Hospitals
        From `medtk.data.hospitals.split`.
    folder : Path
        Must not exist yet, or be empty.
    about : dict, optional
        Parameters to keep in ``partition.json``.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    BadParameter
        If there is something in the folder already.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadParameter(f"{folder} is not an empty folder; name another one, nothing is overwritten.")
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        lines = [
            line
            for member in hospitals.members
            for name in SPLITS
            for line in _write(temporary, member.name, name, getattr(member, name), hospitals.class_names)
        ]
        lines += _write(temporary, "", "test", hospitals.test, hospitals.class_names)
        with open(temporary / _TABLE, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("file", "hospital", "split", "class", "group"), *lines])
        said = {"source": hospitals.source, "class_names": hospitals.class_names} | (about or {})
        (temporary / _ABOUT).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _write(root: Path, hospital: str, name: str, split, class_names: tuple[str, ...]) -> list[tuple]:
    place = Path(MEMBERS, hospital, name) if hospital else Path(GLOBAL)
    for label in class_names:
        (root / place / label).mkdir(parents=True, exist_ok=True)
    lines = []
    for part in batches(split):
        pixels = np.rint(part.images * 255).astype(np.uint8)
        for i in range(len(part)):
            label = class_names[part.labels[i]]
            path = place / label / f"{len(lines):05d}.png"
            grey = pixels.shape[-1] == 1
            Image.fromarray(pixels[i, ..., 0] if grey else pixels[i]).save(root / path, compress_level=1)
            group = "" if part.groups is None else part.groups[i]
            lines.append((path.as_posix(), hospital, name, label, group))
    return lines


def load_hospitals(
    folder: Path | str, size: int, *, channels: int = 3, skip_unreadable: bool = False, only: str | None = None
) -> Hospitals:
    """Read hospitals from folders in the layout of the hospital study, written by medtk or the reader's own.

    Pictures may be of any size and mode: grey, colour, palette, with transparency (laid on black), 1, 8 or 16 bits.
    Hidden files (a name that begins with a dot) are no pictures; every other file must be one.

    Parameters
    ----------
    folder : path
        Holds ``HOSPITAL/<name>/{train,val,test}/<class>/`` and, if the global test set is not just all hospitals'
        test images, ``GLOBAL_TEST_DATASET/<class>/``. ``val`` and ``test`` may be missing.
    size : int
        Side in pixels to resize to, bilinear and antialiased.
    channels : {3, 1}
        3: grey is repeated. 1: colour becomes its luminance.
    skip_unreadable : bool
        Whether pictures that cannot be read are left out and listed in `Hospitals.skipped`, or refused.
    only : str, optional
        Name of the one hospital to read; the global test set is then its own.

    Returns
    -------
    Hospitals
        Classes are the names of the class folders in alphabetical order, or in the order that ``partition.json``
        gives; hospitals are sorted by name, numbers by value.

    Raises
    ------
    DataUnavailable
        If the layout is not there, or a hospital has no training picture.
    CorruptFile
        If pictures cannot be read and `skip_unreadable` is False; the message names them.
    """
    preprocessing.check_size(size)
    if channels not in (1, 3) or size is None:
        raise BadParameter(f"size must be given and channels be 1 or 3, not {size!r} and {channels!r}.")
    root = Path(folder)
    homes = sorted((path for path in (root / MEMBERS).glob("*") if path.is_dir()), key=_by_number)
    if only is not None:
        if only not in (names := [home.name for home in homes]):
            raise UnknownName(f"hospital in {root / MEMBERS}", only, names)
        homes = [root / MEMBERS / only]
    places = {(home.name, name): home / name for home in homes for name in SPLITS}
    if only is None:
        places["", "test"] = root / GLOBAL
    found = {key: sorted(_files(place)) for key, place in places.items()}
    empty = [home.name for home in homes if not found[home.name, "train"]]
    if empty or not homes:
        raise DataUnavailable(
            f"{root / MEMBERS} must hold a folder a hospital with train/<class>/ and pictures in it; "
            f"{'none in ' + ', '.join(empty) if empty else 'there is no hospital'}."
        )
    class_names, groups = _classes_and_groups(root, found)
    bad: list[str] = []
    splits = {key: _read(root, paths, class_names, groups, size, channels, bad) for key, paths in found.items()}
    if bad and not skip_unreadable:
        raise CorruptFile(
            f"{len(bad)} of the files in {root} cannot be read as pictures: {'; '.join(bad[:10])}"
            f"{' ...' if len(bad) > 10 else ''}. Mend or remove them, or read with skip_unreadable=True."
        )
    if lost := [home.name for home in homes if not len(splits[home.name, "train"])]:
        raise DataUnavailable(f"No training picture of {', '.join(lost)} in {root} can be read.")
    members = tuple(Hospital(home.name, *(splits[home.name, name] for name in SPLITS)) for home in homes)
    test = splits["", "test"] if found.get(("", "test")) else _together([member.test for member in members])
    return Hospitals(members, test, class_names, "folder", tuple(bad))


def _by_number(path: Path) -> list:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", path.name)]


def _files(place: Path) -> list[Path]:
    return [path for path in place.glob("*/*") if path.is_file() and not path.name.startswith(".")]


def _classes_and_groups(root: Path, found: dict) -> tuple[tuple[str, ...], dict[str, str]]:
    names = tuple(sorted({path.parent.name for paths in found.values() for path in paths}))
    groups = {}
    try:
        if (root / _ABOUT).is_file():
            said = json.loads((root / _ABOUT).read_text(encoding="utf-8"))["class_names"]
            names = tuple(said) if set(names) <= set(said) else names
        if (root / _TABLE).is_file():
            with open(root / _TABLE, newline="", encoding="utf-8") as file:
                groups = {line["file"]: line["group"] for line in csv.DictReader(file) if line["group"]}
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise CorruptFile(
            f"{_ABOUT} or {_TABLE} in {root} is damaged ({error}); write them again or remove both."
        ) from error
    return names, groups


def _read(root, paths, class_names, groups, size, channels, bad: list[str]) -> Split:
    """Split of the pictures that can be read; a sentence for each other one goes into `bad`."""

    def one(path: Path) -> np.ndarray | str:
        try:
            return preprocessing.resize(picture(path, channels)[None], size)[0]
        except MedtkError as error:
            return str(error)

    images = np.empty((len(paths), size, size, channels), np.float32)
    good = np.zeros(len(paths), bool)
    with ThreadPoolExecutor() as pool:  # Pillow decodes without holding Python's lock
        for i, read in enumerate(pool.map(one, paths)):
            if isinstance(read, str):
                bad.append(read)
            else:
                images[i], good[i] = read, True
    labels = np.array([class_names.index(path.parent.name) for path in paths], np.int64)
    named = [groups.get(path.relative_to(root).as_posix()) for path in paths]
    known = np.array(named) if paths and all(named) else None
    whole = Split(images, labels, known)
    return whole if good.all() else whole.take(good)


def _together(splits: list[Split]) -> Split:
    images = np.concatenate([split.images for split in splits])
    return Split(images, np.concatenate([split.labels for split in splits]))


def picture(path: Path, channels: int = 3) -> np.ndarray:
    """One picture of any size and mode, float32 in [0, 1], shape (height, width, channels).

    Raises
    ------
    CorruptFile
        If it cannot be read; the message names it.
    """
    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image)
            if image.mode == "F":
                raise ValueError("floating-point pictures have no fixed white")
            if image.mode.startswith("I"):
                # Pillow would clip 16 bits at 255 instead of scaling them.
                pixels = np.asarray(image, np.float32)[..., None] / 65535
                if pixels.min() < 0 or pixels.max() > 1:
                    raise ValueError("more than 16 bits a pixel")
                return preprocessing.set_channels(pixels, channels)
            if "A" in image.getbands() or "transparency" in image.info:
                image = image.convert("RGBA")
                black = Image.new("RGBA", image.size, (0, 0, 0, 255))
                image = Image.alpha_composite(black, image)
            pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"), np.float32) / 255
            return pixels.reshape(image.height, image.width, channels)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise CorruptFile(f"{path} ({error})") from error
