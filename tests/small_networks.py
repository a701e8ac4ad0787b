"""Networks and data small enough that a test trains them in a moment."""

import importlib.util

import keras
import numpy as np
from keras import layers

from medtk.data import CATALOG, Dataset, Split

SHAPE = (8, 8, 3)


def classifier(n_classes=3, *, shape=SHAPE, seed=0, **_):
    """Two convolutions with batch normalisation, and a head with the layers' names that medtk promises."""
    keras.utils.set_random_seed(seed)
    images = keras.Input(shape, name="image")
    x = layers.Conv2D(6, 3, padding="same", use_bias=False)(images)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.5)(x))
    x = layers.Conv2D(8, 3, strides=2, padding="same")(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.5)(x))
    scores = layers.Dense(n_classes, name="logits")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(images, layers.Softmax(name="probabilities")(scores))


def settled(n_classes=3, seed=0):
    """The small classifier with moving statistics and head that are not their initial values."""
    model = classifier(n_classes, seed=seed)
    random = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            n = layer.gamma.shape[0]
            layer.set_weights(
                [random.uniform(low, high, n) for low, high in ((0.5, 2), (-1, 1), (-1, 1), (0.2, 2))]
            )
    return model


def built_for_fit(network, n_classes, *, input_shape, seed=0, **_):
    """Stand in for `medtk.models.build`: its call, the small network."""
    return classifier(n_classes, shape=input_shape, seed=seed)


def images_and_labels(n=20, n_classes=3, shape=SHAPE, seed=0):
    """Images whose first channel is brighter in a higher class, and labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, n_classes, n)
    images = random.random((n, *shape), np.float32)
    images[..., 0] = 0.6 * images[..., 0] + 0.2 * labels[:, None, None]
    return images, labels.astype(np.int64)


def dataset(n=20, seed=0):
    """Dataset of the small images, marked synthetic."""
    train, test = (Split(*images_and_labels(size, seed=seed + shift)) for shift, size in ((0, n), (1, 12)))
    card = CATALOG["breastmnist"]
    return Dataset("small", train, test, test, ("a", "b", "c"), card, "synthetic", "0" * 64)


def has(module):
    """Whether an optional peer is installed."""
    return importlib.util.find_spec(module) is not None
