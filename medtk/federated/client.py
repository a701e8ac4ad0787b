"""What a hospital does in a round: train on its own images from weights that it is sent."""

import zlib
from collections.abc import Callable, Mapping
from typing import NamedTuple
from weakref import WeakKeyDictionary

import keras
import numpy as np
from keras import ops

from medtk import training
from medtk.data import Split
from medtk.data.hospitals import Share, batches
from medtk.errors import BadParameter, MedtkError
from medtk.federated import steps
from medtk.federated.settings import Settings
from medtk.models.gradients import cross_entropy

Weights = list[np.ndarray]

_compiled: WeakKeyDictionary = WeakKeyDictionary()
_OPTIMIZERS = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}
_STEPS = {"tensorflow": steps.tensorflow_step, "jax": steps.jax_step}


class Update(NamedTuple):
    """What leaves a hospital.

    Attributes
    ----------
    weights : list of ndarray
        In the order of `keras.Model.get_weights`, moving statistics included.
    n : int
        Training images behind them.
    metrics : dict of float
        ``loss`` and ``accuracy`` while training, in the last epoch.
    """

    weights: Weights
    n: int
    metrics: dict[str, float]


def client_seed(seed: int, round_number: int, name: str) -> tuple[int, int, int]:
    """Seed of a client in a round: the same on every engine and whatever the order of the clients."""
    return seed, round_number, zlib.crc32(name.encode())


def train(
    model: keras.Model,
    weights: Weights,
    split: Split | Share,
    settings: Settings,
    seed: int | tuple[int, ...] = 0,
) -> Update:
    """Train from `weights` on a client's own images: the client step.

    One model object serves all clients, and with it one compiled step: weights are swapped in, the optimizer is set
    back, and random layers (dropout) are seeded, so that nothing of an earlier call is left.

    Parameters
    ----------
    model : keras.Model
        A classifier with a layer ``logits`` before its softmax. Its weights are overwritten.
    weights : list of ndarray
        To start from, as `keras.Model.get_weights` orders them.
    split : Split or Share
        The client's training images; anything with a length and ``take(rows)``.
    settings : Settings
        Of them: local_epochs, batch_size, learning_rate, optimizer, proximal, loss, augment.
    seed : int or tuple of int
        Of the order of the images, of augmentation and of dropout, see `client_seed`.

    Returns
    -------
    Update
        Weights (new arrays), number of images, metrics.

    Raises
    ------
    BadParameter
        If the client has no images or the weights are not those of this network.
    MedtkError
        On a backend of Keras that is neither TensorFlow nor JAX.
    """
    if len(split) == 0:
        raise BadParameter("a client without training images cannot train; leave it out.")
    put(model, weights)
    fit = _compiled_fit(model, settings)
    random = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.path.endswith("seed_generator_state"):
            variable.assign(random.integers(0, 2**32, variable.shape, np.uint32))
    for _ in range(settings.local_epochs):
        loss, accuracy = fit(_shuffled(split, settings, random))
    metrics = {"loss": loss, "accuracy": accuracy}
    return Update(model.get_weights(), len(split), metrics)


def _shuffled(split: Split | Share, settings: Settings, random: np.random.Generator):
    order = random.permutation(len(split))
    for start in range(0, len(split), settings.batch_size):
        batch = split.take(order[start : start + settings.batch_size])
        images = batch.images if settings.augment is None else settings.augment(batch.images, random)
        yield images, batch.labels.astype(np.int32)


def put(model: keras.Model, weights: Weights) -> None:
    """Put weights into a model; `BadParameter` if they are not those of this network."""
    expected = [tuple(variable.shape) for variable in model.weights]
    given = [np.shape(array) for array in weights]
    if len(given) != len(expected):
        raise BadParameter(f"the weights are not those of this network: {len(given)} arrays, not {len(expected)}.")
    for i, (a, b) in enumerate(zip(given, expected, strict=True)):
        if a != b:
            raise BadParameter(f"the weights are not those of this network: array {i} has shape {a}, not {b}.")
    model.set_weights(weights)


def predict(model: keras.Model, split: Split | Share, batch_size: int = 256) -> np.ndarray:
    """Probabilities of each image, float32, shape (n, classes), a batch in memory at a time."""
    return np.concatenate([model.predict_on_batch(batch.images) for batch in batches(split, batch_size)])


def evaluate(
    model: keras.Model,
    weights: Weights,
    split: Split | Share,
    loss: Callable = cross_entropy,
    batch_size: int = 256,
) -> dict[str, float | int]:
    """Mean ``loss`` and ``accuracy`` (0 to 1) of weights on ``n`` images; the model's weights are overwritten."""
    put(model, weights)
    probabilities, labels = predict(model, split, batch_size), split.labels
    # The logarithm of a softmax gives the same probabilities again, so a loss of scores can be had from it.
    scores = np.log(np.maximum(probabilities, 1e-7))
    losses = ops.convert_to_numpy(loss(ops.convert_to_tensor(scores), ops.convert_to_tensor(labels)))
    accuracy = np.mean(probabilities.argmax(axis=1) == labels)
    return {"loss": float(losses.mean()), "accuracy": float(accuracy), "n": len(split)}


def choose(model: keras.Model, offered: Mapping[str, Weights], split: Split | Share, settings: Settings) -> str:
    """Name of the offered model that has the lowest loss on a client's own training images; the first of equals.

    The step of a client in IFCA: A. Ghosh, J. Chung, D. Yin, K. Ramchandran, "An efficient framework for clustered
    federated learning", NeurIPS 2020, algorithm 1, line 7.
    """
    if len(offered) == 1:
        return next(iter(offered))
    losses = {
        name: evaluate(model, weights, split, settings.loss, settings.evaluate_batch)["loss"]
        for name, weights in offered.items()
    }
    return min(losses, key=losses.get)


def _compiled_fit(model: keras.Model, settings: Settings) -> Callable:
    """One pass over batches, its optimizer new; compiled once a network, optimizer and loss."""
    backend = keras.backend.backend()
    if backend not in _STEPS:
        raise MedtkError(
            f"Clients train on TensorFlow or JAX, not on {backend}: set KERAS_BACKEND to {' or '.join(_STEPS)}."
        )
    kept = _compiled.setdefault(model, {})
    key = settings.optimizer, settings.loss, settings.proximal > 0, tuple(v.path for v in model.trainable_variables)
    if key not in kept:
        training.be_deterministic()
        optimizer = _OPTIMIZERS[settings.optimizer]()
        optimizer.build(model.trainable_variables)
        kept[key] = optimizer, _STEPS[backend](model, optimizer, settings.loss, settings.proximal > 0)
    optimizer, step = kept[key]
    for variable in optimizer.variables:
        variable.assign(ops.zeros_like(variable.value))
    optimizer.learning_rate = settings.learning_rate
    anchors = [ops.copy(v.value) for v in model.trainable_variables] if settings.proximal else []
    strength = ops.convert_to_tensor(settings.proximal, "float32")

    def fit(shuffled) -> tuple[float, float]:
        losses, right = [], []
        for images, labels in shuffled:
            each, correct = step(ops.convert_to_tensor(images), ops.convert_to_tensor(labels), anchors, strength)
            losses.append(ops.convert_to_numpy(each))
            right.append(ops.convert_to_numpy(correct))
        return float(np.concatenate(losses).mean()), float(np.concatenate(right).mean())

    return fit
