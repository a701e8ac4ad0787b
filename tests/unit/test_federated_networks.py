"""The networks of the hospital study: the printed shapes and counts, and images in [0, 1]."""

import keras
import numpy as np
import pytest
import small_networks

from medtk import federated, models
from medtk.data import Split
from medtk.data.hospitals import Hospital
from medtk.errors import BadParameter, DataUnavailable, UnknownName


@pytest.fixture(scope="module")
def printed():
    return models.build_hospital(weights="random")


def test_figure_1_is_exact(printed):
    """Every row that has parameters, with its shape; layers that medtk adds have none."""
    rows = [(layer.name, layer.output.shape, layer.count_params()) for layer in printed.layers]
    assert [row[1:] for row in rows if row[2]] == [
        ((None, 4, 4, 1280), 20_331_360),
        ((None, 32), 40_992),
        ((None, 2), 66),
    ]
    assert [name for name, _, count in rows if not count] == ["image", "range", "pool", "dropout", "probabilities"]
    assert dict((name, shape) for name, shape, _ in rows)["pool"] == (None, 1280)
    assert printed.get_layer("dropout").rate == 0.3 and printed.input_shape == (None, 100, 100, 3)


def test_the_base_sees_pixels_from_0_to_255(printed):
    """Keras' EfficientNetV2 rescales inside: 0 becomes -1 and 255 nearly 1 before its first convolution."""
    base = next(layer for layer in printed.layers if isinstance(layer, keras.Model))
    images = np.stack([np.zeros((100, 100, 3)), np.ones((100, 100, 3))]).astype(np.float32)
    pixels = printed.get_layer("range")(images)
    np.testing.assert_array_equal(np.unique(pixels), [0, 255])
    inside = np.asarray(next(layer for layer in base.layers if isinstance(layer, keras.layers.Rescaling))(pixels))
    np.testing.assert_allclose(np.unique(inside), [-1, 1], atol=0.01)


@pytest.mark.parametrize("network", ["small", "mobilenetv2_035"])
def test_cheap_networks_have_the_same_head(network):
    model = models.build_hospital(network, 3, input_shape=(32, 32, 3), weights="random", seed=1)
    images, _ = small_networks.images_and_labels(4, shape=(32, 32, 3))
    probabilities = np.asarray(model(images))
    assert probabilities.shape == (4, 3) and model.get_layer("hidden").units == 32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    odds = np.exp(np.asarray(models.logits(model)(images)))
    np.testing.assert_allclose(odds / odds.sum(axis=1, keepdims=True), probabilities, atol=1e-6)
    same = models.build_hospital(network, 3, input_shape=(32, 32, 3), weights="random", seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), same.get_weights(), strict=True))


def test_the_whole_chain_learns():
    """Network of the study in small, three hospitals, ten rounds: what is there to be learnt is."""
    model = models.build_hospital("small", input_shape=(32, 32, 3), seed=0)
    members = [split(48, seed) for seed in range(3)]
    settings = federated.Settings(rounds=10, learning_rate=3e-3, batch_size=16)
    clients = [Hospital(f"hospital_{i}", member) for i, member in enumerate(members)]
    result = federated.run(model, clients, settings, evaluate_on={"test": split(60, 9)}, keep=False, progress=False)
    accuracy = [row["accuracy"] for row in federated.rows(result.history, "evaluation")]
    assert accuracy[-1] > 0.9


def split(n, seed):
    return Split(*small_networks.images_and_labels(n, 2, (32, 32, 3), seed))


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"network": "efficientnetv2"}, UnknownName),
        ({"input_shape": (31, 32, 3)}, BadParameter),
        ({"input_shape": (32, 32, 1)}, BadParameter),
        ({"dropout": 1.0}, BadParameter),
        ({"n_classes": 1}, BadParameter),
        ({"network": "small", "weights": "imagenet"}, DataUnavailable),
        ({"network": "small", "weights": "mirror"}, DataUnavailable),
    ],
    ids=str,
)
def test_networks_that_cannot_be(given, error):
    with pytest.raises(error):
        models.build_hospital(**given)
