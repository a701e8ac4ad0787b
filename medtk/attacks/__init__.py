"""Attacks on a trained classifier.

There are two families, and both give images of the same shape:

- bounded: ``attack(model, images, labels, epsilon, *, settings)``, the most harm in a ball of that radius: `fgsm`,
  `bim`, `pgd`, `mi_fgsm`, `apgd`, `square`;
- smallest: ``attack(model, images, labels, *, settings)``, the least change that does harm: `deepfool`,
  `carlini_wagner`, `fab`, `jsma`, `one_pixel`.

With its epsilon and settings fixed by `functools.partial`, each is ``attack(model, images, labels)``. All stay in
[0, 1] unless told ``clip=False``; `carlini_wagner` and `one_pixel` always do. Three are called like the bounded ones
and give something else: `fgsm_path` takes several epsilons and gives a list, `universal_perturbation` gives one
perturbation for `apply_universal`, and `worst_case` gives a `WorstCase`.

To transfer an attack, make the images for one network and show them to another: ``target.predict(attack(source, images,
labels))``.
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
