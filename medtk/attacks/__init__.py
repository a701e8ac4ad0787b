"""Attacks on a trained classifier."""

from medtk.attacks.gradient import fgsm, fgsm_path

__all__ = ["fgsm", "fgsm_path"]
