"""One step of a client's training, compiled: the same arithmetic on TensorFlow and on JAX.

A step is ``step(images, labels, anchors, strength)``. It moves the network's and the optimizer's variables by one batch
and returns the loss of each image and whether the image was called right, both from before the move. `anchors` are
the weights that FedProx pulls back to, in the order of `keras.Model.trainable_variables`, with that strength;
without the pull they are an empty list.
"""

from collections.abc import Callable
from itertools import chain

import keras

from medtk import models


def tensorflow_step(model: keras.Model, optimizer: keras.optimizers.Optimizer, loss: Callable, pull: bool) -> Callable:
    """Step of a graph that is traced once for batches of any length: each client's last one is short.

    Parameters
    ----------
    model : keras.Model
        With a layer ``logits``.
    optimizer : keras.optimizers.Optimizer
        Built on the model's trainable variables.
    loss : callable
        ``loss(scores, labels)`` gives one value an image.
    pull : bool
        Whether there is FedProx's term.
    """
    import tensorflow as tf

    network = models.logits(model)
    shape = [None, *model.input_shape[1:]]
    signature = [tf.TensorSpec(shape, tf.float32), tf.TensorSpec([None], tf.int32)]
    weights = model.trainable_variables
    starts = [tf.TensorSpec(v.shape, v.dtype) for v in weights] if pull else []

    @tf.function(input_signature=[*signature, starts, tf.TensorSpec([], tf.float32)])
    def step(images, labels, anchors, strength):
        with tf.GradientTape() as tape:
            scores = network(images, training=True)
            each = loss(scores, labels)
            total = tf.reduce_mean(each) + sum(network.losses)
        gradients = tape.gradient(total, [v.value for v in weights])
        if pull:
            # The gradient of (mu / 2) |w - w0|^2, added here so that the reported loss is the task's alone.
            gradients = [g + strength * (v - a) for g, v, a in zip(gradients, weights, anchors, strict=True)]
        optimizer.apply(gradients, weights)
        return each, tf.argmax(scores, axis=1, output_type=tf.int32) == labels

    return step


def jax_step(model: keras.Model, optimizer: keras.optimizers.Optimizer, loss: Callable, pull: bool) -> Callable:
    """The same for JAX, which compiles once a length of batch: the full one, and each client's short last one.

    Shorter batches are not filled up, because batch normalisation would count the filling.
    """
    import jax

    network = models.logits(model)
    state = network.trainable_variables, network.non_trainable_variables, optimizer.variables

    def total(weights, fixed, images, labels):
        scores, fixed, losses = network.stateless_call(weights, fixed, images, training=True, return_losses=True)
        each = loss(scores, labels)
        return each.mean() + sum(losses), (each, scores.argmax(axis=1) == labels, fixed)

    @jax.jit
    def moved(weights, fixed, moments, images, labels, anchors, strength):
        gradients, (each, right, fixed) = jax.grad(total, has_aux=True)(weights, fixed, images, labels)
        if pull:
            gradients = [g + strength * (v - a) for g, v, a in zip(gradients, weights, anchors, strict=True)]
        weights, moments = optimizer.stateless_apply(moments, gradients, weights)
        return (weights, fixed, moments), each, right

    def step(images, labels, anchors, strength):
        before = [[variable.value for variable in part] for part in state]
        after, each, right = moved(*before, images, labels, anchors, strength)
        for variable, value in zip(chain(*state), chain(*after), strict=True):
            variable.assign(value)
        return each, right

    return step
