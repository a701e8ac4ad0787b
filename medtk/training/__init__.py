"""Training that remembers: cached by everything that changes the result, resumed after a kill."""

from medtk.training.augmentation import moved
from medtk.training.fitting import Fit, Spec, fit_or_load, key
from medtk.training.focal import focal_loss
from medtk.training.loop import (
    be_deterministic,
    digest_of,
    digest_of_arrays,
    epoch_order,
    fit_one_epoch,
    restart,
    train_or_load,
)
from medtk.training.statistics import statistics_refreshed

__all__ = [
    "Fit",
    "Spec",
    "be_deterministic",
    "digest_of",
    "digest_of_arrays",
    "epoch_order",
    "fit_one_epoch",
    "fit_or_load",
    "focal_loss",
    "key",
    "moved",
    "restart",
    "statistics_refreshed",
    "train_or_load",
]
