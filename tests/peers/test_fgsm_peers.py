"""FGSM beside the two toolboxes that most people use."""

import keras
import numpy as np
import pytest
import small_networks

from medtk import attacks, models
from medtk.models.gradients import loss_gradient

EPSILONS = [0.001, 0.005, 1 / 255, 0.1]


@pytest.fixture(scope="module")
def network():
    return small_networks.settled()


@pytest.fixture(scope="module")
def batch():
    # Pixels at exactly 0 and 1 make clipping bite at every epsilon.
    images, labels = small_networks.images_and_labels(17)
    images[:, :2], images[:, -2:] = 0.0, 1.0
    return images, labels


@pytest.fixture(scope="module")
def certain(network, batch):
    """Pixels whose gradient is too large for another order of summation to turn its sign."""
    size = np.abs(loss_gradient(network, *batch))
    certain = size > 1e-5 * size.max(axis=(1, 2, 3), keepdims=True)
    assert certain.mean() > 0.999
    return certain


def assert_equal(ours, theirs, certain):
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours[certain], theirs[certain], rtol=0, atol=1e-6)


def art_attack(network, batch, epsilon, bounds, targets=None):
    estimators = pytest.importorskip("art.estimators.classification", reason="adversarial-robustness-toolbox is absent")
    from art.attacks.evasion import FastGradientMethod

    images, labels = batch
    wrapped = estimators.TensorFlowV2Classifier(
        models.logits(network),
        nb_classes=3,
        input_shape=small_networks.SHAPE,
        loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        clip_values=bounds,
    )
    settings = {"eps": epsilon, "eps_step": epsilon, "batch_size": 8, "targeted": targets is not None}
    return FastGradientMethod(wrapped, norm=np.inf, **settings).generate(images, labels if targets is None else targets)


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_equals_art_with_clipping(network, batch, certain, epsilon):
    theirs = art_attack(network, batch, epsilon, (0.0, 1.0))
    ours = attacks.fgsm(network, *batch, epsilon, clip=True)
    assert_equal(ours, theirs, certain)
    assert np.any(ours != attacks.fgsm(network, *batch, epsilon, clip=False))


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_equals_art_without_bounds(network, batch, certain, epsilon):
    theirs = art_attack(network, batch, epsilon, None)
    ours = attacks.fgsm(network, *batch, epsilon, clip=False)
    assert_equal(ours, theirs, certain)
    assert ours.min() < 0 and ours.max() > 1


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_equals_foolbox_which_clips(network, batch, certain, epsilon):
    foolbox = pytest.importorskip("foolbox", reason="foolbox is absent")
    import tensorflow as tf

    wrapped = foolbox.TensorFlowModel(models.logits(network), bounds=(0.0, 1.0))
    images, labels = (tf.convert_to_tensor(array) for array in batch)
    theirs, _, _ = foolbox.attacks.LinfFastGradientAttack(random_start=False)(wrapped, images, labels, epsilons=epsilon)
    assert_equal(attacks.fgsm(network, *batch, epsilon, clip=True), theirs.numpy(), certain)


@pytest.mark.parametrize("clip", [False, True])
def test_equals_art_towards_targets(network, batch, clip):
    """Down the loss of the target; the sign of a vanishing gradient may differ."""
    targets = (batch[1] + 1) % 3
    theirs = art_attack(network, batch, 0.03, (0.0, 1.0) if clip else None, targets)
    ours = attacks.fgsm(network, *batch, 0.03, targets=targets, clip=clip)
    assert np.mean(np.abs(ours - theirs) > 1e-6) < 1e-3
    assert np.mean(np.abs(ours - attacks.fgsm(network, *batch, 0.03, clip=clip)) > 1e-6) > 0.3


def test_a_pixel_without_influence_stays_everywhere():
    """An exactly zero gradient has sign 0 in all three: the pixel must not move."""
    images = keras.Input(small_networks.SHAPE, name="image")
    seen = keras.layers.Cropping2D(((2, 0), (0, 0)))(images)
    scores = keras.layers.Dense(3, name="logits")(keras.layers.Flatten()(seen))
    network = keras.Model(images, keras.layers.Softmax()(scores))
    batch = small_networks.images_and_labels(5)
    for moved in (attacks.fgsm(network, *batch, 0.1, clip=True), art_attack(network, batch, 0.1, (0.0, 1.0))):
        np.testing.assert_array_equal(moved[:, :2], batch[0][:, :2])
        assert np.all(moved[:, 2:] != batch[0][:, 2:])
