"""Attacks on a trained classifier.

Each is called as ``attack(model, images, labels, budget, *, settings)`` and gives images of the same shape; with its
budget and settings fixed by `functools.partial`, all are ``attack(model, images, labels)``.
"""

from medtk.attacks.auto_pgd import apgd
from medtk.attacks.black_box import square
from medtk.attacks.boundary import fab
from medtk.attacks.ensemble import WorstCase, worst_case
from medtk.attacks.evolution import one_pixel
from medtk.attacks.gradient import fgsm, fgsm_path
from medtk.attacks.iterative import bim, mi_fgsm, pgd
from medtk.attacks.minimal import carlini_wagner, deepfool
from medtk.attacks.sparse import jsma, saliency_map
from medtk.attacks.universal import apply_universal, universal_perturbation

__all__ = [
    "WorstCase",
    "apgd",
    "apply_universal",
    "bim",
    "carlini_wagner",
    "deepfool",
    "fab",
    "fgsm",
    "fgsm_path",
    "jsma",
    "mi_fgsm",
    "one_pixel",
    "pgd",
    "saliency_map",
    "square",
    "universal_perturbation",
    "worst_case",
]
