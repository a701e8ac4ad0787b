"""ShuffleNetV2, from its paper: half of the channels pass by, the others are convolved, and then they change places."""

import keras
from keras import layers

from medtk.errors import BadParameter

# Table 5 of the paper: channels after the stages 2, 3, 4 and after the last convolution, by width.
CHANNELS = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}
REPEATS = (4, 8, 4)


@keras.saving.register_keras_serializable("medtk")
class ChannelShuffle(layers.Layer):
    """Channels of `groups` groups in turn: of (a1 a2 b1 b2) in two groups it makes (a1 b1 a2 b2).

    Without it the half of the channels that passes by would never meet the other half.
    """

    def __init__(self, groups: int = 2, **kwargs):
        super().__init__(**kwargs)
        self.groups = groups

    def call(self, x):
        """Shuffled, of the same shape (n, height, width, channels)."""
        height, width, channels = x.shape[1:]
        apart = keras.ops.reshape(x, (-1, height, width, self.groups, channels // self.groups))
        return keras.ops.reshape(keras.ops.transpose(apart, (0, 1, 2, 4, 3)), (-1, height, width, channels))

    def get_config(self):
        """What Keras stores with a network."""
        return super().get_config() | {"groups": self.groups}


@keras.saving.register_keras_serializable("medtk")
class Channels(layers.Layer):
    """The channels from `start` to before `stop`."""

    def __init__(self, start: int, stop: int, **kwargs):
        super().__init__(**kwargs)
        self.start, self.stop = start, stop

    def call(self, x):
        """Those channels, shape (n, height, width, stop - start)."""
        return x[..., self.start : self.stop]

    def get_config(self):
        """What Keras stores with a network."""
        return super().get_config() | {"start": self.start, "stop": self.stop}


def shufflenet(input_shape: tuple[int, int, int], width: float = 1.0) -> keras.Model:
    """Base of ShuffleNetV2: images to features of 1/32 of their side.

    Parameters
    ----------
    input_shape : tuple of int
        Height, width, channels.
    width : {0.5, 1.0, 1.5, 2.0}

    Returns
    -------
    keras.Model

    References
    ----------
    Ma, Zhang, Zheng and Sun (2018), "ShuffleNet V2", Figure 3 (c) and (d) and Table 5. With a dense layer of 1000
    classes it prints 1.4, 2.3, 3.5 and 7.4 million parameters.
    """
    if width not in CHANNELS:
        raise BadParameter(f"ShuffleNetV2 has the widths {', '.join(map(str, CHANNELS))}, not {width}.")
    *stages, last = CHANNELS[width]
    inputs = keras.Input(input_shape)
    x = _convolved(inputs, 24, 3, strides=2)
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    for channels, repeats in zip(stages, REPEATS, strict=True):
        x = _halved(x, channels)
        for _ in range(repeats - 1):
            x = _unit(x)
    return keras.Model(inputs, _convolved(x, last, 1), name=f"shufflenetv2_{width:g}")


def _unit(x):
    """Figure 3 (c): the first half of the channels as it is, the second through three convolutions."""
    channels = x.shape[-1]
    passed, worked = Channels(0, channels // 2)(x), Channels(channels // 2, channels)(x)
    worked = _convolved(_by_depth(_convolved(worked, channels // 2, 1)), channels // 2, 1)
    return ChannelShuffle()(layers.Concatenate()([passed, worked]))


def _halved(x, channels: int):
    """Figure 3 (d): all channels go both ways, half the side and `channels` come out."""
    left = _convolved(_by_depth(x, strides=2), channels // 2, 1)
    right = _convolved(_by_depth(_convolved(x, channels // 2, 1), strides=2), channels // 2, 1)
    return ChannelShuffle()(layers.Concatenate()([left, right]))


def _convolved(x, filters: int, size: int, strides: int = 1):
    x = layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def _by_depth(x, strides: int = 1):
    x = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(x)
    return layers.BatchNormalization()(x)
