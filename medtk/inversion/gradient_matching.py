"""Gradient matching: look for an image whose gradient is the one that was seen (DLG, iDLG).

Each image is a search of its own. Taking the gradients of many images in one compiled step was measured to be no
faster on two cores: one image keeps them busy.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

import keras
import numpy as np
from scipy.optimize import minimize
from tqdm import tqdm

from medtk.errors import BadParameter, MedtkError
from medtk.models import logits

SURE = 100.0  # a score so far above the others that softmax gives exactly 1 in 32 bits
_compiled: WeakKeyDictionary = WeakKeyDictionary()


class Rebuilt(NamedTuple):
    """What gradient matching found.

    Attributes
    ----------
    images : ndarray of float32, shape (n, height, width, channels)
        In [0, 1].
    labels : ndarray of int, shape (n,)
    losses : ndarray of float64, shape (n,)
        Squared distance of the two gradients, as a share of the seen one's squared length. The attacker knows it.
    """

    images: np.ndarray
    labels: np.ndarray
    losses: np.ndarray


def gradient_of_each(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> list[list[np.ndarray]]:
    """What a client would send after each image by itself: the gradient of cross-entropy by every weight.

    Parameters
    ----------
    model : keras.Model
        With a layer ``logits`` before its softmax, in inference mode.
    images : ndarray of float32, shape (n, height, width, channels)
    labels : ndarray of int, shape (n,)

    Returns
    -------
    list of list of ndarray
        One message an image, its arrays in the order of ``model.trainable_variables``.
    """
    gradient, _ = _steps(model)
    wanted = SURE * np.eye(model.output_shape[-1], dtype=np.float32)[np.asarray(labels)]
    rows = zip(np.asarray(images, np.float32), wanted, strict=True)
    return [[g.numpy() for g in gradient(image[None], scores[None])] for image, scores in rows]


def label_of(model: keras.Model, message: Sequence[np.ndarray]) -> int:
    """Label of the one image behind a gradient: where the gradient of the last bias is lowest.

    It is the probability minus 1 there and a probability elsewhere, so without noise the label is certain; see
    `medtk.privacy.labels_present` for batches.

    References
    ----------
    Zhao, Mopuri and Bilen (2020), "iDLG: improved deep leakage from gradients", section 3.
    """
    return int(np.argmin(message[_place_of_bias(model)]))


def match(
    model: keras.Model, message: Sequence[np.ndarray], *, scale_free: bool = False, nonzero_only: bool = False
) -> Callable:
    """Objective of gradient matching for one message.

    Parameters
    ----------
    model, message
        As in `dlg`.
    scale_free : bool
        Whether to compare directions only, against a message that was clipped.
    nonzero_only : bool
        Whether to compare values only that are not zero, against a message that was pruned.

    Returns
    -------
    callable
        ``objective(image, label_scores)`` with shapes (height, width, channels) and (classes,) gives the loss of
        `Rebuilt` and its two gradients. The label that is tried is the softmax of its scores.
    """
    shapes = [tuple(variable.shape) for variable in model.trainable_variables]
    if [np.shape(part) for part in message] != shapes:
        raise BadParameter("The message does not hold one gradient for each trainable weight of the network, in order.")
    seen = [np.asarray(part, np.float32) for part in message]
    length = sum(float(np.sum(part.astype(np.float64) ** 2)) for part in seen)
    if not 0 < length < np.inf:
        raise BadParameter("The message is zero or not finite; there is nothing to match.")
    _, distance = _steps(model)

    def objective(image: np.ndarray, label_scores: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        found = distance(
            image[None].astype(np.float32), label_scores[None].astype(np.float32), seen, scale_free, nonzero_only
        )
        loss, by_image, by_label = (one.numpy().astype(np.float64) / length for one in found)
        return float(loss), by_image[0], by_label[0]

    return objective


def dlg(
    model: keras.Model,
    messages: Sequence[Sequence[np.ndarray]],
    *,
    iterations: int = 300,
    restarts: int = 1,
    enough: float = 0.0,
    seed: int = 0,
    scale_free: bool = False,
    nonzero_only: bool = False,
    progress: bool = False,
) -> Rebuilt:
    """Deep leakage from gradients: image and label are looked for together.

    Parameters
    ----------
    model : keras.Model
        The attacker has the network: in split or federated learning everybody has.
    messages : sequence of message
        From `gradient_of_each`, perhaps defended.
    iterations : int
        Of L-BFGS-B, pixels bounded to [0, 1]; at least 1.
    restarts : int
        Searches an image at most, from other random images; the one with the lowest loss is kept.
    enough : float
        An image is searched again only while its lowest loss is above this.
    seed : int
    scale_free, nonzero_only : bool
        For an attacker who knows that messages are clipped or pruned, see `match`.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    Rebuilt

    Raises
    ------
    BadParameter
        If a message is not a gradient of this network.
    MedtkError
        On another backend than TensorFlow.

    References
    ----------
    Zhu, Liu and Han (2019), algorithm 1.
    """
    known = {"scale_free": scale_free, "nonzero_only": nonzero_only}
    return _rebuild(model, messages, False, iterations, (restarts, enough), seed, known, progress)


def idlg(
    model: keras.Model,
    messages: Sequence[Sequence[np.ndarray]],
    *,
    iterations: int = 300,
    restarts: int = 1,
    enough: float = 0.0,
    seed: int = 0,
    scale_free: bool = False,
    nonzero_only: bool = False,
    progress: bool = False,
) -> Rebuilt:
    """Improved DLG: the label is read off first (`label_of`), so only the image is looked for. Else as `dlg`.

    References
    ----------
    Zhao, Mopuri and Bilen (2020).
    """
    known = {"scale_free": scale_free, "nonzero_only": nonzero_only}
    return _rebuild(model, messages, True, iterations, (restarts, enough), seed, known, progress)


def _rebuild(model, messages, read_label, iterations, searches, seed, known, progress) -> Rebuilt:
    restarts, enough = searches
    if iterations < 1 or restarts < 1:
        raise BadParameter(f"iterations and restarts must be at least 1, not {iterations} and {restarts}.")
    shape, n_classes = model.input_shape[1:], model.output_shape[-1]
    pixels, found = int(np.prod(shape)), []
    for number, message in enumerate(tqdm(messages, desc="gradient matching", disable=not progress, mininterval=2)):
        objective = match(model, message, **known)
        label = SURE * np.eye(n_classes)[label_of(model, message)] if read_label else None

        def value(point, objective=objective, label=label):
            scores = point[pixels:] if label is None else label
            loss, by_image, by_label = objective(point[:pixels].reshape(shape), scores)
            slopes = by_image.ravel() if label is not None else np.concatenate([by_image.ravel(), by_label])
            return loss, slopes

        tries = []
        for attempt in range(restarts):
            random = np.random.default_rng((seed, number, attempt))
            start = random.random(pixels)
            bounds = [(0, 1)] * pixels
            if label is None:
                start, bounds = np.concatenate([start, np.zeros(n_classes)]), bounds + [(None, None)] * n_classes
            options = {"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": 20, "ftol": 1e-14, "gtol": 1e-10}
            done = minimize(value, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
            tries.append((float(done.fun), attempt, done.x))
            if done.fun <= enough:
                break
        loss, _, point = min(tries)
        said = int(np.argmax(point[pixels:] if label is None else label))
        found.append((point[:pixels].reshape(shape).astype(np.float32), said, loss))
    images, classes, losses = zip(*found, strict=True) if found else (np.zeros((0, *shape), np.float32), [], [])
    return Rebuilt(np.asarray(images), np.asarray(classes, np.int64), np.asarray(losses))


def _place_of_bias(model: keras.Model) -> int:
    layer = model.get_layer("logits")
    if not layer.use_bias:
        raise BadParameter("The layer `logits` has no bias, so its gradient does not name the label.")
    return next(i for i, variable in enumerate(model.trainable_variables) if variable is layer.bias)


def _steps(model: keras.Model) -> tuple[Callable, Callable]:
    """Compiled ``gradient(image, label_scores)`` and ``distance(image, label_scores, message)`` of a network."""
    if keras.backend.backend() != "tensorflow":
        raise MedtkError("Gradient matching here is a compiled TensorFlow step; set KERAS_BACKEND=tensorflow.")
    if model not in _compiled:
        _compiled[model] = _tensorflow_steps(logits(model), [variable.value for variable in model.trainable_variables])
    return _compiled[model]


def _tensorflow_steps(network: keras.Model, weights: list) -> tuple[Callable, Callable]:
    import tensorflow as tf

    signature = [
        tf.TensorSpec((1, *network.input_shape[1:]), tf.float32),
        tf.TensorSpec((1, network.output_shape[-1]), tf.float32),
    ]

    def gradient_by_weights(image, label_scores):
        with tf.GradientTape() as tape:
            scores = network(image, training=False)
            # Not the fused cross-entropy: the second derivative of that forgets the label.
            loss = -tf.reduce_sum(tf.nn.softmax(label_scores) * tf.nn.log_softmax(scores))
        return tape.gradient(loss, weights, unconnected_gradients="zero")

    def distance(image, label_scores, seen, scale_free, nonzero_only):
        with tf.GradientTape() as tape:
            tape.watch((image, label_scores))
            tried = gradient_by_weights(image, label_scores)
            if nonzero_only:
                tried = [tf.where(b != 0, a, 0.0) for a, b in zip(tried, seen, strict=True)]
            if scale_free:
                # What is left of the message after the best multiple of the tried gradient is taken off.
                common = tf.add_n([tf.reduce_sum(a * b) for a, b in zip(tried, seen, strict=True)])
                own = tf.add_n([tf.reduce_sum(tf.square(a)) for a in tried]) + 1e-20
                tried = [tf.maximum(common, 0.0) / own * a for a in tried]
            loss = tf.add_n([tf.reduce_sum(tf.square(a - b)) for a, b in zip(tried, seen, strict=True)])
        return loss, *tape.gradient(loss, (image, label_scores), unconnected_gradients="zero")

    message = [tf.TensorSpec(weight.shape, tf.float32) for weight in weights]
    compiled = tf.function(gradient_by_weights, input_signature=signature)
    distances = functools.cache(
        lambda *known: tf.function(
            lambda image, label_scores, seen: distance(image, label_scores, seen, *known),
            input_signature=[*signature, message],
        )
    )
    return compiled, lambda image, label_scores, seen, *known: distances(*known)(image, label_scores, seen)
