"""Hospitals: one data set shared out among several, in memory without a copy, or as folders of pictures."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter

from medtk.data import partition as parts
from medtk.data.dataset import Dataset, Split
from medtk.errors import BadParameter, UnknownName

PARTITIONS = ("iid", "label_skew", "dirichlet", "quantity_skew", "acquisition_shift")


@dataclass(frozen=True, eq=False)
class Share:
    """Rows of a split that belong to one hospital, by index: only what `take` is asked for is ever copied.

    Attributes
    ----------
    whole : Split
        Arrays that several shares have in common.
    index : ndarray of int64, shape (n,)
        Rows of `whole`.
    look : callable or None
        What the hospital's scanner does to a batch of images, shape (n, height, width, channels) in [0, 1].
    """

    whole: Split
    index: np.ndarray
    look: Callable[[np.ndarray], np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.index)

    @property
    def labels(self) -> np.ndarray:
        """Class ids, int64, shape (n,)."""
        return self.whole.labels[self.index]

    @property
    def groups(self) -> np.ndarray | None:
        """Patient of each image, shape (n,), or None."""
        return None if self.whole.groups is None else self.whole.groups[self.index]

    def take(self, rows) -> Split:
        """Split in memory of the given rows of this share (integers or a boolean mask)."""
        part = self.whole.take(self.index[rows])
        return part if self.look is None else Split(self.look(part.images), part.labels, part.groups)


def batches(split: Split | Share, batch_size: int = 256) -> Iterator[Split]:
    """Parts of a split or share, in order, at most `batch_size` images each."""
    for start in range(0, len(split), batch_size):
        yield split.take(np.arange(start, min(start + batch_size, len(split))))


@dataclass(frozen=True, eq=False)
class Hospital:
    """One client of federated learning: its name and its own splits, none of which leaves it."""

    name: str
    train: Split | Share
    val: Split | Share | None = None
    test: Split | Share | None = None


@dataclass(frozen=True, eq=False)
class Hospitals:
    """Hospitals and the global test set.

    Attributes
    ----------
    members : tuple of Hospital
    test : Split
        Global test images.
    class_names : tuple of str
        In the order of the labels.
    source : str
        As `Dataset.source`, or ``folder`` for the reader's own pictures.
    skipped : tuple of str
        One sentence for each picture that could not be read and was left out by choice.
    """

    members: tuple[Hospital, ...]
    test: Split
    class_names: tuple[str, ...]
    source: str
    skipped: tuple[str, ...] = ()


def split(
    dataset: Dataset,
    partition: str = "iid",
    hospitals: int = 3,
    *,
    dirichlet_alpha: float = 0.5,
    shards: int = 2,
    val_fraction: float = 0.1,
    seed: int = 0,
) -> Hospitals:
    """Share a data set out among hospitals, without a copy of the images for each of them.

    Training and validation images are pooled and shared out; each hospital then sets its own validation part aside.
    The test images are shared out evenly, and all of them together are the global test set, as in Tables 1 and 2
    of the hospital study (624 = 3 x 208). Where patients are known, all images of a patient of a split stay in one
    hospital.

    Parameters
    ----------
    dataset : Dataset
        In memory.
    partition : {'iid', 'label_skew', 'dirichlet', 'quantity_skew', 'acquisition_shift'}
        How hospitals differ: not at all; in classes, in blocks (`medtk.data.partition.label_skew`); in class shares
        (`dirichlet`); in amount (`quantity_skew`); or in their scanners (`acquired`) with the same patients as iid.
    hospitals : int
        How many, at least 1.
    dirichlet_alpha : float
        Above 0; of ``dirichlet`` and ``quantity_skew``: small means unequal.
    shards : int
        Of ``label_skew``: blocks of one class that a hospital gets.
    val_fraction : float
        Part of a hospital's patients set aside for validation, in (0, 1).
    seed : int
        Same seed, same shares.

    Returns
    -------
    Hospitals
        Named ``hospital_1`` and so on.

    Raises
    ------
    UnknownName, BadParameter
        On an unknown partition or a number out of its range.
    """
    if partition not in PARTITIONS:
        raise UnknownName("partition", partition, PARTITIONS)
    share_out = {
        "label_skew": partial(parts.label_skew, shards=shards),
        "dirichlet": partial(parts.dirichlet, alpha=dirichlet_alpha),
        "quantity_skew": partial(parts.quantity_skew, alpha=dirichlet_alpha),
    }.get(partition, parts.iid)
    pool = dataset.train_and_val if len(dataset.val) else dataset.train
    training = _by_patient(pool, hospitals, share_out, seed)
    # A test set each of the same size and mix, as printed: what differs is what the hospitals learn from.
    testing = _by_patient(dataset.test, hospitals, parts.iid, seed)
    members = []
    for k, (mine, tested) in enumerate(zip(training, testing, strict=True)):
        groups = None if pool.groups is None else pool.groups[mine]
        kept, held = parts.hold_out(pool.labels[mine], groups, val_fraction, seed)
        look = scanner(k, hospitals) if partition == "acquisition_shift" else None
        members.append(
            Hospital(
                f"hospital_{k + 1}",
                Share(pool, mine[kept], look),
                Share(pool, mine[held], look),
                Share(dataset.test, tested, look),
            )
        )
    return Hospitals(tuple(members), dataset.test, dataset.class_names, dataset.source)


def _by_patient(whole: Split, hospitals: int, share_out: Callable, seed: int) -> list[np.ndarray]:
    """Shares of whole patients, each of which counts once, with the class of its first image."""
    if whole.groups is None:
        return share_out(whole.labels, hospitals, seed=seed)
    if share_out is parts.iid:
        return parts.by_group(whole.groups, hospitals, seed)
    _, first, member = np.unique(whole.groups, return_index=True, return_inverse=True)
    owner = np.empty(len(first), np.int64)
    for k, mine in enumerate(share_out(whole.labels[first], hospitals, seed=seed)):
        owner[mine] = k
    return [np.flatnonzero(owner[member] == k) for k in range(hospitals)]


def acquired(images: np.ndarray, contrast: float = 1.0, blur: float = 0.0) -> np.ndarray:
    """Images as another scanner would give them: less contrast about mid-grey, less sharp.

    Parameters
    ----------
    images : ndarray of float32, shape (n, height, width, channels)
        In [0, 1].
    contrast : float
        Factor of the distance from 0.5, 0 to 1; 1 leaves it.
    blur : float
        Standard deviation of a Gaussian, in pixels at 100 pixels a side, 0 or more; 0 leaves the image sharp.

    Returns
    -------
    ndarray of float32, of the same shape, in [0, 1]
    """
    if not (0 <= contrast <= 1 and 0 <= blur < float("inf")):
        raise BadParameter(f"contrast must lie in 0 to 1 and blur be 0 or more, not {contrast} and {blur}.")
    sigma = blur * np.array(images.shape[1:3]) / 100
    flat = 0.5 + contrast * (images - 0.5)
    return np.clip(gaussian_filter(flat, (0, *sigma, 0), mode="nearest"), 0, 1).astype(np.float32)


def scanner(k: int, hospitals: int) -> Callable | None:
    """Look of hospital `k` (from 0): the first sees perfectly, the last at half contrast and with a blur of 1.5."""
    step = k / max(hospitals - 1, 1)
    return partial(acquired, contrast=1 - 0.5 * step, blur=1.5 * step) if step else None


def table(hospitals: Sequence[Hospital], class_names: Sequence[str]) -> list[dict]:
    """One row a hospital and split: ``hospital``, ``split``, ``n``, and the count of each class by its name."""
    rows = []
    for hospital in hospitals:
        for name in ("train", "val", "test"):
            if (own := getattr(hospital, name)) is None:
                continue
            labels = own.labels
            counts = np.bincount(labels, minlength=len(class_names)).tolist()
            rows.append({"hospital": hospital.name, "split": name, "n": len(labels)})
            rows[-1] |= dict(zip(class_names, counts, strict=True))
    return rows
