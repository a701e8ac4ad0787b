import gc
import weakref

import keras
import numpy as np
import pytest
import small_networks

from medtk import attacks, models
from medtk.attacks.common import margin
from medtk.errors import BadParameter
from medtk.models import gradients


@pytest.fixture(scope="module")
def network():
    return small_networks.settled()


@pytest.fixture(scope="module")
def batch():
    return small_networks.images_and_labels(13)


def linear(n_classes=4, shape=(3, 3, 1), seed=0):
    """Softmax regression: scores = W x + b."""
    keras.utils.set_random_seed(seed)
    images = keras.Input(shape, name="image")
    scores = keras.layers.Dense(n_classes, name="logits")(keras.layers.Flatten()(images))
    return keras.Model(images, keras.layers.Softmax(name="probabilities")(scores))


def test_gradient_has_the_closed_form_of_softmax_regression():
    model = linear()
    images, labels = small_networks.images_and_labels(9, 4, (3, 3, 1))
    kernel, _ = model.get_layer("logits").get_weights()
    # d/dx of -log p_y is W (p - onehot(y)).
    error = model.predict(images, verbose=0) - np.eye(4)[labels]
    expected = (error @ kernel.T).reshape(images.shape)
    np.testing.assert_allclose(gradients.loss_gradient(model, images, labels), expected, atol=1e-6)
    moved = attacks.fgsm(model, images, labels, 0.25, clip=False)
    np.testing.assert_allclose(moved, images + 0.25 * np.sign(expected), atol=1e-6)


def with_gap(gap):
    """A network that gives the first class a score about `gap` above each other, whatever the image."""
    model = linear()
    layer = model.get_layer("logits")
    layer.set_weights([0.1 * layer.get_weights()[0], np.array([gap, 0, 0, 0], np.float32)])
    return model


@pytest.mark.parametrize(("gap", "rightly"), [(30, True), (75, True), (100, False), (1000, False)])
def test_where_a_sure_network_still_gives_a_direction(gap, rightly):
    """Probabilities clipped at 1e-7 are constant from gaps of 16; scores, and only of right labels, from about 90."""
    model, images = with_gap(gap), small_networks.images_and_labels(9, 4, (3, 3, 1))[0]
    right, wrong = np.zeros(9, int), np.ones(9, int)
    assert np.all(gradients.loss_gradient(model, images, wrong) != 0)
    assert np.all((gradients.loss_gradient(model, images, right) != 0) == rightly)
    assert np.all(gradients.loss_gradient(model, images, right, loss=margin) != 0)


def test_the_loss_rises(network, batch):
    images, labels = batch
    before, after = (
        -np.log(network.predict(x, verbose=0)[np.arange(len(labels)), labels])
        for x in (images, attacks.fgsm(network, images, labels, 0.002, clip=False))
    )
    assert np.all(after > before)


def test_epsilon_zero_changes_nothing(network, batch):
    images, labels = batch
    np.testing.assert_array_equal(attacks.fgsm(network, images, labels, 0), images)


@pytest.mark.parametrize("epsilon", [-0.001, float("nan"), float("inf")])
def test_epsilon_out_of_range(network, batch, epsilon):
    with pytest.raises(BadParameter, match="epsilon"):
        attacks.fgsm(network, *batch, epsilon)
    with pytest.raises(BadParameter, match="epsilon"):
        attacks.fgsm_path(network, *batch, [0.1, epsilon])


@pytest.mark.parametrize("wrong", [[0] * 12, [[0]] * 13, [3] * 13, [-1] * 13], ids=["few", "column", "high", "low"])
def test_labels_that_do_not_fit(network, batch, wrong):
    with pytest.raises(BadParameter, match="13 class ids from 0 to 2"):
        attacks.fgsm(network, batch[0], wrong, 0.1)


@pytest.mark.parametrize("epsilon", [0.001, 1 / 255, 0.3])
def test_distance_is_epsilon(network, batch, epsilon):
    images, labels = batch
    moved = attacks.fgsm(network, images, labels, epsilon, clip=False)
    distance = np.abs(moved.astype(float) - images).max(axis=(1, 2, 3))
    np.testing.assert_allclose(distance, epsilon, atol=1e-7)


def test_clip_keeps_images_in_range(network, batch):
    images, labels = batch
    free, clipped = (attacks.fgsm(network, images, labels, 0.4, clip=clip) for clip in (False, True))
    assert free.min() < 0 and free.max() > 1
    np.testing.assert_array_equal(clipped, np.clip(free, 0, 1))


def test_batch_size_does_not_matter(network, batch):
    images, labels = batch
    whole = gradients.loss_gradient(network, images, labels)
    for size in (1, 4, 13, 100):
        part = gradients.loss_gradient(network, images, labels, batch_size=size)
        np.testing.assert_allclose(part, whole, atol=1e-7)


def test_no_images(network):
    empty = attacks.fgsm(network, np.zeros((0, *small_networks.SHAPE)), np.zeros(0, int), 0.1)
    assert empty.shape == (0, *small_networks.SHAPE) and empty.dtype == np.float32


def test_path_equals_one_by_one(network, batch):
    epsilons = [0, 0.001, 0.2]
    for clip in (False, True):
        path = attacks.fgsm_path(network, *batch, epsilons, clip=clip)
        for epsilon, images in zip(epsilons, path, strict=True):
            np.testing.assert_array_equal(images, attacks.fgsm(network, *batch, epsilon, clip=clip))
    assert attacks.fgsm_path(network, *batch, []) == []


def test_leaves_the_network_and_the_images_alone(network, batch):
    images, labels = batch[0].copy(), batch[1].copy()
    before = network.get_weights()
    attacks.fgsm(network, images, labels, 0.1, clip=True)
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(images, batch[0])
    np.testing.assert_array_equal(labels, batch[1])


def test_sees_new_weights_without_compiling_again(batch):
    model = small_networks.settled()
    first = gradients.loss_gradient(model, *batch)
    compiled = gradients._step(model, gradients.cross_entropy)
    layer = model.get_layer("logits")
    layer.set_weights([-w for w in layer.get_weights()])
    assert gradients._step(model, gradients.cross_entropy) is compiled
    assert not np.allclose(first, gradients.loss_gradient(model, *batch))


def test_other_losses(network, batch):
    def first_score(scores, labels):
        return scores[:, 0]

    images, labels = batch
    step = np.zeros_like(images)
    step[:, 4, 4, 1] = 1e-2
    scores = models.logits(network)
    slope = (scores.predict(images + step, verbose=0) - scores.predict(images - step, verbose=0))[:, 0] / 2e-2
    found = gradients.loss_gradient(network, images, labels, loss=first_score)[:, 4, 4, 1]
    np.testing.assert_allclose(found, slope, atol=2e-3)


def test_a_dropped_network_is_freed(batch):
    model = small_networks.classifier()
    attacks.fgsm(model, *batch, 0.1)
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None
