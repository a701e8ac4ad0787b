"""Scores, losses of the scores, and their gradients by the images: TensorFlow or JAX, compiled once a network and loss.

A loss is a function ``loss(scores, wanted)`` of a module (compiled steps are kept by the function itself), written
with `keras.ops`; ``wanted`` holds one row an image: class ids, or whatever the loss needs.
"""

import functools
import numbers
from collections.abc import Callable
from weakref import WeakKeyDictionary

import keras
import numpy as np
from keras import ops

from medtk.errors import BadParameter, MedtkError
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
        A classifier with a layer ``logits`` before its softmax. The loss is taken on the scores, where it saturates
        later: on probabilities clipped at 1e-7 a confident network's gradient is exactly zero from gaps of about 16
        between the label's score and the next, on scores from gaps of about 90. For a network surer than that take
        a loss that never saturates, such as `medtk.attacks.common.margin`.
    images : ndarray of float32, shape (n, height, width, channels)
    labels : ndarray of int, shape (n,)
    loss : callable
        ``loss(scores, labels)`` gives one value an image.
    batch_size : int
        Images a compiled step.

    Returns
    -------
    ndarray of float32, shape of `images`

    Raises
    ------
    BadParameter
        If there is not one class id of the network an image.
    MedtkError
        If the network's scores or their gradients are not finite.
    """
    labels = class_ids(model, images, labels)
    return loss_and_gradient(model, images, labels, loss=loss, batch_size=batch_size)[2]


def loss_and_gradient(
    model: keras.Model,
    images: np.ndarray,
    wanted: np.ndarray,
    *,
    loss: Callable = cross_entropy,
    batch_size: int = 256,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, losses and gradients of one pass forward and back.

    Parameters
    ----------
    model, images, batch_size
        As in `loss_gradient`.
    wanted : ndarray, shape (n, ...)
        What the loss needs to know of each image.
    loss : callable
        ``loss(scores, wanted)`` gives one value an image, or m of them in a row: then one pass forward serves m
        passes back.

    Returns
    -------
    scores : ndarray of float32, shape (n, classes)
    losses : ndarray of float32, shape (n,) or (n, m)
    gradients : ndarray of float32, shape of `images`, or (n, m, height, width, channels)

    Raises
    ------
    MedtkError
        If the network's scores or their gradients are not finite.
    """
    images, wanted = np.asarray(images, np.float32), np.asarray(wanted)
    scores, losses, gradients = _run(_step(model, loss), images, wanted, batch_size=batch_size)
    _must_be_finite(scores, "scores")
    _must_be_finite(gradients, "gradients")
    return scores, losses, gradients


def scores(model: keras.Model, images: np.ndarray, *, batch_size: int = 256) -> np.ndarray:
    """Scores (before the softmax) of each image, network in inference mode.

    Parameters
    ----------
    model, images, batch_size
        As in `loss_gradient`.

    Returns
    -------
    ndarray of float32, shape (n, classes)

    Raises
    ------
    MedtkError
        If they are not finite.
    """
    (found,) = _run(_step(model, None), np.asarray(images, np.float32), batch_size=batch_size)
    _must_be_finite(found, "scores")
    return found


def class_ids(model: keras.Model, images: np.ndarray, labels: np.ndarray, name: str = "labels") -> np.ndarray:
    """`labels` as int32, after a check that they are one class id of the network an image."""
    given, n_classes = np.asarray(labels), model.output_shape[-1]
    numeric = np.issubdtype(given.dtype, np.number) or given.dtype == bool
    if given.shape != (len(images),) or not numeric or np.any((given < 0) | (given >= n_classes) | (given % 1 != 0)):
        raise BadParameter(f"{name} must be {len(images)} class ids from 0 to {n_classes - 1}, one an image.")
    return given.astype(np.int32)


def _must_be_finite(values: np.ndarray, what: str) -> None:
    if not np.isfinite(values).all():
        raise MedtkError(
            f"The network's {what} are not finite for some images; look at its weights and at the images for NaN "
            "or infinite values before attacking it."
        )


def _run(step: Callable, *arrays: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Results of the step over all rows of the arrays, a batch at a time."""
    if not isinstance(batch_size, numbers.Integral) or batch_size < 1:
        raise BadParameter(f"batch_size must be a whole number, 1 or more, not {batch_size!r}.")
    parts = []
    for start in range(0, max(len(arrays[0]), 1), batch_size):
        batch = [array[start : start + batch_size] for array in arrays]
        n = len(batch[0])
        # JAX compiles once a shape, so few shapes; TensorFlow's step takes any number of images but none.
        size = 2 ** max(n - 1, 0).bit_length() if keras.backend.backend() == "jax" else max(n, 1)
        if size > n:
            batch = [np.concatenate([a, np.zeros((size - n, *a.shape[1:]), a.dtype)]) for a in batch]
        parts.append([ops.convert_to_numpy(result)[:n] for result in step(*batch)])
    return parts[0] if len(parts) == 1 else [np.concatenate(part) for part in zip(*parts, strict=True)]


def _step(model: keras.Model, loss: Callable | None) -> Callable:
    """Compiled ``step(images, wanted) -> scores, losses, gradients``; without a loss ``step(images) -> [scores]``."""
    steps = _compiled.setdefault(model, {})
    if loss not in steps:
        make = {"tensorflow": _tensorflow_step, "jax": _jax_step}[keras.backend.backend()]
        steps[loss] = make(logits(model), loss)
    return steps[loss]


def _tensorflow_step(network: keras.Model, loss: Callable | None) -> Callable:
    import tensorflow as tf

    def forward(images):
        return [network(images, training=False)]

    def forward_and_back(images, wanted):
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(images)
            scores = network(images, training=False)
            losses = loss(scores, wanted)
            totals = tf.unstack(tf.reduce_sum(losses, axis=0)) if len(losses.shape) == 2 else [tf.reduce_sum(losses)]
        gradients = [tape.gradient(total, images, unconnected_gradients="zero") for total in totals]
        return scores, losses, tf.stack(gradients, axis=1) if len(losses.shape) == 2 else gradients[0]

    @functools.cache
    def traced(*rows):
        # Traced with an open number of images, so that attacks may drop the images that they are done with.
        specs = [tf.TensorSpec([None, *shape], dtype) for shape, dtype in rows]
        return tf.function(forward_and_back if loss else forward).get_concrete_function(*specs)

    def step(*arrays):
        tensors = [tf.convert_to_tensor(array) for array in arrays]
        return traced(*((tuple(t.shape[1:]), t.dtype) for t in tensors))(*tensors)

    return step


def _jax_step(network: keras.Model, loss: Callable | None) -> Callable:
    import jax

    def forward(trainable, fixed, images):
        return [network.stateless_call(trainable, fixed, images, training=False)[0]]

    def forward_and_back(trainable, fixed, images, wanted):
        def both(images):
            (scores,) = forward(trainable, fixed, images)
            return loss(scores, wanted), scores

        losses, back, scores = jax.vjp(both, images, has_aux=True)
        ones = jax.numpy.ones_like(losses)
        if losses.ndim == 1:
            return scores, losses, back(ones)[0]
        columns = [back(ones * (jax.numpy.arange(ones.shape[1]) == k))[0] for k in range(ones.shape[1])]
        return scores, losses, jax.numpy.stack(columns, axis=1)

    compiled = jax.jit(forward_and_back if loss else forward)
    return lambda *arrays: compiled(
        [v.value for v in network.trainable_variables], [v.value for v in network.non_trainable_variables], *arrays
    )
