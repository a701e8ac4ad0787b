"""A generator of likely images, and the search in its latent space for the image whose activations were seen."""

from typing import NamedTuple

import keras
import numpy as np
from keras import layers

from medtk import training
from medtk.errors import BadParameter, MedtkError

RECIPE = 1  # part of every cache key


class Gan(NamedTuple):
    """Generator and critic of a DCGAN.

    Attributes
    ----------
    generator : keras.Model
        Latent vectors, shape (n, latent), to images in [0, 1].
    critic : keras.Model
        Images to the logit of being real, shape (n, 1).
    history : list of dict
        For each epoch: ``loss`` (the critic's), ``fooled`` (share of made images that it takes for real).
    """

    generator: keras.Model
    critic: keras.Model
    history: list[dict]


def build_gan(image_shape: tuple[int, int, int], *, latent: int = 64, filters: int = 32, seed: int = 0) -> keras.Model:
    """Generator and critic side by side in one model: (latent, images) to (made images, logits).

    Height and width are multiples of 4. Batch normalisation is in the generator only, which keeps the critic's answer
    to an image free of the other images of its batch.
    """
    height, width, channels = image_shape
    if height % 4 or width % 4 or latent < 1 or filters < 1:
        raise BadParameter(
            "A DCGAN here needs height and width in multiples of 4, latent and filters of at least 1, not "
            f"{height}, {width}, {latent} and {filters}."
        )
    keras.utils.set_random_seed(seed)
    z = keras.Input((latent,), name="latent")
    x = layers.Dense(height // 4 * (width // 4) * 2 * filters, use_bias=False)(z)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.Reshape((height // 4, width // 4, 2 * filters))(x)
    x = layers.Conv2DTranspose(filters, 4, strides=2, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    made = layers.Conv2DTranspose(channels, 4, strides=2, padding="same", activation="sigmoid", name="made")(x)
    images = y = keras.Input(image_shape, name="image")
    for width_of in (filters, 2 * filters):
        y = layers.LeakyReLU(0.2)(layers.Conv2D(width_of, 4, strides=2, padding="same")(y))
    logit = layers.Dense(1, name="real")(layers.Flatten()(y))
    return keras.Model([z, images], [made, logit], name="dcgan")


def parts_of(gan: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Generator and critic of `build_gan`."""
    return keras.Model(gan.inputs[0], gan.outputs[0]), keras.Model(gan.inputs[1], gan.outputs[1])


def train_gan(
    images: np.ndarray,
    *,
    epochs: int = 20,
    batch_size: int = 64,
    latent: int = 64,
    filters: int = 32,
    learning_rate: float = 5e-4,
    seed: int = 0,
    progress: bool = True,
) -> Gan:
    """Train a DCGAN on public images, or load it if the same was trained before.

    Both parts take their step at once, on the same made images: the critic on real against made, the generator on
    being taken for real.

    Parameters
    ----------
    images : ndarray of float32, shape (n, height, width, channels)
        In [0, 1]; height and width multiples of 4.
    epochs, batch_size, latent, filters, learning_rate, seed
        Of the training; Adam with a first momentum of 0.5.
    progress : bool
        Whether to show a bar.

    Raises
    ------
    MedtkError
        On another backend than TensorFlow.

    References
    ----------
    Radford, Metz and Chintala (2016), "Unsupervised representation learning with deep convolutional generative
    adversarial networks".
    """
    if keras.backend.backend() != "tensorflow":
        raise MedtkError("Training a DCGAN is a compiled TensorFlow step; set KERAS_BACKEND=tensorflow.")
    training.be_deterministic()
    gan = build_gan(images.shape[1:], latent=latent, filters=filters, seed=seed)
    gan.compile(keras.optimizers.Adam(learning_rate, beta_1=0.5))
    gan.optimizer.build(gan.trainable_variables)
    generator, critic = parts_of(gan)
    step, steps = _training_step(gan, generator, critic), max(1, len(images) // batch_size)
    parts = {
        "recipe": RECIPE,
        "what": "dcgan",
        "settings": [epochs, batch_size, latent, filters, learning_rate, seed],
        "data": training.digest_of_arrays(images),
        "keras": keras.__version__,
    }

    def one_epoch(epoch: int, bar) -> dict:
        order, totals = training.epoch_order(len(images), seed, epoch), np.zeros(2)
        for number in range(steps):  # whole batches only: half a batch would have other normalisation statistics
            real = images[np.resize(order, max(len(order), batch_size))[number * batch_size :][:batch_size]]
            z = np.random.default_rng((seed, epoch, number)).standard_normal((len(real), latent), np.float32)
            totals += step(z, real).numpy()
            bar.update()
        return {"loss": float(totals[0] / steps), "fooled": float(totals[1] / steps)}

    fit = training.train_or_load(
        gan,
        training.digest_of(parts),
        one_epoch,
        epochs=epochs,
        steps_per_epoch=steps,
        title="dcgan",
        progress=progress,
    )
    return Gan(generator, critic, fit.history)


def invert_by_generator(
    generator: keras.Model,
    client: keras.Model,
    seen: np.ndarray,
    *,
    steps: int = 200,
    restarts: int = 2,
    learning_rate: float = 0.1,
    seed: int = 0,
) -> np.ndarray:
    r"""Images of the generator whose activations come nearest to those that were seen.

    .. math:: \min_z \frac{\lVert c(G(z)) - a \rVert^2}{\lVert a \rVert^2} + 0.001 \frac{\lVert z \rVert^2}{\dim z}

    All images and restarts are searched at once, each by itself; of the restarts of an image the one whose activations
    fit best is kept, which the attacker can tell.

    Parameters
    ----------
    generator : keras.Model
        From `train_gan`.
    client : keras.Model
        From images, as the generator makes them, to activations. The attacker has it, or a copy that he trained.
    seen : ndarray of float32, shape (n, ...)
        Activations.
    steps : int
        Of Adam, at least 1.
    restarts : int
        Searches an image, at least 1.
    learning_rate, seed
        Of the search.

    Returns
    -------
    ndarray of float32, shape (n, height, width, channels)
        In [0, 1].
    """
    if steps < 1 or restarts < 1:
        raise BadParameter(f"steps and restarts must be at least 1, not {steps} and {restarts}.")
    if keras.backend.backend() != "tensorflow":
        raise MedtkError("The search in a latent space is a compiled TensorFlow loop; set KERAS_BACKEND=tensorflow.")
    latent, n = generator.input_shape[-1], len(seen)
    search, found = _search(generator, client, steps, learning_rate), []
    for start in range(0, n, 64):
        part = np.repeat(seen[start : start + 64], restarts, axis=0)
        z = np.random.default_rng((seed, start)).standard_normal((len(part), latent), np.float32)
        made, misfit = (one.numpy() for one in search(z, part.astype(np.float32)))
        best = misfit.reshape(-1, restarts).argmin(axis=1) + restarts * np.arange(len(part) // restarts)
        found.append(made[best])
    return np.concatenate(found) if found else np.zeros((0, *generator.output_shape[1:]), np.float32)


def _training_step(gan: keras.Model, generator: keras.Model, critic: keras.Model):
    import tensorflow as tf

    def cross_entropy(logits, wanted):
        each = tf.nn.sigmoid_cross_entropy_with_logits(wanted * tf.ones_like(logits), logits)
        return tf.reduce_mean(each)

    @tf.function
    def step(z, real):
        with tf.GradientTape(persistent=True) as tape:
            made = generator(z, training=True)
            says_real, says_made = critic(real, training=True), critic(made, training=True)
            judged = cross_entropy(says_real, 0.9) + cross_entropy(says_made, 0.0)  # not quite sure of real ones
            fooling = cross_entropy(says_made, 1.0)
        slopes = tape.gradient(fooling, generator.trainable_variables) + tape.gradient(
            judged, critic.trainable_variables
        )
        gan.optimizer.apply(slopes, generator.trainable_variables + critic.trainable_variables)
        return tf.stack([judged, tf.reduce_mean(tf.cast(says_made > 0, tf.float32))])

    return step


def _search(generator: keras.Model, client: keras.Model, steps: int, learning_rate: float):
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def search(z, seen):
        axes = list(range(1, len(seen.shape)))
        length = tf.reduce_sum(tf.square(seen), axis=axes) + 1e-12
        first, second = tf.zeros_like(z), tf.zeros_like(z)  # Adam's two running means

        def misfit_of(z):
            return tf.reduce_sum(tf.square(client(generator(z, training=False), training=False) - seen), axes) / length

        for k in tf.range(1, steps + 1):
            with tf.GradientTape() as tape:
                tape.watch(z)
                total = tf.reduce_sum(misfit_of(z) + 1e-3 * tf.reduce_mean(tf.square(z), axis=1))
            slope, count = tape.gradient(total, z), tf.cast(k, tf.float32)
            first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * tf.square(slope)
            size = tf.sqrt(second / (1 - 0.999**count)) + 1e-8
            z = z - learning_rate * first / (1 - 0.9**count) / size
        return generator(z, training=False), misfit_of(z)

    return search
