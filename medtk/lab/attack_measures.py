"""What an attack did to a set of images: how large its changes are, and which answers are left at a given size."""

import math
from dataclasses import dataclass

import numpy as np

from medtk.data import Split

# Sizes at which the share of images that a smallest change leaves right is kept.
LIMITS = (0.001, 0.002, 0.003, 0.004, 0.005, 0.01, 0.02, 0.05)
# How the change of a smallest-change attack is measured: root mean square or largest over an image's values, or the
# share of values that differ.
MEASURES = {"deepfool": "rms", "carlini-wagner": "rms", "fab": "linf", "jsma": "share", "one-pixel": "share"}


@dataclass(frozen=True)
class Attacked:
    """What one attack did to every image.

    Attributes
    ----------
    images : ndarray of float32, shape (n, height, width, channels)
    probabilities : ndarray of float32, shape (n, classes)
        The network's answers to them.
    settings : str
        Steps, step size, queries, in words.
    seconds : float
    """

    images: np.ndarray
    probabilities: np.ndarray
    settings: str
    seconds: float


def sizes(change: np.ndarray, measure: str) -> np.ndarray:
    """Size of each image's change, shape (n,).

    Parameters
    ----------
    change : ndarray, shape (n, height, width, channels)
    measure : {'rms', 'linf', 'share'}
        Root mean square, which is the Euclidean length over the root of the number of values and at most ``linf``,
        the largest; or the share of values that differ.
    """
    flat = np.abs(change.reshape(len(change), math.prod(change.shape[1:]))).astype(np.float64)
    if measure == "rms":
        return np.sqrt(np.mean(flat**2, axis=1))
    return flat.max(axis=1) if measure == "linf" else np.mean(flat > 0, axis=1)


def limited(one: Attacked, clean: np.ndarray, originals: np.ndarray, measure: str, limit: float) -> np.ndarray:
    """Answers if an image is changed only where that takes no more than `limit`, shape (n, classes)."""
    needed = sizes(one.images - originals, measure)
    return np.where((needed <= limit + 1e-6)[:, None], one.probabilities, clean)


def worst_of(found: list[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """Of several answers to each image, the one that is worst for its label.

    Parameters
    ----------
    found : list of ndarray, shape (n, classes)
        Probabilities under each attack.
    labels : ndarray of int, shape (n,)

    Returns
    -------
    ndarray, shape (n, classes)
    """
    stacked, row = np.stack(found), np.arange(len(labels))
    others = stacked.copy()
    others[:, row, labels] = -np.inf
    return stacked[(others.max(axis=2) - stacked[:, row, labels]).argmax(axis=0), row]


def conditions(found: dict[str, Attacked], clean: np.ndarray, split: Split, epsilon: float) -> dict[str, np.ndarray]:
    """Answers of the network in every condition, for a record.

    Parameters
    ----------
    found : dict
        Of `attack_all`.
    clean : ndarray, shape (n, classes)
        Answers without an attack.
    split : Split
        The images before the attack.
    epsilon : float
        Of `attack_all`.

    Returns
    -------
    dict
        ``clean``; ``pgd-epsilon=0.003`` and so on; ``deepfool-rms=0.003``, where an image counts as attacked if the
        change that it needs is at most that; ``worst-epsilon=0.003``, for each image the worst of all that keep to
        epsilon, `MEASURES` of the largest change included.
    """
    kept, within = {"clean": clean}, [clean]
    for name, one in found.items():
        if (measure := MEASURES.get(name)) is None:
            kept[f"{name}-epsilon={epsilon:g}"] = one.probabilities
            within.append(one.probabilities)
            continue
        for limit in sorted({*LIMITS, epsilon}):
            kept[f"{name}-{measure}={limit:g}"] = limited(one, clean, split.images, measure, limit)
        within.append(limited(one, clean, split.images, "linf", epsilon))
    kept[f"worst-epsilon={epsilon:g}"] = worst_of(within, split.labels)
    return kept


def decided(probabilities: np.ndarray) -> np.ndarray:
    """Probabilities as float16 that say the same class: near the border, rounding alone would make equals."""
    stored, row = probabilities.astype(np.float16), np.arange(len(probabilities))
    first = probabilities.argmax(axis=1)
    tied = np.sum(stored == stored.max(axis=1, keepdims=True), axis=1) > 1
    stored[row[tied], first[tied]] = np.nextafter(stored[row[tied], first[tied]], np.float16(2))
    return stored
