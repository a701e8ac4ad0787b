"""What a printed number can be, and how it is written: shares of images, counts, and plain numbers."""

from dataclasses import dataclass


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
    """

    kind: str
    better: str
    of: str = ""
    unit: str = ""


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
    "mse": Quantity("number", "lower"),
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
