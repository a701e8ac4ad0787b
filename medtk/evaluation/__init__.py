"""How good a classifier is, how sure we are of that, how far to believe its probabilities, and where it looks."""

from importlib import import_module

from medtk.evaluation import calibration, fairness, intervals, metrics

__all__ = ["calibration", "explanation", "fairness", "intervals", "metrics"]


def __getattr__(name: str):
    # Keras takes seconds to import, and most of this room needs NumPy alone.
    if name == "explanation":
        return import_module("medtk.evaluation.explanation")
    raise AttributeError(f"module 'medtk.evaluation' has no attribute {name!r}")
