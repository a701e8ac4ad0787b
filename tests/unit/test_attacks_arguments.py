"""What is wrong with the images, the labels or a setting is said, and not found out by a result that looks well."""

import functools
import inspect

import numpy as np
import pytest
import small_networks

from medtk import attacks
from medtk.errors import BadParameter
from medtk.models import gradients

BOUNDED = {
    "fgsm": attacks.fgsm,
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


def test_each_attack_is_of_one_family():
    """Bounded attacks take an epsilon after the labels, the others take settings by name only."""
    functions = {name for name in attacks.__all__ if name not in ("WorstCase", "apply_universal", "saliency_map")}
    assert functions == {*CALLS, "fgsm_path"}
    for name in CALLS:
        positional = [p.name for p in inspect.signature(getattr(attacks, name)).parameters.values() if p.kind < 2]
        assert positional == ["model", "images", "labels", *(["epsilon"] if name in BOUNDED else [])], name


@pytest.mark.parametrize("name", [*CALLS, "fgsm_path"])
def test_clipping_is_the_default_or_no_choice(name):
    clip = inspect.signature(getattr(attacks, name)).parameters.get("clip")
    assert clip is None if name in ("carlini_wagner", "one_pixel") else clip.default is True


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


@pytest.mark.parametrize("name", CALLS)
def test_images_of_another_shape_are_refused(network, batch, name):
    images, labels = batch
    for other in (images[..., 0], images[:, :4], images[..., :1], images[0]):
        with pytest.raises(BadParameter, match=r"shape \(n, 8, 8, 3\), not"):
            CALLS[name](network, other, labels)


def test_an_open_size_takes_images_of_any_size(batch):
    model = small_networks.classifier(shape=(None, None, 3))
    assert attacks.bim(model, batch[0][:, :6], batch[1], 0.01).shape == (6, 6, 8, 3)
    with pytest.raises(BadParameter, match=r"shape \(n, None, None, 3\), not"):
        attacks.bim(model, batch[0][..., :1], batch[1], 0.01)


@pytest.mark.parametrize("name", CALLS)
def test_a_network_of_one_output_is_refused(batch, name):
    with pytest.raises(BadParameter, match="two outputs instead of one"):
        CALLS[name](small_networks.classifier(1), batch[0], np.zeros(6, int))


def test_labels_that_are_no_numbers_are_refused(network, batch):
    with pytest.raises(BadParameter, match="6 class ids from 0 to 2"):
        attacks.pgd(network, batch[0], batch[1].astype(str), 0.1)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("size", [0, -1, 2.5, None])
def test_batch_sizes_that_are_no_counts_are_refused(network, batch, name, size):
    with pytest.raises(BadParameter, match="batch_size must be a whole number, 1 or more"):
        CALLS[name](network, *batch, batch_size=size)


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize("epsilon", [None, "0.1"])
def test_budgets_that_are_no_numbers_are_refused(network, batch, name, epsilon):
    with pytest.raises(BadParameter, match=f"epsilon must be a finite number, 0 or more, not {epsilon!r}"):
        BOUNDED[name](network, *batch, epsilon)


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("bim", "steps"),
        ("pgd", "restarts"),
        ("mi_fgsm", "steps"),
        ("apgd", "steps"),
        ("deepfool", "candidates"),
        ("fab", "steps"),
        ("carlini_wagner", "search_steps"),
        ("one_pixel", "generations"),
        ("one_pixel", "population"),
        ("square", "queries"),
        ("universal_perturbation", "epochs"),
        ("worst_case", "target_classes"),
    ],
)
def test_counts_are_whole(network, batch, name, setting):
    with pytest.raises(BadParameter, match=f"{setting} must be a whole number, . or more, not 10.0"):
        CALLS[name](network, *batch, **{setting: 10.0})


def test_a_count_may_come_from_numpy(network, batch):
    moved = attacks.pgd(network, *batch, np.float32(0.01), steps=np.int64(3), batch_size=np.int32(4))
    np.testing.assert_array_equal(moved, attacks.pgd(network, *batch, np.float32(0.01), steps=3, batch_size=4))


def test_a_scale_that_is_no_number_is_refused(network, batch):
    with pytest.raises(BadParameter, match="scale"):
        attacks.one_pixel(network, *batch, scale=float("nan"))
