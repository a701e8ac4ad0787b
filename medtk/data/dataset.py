"""What a loaded data set is: three splits of arrays, and where they came from."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from medtk.data.catalog import Card
from medtk.errors import BadParameter


@dataclass(frozen=True, eq=False)
class Split:
    """Images and labels of one split.

    Attributes
    ----------
    images : ndarray of float32, shape (n, height, width, channels)
        Values in [0, 1].
    labels : ndarray of int64, shape (n,)
        Class ids, from 0.
    groups : ndarray of str, shape (n,), or None
        Patient, lesion or film of each image; None where the source does not tell.
    """

    images: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index) -> "Split":
        """Split made of the rows in `index` (integers or a boolean mask)."""
        groups = None if self.groups is None else self.groups[index]
        return Split(self.images[index], self.labels[index], groups)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory, with its provenance.

    Attributes
    ----------
    name : str
        Name in the catalogue.
    train, val, test : Split
        The published split; see `Card.counts` for sets that come without a validation split.
    class_names : tuple of str
        In the order of the labels.
    card : Card
        Licence, citation and cautions.
    source : {'official', 'mirror', 'substitute', 'synthetic'}
        ``official``: the checksum equals the published one. ``mirror``: the real images in other bytes.
        ``substitute``: real images with a known loss. ``synthetic``: drawn by medtk, never a reproduction.
    sha256 : str
        Of the file; for a folder, of its table and all files in it; for a synthetic set, of its arrays.
    note : str
        One sentence on the loss, if any.
    """

    name: str
    train: Split
    val: Split
    test: Split
    class_names: tuple[str, ...]
    card: Card
    source: str
    sha256: str
    note: str = ""

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        return tuple(self.train.images.shape[1:])

    @property
    def is_synthetic(self) -> bool:
        """Whether the images were drawn by medtk."""
        return self.source == "synthetic"

    @property
    def train_and_val(self) -> Split:
        """Training and validation split as one, for studies without validation or with folds."""
        groups = None
        if self.train.groups is not None and self.val.groups is not None:
            groups = np.concatenate([self.train.groups, self.val.groups])
        images = np.concatenate([self.train.images, self.val.images])
        return Split(images, np.concatenate([self.train.labels, self.val.labels]), groups)

    @cached_property
    def majority_rate(self) -> float:
        """Test accuracy of always answering the class that is most frequent in the training split."""
        majority = np.bincount(self.train.labels, minlength=self.n_classes).argmax()
        return float(np.mean(self.test.labels == majority))


def subset(dataset: Dataset, n_train: int, n_test: int, seed: int = 0) -> Dataset:
    """Smaller copy of a data set with the same class shares.

    Parameters
    ----------
    dataset : Dataset
        The whole set.
    n_train, n_test : int
        Wanted sizes; a split that is smaller already is kept whole. Every class keeps at least one image, if
        the wanted size allows. The validation split shrinks in proportion to the training split.
    seed : int
        Same seed, same choice.

    Returns
    -------
    Dataset
        With the same `source` and `sha256`, and a `note` that says that it is a part.

    Raises
    ------
    BadParameter
        If a size is less than 1.
    """
    if n_train < 1 or n_test < 1:
        raise BadParameter(f"a subset needs at least one image in train and test, not {n_train}, {n_test}.")
    part = min(1.0, n_train / len(dataset.train))
    n_val = max(1, round(len(dataset.val) * part)) if len(dataset.val) else 0
    rng = np.random.default_rng(seed)
    parts = {}
    for key, wanted in (("train", n_train), ("val", n_val), ("test", n_test)):
        split = getattr(dataset, key)
        parts[key] = split if wanted >= len(split) else split.take(_stratified(split.labels, wanted, rng))
    if all(len(parts[key]) == len(getattr(dataset, key)) for key in parts):
        return dataset
    sizes = f"{len(parts['train'])} training and {len(parts['test'])} test images"
    said = f"A stratified part of {sizes} (seed {seed})."
    return replace(dataset, **parts, note=f"{dataset.note} {said}".strip())


def _stratified(labels: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Indices, ascending, of `n` rows whose class counts follow `labels` by largest remainder."""
    classes, counts = np.unique(labels, return_counts=True)
    exact = counts * n / len(labels)
    quota = np.floor(exact).astype(int)
    order = np.argsort(-(exact - quota), kind="stable")
    quota[order[: n - quota.sum()]] += 1
    # A rare class would round to nothing; it takes its one image from the largest class.
    for rare in np.flatnonzero(quota == 0):
        if quota.max() > 1:
            quota[quota.argmax()] -= 1
            quota[rare] = 1
    chosen = [rng.choice(np.flatnonzero(labels == c), q, replace=False) for c, q in zip(classes, quota, strict=True)]
    return np.sort(np.concatenate(chosen))
