"""How good a classifier is, how sure we are of that, and how far its probabilities can be believed."""

from medtk.evaluation import calibration, fairness, intervals, metrics

__all__ = ["calibration", "fairness", "intervals", "metrics"]
