import keras
import numpy as np
import pytest

from medtk import models
from medtk.errors import BadParameter, UnknownName
from medtk.models import weights
from medtk.models.vgg import MEANS
from medtk.training import moved


def base_of(model):
    return next(layer for layer in model.layers if isinstance(layer, keras.Model))


@pytest.fixture(scope="module")
def both():
    """VGG16 from the same random weights, that takes grey images in either way."""
    return {grey: models.build_covid(input_shape=(32, 32, 1), weights="random", grey=grey, seed=3)
            for grey in ("repeat", "sum")}  # fmt: skip


def test_vgg16_has_the_layers_of_the_study(both):
    for grey, channels in (("repeat", 3), ("sum", 1)):
        model = both[grey]
        base = base_of(model)
        # 13 convolutions of VGG16; 14,714,688 parameters with three colours, 576 for each colour of the first kernel.
        assert sum(isinstance(layer, keras.layers.Conv2D) for layer in base.layers) == 13
        assert base.count_params() == 14_714_688 - 576 * (3 - channels)
        rest = [layer for layer in model.layers if layer not in (base,)]
        dense = [layer.units for layer in rest if isinstance(layer, keras.layers.Dense)]
        extra = [layer.filters for layer in rest if isinstance(layer, keras.layers.Conv2D)]
        assert dense == [128, 64, 32, 2] and extra == [64]
        assert model.output_shape == (None, 2) and model.input_shape == (None, 32, 32, 1)


def test_a_summed_kernel_gives_the_features_of_a_repeated_image(both):
    images = np.random.default_rng(0).random((2, 32, 32, 1), np.float32)
    for model in both.values():
        # Biases that are not 0, as ImageNet's are.
        first = base_of(model).get_layer("block1_conv1")
        kernel, bias = first.get_weights()
        first.set_weights([kernel, bias + np.linspace(-1, 1, 64)])
    found = {}
    for grey, model in both.items():
        base = base_of(model)
        head = keras.Model(base.inputs[0], base.get_layer("block1_conv1").output)
        given = images * 255 - (MEANS if grey == "repeat" else MEANS.mean())
        found[grey] = np.asarray(head(given.astype(np.float32)))
    inside = np.abs(found["repeat"] - found["sum"])[:, 1:-1, 1:-1]
    assert inside.max() < 1e-3 < found["repeat"].max()
    # The layers before the base give it just that.
    for grey, model in both.items():
        front = keras.Model(model.input, model.get_layer("range").output)
        wanted = images * 255 - (MEANS if grey == "repeat" else MEANS.mean())
        np.testing.assert_allclose(np.asarray(front(images)), wanted, atol=1e-3)


@pytest.mark.parametrize(("network", "normalised"), [("small", 0), ("small_bn", 3)])
def test_small_networks_take_any_size_and_share_their_head(network, normalised):
    model = models.build_covid(network, 3, input_shape=(12, 8, 1), seed=1)
    assert sum(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers) == normalised
    p = model.predict(np.random.default_rng(0).random((4, 12, 8, 1)), verbose=0)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)
    assert p.shape == (4, 3)
    again, other = (models.build_covid(network, 3, input_shape=(12, 8, 1), seed=seed) for seed in (1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), again.get_weights(), strict=True))
    assert not np.array_equal(model.get_weights()[0], other.get_weights()[0])
    larger = models.build_covid(network, 3, input_shape=(64, 64, 1))
    assert larger.count_params() == model.count_params()


def test_what_cannot_be_built_is_refused():
    with pytest.raises(UnknownName, match="vgg16"):
        models.build_covid("vgg61")
    with pytest.raises(UnknownName, match="repeat"):
        models.build_covid("small", grey="repeated")
    for options in ({"input_shape": (32, 32, 3)}, {"input_shape": (4, 4, 1)}, {"widths": (8, 8)}, {"n_classes": 1}):
        with pytest.raises(BadParameter):
            models.build_covid("small", **options)
    with pytest.raises(BadParameter, match="32 x 32"):
        models.build_covid("vgg16", input_shape=(16, 16, 1), weights="random")


def test_a_mirror_says_what_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDTK_DATA", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    assert weights.weights_source("vgg16").source == "random"
    path = tmp_path / "weights" / weights.FILES["vgg16"][1]
    path.parent.mkdir()
    path.touch()
    found = weights.weights_source("vgg16")
    assert (found.source, found.path) == ("mirror", path) and "half precision" in found.note


def test_unmoved_images_stay_and_moved_ones_keep_their_range():
    random = np.random.default_rng(0)
    images = random.random((5, 9, 12, 2), np.float32)
    np.testing.assert_allclose(moved(images, random, turn=0, zoom=0, shift=0), images, atol=1e-5)
    found = moved(images, random, turn=40, zoom=0.5, shift=0.4)
    assert found.shape == images.shape and found.dtype == np.float32
    assert images.min() - 1e-6 <= found.min() and found.max() <= images.max() + 1e-6
    flat = np.full((2, 8, 8, 1), 0.3, np.float32)
    np.testing.assert_allclose(moved(flat, random, turn=90, zoom=0.9, shift=1), flat, atol=1e-6)


class Fixed:
    """A generator whose every draw is the upper end."""

    def uniform(self, low, high, size):
        return np.full(size, high)


def test_each_movement_is_what_it_says():
    image = np.random.default_rng(0).random((1, 8, 8, 1)).astype(np.float32)
    turned = moved(image, Fixed(), turn=90, zoom=0, shift=0)[0, ..., 0]
    assert any(np.allclose(turned, np.rot90(image[0, ..., 0], k), atol=1e-4) for k in (1, 3))
    shifted = moved(image, Fixed(), turn=0, zoom=0, shift=0.25)[0, ..., 0]
    np.testing.assert_allclose(shifted[:6, :6], image[0, 2:, 2:, 0], atol=1e-5)
    # Twice as large: pixels of the middle half stand at every second place.
    ramp = np.tile(np.arange(9, dtype=np.float32), (9, 1))[None, ..., None]
    large = moved(ramp, Fixed(), turn=0, zoom=0.999999, shift=0)[0, 4, :, 0]
    np.testing.assert_allclose(large, 4 + (np.arange(9) - 4) / 2, atol=1e-3)
    with pytest.raises(BadParameter):
        moved(image, Fixed(), zoom=1)


def test_every_image_moves_in_its_own_way_and_the_seed_decides():
    image = np.tile(np.random.default_rng(0).random((1, 8, 8, 1)).astype(np.float32), (3, 1, 1, 1))
    found, again = (moved(image, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(found, again)
    assert not np.allclose(found[0], found[1])
