"""What is wrong with the images, the labels or a setting is said, and not found out by a result that looks well."""

import functools

import numpy as np
import pytest
import small_networks

from medtk import attacks
from medtk.errors import BadParameter
from medtk.models import gradients

BOUNDED = {
    "fgsm": functools.partial(attacks.fgsm, clip=True),
    "bim": attacks.bim,
    "pgd": attacks.pgd,
    "mi_fgsm": attacks.mi_fgsm,
    "apgd": attacks.apgd,
    "square": functools.partial(attacks.square, queries=5),
    "universal_perturbation": attacks.universal_perturbation,
    "worst_case": functools.partial(attacks.worst_case, steps=3, queries=5),
}
CALLS = {name: functools.partial(attack, epsilon=0.01) for name, attack in BOUNDED.items()} | {
    name: getattr(attacks, name) for name in ("deepfool", "fab", "carlini_wagner", "jsma", "one_pixel")
}


@pytest.fixture(scope="module")
def network():
    return small_networks.settled()


@pytest.fixture(scope="module")
def batch(network):
    images, _ = small_networks.images_and_labels(6)
    return images, gradients.scores(network, images).argmax(axis=1)


@pytest.mark.parametrize("name", CALLS)
def test_images_of_another_range_are_refused(network, batch, name):
    """Clipped to [0, 1] they would all turn white, and no attack would be seen to succeed."""
    images, labels = batch
    for other, words in (
        (np.rint(255 * images).astype(np.uint8), "divide pixels of 0 to 255 by 255"),
        (2 * images - 1, "not from -"),
        (images + 2e-6 + (1 - images.max()), "not from"),
    ):
        with pytest.raises(BadParameter, match=words):
            CALLS[name](network, other, labels)


def test_images_of_any_range_may_be_attacked_without_clipping(network, batch):
    images, labels = 2 * batch[0] - 1, batch[1]
    for attack in (attacks.fgsm, attacks.pgd, attacks.apgd):
        moved = attack(network, images, labels, 0.01, clip=False)
        assert np.abs(moved - images).max() <= 0.01 + 1e-6


def test_an_end_of_the_range_may_be_missed_by_rounding(network, batch):
    images, labels = batch[0].copy(), batch[1]
    images[:, 0, 0, 0], images[:, 0, 0, 1] = 1 + 5e-7, -5e-7
    assert attacks.bim(network, images, labels, 0.01).max() <= 1
