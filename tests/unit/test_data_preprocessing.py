import numpy as np
import pytest
from PIL import Image

from medtk import data
from medtk.data.preprocessing import set_channels
from medtk.errors import BadParameter


@pytest.mark.parametrize("size", [1, 7, 28, 64])
@pytest.mark.parametrize("shape", [(3, 40, 30, 3), (2, 28, 28, 1), (1, 1, 5, 1)])
def test_resize_equals_pillow_bilinear(shape, size):
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    ours = data.resize(images, size)
    assert ours.shape == (shape[0], size, size, shape[3]) and ours.dtype == np.float32
    for image, result in zip(images, ours, strict=True):
        for c in range(shape[3]):
            peer = Image.fromarray(image[..., c].astype(np.float32)).resize((size, size), Image.BILINEAR)
            np.testing.assert_allclose(result[..., c], np.asarray(peer), atol=1e-3)


def test_resize_keeps_range_and_constants_and_handles_many_chunks(monkeypatch):
    monkeypatch.setattr("medtk.data.preprocessing._CHUNK_BYTES", 4 * 20 * 20 * 3)
    images = np.random.default_rng(0).random((7, 20, 20, 3), dtype=np.float32)
    images[3] = 0.25
    result = data.resize(images, 13)
    assert result.min() >= images.min() and result.max() <= images.max()
    np.testing.assert_allclose(result[3], 0.25, rtol=1e-6)


def test_resize_of_nothing_and_to_the_same_size():
    assert data.resize(np.empty((0, 8, 8, 1), np.uint8), 4).shape == (0, 4, 4, 1)
    images = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(data.resize(images, 4), images)


@pytest.mark.parametrize("size", [0, -3, 2.5, True, "28"])
def test_resize_refuses_what_is_no_size(size):
    with pytest.raises(BadParameter, match="size"):
        data.resize(np.zeros((1, 4, 4, 1)), size)


def test_channels():
    grey, colour = np.random.default_rng(0).random((2, 3, 3, 1)), np.zeros((2, 3, 3, 3))
    assert set_channels(grey, None) is grey
    np.testing.assert_array_equal(set_channels(grey, 3)[..., 2], grey[..., 0])
    assert set_channels(colour, 3) is colour
    with pytest.raises(BadParameter, match="colour"):
        set_channels(colour, 1)
    with pytest.raises(BadParameter, match="channels"):
        set_channels(grey, 4)
