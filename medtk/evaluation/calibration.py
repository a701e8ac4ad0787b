"""Whether a confidence of 90 % is right nine times in ten."""

import numpy as np
from scipy.optimize import minimize_scalar


def reliability(labels, probabilities, bins: int = 15) -> dict[str, np.ndarray]:
    """Confidence beside accuracy in equal-width bins of the winning class's probability.

    Parameters
    ----------
    labels : array of int, shape (n,)
        Class ids, 0 to k - 1.
    probabilities : array of float, shape (n, k)
        Class probabilities, 0 to 1, rows sum to 1.
    bins : int
        Number of bins over [0, 1].

    Returns
    -------
    dict of arrays, each of shape (bins,)
        ``left`` (left edge), ``count``, ``confidence`` and ``accuracy`` (0 to 1, NaN where a bin is empty).
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    # Bins are (left, right]; the last one also takes what rounding to float16 lifted above 1.
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(which, minlength=bins)
    with np.errstate(invalid="ignore"):
        return {
            "left": np.arange(bins) / bins,
            "count": count,
            "confidence": np.bincount(which, weights=confidence, minlength=bins) / count,
            "accuracy": np.bincount(which, weights=correct, minlength=bins) / count,
        }


def expected_error(labels, probabilities, bins: int = 15) -> float:
    """Expected calibration error: mean gap of confidence and accuracy, bins weighted by their images.

    Parameters and bins as in `reliability`; the result lies in [0, 1]. Definition: Guo, Pleiss, Sun and
    Weinberger, "On calibration of modern neural networks", 2017.
    """
    curve = reliability(labels, probabilities, bins)
    filled = curve["count"] > 0
    gap = np.abs(curve["confidence"][filled] - curve["accuracy"][filled])
    return float(np.sum(gap * curve["count"][filled]) / curve["count"].sum())


def temperature(labels, probabilities) -> float:
    """Temperature that makes held-out labels likeliest (1: the probabilities are fine as they are).

    Parameters
    ----------
    labels : array of int, shape (n,)
    probabilities : array of float, shape (n, k)
        Softmax outputs; their logarithms stand for the logits, which differ from them by a constant only.

    Returns
    -------
    float
        Between 0.05 and 20; above 1 when the classifier is overconfident.
    """
    labels = np.asarray(labels)

    def loss(log_temperature: float) -> float:
        sharp = soften(probabilities, float(np.exp(log_temperature)))
        return -float(np.mean(np.log(np.maximum(sharp[np.arange(len(labels)), labels], 1e-12))))

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x))


def soften(probabilities, temperature: float) -> np.ndarray:
    """Probabilities, shape (n, k), after dividing the logits by a positive ``temperature``."""
    logits = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), 1e-12)) / temperature
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)
