"""Maps of evidence: networks whose evidence is known by construction."""

import keras
import numpy as np
import pytest
import small_networks
from keras import layers

from medtk.errors import BadParameter
from medtk.evaluation import explanation

SIDE = 8


def linear(kernel):
    """Scores 0 and the sum of kernel times pixels: the evidence for class 1 is known, pixel by pixel."""
    inputs = keras.Input((SIDE, SIDE, 1))
    scores = layers.Dense(2, name="logits")(layers.Flatten()(inputs))
    model = keras.Model(inputs, layers.Softmax()(scores))
    model.set_weights([np.stack([np.zeros(SIDE**2), kernel.ravel()], axis=1), np.zeros(2)])
    return model


@pytest.fixture(scope="module")
def corner():
    """Only the pixels of the upper left quarter count."""
    kernel = np.zeros((SIDE, SIDE), np.float32)
    kernel[:4, :4] = 1.0
    return linear(kernel)


@pytest.fixture(scope="module")
def network():
    return small_networks.settled()


def pictures(n=5, seed=0):
    return np.random.default_rng(seed).random((n, SIDE, SIDE, 1), np.float32)


def test_occlusion_of_a_linear_network_is_what_was_covered(corner):
    """Squares that do not overlap: the score falls by the sum of kernel times (pixel - fill), and that is shown."""
    images = pictures()
    maps = explanation.occlusion(corner, images, np.ones(5, int), window=4, stride=4, fill=0.25)
    wanted = np.zeros((5, SIDE, SIDE))
    wanted[:, :4, :4] = (images[:, :4, :4, 0] - 0.25).sum(axis=(1, 2))[:, None, None]
    np.testing.assert_allclose(maps, wanted, atol=1e-5)
    # What speaks for one of two classes speaks against the other.
    other = explanation.occlusion(corner, images, np.zeros(5, int), window=4, stride=4, fill=0.25)
    np.testing.assert_allclose(other, -maps, atol=1e-5)


def test_occlusion_covers_the_last_rows_and_averages_overlaps(corner):
    image = np.ones((1, SIDE, SIDE, 1), np.float32)
    maps = explanation.occlusion(corner, image, np.array([1]), window=3, stride=2, fill=0.0)
    # Squares begin at 0, 2, 4 and 5; that at (0, 0) takes 9, at (2, 2) it takes 4, and pixel (0, 0) is in the first.
    assert maps[0, 0, 0] == pytest.approx(9) and maps[0, 2, 2] == pytest.approx((9 + 6 + 6 + 4) / 4)
    assert maps[0, 7, 7] == pytest.approx(0)


def test_grad_cam_by_hand(network):
    """Weights and maps from the definition, with finite differences for the gradient."""
    images, labels = small_networks.images_and_labels(4)
    below, above = explanation._split(network)
    features = below.predict_on_batch(images)
    wanted = []
    for image, c in zip(features, labels, strict=True):
        slope = np.zeros_like(image)
        for place in np.ndindex(*image.shape):
            step = np.zeros_like(image)
            step[place] = 1e-2
            high, low = above.predict_on_batch(np.stack([image + step, image - step]))[:, c]
            slope[place] = (high - low) / 2e-2
        wanted.append(np.maximum((image * slope.mean(axis=(0, 1))).sum(axis=-1), 0))
    maps = explanation.grad_cam(network, images, labels)
    assert maps.shape == (4, 8, 8)
    np.testing.assert_allclose(maps, explanation._enlarged(np.array(wanted), (8, 8)), atol=2e-3)


def test_grad_cam_finds_the_one_place_that_counts():
    """A network that passes the image through and weighs its places: the map is kernel times image, mean gradient 1."""
    inputs = keras.Input((SIDE, SIDE, 1))
    maps = layers.Conv2D(1, 1, use_bias=False)(inputs)
    scores = layers.Dense(2, name="logits")(layers.GlobalAveragePooling2D()(maps))
    model = keras.Model(inputs, layers.Softmax()(scores))
    model.set_weights([np.full((1, 1, 1, 1), 2.0), np.array([[0.0, 1.0]]), np.zeros(2)])
    images = np.zeros((1, SIDE, SIDE, 1), np.float32)
    images[0, 5, 2] = 1.0
    found = explanation.grad_cam(model, images, np.array([1]))
    # The gradient of the mean over 64 places is 1/64 at each, and the map there is 2.
    assert found[0, 5, 2] == pytest.approx(2 / 64) and found.sum() == pytest.approx(2 / 64)
    assert explanation.grad_cam(model, images, np.array([0])).sum() == 0


def test_batches_and_no_images_make_no_difference(network):
    images, labels = small_networks.images_and_labels(7)
    for make in (explanation.grad_cam, explanation.occlusion):
        whole = make(network, images, labels)
        np.testing.assert_allclose(make(network, images, labels, batch_size=3), whole, atol=1e-5)
        assert make(network, images[:0], labels[:0]).shape == (0, 8, 8)


def test_the_weights_stay_and_new_ones_are_seen(network):
    images, labels = small_networks.images_and_labels(3)
    before = explanation.grad_cam(network, images, labels)
    weights = network.get_weights()
    network.set_weights([0.5 * array for array in weights])
    changed = explanation.grad_cam(network, images, labels)
    network.set_weights(weights)
    assert not np.allclose(before, changed)
    assert np.array_equal(explanation.grad_cam(network, images, labels), before)


def test_even_evidence_lies_at_the_edge_by_area():
    maps = np.ones((2, 20, 20))
    maps[1] = 0
    found = explanation.at_the_edge(maps, 0.15)
    assert found[0] == pytest.approx(1 - 0.7**2) and np.isnan(found[1])
    inside = np.where(explanation.frame((20, 20), 0.15), -1.0, 2.0)[None]
    assert explanation.at_the_edge(inside)[0] == 0.0
    assert explanation.frame((8, 8), 0.01).sum() == 28  # one pixel at least


def test_what_cannot_be_is_refused(network, corner):
    images, labels = small_networks.images_and_labels(3)
    with pytest.raises(BadParameter, match="class ids"):
        explanation.grad_cam(network, images, labels + 3)
    for window, stride in ((9, 1), (0, 1), (4, 5)):
        with pytest.raises(BadParameter, match="window"):
            explanation.occlusion(network, images, labels, window=window, stride=stride)
    with pytest.raises(BadParameter, match="margin"):
        explanation.frame((8, 8), 0.5)
    flat = keras.Sequential([keras.Input((4,)), layers.Dense(2, name="logits"), layers.Softmax()])
    with pytest.raises(BadParameter, match="no place for a map"):
        explanation.grad_cam(flat, np.zeros((1, 4), np.float32), np.array([0]))
