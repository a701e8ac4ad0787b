"""An honest split: no patient, lesion or film on both sides."""

from dataclasses import replace

import numpy as np

from medtk.data.catalog import CATALOG, Card
from medtk.data.dataset import Dataset, Split
from medtk.data.partition import hold_out
from medtk.errors import BadParameter

GROUPED = "-by-group"  # behind the name of a data set that was split again


def regroup(dataset: Dataset, seed: int = 0) -> Dataset:
    """Split a data set again, so that all images of one group are on one side.

    Parameters
    ----------
    dataset : Dataset
        All its splits have `groups`.
    seed : int
        Same seed, same split.

    Returns
    -------
    Dataset
        The same images, with splits of nearly the same sizes and class shares, named ``<name>-by-group``.

    Raises
    ------
    BadParameter
        If the groups of the images are not known.
    """
    splits = (dataset.train, dataset.val, dataset.test)
    if any(split.groups is None for split in splits):
        raise BadParameter(f"{dataset.name} does not tell which images belong together; it cannot be split by group.")
    images, labels, groups = (
        np.concatenate([getattr(split, field) for split in splits]) for field in ("images", "labels", "groups")
    )
    pool = Split(images, labels, groups)
    rest, test = hold_out(labels, groups, len(dataset.test) / len(pool), seed)
    share = len(dataset.val) / (len(dataset.train) + len(dataset.val))
    train, val = hold_out(labels[rest], groups[rest], share, seed) if share else (np.arange(len(rest)), [])
    said = f"Split again by group (seed {seed}): no group is in two splits."
    return replace(
        dataset,
        name=dataset.name + GROUPED,
        train=pool.take(rest[train]),
        val=pool.take(rest[val]),
        test=pool.take(test),
        note=f"{dataset.note} {said}".strip(),
    )


def card_of(name: str) -> Card:
    """Card of a data set by its name, also of one that was split again by group."""
    return CATALOG[name.removesuffix(GROUPED)]


def seen_in_training(dataset: Dataset) -> np.ndarray:
    """Whether the group of each test image also has an image in the training split, shape (n,) of bool."""
    return np.isin(dataset.test.groups, np.unique(dataset.train.groups))
