"""The network on which gradient matching was published."""

import keras
from keras import layers


def lenet(
    n_classes: int,
    input_shape: tuple[int, int, int],
    *,
    spread: float = 0.5,
    activation: str = "sigmoid",
    seed: int = 0,
) -> keras.Model:
    """Small network on which gradient matching is usually shown: smooth, untrained, hardly pooled.

    Parameters
    ----------
    n_classes : int
    input_shape : tuple of int
        Height, width and channels.
    spread : float
        Weights and biases are drawn evenly from ``[-spread, spread]``.
    activation : str
        Keras' name. The second derivative of ``relu`` is zero nearly everywhere, which leaves the search in the dark.
    seed : int

    Returns
    -------
    keras.Model
        Images to probabilities.

    References
    ----------
    Zhu, Liu and Han (2019), "Deep leakage from gradients", section 4.1.
    """
    keras.utils.set_random_seed(seed)
    start = keras.initializers.RandomUniform(-spread, spread, seed=keras.random.SeedGenerator(seed))
    how = {"kernel_initializer": start, "bias_initializer": start}
    inputs = x = keras.Input(input_shape, name="image")
    for strides in (2, 2, 1):
        x = layers.Conv2D(12, 5, strides=strides, padding="same", activation=activation, **how)(x)
    scores = layers.Dense(n_classes, name="logits", **how)(layers.Flatten()(x))
    return keras.Model(inputs, layers.Softmax(name="probabilities")(scores), name="lenet")
