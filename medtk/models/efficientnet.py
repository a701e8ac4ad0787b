"""The network of the hospital study, EfficientNetV2S with a small head, and cheap networks to stand in for it."""

from collections.abc import Callable

import keras
from keras import layers

from medtk.errors import BadParameter, UnknownName
from medtk.models.plain import convolved
from medtk.models.weights import weights_source


def _small_base(*, include_top: bool, weights: None, input_shape: tuple[int, int, int]) -> keras.Model:
    """Four convolutions with batch normalisation, for tests and first tries; 0..255 like its big sister."""
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, convolved(layers.Rescaling(1 / 128, offset=-1)(inputs)), name="small")


def _grouped_base(*, include_top: bool, weights: None, input_shape: tuple[int, int, int]) -> keras.Model:
    """Three convolutions with group normalisation: no image of a batch changes what another one gives (for DP-SGD)."""
    inputs = keras.Input(input_shape)
    x = layers.Rescaling(1 / 128, offset=-1)(inputs)
    for width in (16, 32, 64):
        x = layers.Conv2D(width, 3, strides=2, padding="same")(x)
        x = layers.ReLU()(layers.GroupNormalization(8)(x))
    return keras.Model(inputs, x, name="small_groups")


def _mobilenet(**given) -> keras.Model:
    return keras.applications.MobileNetV2(alpha=0.35, **given)


# What makes the base, and the factor and offset that take an image in [0, 1] to what the base expects.
HOSPITAL_NETWORKS: dict[str, tuple[Callable, float, float]] = {
    "efficientnetv2s": (keras.applications.EfficientNetV2S, 255.0, 0.0),
    "mobilenetv2_035": (_mobilenet, 2.0, -1.0),
    "small": (_small_base, 255.0, 0.0),
    "small_groups": (_grouped_base, 255.0, 0.0),
}


def build_hospital(
    network: str = "efficientnetv2s",
    n_classes: int = 2,
    *,
    input_shape: tuple[int, int, int] = (100, 100, 3),
    weights: str = "auto",
    dropout: float = 0.3,
    seed: int = 0,
) -> keras.Model:
    """Build a classifier of the hospital study (its section 3 and Figure 1).

    A base, global average pooling, dropout, a dense layer of 32 with ReLU, and a dense layer with softmax. The images
    in [0, 1] are brought to the range that the base expects by a layer without parameters, so that the printed counts
    stay: 20,331,360, 40,992 and 66 for EfficientNetV2S at 100 x 100 x 3.

    Parameters
    ----------
    network : {'efficientnetv2s', 'mobilenetv2_035', 'small', 'small_groups'}
        The base. The study's is the first; MobileNetV2 of width 0.35 and four convolutions are for laptops and tests.
        The last has group normalisation, which DP-SGD can train.
    n_classes : int
        Number of classes.
    input_shape : tuple of int
        Height, width and channels (3); at least 32 pixels a side.
    weights : {'auto', 'imagenet', 'mirror', 'random'}
        See `medtk.models.weights_source`; ``small`` and ``small_groups`` have random ones only.
    dropout : float
        Part of the pooled features that is dropped while training, 0 to below 1.
    seed : int
        Of the random weights.

    Returns
    -------
    keras.Model
        From float32 images in [0, 1], shape (n, height, width, 3), to probabilities, shape (n, n_classes).

    Raises
    ------
    UnknownName, BadParameter
        On a wrong name, or a shape or a dropout that cannot be.
    """
    if network not in HOSPITAL_NETWORKS:
        raise UnknownName("network", network, HOSPITAL_NETWORKS)
    if len(input_shape) != 3 or input_shape[-1] != 3 or min(input_shape[:2]) < 32:
        raise BadParameter(f"{network} needs images of at least 32 x 32 x 3, not {tuple(input_shape)}.")
    if not 0 <= dropout < 1 or n_classes < 2:
        raise BadParameter(f"dropout must lie in 0 to below 1 and n_classes be 2 or more, not {dropout}, {n_classes}.")
    keras.utils.set_random_seed(seed)
    found = weights_source(network, weights)
    build_base, scale, offset = HOSPITAL_NETWORKS[network]
    base = build_base(
        include_top=False, weights="imagenet" if found.source == "imagenet" else None, input_shape=input_shape
    )
    if found.source == "mirror":
        base.load_weights(found.path)
    inputs = keras.Input(input_shape, name="image")
    features = base(layers.Rescaling(scale, offset, name="range")(inputs))
    pooled = layers.Dropout(dropout, name="dropout")(layers.GlobalAveragePooling2D(name="pool")(features))
    hidden = layers.Dense(32, activation="relu", name="hidden")(pooled)
    scores = layers.Dense(n_classes, name="logits")(hidden)
    return keras.Model(inputs, layers.Softmax(name="probabilities")(scores), name=network)
