"""Defences of what a client sends: noise, pruning, clipping, and the distance correlation that NoPeek trains on.

A message is a list of arrays, activations or gradients. ``laplace``, ``prune`` and ``clip`` take one and give one.
"""

from collections.abc import Sequence

import numpy as np
from keras import ops

from medtk.errors import BadParameter

Message = Sequence[np.ndarray]


def laplace(message: Message, scale: float, seed: int = 0) -> list[np.ndarray]:
    """Add independent Laplacian noise to every value.

    Parameters
    ----------
    message : list of ndarray
    scale : float
        Mean size of the noise, 0 or more; its standard deviation is 1.41 times that.
    seed : int or sequence of int
        Whoever knows it can take the noise off.

    References
    ----------
    Titcombe et al. (2021), "Practical defences against model inversion attacks for split neural networks".
    """
    if not 0 <= scale < np.inf:
        raise BadParameter(f"scale must be a number, 0 or more, not {scale}.")
    random = np.random.default_rng(seed)
    return [np.asarray(part + random.laplace(0.0, scale, np.shape(part)), np.float32) for part in message]


def prune(message: Message, share: float) -> list[np.ndarray]:
    """Set the values smallest in size to zero, over all arrays together.

    Parameters
    ----------
    message : list of ndarray
    share : float
        Of all values, from 0 (none) to below 1; rounded down.

    References
    ----------
    Zhu, Liu and Han (2019), section 5.2.
    """
    if not 0 <= share < 1:
        raise BadParameter(f"share must be in [0, 1), not {share}.")
    sizes = np.concatenate([np.abs(part).ravel() for part in message])
    kept = np.ones(len(sizes), bool)
    kept[np.argsort(sizes, kind="stable")[: int(share * len(sizes))]] = False
    parts = np.split(kept, np.cumsum([np.size(part) for part in message])[:-1])
    return [np.asarray(part * keep.reshape(part.shape), np.float32) for part, keep in zip(message, parts, strict=True)]


def clip(message: Message, max_norm: float) -> list[np.ndarray]:
    """Shorten a message to at most this Euclidean length over all arrays; a shorter one stays.

    Only the length is lost, and gradient matching that compares directions does not need it: this is a step towards
    differential privacy (`medtk.privacy.PrivateSgd` adds the noise), not a defence by itself.
    """
    if not max_norm > 0:
        raise BadParameter(f"max_norm must be above 0, not {max_norm}.")
    length = np.sqrt(sum(float(np.sum(np.square(part, dtype=np.float64))) for part in message))
    return [np.asarray(part / max(1.0, length / max_norm), np.float32) for part in message]


def distance_correlation(a, b):
    r"""How much the distances between rows of `a` say about the distances between rows of `b`.

    With pairwise Euclidean distances, from each of which the means of its row and its column are subtracted and the
    mean of all added (A and B):

    .. math:: \mathrm{dCor} = \frac{\mathrm{dCov}(a, b)}{\sqrt{\mathrm{dCov}(a, a) \, \mathrm{dCov}(b, b)}}, \qquad
              \mathrm{dCov}^2(a, b) = \frac{1}{n^2} \sum_{ij} A_{ij} B_{ij}

    Parameters
    ----------
    a, b : array or tensor, shape (n, ...)
        Rows belong together; all further axes are one vector.

    Returns
    -------
    scalar tensor
        From 0 to 1; 1 for rows that are moved, turned and scaled copies; 0 if one side is constant. Of the sample,
        so above 0 even for independent rows. Differentiable, as NoPeek needs it.

    References
    ----------
    Szekely, Rizzo and Bakirov (2007), "Measuring and testing dependence by correlation of distances", definition 4;
    as a loss: Vepakomma et al. (2019), "Reducing leakage in distributed deep learning for sensitive health data".
    """
    a, b = _centred_distances(a), _centred_distances(b)
    tiny = 1e-12  # the root has no slope at 0
    common, own_a, own_b = ops.mean(a * b), ops.mean(a * a), ops.mean(b * b)
    return ops.sqrt(ops.maximum(common, 0.0) / ops.sqrt(own_a * own_b + tiny**2) + tiny) - tiny**0.5


def _centred_distances(rows):
    rows = ops.convert_to_tensor(rows, "float32")
    rows = ops.reshape(rows, (ops.shape(rows)[0], -1))
    rows = rows - ops.mean(rows, axis=0)  # changes no distance, and saves digits
    squares = ops.sum(rows * rows, axis=1)
    squared = ops.maximum(squares[:, None] + squares[None] - 2 * rows @ ops.transpose(rows), 0.0)
    positive = ops.cast(squared > 0, "float32")
    distances = ops.sqrt(ops.where(squared > 0, squared, 1.0)) * positive  # a slope of 0 at 0, not an infinite one
    by_row = ops.mean(distances, axis=1)
    return distances - by_row[:, None] - by_row[None] + ops.mean(distances)
