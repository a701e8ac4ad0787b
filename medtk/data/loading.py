"""Reading a data set into memory: ``load``."""

from pathlib import Path

import numpy as np

from medtk.data import files, preprocessing, sources
from medtk.data.catalog import Card, Place, card
from medtk.data.dataset import Dataset, Split
from medtk.errors import DataUnavailable

SPLITS = ("train", "val", "test")


def load(name: str, *, size: int | None = None, channels: int | None = None) -> Dataset:
    """Load a data set."""
    entry = card(name)
    found = sources.locate(entry)
    if found is None:
        raise DataUnavailable(f"{name} was not found.")
    place, path = found
    splits = _read_medmnist(entry, place, path)
    made = {
        key: Split(_finish(split.images, size or entry.default_size, channels), split.labels, split.groups)
        for key, split in splits.items()
    }
    return Dataset(
        name=name, **made, class_names=entry.class_names, card=entry, source=place.source,
        sha256=files.checksum(path), note=place.note,
    )


def _finish(images: np.ndarray, size: int | None, channels: int | None) -> np.ndarray:
    if size is not None:
        images = preprocessing.resize(images, size)
    return preprocessing.set_channels(images.astype(np.float32) / np.float32(255), channels)


def _read_medmnist(entry: Card, place: Place, path: Path) -> dict[str, Split]:
    advice = sources.remedy(entry)
    files.check(path, md5=place.md5, sha256=place.sha256, remedy=advice)
    arrays = files.read_npz(path, tuple(f"{s}_{what}" for s in SPLITS for what in ("images", "labels")), advice)
    splits = {}
    for key in SPLITS:
        images = arrays[f"{key}_images"]
        images = images[..., None] if images.ndim == 3 else images
        splits[key] = Split(images, arrays[f"{key}_labels"].reshape(-1).astype(np.int64))
    return splits
