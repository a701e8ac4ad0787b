"""What a printed number can be, and how it is written: shares of images, counts, and plain numbers."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Quantity:
    """One metric.

    Attributes
    ----------
    kind : {'share', 'count', 'number'}
        A share is a fraction of 1 and is shown in percent; a count is of images; a number has a unit or none.
    better : {'higher', 'lower', ''}
        Which way is better; empty where neither is.
    of : {'images', 'class', ''}
        What it is taken of: all test images, those of one class, or something else (a precision is taken of as
        many images as were called positive, a squared error of as many as somebody rebuilt; neither is printed).
    unit : str
        Written behind a number.
    fewest : int
        Images that a mean must be taken of before it is compared with anything.
    """

    kind: str
    better: str
    of: str = ""
    unit: str = ""
    fewest: int = 1


# Errors of rebuilt images differ about as much as their mean, and more of them are small than large. The 95 % interval
# of a mean of n such errors is then 2 * 1.96 / sqrt(n) of the mean wide: of 15 images wider than the value itself.
FEWEST = 16

METRICS = {
    "accuracy": Quantity("share", "higher", "images"),
    "balanced_accuracy": Quantity("share", "higher"),
    "auc": Quantity("share", "higher"),
    "precision": Quantity("share", "higher"),
    "recall": Quantity("share", "higher", "class"),
    "f1": Quantity("share", "higher"),
    "mean_precision": Quantity("share", "higher"),
    "mean_recall": Quantity("share", "higher"),
    "macro_f1": Quantity("share", "higher"),
    # Micro-averages over the outputs of a classifier that gives one answer an image are its accuracy.
    "micro_precision": Quantity("share", "higher", "images"),
    "micro_recall": Quantity("share", "higher", "images"),
    "true_positives": Quantity("count", "higher", "images"),
    "true_negatives": Quantity("count", "higher", "images"),
    "false_positives": Quantity("count", "lower", "images"),
    "false_negatives": Quantity("count", "lower", "images"),
    "images": Quantity("number", ""),
    "parameters": Quantity("number", ""),
    "loss": Quantity("number", "lower", "images"),
    "mse": Quantity("number", "lower", fewest=FEWEST),
    "psnr": Quantity("number", "higher", unit="dB"),
    "ssim": Quantity("number", "higher"),
    "seconds": Quantity("number", "lower", unit="s"),
    "megabytes": Quantity("number", "lower", unit="MB"),
}


def shown(value: float, metric: str) -> str:
    """Text of a value: ``"83.97 %"``, ``"20,331,360"``, ``"0.4024"``, ``"31.5 dB"``."""
    quantity = METRICS[metric]
    if quantity.kind == "share":
        return f"{100 * value:.2f} %"
    whole = float(value).is_integer() and abs(value) >= 1
    return (f"{value:,.0f}" if whole else f"{value:.4g}") + (f" {quantity.unit}" if quantity.unit else "")


def constant(metric: str, share: float, classes: int) -> float | None:
    """Value of a classifier that gives every image the commonest class; None where it is not defined.

    Parameters
    ----------
    metric : str
        A key of `METRICS`.
    share : float
        Share of that class in the test set.
    classes : int
        Number of classes; needed for ``macro_f1``, to which all others add 0.
    """
    if metric in ("accuracy", "micro_precision", "micro_recall"):
        return share
    return 2 * share / (1 + share) / classes if metric == "macro_f1" else None


def one_answer(found: dict) -> bool:
    """Whether a classifier gave every image the same class, from its ``accuracy`` and its two macro-averages.

    Of ``k`` classes with the answered one of share ``p`` the balanced accuracy is then ``1 / k`` and the macro F1
    ``2p / (1 + p) / k``. False where a metric is missing.
    """
    if not {"accuracy", "balanced_accuracy", "macro_f1"} <= found.keys() or not found["balanced_accuracy"]:
        return False
    classes = round(1 / found["balanced_accuracy"])
    f1 = constant("macro_f1", found["accuracy"], classes)
    alike = np.isclose([found["balanced_accuracy"], found["macro_f1"]], [1 / classes, f1]).all()
    return bool(classes > 1 and alike)


def value(found: dict, metric: str, of: int | None = None) -> float:
    """Value of a metric from what a record holds of one condition.

    Parameters
    ----------
    found : dict
        Metrics of the condition, from `medtk.evaluation.metrics.classification` or from measurements.
    metric : str
        One of its keys, or one that follows from its ``confusion``.
    of : int, optional
        Class that a precision, a recall, an F1 or a count of true and false positives and negatives is taken of. A
        count without it is of all outputs of the network together, one for each class of each image.

    Returns
    -------
    float

    Raises
    ------
    KeyError
        If it cannot be had from `found`.
    """
    if metric in found:
        return found[metric]
    counts = np.array(found["confusion"])
    right, true, called = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    with np.errstate(invalid="ignore"):
        each = {
            "precision": np.where(called, right / called, 0.0),
            "recall": np.where(true, right / true, 0.0),
            "f1": np.where(called + true, 2 * right / (called + true), 0.0),
            "true_positives": right,
            "false_positives": called - right,
            "false_negatives": true - right,
            "true_negatives": counts.sum() - true - called + right,
        }
    if metric in each and of is not None:
        return float(each[metric][of])
    if metric in each and METRICS[metric].kind == "count":
        return float(each[metric].sum())
    if metric in ("micro_precision", "micro_recall"):
        return found["accuracy"]
    return float(each[{"mean_precision": "precision", "mean_recall": "recall"}[metric]].mean())
