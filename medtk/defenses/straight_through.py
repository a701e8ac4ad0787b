"""A network behind a change of its images, so that attacks go through both.

Compression and rounding are flat wherever they have a gradient, and every attack that follows it stands still. Forward
the change is applied; backward it is taken for the identity, which it is nearly: backward pass differentiable
approximation (Athalye, Carlini and Wagner 2018, section 4.1.1).
"""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from medtk import models


def straight_through(model: keras.Model, before: Callable[[np.ndarray], np.ndarray]) -> keras.Model:
    """The network ``model(before(images))``, whose gradient is that of the model at the changed images.

    Parameters
    ----------
    model : keras.Model
        Images to probabilities, with a layer ``logits``.
    before : callable
        From images, shape (n, height, width, channels), in [0, 1], to images of that shape, such as
        `medtk.defenses.inputs.jpeg`. It may be plain NumPy, but without chance: each call gives the same.

    Returns
    -------
    keras.Model
        Images to probabilities, with a layer ``logits``: for any attack, and for
        `medtk.defenses.adaptive.evaluate_adaptively`. It cannot be saved.
    """
    return models.wrapped(model, before=_Before(before, name="before"))


class _Before(keras.layers.Layer):
    """Images changed by a function of NumPy; the gradient passes as if they had not been."""

    def __init__(self, before: Callable, **options):
        super().__init__(**options)
        self.before = before

    def call(self, images):
        return images + ops.stop_gradient(_outside(self.before, ops.stop_gradient(images)) - images)

    def compute_output_shape(self, input_shape):
        return input_shape


def _outside(function: Callable, images):
    """What a function of NumPy gives, within a compiled step."""

    def changed(given):
        return np.asarray(function(np.asarray(given)), np.float32)

    if keras.backend.backend() == "jax":
        import jax

        return jax.pure_callback(changed, jax.ShapeDtypeStruct(images.shape, "float32"), images)
    import tensorflow as tf

    found = tf.numpy_function(changed, [images], tf.float32)
    found.set_shape(images.shape)
    return found
