"""Stand-ins drawn by a program: they look a little like their modality and can be learned, and that is all.

They let every notebook and test run on a machine that has neither data nor network. Nothing learned on them
says anything about medicine, so a data set made here always carries ``source='synthetic'``.
"""

import hashlib
import zlib

import numpy as np

from medtk.data import looks, preprocessing
from medtk.data.catalog import Card
from medtk.data.dataset import Split

NOTE = "Synthetic images drawn by medtk, not medical data: results on them say nothing about the real data set."

_MOST = {"train": 400, "val": 80, "test": 160}
_LARGEST_SIDE = 64  # sets of larger pictures are drawn at this side and enlarged


def draw(card: Card, size: int | None, seed: int = 0) -> tuple[dict[str, Split], str]:
    """Draw the stand-in of a data set.

    Parameters
    ----------
    card : Card
        Whose shape, classes and class shares to imitate.
    size : int or None
        Side in pixels; None: as the card says.
    seed : int
        Same card, size and seed: same bytes.

    Returns
    -------
    splits : dict of str to Split
        ``train``, ``val`` and ``test`` with images of uint8; fewer than in the real set (at most 400, 80 and
        160), at least two of each class, without groups.
    sha256 : str
        Digest of all arrays.
    """
    side = size or card.shape[0]
    splits, digest = {}, hashlib.sha256()
    for number, (key, most) in enumerate(_MOST.items()):
        rng = np.random.default_rng([seed, zlib.crc32(card.name.encode()), number])
        labels = rng.permutation(_labels(card, min(most, card.counts[key] or most)))
        drawn = min(side, _LARGEST_SIDE)
        images = looks.LOOKS[card.look](labels, card.class_names, drawn, rng)
        images = np.rint(255 * np.clip(images, 0, 1))
        if images.shape[-1] != card.shape[2]:  # a look serves grey and colour sets alike
            images = np.repeat(images.mean(axis=-1, keepdims=True), card.shape[2], axis=-1)
        images = np.rint(preprocessing.resize(images, side)).astype(np.uint8)
        digest.update(images.tobytes() + labels.tobytes())
        splits[key] = Split(images, labels)
    return splits, digest.hexdigest()


def _labels(card: Card, n: int) -> np.ndarray:
    k = card.n_classes
    shares = np.array(card.shares or [1 / k] * k)
    counts = np.maximum(2, np.rint(shares * n / shares.sum())).astype(int)
    return np.repeat(np.arange(k, dtype=np.int64), counts)
