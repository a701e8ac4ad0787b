"""Training for few bits, in closed form, against TensorFlow's own operation, and against the exported network."""

import keras
import numpy as np
import pytest
import small_networks
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from medtk import edge
from medtk.edge.quantization import RoundedValues, RoundedWeights
from medtk.errors import BadParameter

IMAGES, LABELS = small_networks.images_and_labels(40, seed=5)


def test_rounding_by_hand():
    x = np.array([-1.0, -0.3, 0.0, 0.26, 0.9, 1.4, 3.0], np.float32)
    # Two bits for -0.5 to 1: levels -0.5, 0, 0.5 and 1.
    np.testing.assert_allclose(edge.fake_quantized(x, -0.5, 1, 2), [-0.5, -0.5, 0, 0.5, 1, 1, 1], atol=1e-6)


def test_gradient_is_one_within_the_range_and_nought_outside():
    x = tf.constant([-1.0, -0.4, 0.0, 0.26, 0.9, 1.4])
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(edge.fake_quantized(x, -0.5, 1, 4))
    np.testing.assert_array_equal(tape.gradient(total, x), [0, 1, 1, 1, 1, 0])


@given(st.floats(-4, -0.1), st.floats(0.1, 4), st.integers(2, 8), st.lists(st.floats(-5, 5, width=32), min_size=1))
@settings(max_examples=40, deadline=None)
def test_it_is_tensorflows_operation(low, high, bits, values):
    x = np.array(values, np.float32)
    scale = (high - low) / (2**bits - 1)
    if abs((-low / scale) % 1 - 0.5) < 1e-3:  # a zero point half way: float32 and float64 may take either neighbour
        return
    ours = np.array(edge.fake_quantized(x, low, high, bits))
    theirs = tf.quantization.fake_quant_with_min_max_args(x, low, high, num_bits=bits).numpy()
    # A value half way between two levels may go either way.
    far = np.abs(ours - theirs) > 1e-5
    assert np.all(np.abs(np.abs(ours - theirs)[far] - scale) < 1e-4)
    assert far.sum() <= np.sum(np.abs((x / scale) % 1 - 0.5) < 1e-3)


def test_a_kernel_has_few_values_a_channel_and_its_largest_is_exact():
    kernel = np.random.default_rng(0).standard_normal((3, 3, 4, 5)).astype(np.float32)
    rounded = np.array(edge.rounded_weights(kernel, 4))
    for channel in range(5):
        assert len(np.unique(np.round(rounded[..., channel], 6))) <= 15
        largest = np.abs(kernel[..., channel]).max()
        assert np.abs(rounded[..., channel]).max() == pytest.approx(largest, rel=1e-5)
        assert np.abs(rounded - kernel)[..., channel].max() <= largest / 7 / 2 + 1e-6
    by_depth = np.array(edge.rounded_weights(kernel, 4, by_depth=True))
    assert np.abs(by_depth - kernel).max(axis=(0, 1)) == pytest.approx(
        np.abs(by_depth - kernel).max(axis=(0, 1)).clip(max=np.abs(kernel).max(axis=(0, 1)) / 14)
    )


def test_folding_changes_nothing():
    model = small_networks.settled(3, seed=2)
    plain = edge.folded(model)
    np.testing.assert_allclose(plain(IMAGES), model(IMAGES, training=False), atol=1e-5)
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in plain.layers)


def test_folding_a_network_for_devices_changes_nothing():
    images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    for name in ("mobilenetv2_035", "shufflenetv2_050"):
        model = edge.build(name, 3, input_shape=(32, 32, 3), weights="random")
        random = np.random.default_rng(1)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                n = layer.gamma.shape[0]
                layer.set_weights(
                    [random.uniform(low, high, n) for low, high in ((0.5, 2), (-1, 1), (-1, 1), (0.2, 2))]
                )
        scores = keras.Model(model.input, model.get_layer("logits").output)
        plain = edge.folded(model)
        again = keras.Model(plain.input, plain.get_layer("logits").output)
        expected = np.array(scores(images, training=False))
        np.testing.assert_allclose(again(images), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.fixture(scope="module")
def trained():
    model = small_networks.settled(3, seed=4)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(IMAGES, LABELS, epochs=3, verbose=0)
    return model


def test_it_answers_as_the_exported_network_will(trained, tmp_path):
    aware = edge.quantization_aware(trained, IMAGES)
    aware.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    before = aware.evaluate(IMAGES, LABELS, verbose=0)
    aware.fit(IMAGES, LABELS, epochs=10, verbose=0)
    assert aware.evaluate(IMAGES, LABELS, verbose=0) < before  # a gradient passes the rounding
    plain = edge.unrounded(trained, aware)
    file = edge.export(plain, tmp_path / "int8.tflite", "int8", calibration=IMAGES)
    exported = edge.predict(file, IMAGES)
    # Training has moved the ranges; the export takes new ones, and so does this.
    rounded = edge.quantization_aware(plain, IMAGES).predict(IMAGES, verbose=0)
    floats = plain.predict(IMAGES, verbose=0)
    assert np.abs(exported - rounded).max() < 0.05
    assert np.abs(exported - floats).max() > 0  # else the comparison says nothing
    assert np.mean(exported.argmax(1) == rounded.argmax(1)) >= 0.95


def test_four_bits_of_weights_alone(trained):
    aware = edge.quantization_aware(trained, IMAGES, weight_bits=4, activation_bits=None)
    assert not any(isinstance(layer, RoundedValues) for layer in aware.layers)
    rounded = [layer for layer in aware.layers if isinstance(layer, RoundedWeights)]
    assert len(rounded) == 3 and {layer.bits for layer in rounded} == {4}
    plain = edge.folded(trained)
    plain.set_weights([np.array(edge.rounded_weights(w, 4)) if w.ndim > 1 else w for w in plain.get_weights()])
    np.testing.assert_allclose(aware(IMAGES), plain(IMAGES), atol=1e-5)


def test_a_stored_network_comes_back(trained, tmp_path):
    aware = edge.quantization_aware(trained, IMAGES)
    aware.save(tmp_path / "aware.keras")
    again = keras.saving.load_model(tmp_path / "aware.keras")
    np.testing.assert_array_equal(again(IMAGES), aware(IMAGES))


def test_bits_that_cannot_be_are_refused():
    with pytest.raises(BadParameter, match="bits"):
        edge.fake_quantized(np.zeros(1, np.float32), 0, 1, 1)
