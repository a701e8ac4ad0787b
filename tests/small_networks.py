"""Networks and data small enough that a test trains them in a moment."""

import keras
import numpy as np
from keras import layers

from medtk import training
from medtk.data import CATALOG, Dataset, Split
from medtk.settings import cache_home
from medtk.training import fitting

SHAPE = (8, 8, 3)


def classifier(n_classes=3, *, shape=SHAPE, filters=(6, 8), seed=0):
    """Convolutions with batch normalisation, and a head with the layers' names that medtk promises."""
    keras.utils.set_random_seed(seed)
    images = keras.Input(shape, name="image")
    x = images
    for width in filters:
        x = layers.Conv2D(width, 3, strides=2, padding="same")(x)
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
            layer.set_weights([random.uniform(low, high, n) for low, high in ((0.5, 2), (-1, 1), (-1, 1), (0.2, 2))])
    return model


def built_for_fit(network, n_classes, *, input_shape, seed=0, **_):
    """Stand in for `medtk.models.build`: its call, a network that compiles fast."""
    return classifier(n_classes, shape=input_shape, filters=(4,), seed=seed)


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


def trained_cache(spec, images, folder, monkeypatch):
    """Folder of a cache in which the small network of a `Spec` is trained already."""
    monkeypatch.setattr(fitting.models, "build", built_for_fit)
    monkeypatch.setenv("MEDTK_CACHE", str(folder))
    training.fit_or_load(spec, images, progress=False)
    return cache_home()
