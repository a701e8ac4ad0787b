"""A split network trained under a defence of its activations, and what the server sees of it."""

import dataclasses
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import keras
import numpy as np

from medtk import training
from medtk.data import Split
from medtk.errors import BadParameter, MedtkError
from medtk.inversion.defenses import distance_correlation, laplace
from medtk.split_learning import reseed, split_at

RECIPE = 1  # part of every cache key
_compiled: WeakKeyDictionary = WeakKeyDictionary()


@dataclass(frozen=True)
class Defense:
    """How a client defends its activations; the default does nothing.

    Attributes
    ----------
    noise : float
        Scale of Laplacian noise on the activations, in training and in use; 0 or more.
    nopeek : float
        Weight of the distance correlation between images and activations in the loss; 0 or more.
    """

    noise: float = 0.0
    nopeek: float = 0.0

    def __post_init__(self):
        if not 0 <= self.noise < np.inf or not 0 <= self.nopeek < np.inf:
            raise BadParameter(f"noise and nopeek must be numbers, 0 or more, not {self.noise} and {self.nopeek}.")


def train_split(
    model: keras.Model,
    cut_layer: str,
    split: Split,
    defense: Defense | None = None,
    *,
    epochs: int = 5,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool = True,
) -> training.Fit:
    r"""Train client and server together under a defence, or load the result of the same training.

    .. math:: L = L_\text{cross-entropy}(y, s(c(x) + \text{noise})) + \text{nopeek} \cdot \mathrm{dCor}(x, c(x))

    The gradient through the cut is the one that `medtk.split_learning` sends back in a message, so both parts are
    trained in one compiled step here.

    Parameters
    ----------
    model : keras.Model
        Whole, compiled, untrained; from `medtk.split_learning.build`. It is trained in place.
    cut_layer : str
        Last layer of the client.
    split : Split
        What the first layer sees, and the labels.
    defense : Defense, optional
    epochs, batch_size : int
        At least 1. The distance correlation is taken over a batch.
    seed : int
        Of order, dropout and noise.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    medtk.training.Fit

    Raises
    ------
    MedtkError
        On another backend than TensorFlow.

    References
    ----------
    Titcombe et al. (2021), section 3; Vepakomma et al. (2019), Eq. (1).
    """
    if keras.backend.backend() != "tensorflow":
        raise MedtkError("Training under a defence is a compiled TensorFlow step; set KERAS_BACKEND=tensorflow.")
    if epochs < 1 or batch_size < 1:
        raise BadParameter(f"epochs and batch_size must be at least 1, not {epochs} and {batch_size}.")
    training.be_deterministic()
    defense = defense or Defense()
    parts = {
        "recipe": RECIPE,
        "what": "defended split training",
        "defense": dataclasses.asdict(defense),
        "cut_layer": cut_layer,
        "settings": [epochs, batch_size, seed],
        "network": str([layer.get_config() for layer in model.layers]),
        "start": training.digest_of_arrays(*model.get_weights()),
        "optimizer": str(model.optimizer.get_config() | {"name": ""}),
        "data": training.digest_of_arrays(split.images, split.labels),
        "keras": keras.__version__,
    }
    model.optimizer.build(model.trainable_variables)
    step = _step(model, cut_layer, defense)
    steps = -(-len(split) // batch_size)

    def one_epoch(epoch: int, bar) -> dict:
        reseed(model, seed, epoch)
        order, totals = training.epoch_order(len(split), seed, epoch), np.zeros(2)
        for number in range(steps):
            batch = split.take(order[number * batch_size : (number + 1) * batch_size])
            noise_seed = np.array([seed, epoch * steps + number], np.int32)
            totals += step(batch.images, batch.labels.astype(np.int32), noise_seed).numpy()
            bar.update()
        return {"loss": float(totals[0] / len(split)), "accuracy": float(totals[1] / len(split))}

    return training.train_or_load(
        model,
        training.digest_of(parts),
        one_epoch,
        epochs=epochs,
        steps_per_epoch=steps,
        title=f"split at {cut_layer}",
        progress=progress,
    )


def observe(client: keras.Model, inputs: np.ndarray, defense: Defense | None = None, seed: int = 0) -> np.ndarray:
    """What the server receives for each input, in use: activations with the defence's noise.

    Parameters
    ----------
    client : keras.Model
        From `medtk.split_learning.split_at`.
    inputs : ndarray of float32, shape (n, ...)
    defense : Defense, optional
    seed : int
        Of the noise.
    """
    activations = client.predict(inputs, batch_size=256, verbose=0)
    scale = defense.noise if defense else 0.0
    return laplace([activations], scale, seed)[0] if scale else activations


def predict(
    model: keras.Model, cut_layer: str, inputs: np.ndarray, defense: Defense | None = None, seed: int = 0
) -> np.ndarray:
    """Probabilities that the server answers to what it receives, shape (n, classes)."""
    client, server = split_at(model, cut_layer)
    return server.predict(observe(client, inputs, defense, seed), batch_size=256, verbose=0)


def _step(model: keras.Model, cut_layer: str, defense: Defense):
    import tensorflow as tf

    key = (cut_layer, defense)
    steps = _compiled.setdefault(model, {})
    if key in steps:
        return steps[key]
    client, server = split_at(model, cut_layer)

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, *model.input_shape[1:]), tf.float32),
            tf.TensorSpec((None,), tf.int32),
            tf.TensorSpec((2,), tf.int32),
        ]
    )
    def step(images, labels, noise_seed):
        with tf.GradientTape() as tape:
            activations = client(images, training=True)
            sent = activations
            if defense.noise:
                # The difference of two exponential variables is Laplacian.
                even = tf.random.stateless_uniform([2, tf.size(sent)], noise_seed, minval=1e-7, maxval=1.0)
                one, other = tf.unstack(-tf.math.log(even))
                sent += defense.noise * tf.reshape(one - other, tf.shape(sent))
            probabilities = server(sent, training=True)
            loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, probabilities))
            total = loss
            if defense.nopeek:
                total += defense.nopeek * distance_correlation(images, activations)
        model.optimizer.apply(tape.gradient(total, model.trainable_variables), model.trainable_variables)
        right = tf.reduce_sum(tf.cast(tf.argmax(probabilities, axis=1, output_type=tf.int32) == labels, tf.float32))
        return tf.stack([total * tf.cast(tf.shape(images)[0], tf.float32), right])

    steps[key] = step
    return step
