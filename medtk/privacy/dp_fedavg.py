"""Differential privacy for whole hospitals: each update clipped, noise on their weighted mean.

One hospital is hidden among the others: its update, whatever it is, moves the mean by at most its weight times
the clipping norm. With three hospitals that takes noise larger than the signal, which the privacy chapter measures.
An update is a list of arrays, the new weights minus the old ones.
"""

from collections.abc import Sequence

import numpy as np

from medtk.errors import BadParameter

Arrays = list[np.ndarray]


def clip_update(update: Sequence[np.ndarray], clip_norm: float) -> tuple[Arrays, float]:
    """Scale an update down to L2 norm `clip_norm` if it is longer; over all its arrays together.

    Parameters
    ----------
    update : sequence of ndarray
        Any shapes.
    clip_norm : float
        Above 0; infinite leaves every update as it is.

    Returns
    -------
    (list of ndarray, float)
        The update in float64, and the norm that it had.

    Raises
    ------
    BadParameter
        If `clip_norm` is not above 0 or the update is not finite: no clipping makes a NaN harmless.
    """
    if not clip_norm > 0:
        raise BadParameter(f"clip_norm must be above 0, not {clip_norm}.")
    update = [np.asarray(array, np.float64) for array in update]
    norm = float(np.sqrt(sum(np.sum(array**2) for array in update)))
    if not np.isfinite(norm):
        raise BadParameter("An update holds NaN or infinite values; leave that client out of the round.")
    # Divided by the larger of the two: a zero update stays zero.
    factor = 1.0 if norm <= clip_norm else clip_norm / norm
    return [array * factor for array in update], norm


def sensitivity(weights: Sequence[float], clip_norm: float) -> float:
    """How far one client can move the weighted mean: the largest weight times `clip_norm`.

    Parameters
    ----------
    weights : sequence of float
        Of the clients in the mean, 0 or more and not all 0: FedAvg's numbers of images, say. Only their
        ratios count. They are taken as public and fixed: without a client the others keep their weights,
        and its own share of the mean is zero.
    clip_norm : float
        As in `clip_update`.

    Returns
    -------
    float
        ``clip_norm / K`` for K equal clients, and more for any other weights: 300, 200 and 100 images give
        one half of `clip_norm`, not one third.
    """
    return float(shares(weights).max() * clip_norm)


def effective_multiplier(standard_deviation: float, weights: Sequence[float], clip_norm: float) -> float:
    """Multiplier that noise of a given standard deviation on the mean really has, for the accountant.

    A noise of ``z * clip_norm / K``, right for K equal clients, is only 2/3 of z for 300, 200 and 100 images.
    Parameters as in `sensitivity`.
    """
    return standard_deviation / sensitivity(weights, clip_norm)


def noised_mean(
    updates: Sequence[Sequence[np.ndarray]],
    weights: Sequence[float],
    *,
    clip_norm: float,
    noise_multiplier: float,
    seed,
) -> Arrays:
    """Weighted mean of clipped updates plus Gaussian noise, calibrated to the real weights.

    Parameters
    ----------
    updates : sequence of sequences of ndarray
        One a client, equal shapes.
    weights : sequence of float
        As in `sensitivity`; one a client.
    clip_norm : float
        Above 0; finite if there is noise.
    noise_multiplier : float
        Standard deviation of the noise on each coordinate divided by `sensitivity`; 0 or more.
    seed : int or sequence of int
        Of the noise. Whoever knows it can take the noise off: a simulation's, not a deployment's.

    Returns
    -------
    list of ndarray
        In the dtype of the first update's arrays. Epsilon over T such rounds, every client in each:
        ``medtk.privacy.epsilon(noise_multiplier, 1.0, T, delta)``.

    Raises
    ------
    BadParameter
        On weights, norms or updates that are not as above.

    References
    ----------
    McMahan, Ramage, Talwar and Zhang (2018), "Learning differentially private recurrent language models",
    Algorithm 1 with the estimator of fixed denominator.
    """
    part = shares(weights)
    if len(updates) != len(part) or any(
        [np.shape(a) for a in update] != [np.shape(a) for a in updates[0]] for update in updates
    ):
        raise BadParameter(f"{len(part)} updates of equal shapes expected, one a weight; got {len(updates)}.")
    if not 0 <= noise_multiplier < np.inf or (noise_multiplier and not clip_norm < np.inf):
        raise BadParameter("noise_multiplier must be finite and 0 or more, and noise needs a finite clip_norm.")
    clipped = [clip_update(update, clip_norm)[0] for update in updates]
    deviation = noise_multiplier * sensitivity(weights, clip_norm) if noise_multiplier else 0.0
    random = np.random.default_rng(seed)
    return [
        (
            sum(share * array for share, array in zip(part, arrays, strict=True))
            + random.normal(0.0, deviation, np.shape(like))
        ).astype(np.asarray(like).dtype)
        for like, arrays in zip(updates[0], zip(*clipped, strict=True), strict=True)
    ]


def private_round(
    global_weights: Sequence[np.ndarray],
    client_weights: Sequence[Sequence[np.ndarray]],
    weights: Sequence[float],
    *,
    clip_norm: float,
    noise_multiplier: float,
    seed,
    released: Sequence[bool] | None = None,
) -> Arrays:
    """New global weights: the old ones plus the `noised_mean` of what the clients changed.

    Parameters
    ----------
    global_weights, client_weights : sequence of ndarray; one such sequence a client
    released : sequence of bool, optional
        Which arrays take part. Leave out BatchNorm's moving statistics: noise may turn a variance negative,
        and averaging them without noise would publish them. Arrays that are left out keep their old values.
    weights, clip_norm, noise_multiplier, seed
        As in `noised_mean`.

    Returns
    -------
    list of ndarray
        Shapes and dtypes of `global_weights`.
    """
    take = np.ones(len(global_weights), bool) if released is None else np.asarray(released, bool)
    if take.shape != (len(global_weights),) or any(len(client) != len(take) for client in client_weights):
        raise BadParameter(
            f"Each client and `released` must have {len(global_weights)} entries, as the global weights."
        )
    chosen = np.flatnonzero(take)
    updates = [
        [np.asarray(client[i], np.float64) - np.asarray(global_weights[i], np.float64) for i in chosen]
        for client in client_weights
    ]
    mean = noised_mean(updates, weights, clip_norm=clip_norm, noise_multiplier=noise_multiplier, seed=seed)
    new = [np.array(array) for array in global_weights]
    for i, change in zip(chosen, mean, strict=True):
        new[i] = (new[i] + change).astype(new[i].dtype)
    return new


def shares(weights: Sequence[float]) -> np.ndarray:
    """Weights divided by their sum, float64; BadParameter if they are not numbers of 0 or more with a sum."""
    weights = np.asarray(weights, np.float64)
    if weights.ndim != 1 or not np.all((weights >= 0) & (weights < np.inf)) or not weights.sum() > 0:
        raise BadParameter(f"weights must be finite, 0 or more and not all 0, one a client; got {weights.tolist()}.")
    return weights / weights.sum()
