"""One compiled TensorFlow step of adversarial training: make the examples, then update the network."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from medtk import models
from medtk.defenses.losses import divergence, trades_loss
from medtk.models.gradients import cross_entropy


def compiled_step(
    model: keras.Model,
    *,
    method: str,
    epsilon: float,
    steps: int,
    step_size: float,
    beta: float = 6.0,
    clean_share: float = 0.0,
    crafting: str = "inference",
) -> Callable:
    """Compile one step of adversarial training, for batches of any size.

    Parameters
    ----------
    model : keras.Model
        Compiled, so that it has an optimizer; trained in place.
    method : {'fgsm', 'pgd', 'trades'}
        See `medtk.defenses.adversarial.Spec`, also for the other parameters.
    epsilon, steps, step_size, beta, clean_share, crafting
        As there.

    Returns
    -------
    callable
        ``step(images, labels, seed)`` with two int32 of seed updates the network once; it gives the sum of the
        losses and the number of right answers on the images that it trained on.
    """
    scores = models.logits(model)
    in_training = crafting == "training"

    def ascend(loss, start, images, steps, step_size):
        attacked = start
        for _ in tf.range(steps):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(attacked)
                total = tf.reduce_sum(loss(scores(attacked, training=in_training)))
            attacked += step_size * tf.sign(tape.gradient(total, attacked))
            attacked = tf.clip_by_value(attacked, images - epsilon, images + epsilon)
            attacked = tf.clip_by_value(attacked, 0.0, 1.0)
        return attacked

    def fgsm(images, labels, seed):
        return ascend(lambda found: cross_entropy(found, labels), images, images, 1, epsilon)

    def pgd(images, labels, seed):
        noise = tf.random.stateless_uniform(tf.shape(images), seed, -epsilon, epsilon)
        start = tf.clip_by_value(images + noise, 0.0, 1.0)
        return ascend(lambda found: cross_entropy(found, labels), start, images, steps, step_size)

    def neighbour(images, seed):
        # The divergence is flat at the image itself: a small random step finds a direction to start in.
        start = images + 0.001 * tf.random.stateless_normal(tf.shape(images), seed)
        said = scores(images, training=in_training)
        return ascend(lambda found: divergence(said, found), start, images, steps, step_size)

    def losses_of_mixture(images, labels, seed):
        kept = tf.cast(tf.round(clean_share * tf.cast(tf.shape(images)[0], tf.float32)), tf.int32)
        rest = images[kept:], labels[kept:]
        craft = {"fgsm": fgsm, "pgd": pgd}[method]
        # With everything kept clean there is no image to attack, and a network of no images is not sure to run.
        attacked = tf.cond(tf.size(rest[1]) > 0, lambda: craft(*rest, seed), lambda: rest[0])
        mixture = tf.stop_gradient(tf.concat([images[:kept], attacked], axis=0))

        def losses():
            found = scores(mixture, training=True)
            return cross_entropy(found, labels), found

        return losses

    def losses_of_trades(images, labels, seed):
        attacked = tf.stop_gradient(neighbour(images, seed))

        def losses():
            clean, found = scores(images, training=True), scores(attacked, training=True)
            return trades_loss(clean, found, labels, beta), found

        return losses

    make = losses_of_trades if method == "trades" else losses_of_mixture
    batch = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)

    @tf.function(input_signature=[batch, tf.TensorSpec((None,), tf.int32), tf.TensorSpec((2,), tf.int32)])
    def step(images, labels, seed):
        # In training mode a look at the network moves its statistics, which only the update may do.
        moving = model.non_trainable_variables if in_training else []
        before = [tf.identity(variable) for variable in moving]
        losses = make(images, labels, seed)
        for variable, value in zip(moving, before, strict=True):
            variable.assign(value)
        with tf.GradientTape() as tape:
            each, found = losses()
            loss = tf.reduce_mean(each)
        gradients = tape.gradient(loss, model.trainable_variables)
        model.optimizer.apply(gradients, model.trainable_variables)
        right = tf.argmax(found, axis=-1, output_type=tf.int32) == labels
        return tf.reduce_sum(each), tf.reduce_sum(tf.cast(right, tf.float32))

    return lambda images, labels, seed: step(images, np.asarray(labels, np.int32), seed)
