"""The network of the study on split learning: seven convolutions and two dense layers."""

import zlib

import keras
from keras import layers

from medtk.errors import BadParameter

# Behind the second convolution, its ReLU and its normalisation: where the study cuts.
CUT_LAYER = "bn_2"


def build(
    n_classes: int,
    input_shape: tuple[int, int, int],
    *,
    convolutions: int = 7,
    filters: int = 64,
    dropout: float = 0.25,
    learning_rate: float = 1e-3,
    decay: float = 3e-4,
    seed: int = 0,
) -> keras.Model:
    """Build and compile the study's network.

    Each block is a 3 x 3 convolution, ReLU and batch normalisation, in this order; after every third comes dropout.
    The layers are ``conv_1``, ``relu_1``, ``bn_1``, ..., ``dropout_3``, ..., ``pool``, ``dense``, ``logits`` and
    ``probabilities``. The study does not say how the last feature maps become a vector: here by their means.

    Parameters
    ----------
    n_classes : int
        At least 2.
    input_shape : tuple of int
        Height, width and channels of what the first convolution sees.
    convolutions, filters : int
        The study's are 7 and 64.
    dropout : float
        Share of values set to 0 while training, in [0, 1).
    learning_rate, decay : float
        Of Adam: step number k has the rate ``learning_rate / (1 + decay * k)``.
    seed : int
        Of the weights and of the dropout.

    Returns
    -------
    keras.Model
        Compiled; images or tensors to probabilities, shape (n, n_classes).

    Raises
    ------
    BadParameter
        On a number out of its range.

    References
    ----------
    Khowaja et al. (2022), sections IV-F and V-A.
    """
    if n_classes < 2 or convolutions < 1 or filters < 1 or not 0 <= dropout < 1:
        raise BadParameter(
            "The network needs n_classes of 2 or more, a convolution, a filter, and a dropout in [0, 1), not "
            f"{n_classes}, {convolutions}, {filters} and {dropout}."
        )
    keras.utils.set_random_seed(seed)
    inputs = keras.Input(input_shape, name="image")
    features = blocks(inputs, range(1, convolutions + 1), filters=filters, dropout=dropout, seed=seed)
    model = keras.Model(inputs, head(features, n_classes, filters), name="seven_convolutions")
    return compiled(model, learning_rate, decay)


def blocks(x, numbers: range, *, filters: int = 64, dropout: float = 0.25, seed: int = 0, prefix: str = ""):
    """Convolution blocks with these numbers behind a Keras tensor."""
    for number in numbers:
        x = layers.Conv2D(filters, 3, padding="same", name=f"{prefix}conv_{number}")(x)
        x = layers.ReLU(name=f"{prefix}relu_{number}")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"{prefix}bn_{number}")(x)
        if number % 3 == 0 and dropout:
            x = layers.Dropout(dropout, seed=1000 * seed + number, name=f"{prefix}dropout_{number}")(x)
    return x


def head(features, n_classes: int, width: int = 64, prefix: str = ""):
    """Means of the feature maps, a dense layer, and one for the scores with its softmax."""
    pooled = layers.GlobalAveragePooling2D(name=f"{prefix}pool")(features)
    hidden = layers.Dense(width, activation="relu", name=f"{prefix}dense")(pooled)
    scores = layers.Dense(n_classes, name=f"{prefix}logits")(hidden)
    return layers.Softmax(name=f"{prefix}probabilities")(scores)


def compiled(model: keras.Model, learning_rate: float = 1e-3, decay: float = 3e-4) -> keras.Model:
    """The same network, with the study's optimizer."""
    if not 0 < learning_rate < float("inf") or not 0 <= decay < float("inf"):
        raise BadParameter(f"learning_rate must be above 0 and decay 0 or more, not {learning_rate} and {decay}.")
    rate = keras.optimizers.schedules.InverseTimeDecay(learning_rate, decay_steps=1, decay_rate=decay)
    model.compile(keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def reseed(model: keras.Model, seed: int, epoch: int) -> None:
    """Set what dropout draws from seed and epoch alone, so that an epoch does not depend on those before it."""
    for layer in model.layers:
        if isinstance(layer, layers.Dropout):  # by name, so that it draws the same in the whole network and in a part
            layer.seed_generator.state.assign([zlib.crc32(f"{seed} {epoch} {layer.name}".encode()), 0])
