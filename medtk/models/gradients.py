"""Gradients of a loss with respect to the images, on TensorFlow or JAX, compiled once a network and loss."""

from collections.abc import Callable
from weakref import WeakKeyDictionary

import keras
import numpy as np
from keras import ops

from medtk.errors import BadParameter
from medtk.models.networks import logits

_compiled: WeakKeyDictionary = WeakKeyDictionary()


def cross_entropy(scores, labels):
    """Cross-entropy of each image, shape (n,), from scores (n, classes) and class ids (n,)."""
    return ops.sparse_categorical_crossentropy(labels, scores, from_logits=True)


def loss_gradient(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    loss: Callable = cross_entropy,
    batch_size: int = 256,
) -> np.ndarray:
    """Gradient of each image's loss with respect to that image, network in inference mode.

    Parameters
    ----------
    model : keras.Model
        A classifier with a layer ``logits`` before its softmax. The loss is taken on the scores, where it does
        not saturate: on probabilities clipped at 1e-7 a confident network's gradient is exactly zero.
    images : ndarray of float32, shape (n, height, width, channels)
    labels : ndarray of int, shape (n,)
    loss : callable
        ``loss(scores, labels)`` gives one value an image.
    batch_size : int
        Images a compiled step; the last step is padded so that one compilation serves.

    Returns
    -------
    ndarray of float32, shape of `images`

    Raises
    ------
    BadParameter
        If there is not one class id of the network an image.
    """
    images, labels = np.asarray(images, np.float32), np.asarray(labels, np.int32)
    n_classes = model.output_shape[-1]
    if labels.shape != (len(images),) or np.any((labels < 0) | (labels >= n_classes)):
        raise BadParameter(f"labels must be {len(images)} class ids from 0 to {n_classes - 1}, one an image.")
    step = _step(model, loss)
    batch_size = min(batch_size, max(len(images), 1))
    gradients = np.empty_like(images)
    for start in range(0, len(images), batch_size):
        batch, wanted = images[start : start + batch_size], labels[start : start + batch_size]
        n, short = len(batch), batch_size - len(batch)
        if short:
            batch = np.concatenate([batch, np.zeros((short, *batch.shape[1:]), np.float32)])
            wanted = np.concatenate([wanted, np.zeros(short, np.int32)])
        gradients[start : start + n] = ops.convert_to_numpy(step(batch, wanted))[:n]
    return gradients


def _step(model: keras.Model, loss: Callable) -> Callable:
    steps = _compiled.setdefault(model, {})
    if loss not in steps:
        make = {"tensorflow": _tensorflow_step, "jax": _jax_step}[keras.backend.backend()]
        steps[loss] = make(logits(model), loss)
    return steps[loss]


def _tensorflow_step(network: keras.Model, loss: Callable) -> Callable:
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def step(images, labels):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            total = tf.reduce_sum(loss(network(images, training=False), labels))
        return tape.gradient(total, images)

    return lambda images, labels: step(tf.convert_to_tensor(images), tf.convert_to_tensor(labels))


def _jax_step(network: keras.Model, loss: Callable) -> Callable:
    import jax

    def total(images, labels, trainable, fixed):
        scores, _ = network.stateless_call(trainable, fixed, images, training=False)
        return loss(scores, labels).sum()

    step = jax.jit(jax.grad(total))
    return lambda images, labels: step(
        images,
        labels,
        [v.value for v in network.trainable_variables],
        [v.value for v in network.non_trainable_variables],
    )
