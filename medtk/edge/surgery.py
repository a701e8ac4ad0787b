"""Operations on a flat network: who uses whose output, normalisation folded into the convolution before it."""

import keras
import numpy as np
from keras import layers

CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D)


def consumers(model: keras.Model) -> dict[str, list]:
    """By the name of each layer, the layers that take its output."""
    maker = {id(tensor): step for step in model.operations for tensor in keras.tree.flatten(step.output)}
    found: dict[str, list] = {step.name: [] for step in model.operations}
    for step in model.operations:
        if not isinstance(step, layers.InputLayer):
            for tensor in keras.tree.flatten(step.input):
                found[maker[id(tensor)].name].append(step)
    return found


def renewed(layer, **changes):
    """A layer of the same settings with new weights, some settings changed."""
    return layer.__class__.from_config(layer.get_config() | changes)


def folded(model: keras.Model) -> keras.Model:
    r"""The same function with every normalisation that follows a convolution made part of it.

    With :math:`g = \gamma / \sqrt{\sigma^2 + \epsilon}` the kernel becomes :math:`g W`, channel by channel, and the
    bias :math:`\beta + g (b - \mu)`. An export does the same; a network that is trained for few bits needs it before,
    because it is the folded kernel that is rounded.

    Parameters
    ----------
    model : keras.Model
        Flat, as `medtk.edge.build` makes it.

    Returns
    -------
    keras.Model
        With weights of its own. Layers have the names that they had; a normalisation that is gone is an identity.
    """
    used = consumers(model)
    norms = {layer.name: used[layer.name][0] for layer in model.layers if _is_normalised(layer, used)}
    gone = {norm.name for norm in norms.values()}

    def changed(layer):
        if layer.name in gone:
            return layers.Identity(name=layer.name)
        return renewed(layer, use_bias=True) if layer.name in norms else renewed(layer)

    def called(layer, *arguments, **options):
        # A normalisation was called with options that an identity does not have.
        return layer(*arguments) if layer.name in gone else layer(*arguments, **options)

    made = keras.models.clone_model(model, clone_function=changed, call_function=called)
    for layer in model.layers:
        if layer.name in norms:
            made.get_layer(layer.name).set_weights(merged(layer, norms[layer.name]))
        elif layer.name not in gone:
            made.get_layer(layer.name).set_weights(layer.get_weights())
    return made


def merged(layer: keras.Layer, norm: layers.BatchNormalization) -> list[np.ndarray]:
    """Kernel and bias of a convolution with the normalisation after it."""
    kernel, *bias = (np.asarray(values, np.float64) for values in layer.get_weights())
    n = norm.moving_mean.shape[0]
    gamma = np.asarray(norm.gamma) if norm.scale else np.ones(n)
    beta = np.asarray(norm.beta) if norm.center else np.zeros(n)
    factor = gamma / np.sqrt(np.asarray(norm.moving_variance, np.float64) + norm.epsilon)
    by_depth = isinstance(layer, layers.DepthwiseConv2D)
    scaled = kernel * (factor.reshape(kernel.shape[2:]) if by_depth else factor)
    shift = beta + factor * ((bias[0] if bias else 0.0) - np.asarray(norm.moving_mean, np.float64))
    return [scaled.astype(np.float32), shift.astype(np.float32)]


def _is_normalised(layer: keras.Layer, used: dict[str, list]) -> bool:
    after = used[layer.name]
    plain = isinstance(layer, CONVOLUTIONS) and layer.activation is keras.activations.linear
    return plain and len(after) == 1 and isinstance(after[0], layers.BatchNormalization)
