"""A network cut in two: what the client computes, what the server computes, and the two arrays between them."""

from collections.abc import Callable
from typing import NamedTuple
from weakref import WeakKeyDictionary

import keras
import numpy as np

from medtk.errors import BadParameter, UnknownName

_compiled: WeakKeyDictionary = WeakKeyDictionary()


class Answer(NamedTuple):
    """What a server step gives.

    Attributes
    ----------
    gradient : ndarray of float32, shape of the activations
        Of the batch's mean loss by the activations: what goes back to the client.
    loss : float
        Mean over the batch.
    right : int
        Right answers in the batch.
    """

    gradient: np.ndarray
    loss: float
    right: int


def split_at(model: keras.Model, cut_layer: str) -> tuple[keras.Model, keras.Model]:
    """Cut a network behind a layer; both parts share their weights with it.

    Parameters
    ----------
    model : keras.Model
        Functional. Compiled, if the parts are to be trained.
    cut_layer : str
        Name of the last layer on the client's side.

    Returns
    -------
    client : keras.Model
        Images to activations.
    server : keras.Model
        Activations to what `model` gives.
        Each part has an optimizer of its own with the settings of the model's. Adam treats every weight apart, so that
        two optimizers do what one would.

    Raises
    ------
    UnknownName
        If there is no such layer.
    BadParameter
        If something passes by the cut, or nothing is left to train behind it.
    """
    names = [layer.name for layer in model.layers]
    if cut_layer not in names:
        raise UnknownName("layer", cut_layer, names)
    between = model.get_layer(cut_layer).output
    try:
        client, server = keras.Model(model.input, between), keras.Model(between, model.output)
    except ValueError as error:
        raise BadParameter(f"The network cannot be cut at {cut_layer}: something passes by it.") from error
    if not server.trainable_variables:
        raise BadParameter(f"Behind {cut_layer} nothing is left to train; cut earlier.")
    if model.optimizer is not None:
        for part in (client, server):
            part.compile(model.optimizer.__class__.from_config(model.optimizer.get_config()), loss=model.loss)
            part.optimizer.build(part.trainable_variables)
    return client, server


def client_forward(client: keras.Model, images: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], None]]:
    """Client's half of a training step, up to the cut.

    Parameters
    ----------
    client : keras.Model
        From `split_at`.
    images : ndarray of float32, shape (n, height, width, channels)

    Returns
    -------
    activations : ndarray of float32
        What is sent.
    backward : callable
        ``backward(gradient)`` takes what comes back and updates the client once. Forward and backward are one pass:
        normalisation statistics move once, and dropout draws once.
    """
    import tensorflow as tf

    with tf.GradientTape() as tape:
        activations = client(tf.convert_to_tensor(images, tf.float32), training=True)

    def backward(gradient: np.ndarray) -> None:
        variables = client.trainable_variables
        if variables:
            slopes = tape.gradient(activations, variables, output_gradients=tf.convert_to_tensor(gradient))
            client.optimizer.apply(slopes, variables)

    return activations.numpy(), backward


def server_step(server: keras.Model, activations: np.ndarray, labels: np.ndarray) -> Answer:
    """Server's half of a training step: forward, loss, update, and the gradient to send back.

    Parameters
    ----------
    server : keras.Model
        From `split_at`; gives probabilities.
    activations : ndarray of float32
        As `client_forward` gives them.
    labels : ndarray of int, shape (n,)

    Returns
    -------
    Answer
    """
    if server not in _compiled:
        _compiled[server] = _server_step(server)
    gradient, loss, right = _compiled[server](activations, np.asarray(labels, np.int32))
    return Answer(gradient.numpy(), float(loss), int(right))


def _server_step(server: keras.Model) -> Callable:
    import tensorflow as tf

    @tf.function(
        input_signature=[tf.TensorSpec((None, *server.input_shape[1:]), tf.float32), tf.TensorSpec((None,), tf.int32)]
    )
    def step(activations, labels):
        with tf.GradientTape() as tape:
            tape.watch(activations)
            probabilities = server(activations, training=True)
            loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, probabilities))
        gradient, slopes = tape.gradient(loss, (activations, server.trainable_variables))
        server.optimizer.apply(slopes, server.trainable_variables)
        right = tf.argmax(probabilities, axis=1, output_type=tf.int32) == labels
        return gradient, loss, tf.reduce_sum(tf.cast(right, tf.int32))

    return step


def answers(client: keras.Model, server: keras.Model, images: np.ndarray, *, batch_size: int = 256) -> np.ndarray:
    """Probabilities for images, both parts in inference mode, shape (n, classes)."""
    parts = [
        np.asarray(server(np.asarray(client(images[start : start + batch_size], training=False)), training=False))
        for start in range(0, len(images), batch_size)
    ]
    return np.concatenate(parts)
