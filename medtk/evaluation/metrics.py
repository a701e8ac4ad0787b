"""The numbers of a classifier, all from one table of labels and probabilities."""

import numpy as np
from scipy.stats import rankdata

from medtk.evaluation.calibration import expected_error


def classification(labels, probabilities) -> dict[str, float | int | None]:
    """Every metric that the ledger keeps, in double precision.

    Parameters
    ----------
    labels : array of int, shape (n,)
        Class ids, 0 to k - 1.
    probabilities : array of float, shape (n, k)
        Class probabilities, 0 to 1; rows sum to 1 (to 0.01, which leaves room for float16). Two columns for a
        binary task. The prediction is the largest column, the first one of equals.

    Returns
    -------
    dict
        ``accuracy``, ``balanced_accuracy``, ``auc``, ``macro_f1``, ``ece`` in [0, 1], ``brier`` in [0, 2], ``loss``
        (cross-entropy in nats), ``confusion`` (k rows of counts: row = true class, column = prediction) and ``n``
        images. ``auc`` is None where only one class is present.

    Raises
    ------
    ValueError
        If shapes, labels or probabilities are not as above.
    """
    labels, probabilities = checked(labels, probabilities)
    predicted = probabilities.argmax(axis=1)
    counts = confusion(labels, predicted, probabilities.shape[1])
    truth = np.eye(probabilities.shape[1])[labels]
    return {
        "accuracy": float(np.mean(predicted == labels)),
        "balanced_accuracy": balanced_accuracy(counts),
        "auc": auc(labels, probabilities),
        "macro_f1": macro_f1(counts),
        "ece": expected_error(labels, probabilities),
        "brier": float(np.mean(np.sum((probabilities - truth) ** 2, axis=1))),
        "loss": cross_entropy(labels, probabilities),
        "confusion": counts.tolist(),
        "n": len(labels),
    }


def checked(labels, probabilities) -> tuple[np.ndarray, np.ndarray]:
    """Labels as int64 (n,) and probabilities as float64 (n, k), or ValueError saying why not."""
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if labels.ndim != 1 or probabilities.ndim != 2 or len(labels) != len(probabilities):
        raise ValueError(f"labels (n,) and probabilities (n, k) expected, not {labels.shape}, {probabilities.shape}")
    if not len(labels) or probabilities.shape[1] < 2:
        raise ValueError(f"at least one image and two classes expected, not {probabilities.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be class ids (integers), not {labels.dtype}")
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise ValueError(f"labels {labels.min()} to {labels.max()} do not fit {probabilities.shape[1]} columns")
    # Written so that NaN fails too.
    if not (np.all(probabilities >= 0) and np.all(np.abs(probabilities.sum(axis=1) - 1) <= 0.01)):
        raise ValueError("probabilities must be 0 or more and sum to 1 in every row")
    return labels.astype(np.int64), probabilities


def confusion(labels, predicted, classes: int) -> np.ndarray:
    """Counts of shape (classes, classes): row = true class, column = predicted class."""
    pairs = np.asarray(labels, dtype=np.int64) * classes + np.asarray(predicted, dtype=np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def cross_entropy(labels, probabilities) -> float:
    """Mean negative logarithm of the probability given to the true class; 0 counts as float16's least number."""
    given = np.asarray(probabilities, dtype=np.float64)[np.arange(len(labels)), labels]
    return float(np.mean(-np.log(np.maximum(given, 2.0**-24))))


def balanced_accuracy(counts) -> float:
    """Mean recall over the classes that occur among the labels; ``counts`` as `confusion` gives them."""
    return float(np.mean(per_class(counts)["recall"][counts.sum(axis=1) > 0]))


def macro_f1(counts) -> float:
    """Mean F1 over the classes among labels or predictions; ``counts`` as `confusion` gives them."""
    return float(np.mean(per_class(counts)["f1"][counts.sum(axis=0) + counts.sum(axis=1) > 0]))


def per_class(counts) -> dict[str, np.ndarray]:
    """Precision, recall and F1 of each class.

    Parameters
    ----------
    counts : array, shape (k, k)
        As `confusion` gives them; means over several runs need not be whole.

    Returns
    -------
    dict
        ``precision``, ``recall`` and ``f1``, each of shape (k,) and in [0, 1]. A share of nothing is 0: the precision
        of a class that is never named, the recall of one that does not occur.
    """
    counts = np.asarray(counts, dtype=np.float64)
    right, true, named = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    parts = {"precision": (right, named), "recall": (right, true), "f1": (2 * right, true + named)}
    return {name: np.divide(k, n, out=np.zeros_like(n), where=n > 0) for name, (k, n) in parts.items()}


def auc(labels, probabilities) -> float | None:
    """Area under the ROC curve as MedMNIST's Evaluator defines it.

    Binary: the last column against the labels. More classes: each class against the rest, then the plain mean
    (over the classes that some but not all images have, where the Evaluator would stop with an error).

    Parameters
    ----------
    labels : array of int, shape (n,)
    probabilities : array of float, shape (n, k)

    Returns
    -------
    float or None
        In [0, 1]; None if the labels are all of one class.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    classes = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    areas = []
    for c in classes:
        positive = labels == c
        n_positive, n_negative = int(positive.sum()), int((~positive).sum())
        if n_positive and n_negative:
            # The rank-sum form of the area; ties count one half through mean ranks.
            rank_sum = rankdata(probabilities[:, c])[positive].sum()
            areas.append((rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))
    return float(np.mean(areas)) if areas else None
