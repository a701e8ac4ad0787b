"""Record-level differential privacy inside one hospital: SGD on clipped, noised gradients of single images.

Abadi et al. (2016), "Deep learning with differential privacy", Algorithm 1. It hides each image from whoever sees
the hospital's updates, however few hospitals there are.
"""

import math
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import keras
import numpy as np

from medtk import training
from medtk.data import Split
from medtk.errors import BadParameter, MedtkError
from medtk.models import logits
from medtk.models.gradients import cross_entropy

_compiled: WeakKeyDictionary = WeakKeyDictionary()


@dataclass(frozen=True)
class PrivateSgd:
    """How to train privately.

    Attributes
    ----------
    clip_norm : float
        Longest gradient of one image that counts in full, L2 over all weights, above 0; infinite only
        without noise.
    noise_multiplier : float
        Standard deviation of the noise on the sum of gradients, divided by `clip_norm`; 0 or more.
    batch_size : int
        Images that a step draws on average, at least 1.
    """

    clip_norm: float = 1.0
    noise_multiplier: float = 1.0
    batch_size: int = 32

    def __post_init__(self):
        if self.batch_size < 1:
            raise BadParameter(f"batch_size must be at least 1, not {self.batch_size}.")
        if not self.clip_norm > 0 or not 0 <= self.noise_multiplier < math.inf:
            raise BadParameter(
                "clip_norm must be above 0 and noise_multiplier a finite number, 0 or more, not "
                f"{self.clip_norm} and {self.noise_multiplier}."
            )
        if self.noise_multiplier and not self.clip_norm < math.inf:
            raise BadParameter("Noise is a multiple of clip_norm, which must then be finite.")


def sampling(n: int, batch_size: int) -> tuple[float, int]:
    """Sampling rate and steps of one epoch, for `medtk.privacy.epsilon`.

    Parameters
    ----------
    n : int
        Images, at least 1.
    batch_size : int
        Images that a step draws on average, at least 1.

    Returns
    -------
    (float, int)
        ``batch_size / n`` (1 at most), and as many steps as batches it takes to see n images.
    """
    if n < 1 or batch_size < 1:
        raise BadParameter(f"At least one image and a batch_size of at least 1 expected, not {n} and {batch_size}.")
    return min(1.0, batch_size / n), -(-n // batch_size)


def train_epoch(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, split: Split, settings: PrivateSgd, seed
) -> dict[str, float]:
    """One epoch of DP-SGD; the weights of `model` and the state of `optimizer` change.

    Each step draws every image by its own coin (Poisson sampling), so that batches differ in size and an image may
    come twice in an epoch or not at all. The accountant needs just that: batches of equal size cut from a shuffled
    list are another mechanism, and are not offered. The compiled step takes any number of images, one after the
    other: the gradient of one fits in memory where those of a batch may not. Their clipped sum is divided by the
    expected batch size, since the real one is private too.

    Parameters
    ----------
    model : keras.Model
        With a layer ``logits`` before its softmax, batch normalisation frozen. The loss is cross-entropy.
    optimizer : keras.optimizers.Optimizer
        Any: what it does with a noised gradient costs no privacy. Pass the same object again and the compiled step
        is used again.
    split : Split
        Training images, or anything else with a length, ``labels`` and ``take(rows)``, at least one image.
    settings : PrivateSgd
    seed : int or sequence of int
        Of sampling, noise and dropout; another one each epoch. Whoever knows it can take the noise off: in a real
        hospital it comes from the operating system and is not kept.

    Returns
    -------
    dict
        ``loss`` (mean over the images drawn), ``clipped`` (share of them whose gradient was too long), ``drawn``,
        ``skipped`` (images whose gradient was not finite and counted as zero) and ``steps``. All but ``steps`` are
        computed without noise and belong in the hospital.

    Raises
    ------
    BadParameter
        If the labels do not fit, the model has trainable batch normalisation (it mixes the images of a batch, so
        that no gradient belongs to one image) or regularisation losses.
    MedtkError
        On another backend than TensorFlow.
    """
    check(model)
    labels = np.asarray(split.labels)
    if not np.all((labels >= 0) & (labels < model.output_shape[-1])):
        raise BadParameter(f"Labels must be class ids from 0 to {model.output_shape[-1] - 1}.")
    rate, steps = sampling(len(split), settings.batch_size)
    step = _step(model, optimizer)
    random = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.path.endswith("seed_generator_state"):
            variable.assign(random.integers(0, 2**32, variable.shape, np.uint32))
    deviation = settings.clip_norm * settings.noise_multiplier if settings.noise_multiplier else 0.0
    scalars = [np.float32(value) for value in (settings.clip_norm, deviation, 1 / (rate * len(split)))]
    totals, drawn = np.zeros(3), 0
    for _ in range(steps):
        batch = split.take(np.flatnonzero(random.random(len(split)) < rate))
        noise_seed = random.integers(0, 2**31, 2, dtype=np.int32)
        totals += step(batch.images.astype(np.float32), batch.labels.astype(np.int32), *scalars, noise_seed).numpy()
        drawn += len(batch)
    loss, clipped, skipped = totals.tolist()
    counted = max(drawn - skipped, 1)
    return {
        "loss": loss / counted,
        "clipped": clipped / counted,
        "drawn": drawn,
        "skipped": int(skipped),
        "steps": steps,
    }


def check(model: keras.Model) -> None:
    """Raise the errors of `train_epoch` that lie in the model or the backend, before any work."""
    if keras.backend.backend() != "tensorflow":
        raise MedtkError("DP-SGD here is a compiled TensorFlow step; set KERAS_BACKEND=tensorflow and start again.")
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            raise BadParameter(
                f"Batch normalisation ({layer.name}) computes with the other images of a batch, so no gradient belongs "
                "to one image alone. Freeze it (layer.trainable = False) or use GroupNormalization."
            )
    if model.losses:
        raise BadParameter("Regularisation losses of the layers are left out by DP-SGD; build the model without.")


def _step(model: keras.Model, optimizer: keras.optimizers.Optimizer):
    # Compiled again only for another optimizer or another choice of trainable weights.
    steps = _compiled.setdefault(model, {})
    key = (optimizer, *(variable.path for variable in model.trainable_variables))
    if key not in steps:
        steps.clear()
        training.be_deterministic()
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
        steps[key] = _tensorflow_step(logits(model), optimizer)
    return steps[key]


def _tensorflow_step(network: keras.Model, optimizer: keras.optimizers.Optimizer):
    import tensorflow as tf

    weights = network.trainable_variables
    scalar = tf.TensorSpec([], tf.float32)
    images = tf.TensorSpec([None, *network.input_shape[1:]], tf.float32)

    @tf.function(input_signature=[images, tf.TensorSpec([None], tf.int32), *[scalar] * 3, tf.TensorSpec([2], tf.int32)])
    def step(images, labels, clip_norm, deviation, scale, seed):
        sums, totals = [tf.zeros(weight.shape) for weight in weights], tf.zeros(3)
        for i in tf.range(tf.shape(images)[0]):
            with tf.GradientTape() as tape:
                loss = cross_entropy(network(images[i : i + 1], training=True), labels[i : i + 1])[0]
            gradients = tape.gradient(loss, [weight.value for weight in weights], unconnected_gradients="zero")
            norm = tf.linalg.global_norm(gradients)
            # A gradient that is not finite has no norm to clip: it counts as zero, or it would outshout the noise.
            finite = tf.cast(tf.math.is_finite(norm), tf.float32)
            factor = tf.math.multiply_no_nan(1.0 / tf.maximum(1.0, norm / clip_norm), finite)
            sums = [
                total + tf.math.multiply_no_nan(gradient, factor)
                for total, gradient in zip(sums, gradients, strict=True)
            ]
            clipped = tf.cast(norm > clip_norm, tf.float32) * finite
            totals += tf.stack([tf.math.multiply_no_nan(loss, finite), clipped, 1.0 - finite])
        noise = [
            tf.random.stateless_normal(total.shape, tf.random.experimental.stateless_fold_in(seed, place))
            for place, total in enumerate(sums)
        ]
        optimizer.apply([(t + deviation * z) * scale for t, z in zip(sums, noise, strict=True)], weights)
        return totals

    return step
