"""Training that remembers: cached by everything that changes the result, resumed after a kill."""

from medtk.training.fitting import Fit, Spec, fit_or_load

__all__ = ["Fit", "Spec", "fit_or_load"]
