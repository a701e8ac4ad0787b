"""Which counts can stand behind rounded numbers.

A share of n images can only be k/n (Brown and Heathers, "The GRIM test", 2017); precision, recall and F1 fix each
other; few confusion matrices fit a set of rounded metrics.
"""

import numpy as np


def attainable(printed: float, n: int, decimals: int) -> list[int]:
    """Counts k for which k/n rounds to a printed share (halves may go either way).

    Parameters
    ----------
    printed : float
        Fraction of 1.
    n : int
        Images, 1 or more.
    decimals : int
        Decimals of ``printed`` as a fraction: 4 for ``83.97%``.

    Returns
    -------
    list of int
        Empty when no number of right answers among n gives the printed value.
    """
    scale = 10**decimals
    units = round(printed * scale)
    # Whole numbers throughout: |k/n - units/scale| <= 1/(2 scale), free of rounding.
    lowest = -((n - 2 * n * units) // (2 * scale))
    highest = (2 * n * units + n) // (2 * scale)
    return list(range(max(0, lowest), min(n, highest) + 1))


def consistent(precision: float, recall: float, f1: float, decimals: int) -> bool:
    """Whether a rounded F1 can be the harmonic mean of a rounded precision and recall (fractions of 1)."""
    half = 0.5 * 10**-decimals

    def harmonic(p, r):
        return 2 * p * r / (p + r) if p + r else 0.0

    lowest = harmonic(max(0.0, precision - half), max(0.0, recall - half))
    highest = harmonic(min(1.0, precision + half), min(1.0, recall + half))
    return lowest - half - 1e-12 <= f1 <= highest + half + 1e-12


def confusion_matrices(n_positive: int, n_negative: int, decimals: int, **printed: float) -> list[dict]:
    """Every two-class confusion matrix that gives all the printed metrics after rounding.

    Parameters
    ----------
    n_positive, n_negative : int
        Images of each class.
    decimals : int
        Decimals of the printed fractions.
    **printed : float
        Any of ``accuracy``, ``macro_f1``; ``precision``, ``recall``, ``f1`` of the positive class; and
        ``negative_precision``, ``negative_recall``, ``negative_f1`` of the other.

    Returns
    -------
    list of dict
        ``tp``, ``fn``, ``fp``, ``tn``; a metric that is 0/0 counts as 0.
    """
    tp, fp = np.meshgrid(np.arange(n_positive + 1), np.arange(n_negative + 1), indexing="ij")
    fn, tn = n_positive - tp, n_negative - fp

    def share(part, whole):
        return np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)

    f1, negative_f1 = share(2 * tp, 2 * tp + fp + fn), share(2 * tn, 2 * tn + fp + fn)
    values = {
        "accuracy": (tp + tn) / (n_positive + n_negative),
        "precision": share(tp, tp + fp),
        "recall": share(tp, tp + fn),
        "f1": f1,
        "negative_precision": share(tn, tn + fn),
        "negative_recall": share(tn, tn + fp),
        "negative_f1": negative_f1,
        "macro_f1": (f1 + negative_f1) / 2,
    }
    half = 0.5 * 10**-decimals + 1e-12
    fits = np.ones(tp.shape, dtype=bool)
    for metric, value in printed.items():
        fits &= np.abs(values[metric] - value) <= half
    grids = {"tp": tp, "fn": fn, "fp": fp, "tn": tn}
    return [{name: int(grid[i]) for name, grid in grids.items()} for i in map(tuple, np.argwhere(fits))]


def macro_f1(one: int, other: int, n: int) -> float:
    """Mean of two F1 scores from the right answers of each class among n images; 0/0 counts as 0.

    F1 of a class with a right answers is 2a / (2a + wrong answers of both), so the sizes of the classes drop out.
    """
    wrong = n - one - other
    return sum(2 * a / (2 * a + wrong) if a else 0.0 for a in (one, other)) / 2


def right_by_class(n: int, right: int, printed: float, decimals: int) -> list[tuple[int, int]]:
    """Right answers of two classes that give a printed macro F1, whatever the sizes of the classes.

    Parameters
    ----------
    n, right : int
        Images and right answers.
    printed : float
        Macro F1, the mean of the two F1 scores.
    decimals : int
        Its decimals.

    Returns
    -------
    list of (int, int)
        Right answers of one class and of the other, the larger first; empty where nothing fits.
    """
    pairs = [(larger, right - larger) for larger in range((right + 1) // 2, right + 1)]
    return [pair for pair in pairs if abs(macro_f1(*pair, n) - printed) <= 0.5 * 10**-decimals + 1e-12]


def nearest_macro_f1(n: int, right: int, printed: float) -> float:
    """The macro F1 nearest a printed one that ``right`` right answers among n can give."""
    values = [macro_f1(one, right - one, n) for one in range(right + 1)]
    return min(values, key=lambda value: abs(value - printed))


def smallest_whole(values: set[tuple[float, int]]) -> int:
    """Fewest images of which every one of the printed shares (value, decimals) is a whole number of answers."""
    return next(n for n in range(1, 10**6) if all(attainable(value, n, places) for value, places in values))
