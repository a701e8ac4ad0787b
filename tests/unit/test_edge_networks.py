"""Networks for devices: their sizes as published, their multiplications counted by hand."""

import keras
import numpy as np
import pytest
from keras import layers

from medtk import edge
from medtk.edge.shuffle import CHANNELS, Channels, ChannelShuffle, shufflenet
from medtk.errors import BadParameter, UnknownName


def test_shuffle_takes_the_groups_in_turn_and_two_of_its_kind_undo_each_other():
    x = np.arange(2 * 1 * 1 * 6, dtype=np.float32).reshape(2, 1, 1, 6)
    given = np.array(ChannelShuffle(2)(x))
    np.testing.assert_array_equal(given[0, 0, 0], [0, 3, 1, 4, 2, 5])
    np.testing.assert_array_equal(ChannelShuffle(3)(given), x)
    np.testing.assert_array_equal(np.array(Channels(1, 3)(x))[:, 0, 0], [[1, 2], [7, 8]])


# Table 5 of the paper in millions, and the exact counts of trainable values that follow from its text.
@pytest.mark.parametrize(("width", "printed", "exact"), [(0.5, 1.4, 1_366_792), (1.0, 2.3, 2_278_604)])
def test_shufflenet_has_the_parameters_of_its_paper(width, printed, exact):
    base = shufflenet((64, 64, 3), width)
    trainable = sum(int(np.prod(v.shape)) for v in base.trainable_variables)
    with_top = trainable + CHANNELS[width][-1] * 1000 + 1000
    assert with_top == exact
    assert round(with_top / 1e6, 1) == printed


def test_shufflenet_halves_the_side_five_times_and_refuses_other_widths():
    assert shufflenet((64, 96, 3), 0.5).output_shape == (None, 2, 3, 1024)
    with pytest.raises(BadParameter, match="widths"):
        shufflenet((64, 64, 3), 0.7)


def test_multiplications_of_known_layers():
    images = keras.Input((9, 9, 4))
    x = layers.Conv2D(6, 3, padding="valid")(images)  # 7 x 7 x 6 values of 3 x 3 x 4
    x = layers.DepthwiseConv2D(5, padding="same")(x)  # 7 x 7 x 6 values of 5 x 5
    x = layers.Conv2D(8, 1, strides=2, groups=2)(x)  # 4 x 4 x 8 values of 3
    x = layers.Dense(10)(layers.BatchNormalization()(layers.GlobalAveragePooling2D()(x)))
    inner = keras.Model(images, x)
    outer = keras.Input((9, 9, 4))
    expected = 49 * 6 * 36 + 49 * 6 * 25 + 16 * 8 * 3 + 80
    assert edge.macs(inner) == edge.macs(keras.Model(outer, inner(outer))) == expected


def test_mobilenet_has_the_three_hundred_million_multiplications_of_its_paper():
    model = edge.build("mobilenetv2", 1000, input_shape=(224, 224, 3), weights="random")
    assert model.count_params() == 3_538_984
    assert edge.macs(model) == pytest.approx(300e6, rel=0.01)


def test_a_flat_network_answers_as_its_base_does():
    model = edge.build("mobilenetv2_035", 3, input_shape=(32, 32, 3), weights="random", seed=1)
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    assert model.get_layer("logits").output.shape == (None, 3)
    base = keras.applications.MobileNetV2(alpha=0.35, include_top=False, weights=None, input_shape=(32, 32, 3))
    base.set_weights(keras.Model(model.input, model.get_layer("pool").input).get_weights())
    images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    found = keras.Model(model.input, model.get_layer("pool").input)(images)
    np.testing.assert_allclose(found, base(2 * images - 1), rtol=1e-4, atol=1e-5)
    assert {layer.momentum for layer in model.layers if isinstance(layer, layers.BatchNormalization)} == {0.9}


def test_students_are_those_of_the_defences():
    assert edge.build("tiny", 7, input_shape=(32, 32, 3)).count_params() == 1_511


def test_wrong_names_and_shapes_are_refused():
    with pytest.raises(UnknownName, match="mobilenetv2"):
        edge.build("mobilnetv2", 2)
    with pytest.raises(BadParameter, match="32 x 32 x 3"):
        edge.build("mobilenetv2", 2, input_shape=(28, 28, 3))
