"""Defences against attacks on a trained classifier, and how to tell whether one holds.

`adversarial` trains on attacked images, `distillation` on another network's answers, `inputs` alters the image before
the network sees it, `straight_through` lets attacks pass such a change, and `adaptive` asks of any of them whether the
attack failed or only its gradient.
"""

from importlib import import_module

__all__ = ["adaptive", "adversarial", "distillation", "inputs", "losses", "straight_through", "students"]


def __getattr__(name: str):
    # Keras and TensorFlow take seconds to import; naming a defence should not.
    if name in __all__:
        return import_module(f"medtk.defenses.{name}")
    raise AttributeError(f"module 'medtk.defenses' has no attribute {name!r}")
