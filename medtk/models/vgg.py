"""The network of the clustered-learning study, VGG16 with a larger head for grey images, and small ones beside it."""

import keras
import numpy as np
from keras import layers

from medtk.errors import BadParameter, UnknownName
from medtk.models.weights import WeightsSource, weights_source

COVID_NETWORKS = ("vgg16", "small", "small_bn")
GREY = ("repeat", "sum")
# Keras' VGG16 takes 0..255 less these means of blue, green and red. A grey image has the same value in all three.
MEANS = np.array([103.939, 116.779, 123.68])


def build_covid(
    network: str = "vgg16",
    n_classes: int = 2,
    *,
    input_shape: tuple[int, int, int] = (256, 256, 1),
    weights: str = "auto",
    grey: str = "repeat",
    filters: int = 64,
    widths: tuple[int, int, int] = (128, 64, 32),
    seed: int = 0,
) -> keras.Model:
    """Build a classifier of grey images: a base, one more convolution, three dense layers, the output.

    The study (section III-B) names the layers and not their widths, nor how the convolutions meet the dense layers:
    here they are averaged over the image, so that the network has the same weights at every size.

    Parameters
    ----------
    network : {'vgg16', 'small', 'small_bn'}
        The base. ``vgg16`` is the study's. ``small`` has three convolutions with pooling between them, as VGG has
        them; ``small_bn`` has batch normalisation besides, which VGG16 has not.
    n_classes : int
        Number of classes.
    input_shape : tuple of int
        Height, width and one channel; at least 32 pixels a side for VGG16 and 8 for the others.
    weights : {'auto', 'imagenet', 'mirror', 'random'}
        See `medtk.models.weights_source`; the small ones have random weights only.
    grey : {'repeat', 'sum'}
        How VGG16, made for three colours, takes one: the image is repeated, or the first kernel summed over colours.
        Both give the same features but at the border, where the padding stands for the mean colour.
    filters : int
        Of the extra convolution, at least 1.
    widths : tuple of int
        Of the three dense layers.
    seed : int
        Of the random weights.

    Returns
    -------
    keras.Model
        From float32 images in [0, 1], shape (n, height, width, 1), to probabilities, shape (n, n_classes).

    Raises
    ------
    UnknownName, BadParameter
        On a wrong name, or a shape or a number that cannot be.
    """
    if network not in COVID_NETWORKS:
        raise UnknownName("network", network, COVID_NETWORKS)
    if grey not in GREY:
        raise UnknownName("way to take grey images", grey, GREY)
    least = 32 if network == "vgg16" else 8
    if len(input_shape) != 3 or input_shape[-1] != 1 or min(input_shape[:2]) < least:
        raise BadParameter(f"{network} needs grey images of at least {least} x {least} x 1, not {tuple(input_shape)}.")
    if n_classes < 2 or filters < 1 or len(widths) != 3 or min(widths) < 1:
        raise BadParameter(
            f"n_classes must be 2 or more, filters 1 or more, and widths three numbers above 0, not {n_classes}, "
            f"{filters} and {tuple(widths)}."
        )
    keras.utils.set_random_seed(seed)
    found = weights_source(network, weights)
    inputs = keras.Input(input_shape, name="image")
    x = _vgg16(inputs, grey, found) if network == "vgg16" else _small(inputs, normalised=network == "small_bn")
    x = layers.Conv2D(filters, 3, padding="same", activation="relu", name="extra")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    for k, width in enumerate(widths, start=1):
        x = layers.Dense(width, activation="relu", kernel_initializer="he_normal", name=f"dense_{k}")(x)
    scores = layers.Dense(n_classes, name="logits")(x)
    return keras.Model(inputs, layers.Softmax(name="probabilities")(scores), name=network)


def _small(x, *, normalised: bool):
    x = layers.Rescaling(2, offset=-1, name="range")(x)
    for width in (8, 16, 32):
        x = layers.Conv2D(width, 3, padding="same", kernel_initializer="he_normal", use_bias=not normalised)(x)
        x = layers.BatchNormalization(momentum=0.9)(x) if normalised else x
        x = layers.MaxPooling2D()(layers.ReLU()(x))
    return x


def _vgg16(inputs, grey: str, found: WeightsSource):
    height, width, _ = inputs.shape[1:]
    kind = "imagenet" if found.source == "imagenet" else None
    base = keras.applications.VGG16(include_top=False, weights=kind, input_shape=(height, width, 3))
    if found.source == "mirror":
        base.load_weights(found.path)
    if grey == "repeat":
        x = layers.Concatenate(name="repeat")([inputs, inputs, inputs])
        return base(layers.Rescaling(255, offset=(-MEANS).tolist(), name="range")(x))
    summed = keras.applications.VGG16(include_top=False, weights=None, input_shape=(height, width, 1))
    kernel, bias, *rest = base.get_weights()
    # sum_c k_c (v - m_c) = (sum_c k_c)(v - m) + sum_c k_c (m - m_c), with m the mean of the three means.
    bias = bias + (kernel * (MEANS.mean() - MEANS)[:, None]).sum(axis=(0, 1, 2))
    summed.set_weights([kernel.sum(axis=2, keepdims=True), bias, *rest])
    return summed(layers.Rescaling(255, offset=-float(MEANS.mean()), name="range")(inputs))
