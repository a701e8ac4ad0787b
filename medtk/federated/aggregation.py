"""How a server makes one list of weights out of several: plain functions on lists of NumPy arrays.

A *rule* is ``rule(weights, sizes) -> weights``: `weights` is a list, one entry a client, each a list of arrays;
`sizes` holds the clients' numbers of images. Every rule gives the same answer whatever the order of the clients, up
to rounding. Sums are taken in double precision, results have the arrays' own type.
"""

from collections.abc import Callable, Sequence

import numpy as np

from medtk.errors import BadParameter

Weights = list[np.ndarray]


def _checked(weights: Sequence[Weights], sizes: Sequence[float] | None = None) -> None:
    if not weights:
        raise BadParameter("there is nothing to aggregate: no client sent weights.")
    shapes = [array.shape for array in weights[0]]
    for k, client in enumerate(weights):
        if [array.shape for array in client] != shapes:
            raise BadParameter(f"client {k} of those to aggregate sent arrays of other shapes than client 0.")
    if sizes is not None:
        sizes = np.asarray(sizes, np.float64)
        if len(sizes) != len(weights) or not (np.all(sizes >= 0) and 0 < sizes.sum() < np.inf):
            raise BadParameter(f"one size of 0 or more a client is needed, not all 0: {sizes.tolist()}.")


def _each(weights: Sequence[Weights], combine: Callable[[np.ndarray], np.ndarray]) -> Weights:
    """Array by array: `combine` gets the clients' arrays stacked, in double precision."""
    return [
        combine(np.stack(arrays).astype(np.float64)).astype(arrays[0].dtype) for arrays in zip(*weights, strict=True)
    ]


def fedavg(weights: Sequence[Weights], sizes: Sequence[float]) -> Weights:
    """Mean of the clients' weights, each counted by its images: the hospital study's section 4.

    ``sum over k of (n_k / N) W_k``, also B. McMahan et al., AISTATS 2017, algorithm 1.
    """
    _checked(weights, sizes)
    shares = np.asarray(sizes, np.float64) / np.sum(sizes, dtype=np.float64)
    return _each(weights, lambda stacked: np.tensordot(shares, stacked, 1))


def median(weights: Sequence[Weights], sizes: Sequence[float] | None = None) -> Weights:
    """Median of each number over the clients; `sizes` count for nothing.

    D. Yin, Y. Chen, K. Ramchandran, P. Bartlett, "Byzantine-robust distributed learning", ICML 2018, definition 1.
    """
    _checked(weights)
    return _each(weights, lambda stacked: np.median(stacked, axis=0))


def trimmed_mean(weights: Sequence[Weights], sizes: Sequence[float] | None = None, *, trim: float = 0.2) -> Weights:
    """Mean of each number over the clients after the largest and smallest are left out; `sizes` count for nothing.

    Parameters
    ----------
    weights, sizes
        As in every rule.
    trim : float
        Part of the clients left out at each end, 0 to below 0.5; their number is rounded up, so that 3 clients
        with the default leave one.

    References
    ----------
    Yin et al., ICML 2018, definition 2.
    """
    _checked(weights)
    if not 0 <= trim < 0.5:
        raise BadParameter(f"trim must lie in 0 to below 0.5, not {trim}.")
    cut = min(int(np.ceil(trim * len(weights) - 1e-9)), (len(weights) - 1) // 2)
    return _each(weights, lambda stacked: np.sort(stacked, axis=0)[cut : len(stacked) - cut].mean(axis=0))


def krum(
    weights: Sequence[Weights], sizes: Sequence[float] | None = None, *, malicious: int = 1, keep: int = 1
) -> Weights:
    """Weights of the client that is nearest to its neighbours, or the mean of the `keep` nearest (multi-Krum).

    A client's score is the sum of its squared distances to its K - malicious - 2 nearest neighbours (at least one);
    the lowest are kept. `sizes` count for nothing. With three clients the two that are nearest to each other have
    the same score; of equals the one that is nearer to all others is kept, and of two clients the first.

    Parameters
    ----------
    weights, sizes
        As in every rule.
    malicious : int
        How many clients may lie, 0 or more. The proof asks for K > 2 * malicious + 2; with fewer clients the rule
        still picks one, without a guarantee.
    keep : int
        From 1 to K.

    References
    ----------
    P. Blanchard, E. M. El Mhamdi, R. Guerraoui, J. Stainer, "Machine learning with adversaries: Byzantine tolerant
    gradient descent", NeurIPS 2017, section 4.
    """
    _checked(weights)
    if malicious < 0 or not 1 <= keep <= len(weights):
        raise BadParameter(f"malicious must be 0 or more and keep 1 to {len(weights)}, not {malicious} and {keep}.")
    squared = distances(weights) ** 2
    nearest = np.lexsort((squared.sum(axis=1), krum_scores(squared, malicious)))[:keep]
    return fedavg([weights[k] for k in nearest], [1] * keep)


def krum_scores(squared: np.ndarray, malicious: int) -> np.ndarray:
    """Krum's score of each client, shape (K,), from squared `distances`, shape (K, K); low is good."""
    neighbours = max(1, len(squared) - malicious - 2)
    # Column 0 of the sorted rows is the distance of a client to itself.
    return np.sort(squared, axis=1)[:, 1 : 1 + neighbours].sum(axis=1)


def distances(weights: Sequence[Weights]) -> np.ndarray:
    """Euclidean distances between the clients' weights as a whole, shape (K, K)."""
    squared = np.zeros((len(weights), len(weights)))
    for a in range(len(weights)):
        for b in range(a):
            squared[a, b] = squared[b, a] = norm(minus(weights[a], weights[b])) ** 2
    return np.sqrt(squared)


def minus(weights: Weights, start: Weights) -> Weights:
    """Difference of two lists of weights, array by array, in double precision: a client's update."""
    return [np.subtract(a, b, dtype=np.float64) for a, b in zip(weights, start, strict=True)]


def norm(weights: Weights) -> float:
    """Euclidean length of all numbers together."""
    return float(np.sqrt(sum(np.sum(np.square(array, dtype=np.float64)) for array in weights)))


def server_adam(
    current: Weights,
    mean: Weights,
    moments: tuple[Weights, Weights] | None = None,
    *,
    learning_rate: float = 0.01,
    beta_1: float = 0.9,
    beta_2: float = 0.99,
    tau: float = 1e-3,
) -> tuple[Weights, tuple[Weights, Weights]]:
    """One step of FedAdam: the way from the current weights to the clients' mean is taken as a gradient.

    Parameters
    ----------
    current, mean : list of ndarray
        The server's weights, and the clients' mean (`fedavg`).
    moments : tuple of two lists of ndarray, or None
        First and second moments from the step before; None at the first.
    learning_rate, beta_1, beta_2, tau : float
        Of the server; `tau` keeps the step finite.

    Returns
    -------
    weights : list of ndarray
    moments : tuple of two lists of ndarray
        In double precision.

    References
    ----------
    S. Reddi et al., "Adaptive federated optimization", ICLR 2021, algorithm 2 (without bias correction, the second
    moment starts at tau squared).
    """
    if not (0 < learning_rate < np.inf and 0 <= beta_1 < 1 and 0 <= beta_2 < 1 and tau > 0):
        raise BadParameter("learning_rate and tau must be above 0, beta_1 and beta_2 in 0 to below 1.")
    first, second = moments or ([np.zeros(a.shape) for a in current], [np.full(a.shape, tau**2) for a in current])
    change = minus(mean, current)
    first = [beta_1 * m + (1 - beta_1) * d for m, d in zip(first, change, strict=True)]
    second = [beta_2 * v + (1 - beta_2) * d**2 for v, d in zip(second, change, strict=True)]
    new = [
        (w + learning_rate * m / (np.sqrt(v) + tau)).astype(w.dtype)
        for w, m, v in zip(current, first, second, strict=True)
    ]
    return new, (first, second)
