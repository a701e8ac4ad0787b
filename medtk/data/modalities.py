"""Clients with different cameras: each holds images of one modality, and one test set joins them all."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from medtk.data import partition
from medtk.data.dataset import Dataset, Split
from medtk.data.hospitals import Hospital, Share
from medtk.errors import BadParameter, UnknownName

SPLITS = ("frame", "patient")
# What stands for the two modalities of the clustered-learning study.
DATASETS = {"xray": "covid_xray_paper", "ultrasound": "pocus_paper"}
_TEST_PART = 0.2
# Test images of each class in its Table I. No single way of rounding a fifth gives all four of them.
_TABLE_I = {"covid_xray_paper": (269, 44), "pocus_paper": (30, 80)}


@dataclass(frozen=True, eq=False)
class Modalities:
    """Clients of several modalities and their joint test set.

    Attributes
    ----------
    members : tuple of Hospital
        Named ``xray_1``, ``xray_2``, ``ultrasound_1`` and so on. `test` of a member are the joint test images of
        its own modality; it has no validation images.
    modality_of : dict of str to str
        Modality of each client.
    datasets : dict of str to Dataset
        By modality, split as asked for; they say where the images come from.
    test : Split
        The joint test set: the test images of all modalities, one after the other, with groups.
    modality : ndarray of str, shape (n_test,)
        Of each test image.
    """

    members: tuple[Hospital, ...]
    modality_of: dict[str, str]
    datasets: dict[str, Dataset]
    test: Split
    modality: np.ndarray

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the labels."""
        return next(iter(self.datasets.values())).class_names

    @property
    def source(self) -> str:
        """As `Dataset.source`; the least of them, if they differ."""
        order = ("official", "mirror", "substitute", "synthetic")
        return max((dataset.source for dataset in self.datasets.values()), key=order.index)

    def tests(self) -> dict[str, Share]:
        """Test images of each modality, as shares of the joint test set."""
        return {name: Share(self.test, np.flatnonzero(self.modality == name)) for name in self.datasets}


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
        Without validation images. Split by patient it is named ``<name>-by-group``.

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
        name=dataset.name if by == "frame" else f"{dataset.name}-by-group",
        train=pool.take(trained),
        val=pool.take(trained[:0]),
        test=pool.take(tested),
        note=f"{dataset.note} Split again, 80 to 20 (seed {seed}): {said}.".strip(),
    )


def clients(
    datasets: Mapping[str, Dataset], *, by: str = "frame", clients_per_modality: int = 2, seed: int = 0
) -> Modalities:
    """Share out several data sets, so that each client has images of one modality only and no image is held twice.

    Parameters
    ----------
    datasets : dict of str to Dataset
        By modality, such as ``{"xray": load("covid_xray_paper"), "ultrasound": load("pocus_paper")}``; with the same
        classes and the same shape of image.
    by : {'frame', 'patient'}
        Of `split`. By patient, no patient is known to two clients either, and each client gets patients of every class.
    clients_per_modality : int
        At least 1. By patient at most the patients of the rarest class.
    seed : int
        Of the split and of the sharing out.

    Returns
    -------
    Modalities

    Raises
    ------
    UnknownName, BadParameter
        If there is no such way to split, there are too many clients, or the data sets do not fit together.
    """
    made = {modality: split(dataset, by, seed) for modality, dataset in datasets.items()}
    if not made:
        raise BadParameter("there must be one modality at least.")
    if len({(dataset.class_names, dataset.image_shape) for dataset in made.values()}) > 1:
        found = "; ".join(f"{name}: {', '.join(d.class_names)}, {d.image_shape}" for name, d in made.items())
        raise BadParameter(f"modalities need the same classes and the same shape of image. They have {found}.")
    test = _joined([dataset.test for dataset in made.values()])
    modality = np.repeat(list(made), [len(dataset.test) for dataset in made.values()])
    members, modality_of = [], {}
    for name, dataset in made.items():
        own = Share(test, np.flatnonzero(modality == name))
        for k, rows in enumerate(_shares(dataset.train, by, clients_per_modality, seed)):
            members.append(Hospital(f"{name}_{k + 1}", Share(dataset.train, rows), test=own))
            modality_of[members[-1].name] = name
    return Modalities(tuple(members), modality_of, made, test, modality)


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
