"""A base of four convolutions, for first looks and tests: it compiles in a second and no paper uses it."""

import keras
from keras import layers


def plain_base(*, include_top: bool = False, weights: None = None, input_shape: tuple[int, int, int]) -> keras.Model:
    """Convolutions of stride 2 with batch normalisation; called as Keras' applications are.

    Parameters
    ----------
    include_top, weights
        Of no effect: there is no top, and nobody has trained it on ImageNet.
    input_shape : tuple of int
        Height, width and channels.

    Returns
    -------
    keras.Model
        Images, in any range near [-1, 1], to features of shape (n, height / 16, width / 16, 64).
    """
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, convolved(inputs), name="plain")


def convolved(x):
    """Features of four convolutions, each with batch normalisation and ReLU, from a Keras tensor of images."""
    for width in (16, 32, 64, 64):
        x = layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    return x
