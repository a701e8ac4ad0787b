"""Reading a data set into memory: ``load``."""

import csv
import warnings
from pathlib import Path

import numpy as np

from medtk.data import files, folders, partition, preprocessing, sources, synthetic
from medtk.data.catalog import Card, Place, card
from medtk.data.dataset import Dataset, Split
from medtk.errors import BadParameter, CorruptFile, DataUnavailable

SPLITS = ("train", "val", "test")
_KERAS_KEYS = ("x_train", "y_train", "x_test", "y_test")
_VALIDATION_PART = 0.1


def load(
    name: str,
    *,
    size: int | None = None,
    channels: int | None = None,
    allow_synthetic: bool = False,
    seed: int = 0,
) -> Dataset:
    """Load a data set: from ``$MEDTK_DATA``, from the cache, or from its official address.

    Parameters
    ----------
    name : str
        Name in the catalogue, see `names`.
    size : int or None
        Side in pixels to resize to, bilinear and antialiased. None: as stored, or the card's `default_size`
        for sets of large pictures.
    channels : {None, 1, 3}
        None: as stored. 3: grey is repeated. Colour is never turned into grey.
    allow_synthetic : bool
        Whether a stand-in drawn by medtk may be returned, with a warning, when the set is nowhere to be had.
        A file that is there but broken is an error all the same.
    seed : int
        Of the synthetic stand-in; real data do not depend on it.

    Returns
    -------
    Dataset
        Images float32 in [0, 1], shape (n, height, width, channels); labels int64. Where the source has no
        validation split, one tenth of the training patients of each class is set aside, always the same.

    Raises
    ------
    UnknownName
        If there is no such data set.
    BadParameter
        If `size` or `channels` cannot be.
    DataUnavailable
        If the set is nowhere to be had and `allow_synthetic` is False.
    CorruptFile
        If a file is truncated, altered or unsafe; the message names it and says what to do.
    """
    entry = card(name)
    preprocessing.check_size(size)
    if channels not in (None, entry.shape[2], 3):
        raise BadParameter(f"{name} can have {entry.shape[2]} or 3 channels, not {channels!r}.")
    size = size or entry.default_size
    found = sources.locate(entry)
    if found is None:
        try:
            found = entry.places[0], sources.fetch(name)
        except (DataUnavailable, CorruptFile) as error:
            if not allow_synthetic:
                raise
            warnings.warn(
                f"{name} could not be had; synthetic images take its place, no result counts. {error}",
                stacklevel=2,
            )
            splits, sha256 = synthetic.draw(entry, size, seed)
            return _dataset(entry, splits, size, channels, "synthetic", sha256, synthetic.NOTE)
    place, path = found
    if entry.kind == "folder":
        splits, sha256 = _read_folder(entry, place, path, size or entry.shape[0])
    else:
        advice = sources.remedy(entry)
        files.check(path, md5=place.md5, sha256=place.sha256, remedy=advice)
        splits = (_read_keras if entry.kind == "keras" else _read_medmnist)(entry, path, advice)
        sha256 = files.checksum(path)
    return _dataset(entry, splits, size, channels, place.source, sha256, place.note)


def _dataset(
    entry: Card,
    splits: dict[str, Split],
    size: int | None,
    channels: int | None,
    source: str,
    sha: str,
    note: str,
) -> Dataset:
    made = {}
    for key in SPLITS:
        images = splits[key].images
        if size is not None:
            images = preprocessing.resize(images, size)
        # In place where a resized copy exists already: a large set would need its memory twice.
        out = images if images.dtype == np.float32 else None
        images = np.divide(images, np.float32(255), out=out, dtype=np.float32)
        made[key] = Split(preprocessing.set_channels(images, channels), splits[key].labels, splits[key].groups)
    return Dataset(
        name=entry.name,
        **made,
        class_names=entry.class_names,
        card=entry,
        source=source,
        sha256=sha,
        note=note,
    )


def _read_medmnist(entry: Card, path: Path, advice: str) -> dict[str, Split]:
    keys = tuple(f"{split}_{what}" for split in SPLITS for what in ("images", "labels"))
    arrays = files.read_npz(path, keys, advice)
    splits = {key: _split(entry, path, arrays[f"{key}_images"], arrays[f"{key}_labels"], advice) for key in SPLITS}
    if order := entry.manifest.get("groups"):
        splits = _with_groups(splits, order)
    return splits


def _read_keras(entry: Card, path: Path, advice: str) -> dict[str, Split]:
    x_train, y_train, x_test, y_test = files.read_npz(path, _KERAS_KEYS, advice).values()
    train = _split(entry, path, x_train, y_train, advice)
    return {**_carve(train), "test": _split(entry, path, x_test, y_test, advice)}


def _read_folder(entry: Card, place: Place, path: Path, size: int) -> tuple[dict[str, Split], str]:
    images, rows, sha256 = folders.read(entry, place, path, size)
    labels = np.array([row.label for row in rows], np.int64)
    groups = np.array([row.group for row in rows])
    whole = Split(images, labels, groups)
    member = np.array([row.split for row in rows])
    splits = {key: whole.take(member == key) for key in SPLITS}
    if len(splits["val"]) == 0:
        splits.update(_carve(splits["train"]))
    return splits, sha256


def _carve(train: Split) -> dict[str, Split]:
    kept, held = partition.hold_out(train.labels, train.groups, _VALIDATION_PART)
    return {"train": train.take(kept), "val": train.take(held)}


def _split(entry: Card, path: Path, images: np.ndarray, labels: np.ndarray, advice: str) -> Split:
    """Arrays of a file as a split, or `CorruptFile` if they are not images and labels of this card."""
    images = images[..., None] if images.ndim == 3 else images
    labels = labels.reshape(-1)
    good = (
        images.dtype == np.uint8
        and images.shape[1:] == entry.shape
        and labels.dtype.kind in "iu"
        and len(images) == len(labels) > 0
        and labels.min() >= 0
        and labels.max() < entry.n_classes
    )
    if not good:
        raise CorruptFile(
            f"{path} does not hold 8-bit images of shape {entry.shape} with labels 0 to {entry.n_classes - 1}. {advice}"
        )
    return Split(images, labels.astype(np.int64))


def _with_groups(splits: dict[str, Split], order: str) -> dict[str, Split]:
    """Splits with the groups of a table (split, index, label, lesion_id), where that is on this machine."""
    table = next((home / order for home in sources.homes() if (home / order).is_file()), None)
    if table is None:
        return splits
    grouped = {}
    with open(table, newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    for key, split in splits.items():
        own = sorted((line for line in lines if line["split"] == key), key=lambda line: int(line["index"]))
        if [int(line["label"]) for line in own] != split.labels.tolist():
            raise CorruptFile(f"{table} does not fit the images: its labels differ. Copy it again.")
        grouped[key] = Split(split.images, split.labels, np.array([line["lesion_id"] for line in own]))
    return grouped
