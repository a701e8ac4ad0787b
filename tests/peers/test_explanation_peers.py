"""Grad-CAM beside tf-keras-vis, on a network that ends in a convolution."""

import keras
import numpy as np
import pytest
import small_networks
from keras import layers

from medtk.evaluation import explanation

tf_keras_vis = pytest.importorskip("tf_keras_vis.gradcam", reason="pip install 'medtk[dev]' brings the peer")


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(3)
    inputs = keras.Input(small_networks.SHAPE)
    x = layers.Conv2D(6, 3, activation="relu")(inputs)
    x = layers.Conv2D(5, 3, name="last")(x)
    scores = layers.Dense(3, name="logits")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Softmax()(scores))


def test_the_same_maps(network):
    images, labels = small_networks.images_and_labels(6)
    scores = keras.Model(network.input, network.get_layer("logits").output)
    theirs = tf_keras_vis.Gradcam(scores)(
        lambda output: [row[c] for row, c in zip(output, labels, strict=True)],
        images,
        penultimate_layer="last",
        seek_penultimate_conv_layer=False,
        activation_modifier=lambda cam: np.maximum(cam, 0),
        expand_cam=False,
        normalize_cam=False,
    )
    ours = explanation.grad_cam(network, images, labels)
    np.testing.assert_allclose(explanation._enlarged(np.asarray(theirs), (8, 8)), ours, atol=1e-6)
    assert ours.max() > 0
