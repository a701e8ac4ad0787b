"""Clients with different cameras: each holds images of one modality; the split, by frame or by patient, comes first."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from medtk.data import partition
from medtk.data.dataset import Dataset, Split
from medtk.data.hospitals import Hospital, Share
from medtk.errors import BadParameter, UnknownName

SPLITS = ("frame", "patient")
_TEST_PART = 0.2
# Test images of each class in its Table I. No single way of rounding a fifth gives all four of them.
_TABLE_I = {"covid_xray_paper": (269, 44), "pocus_paper": (30, 80)}


def split(dataset: Dataset, by: str = "frame", seed: int = 0) -> Dataset:
    """Split a data set again, 80 to 20, image by image or patient by patient.

    The clustered-learning study says "80% and 20%" (section III-B) and not what was dealt out. By frame, the sizes are
    those of its Table I where the images are as many as there.

    Parameters
    ----------
    dataset : Dataset
        All its images are pooled first.
    by : {'frame', 'patient'}
        ``frame``: single images are drawn, so that frames of one film are on both sides. ``patient``: all images of a
        group are on one side; the sizes are as near to 80 and 20 as whole patients allow. Images without a group
        (those of a stand-in) count as patients of one image.
    seed : int
        Same seed, same split.

    Returns
    -------
    Dataset
        Without validation images; its note says how it was split.

    Raises
    ------
    UnknownName
        If there is no such way to split.
    """
    if by not in SPLITS:
        raise UnknownName("way to split", by, SPLITS)
    pool = _pooled(dataset)
    if by == "frame":
        tested = _frames(pool.labels, _test_sizes(dataset, pool.labels), seed)
    else:
        tested = partition.hold_out(pool.labels, pool.groups, _TEST_PART, seed)[1]
    trained = np.setdiff1d(np.arange(len(pool)), tested)
    said = {"frame": "single frames are dealt out", "patient": "no patient is on both sides"}[by]
    return replace(
        dataset,
        train=pool.take(trained),
        val=pool.take(trained[:0]),
        test=pool.take(tested),
        note=f"{dataset.note} Split again, 80 to 20 (seed {seed}): {said}.".strip(),
    )


def share_out(datasets: Mapping[str, Dataset], by: str = "frame", clients: int = 2, seed: int = 0) -> list[Hospital]:
    """Clients of several modalities: each has training images of one of them, and no image is held twice.

    Parameters
    ----------
    datasets : dict of str to Dataset
        By modality, from `split`.
    by : {'frame', 'patient'}
        ``frame``: images are dealt out at random. ``patient``: no patient is known to two clients, and each client
        gets patients of every class.
    clients : int
        Of each modality, at least 1. By patient at most the patients of the rarest class.
    seed : int
        Same seed, same shares.

    Returns
    -------
    list of Hospital
        Named ``xray_1``, ``xray_2``, ``ultrasound_1`` and so on, without validation and test images.

    Raises
    ------
    UnknownName, BadParameter
        If there is no such way to split, or there are too many clients.
    """
    if by not in SPLITS:
        raise UnknownName("way to split", by, SPLITS)
    return [
        Hospital(f"{modality}_{k}", Share(dataset.train, rows))
        for modality, dataset in datasets.items()
        for k, rows in enumerate(_shares(dataset.train, by, clients, seed), start=1)
    ]


def joined(datasets: Mapping[str, Dataset]) -> tuple[Split, np.ndarray]:
    """The joint test set of several modalities, one after the other, and the modality of each image.

    Raises
    ------
    BadParameter
        If the data sets have not the same classes and the same shape of image.
    """
    if len({(dataset.class_names, dataset.image_shape) for dataset in datasets.values()}) != 1:
        found = "; ".join(f"{name}: {', '.join(d.class_names)}, {d.image_shape}" for name, d in datasets.items())
        raise BadParameter(
            f"modalities need the same classes and the same shape of image. They have {found or 'none'}."
        )
    modality = np.repeat(list(datasets), [len(dataset.test) for dataset in datasets.values()])
    return _joined([dataset.test for dataset in datasets.values()]), modality


def _pooled(dataset: Dataset) -> Split:
    """All images as one split; where patients are not known, each image gets a group of its own."""
    splits = (dataset.train, dataset.val, dataset.test)
    named = all(part.groups is not None for part in splits)
    if not named:
        splits = [Split(part.images, part.labels, np.full(len(part), "")) for part in splits]
    pool = _joined(splits)
    return (
        pool if named else Split(pool.images, pool.labels, np.array([f"{dataset.name}-{i}" for i in range(len(pool))]))
    )


def _joined(splits) -> Split:
    return Split(*(np.concatenate([getattr(part, what) for part in splits]) for what in ("images", "labels", "groups")))


def _test_sizes(dataset: Dataset, labels: np.ndarray) -> np.ndarray:
    """Test images of each class: Table I's, if the pool is as large as there, else a fifth."""
    counts = np.bincount(labels, minlength=dataset.n_classes)
    whole = len(labels) == sum(dataset.card.counts.values())
    if dataset.name in _TABLE_I and whole:
        return np.array(_TABLE_I[dataset.name])
    return np.rint(_TEST_PART * counts).astype(int)


def _frames(labels: np.ndarray, sizes: np.ndarray, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    drawn = [random.choice(np.flatnonzero(labels == c), n, replace=False) for c, n in enumerate(sizes)]
    return np.sort(np.concatenate(drawn))


def _shares(train: Split, by: str, clients: int, seed: int) -> list[np.ndarray]:
    """Rows of each client: at random, or whole patients, those of each class shared out evenly."""
    if by == "frame":
        return partition.iid(train.labels, clients, seed)
    _, first, member = np.unique(train.groups, return_index=True, return_inverse=True)
    # A patient with images of two classes counts for the class of the first of them.
    kind = train.labels[first][member]
    owner = np.empty(len(train), np.int64)
    for c in np.unique(kind):
        rows = np.flatnonzero(kind == c)
        for client, mine in enumerate(partition.by_group(train.groups[rows], clients, seed)):
            owner[rows[mine]] = client
    return [np.flatnonzero(owner == client) for client in range(clients)]
