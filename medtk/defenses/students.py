"""Small networks for distillation: plain convolutions, no batch normalisation, nothing random while they train."""

import keras
from keras import layers

from medtk import models
from medtk.errors import BadParameter, UnknownName

# Filters of the 3 x 3 convolutions, each followed by max pooling.
SIZES = {"tiny": (8, 16), "small": (16, 32, 64), "medium": (32, 64, 128, 256)}


def build(
    student: str, n_classes: int, *, input_shape: tuple[int, int, int] = (32, 32, 3), seed: int = 0
) -> keras.Model:
    """Build a student by the name of its size, or one of the networks of `medtk.models`.

    Parameters for 7 classes of 32 x 32 x 3 images: ``tiny`` 1,511, ``small`` 24,039, ``medium`` 390,215;
    DenseNet121 as its teacher has 7,044,679. The paper says of its student only that it is smaller and custom.

    Without batch normalisation a student cannot fail on moving statistics that are not settled, which is what
    keeps some of the teachers at the majority class after five epochs.

    Parameters
    ----------
    student : {'tiny', 'small', 'medium', 'densenet121', 'mobilenetv2', 'resnet50'}
    n_classes : int
    input_shape : tuple of int
        Height, width and channels; any for the small ones.
    seed : int
        Of the random weights.

    Returns
    -------
    keras.Model
        Images to probabilities, with a layer ``logits``.

    Raises
    ------
    UnknownName, BadParameter
    """
    if student in models.NETWORKS:
        return models.build(student, n_classes, input_shape=input_shape, seed=seed)
    if student not in SIZES:
        raise UnknownName("student", student, [*SIZES, *models.NETWORKS])
    if len(input_shape) != 3 or n_classes < 2:
        raise BadParameter(f"A student needs height, width and channels and 2 classes, not {input_shape}, {n_classes}.")
    keras.utils.set_random_seed(seed)
    images = keras.Input(input_shape, name="image")
    x = images
    for number, filters in enumerate(SIZES[student], start=1):
        x = layers.Conv2D(
            filters, 3, padding="same", activation="relu", kernel_initializer="he_normal", name=f"conv{number}"
        )(x)
        x = layers.MaxPooling2D(2, padding="same", name=f"pool{number}")(x)
    pooled = layers.GlobalAveragePooling2D(name="pool")(x)
    scores = layers.Dense(n_classes, name="logits")(pooled)
    return keras.Model(images, layers.Softmax(name="probabilities")(scores), name=student)
