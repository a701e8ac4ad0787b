"""Whole filters removed: a smaller network of the ordinary kind, which any device runs faster."""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from medtk.edge.surgery import consumers, merged, renewed
from medtk.errors import BadParameter

# Layers that keep channels apart: what goes in by a channel comes out by it.
CHANNELWISE = (
    *(layers.BatchNormalization, layers.ReLU, layers.Activation, layers.Identity, layers.Dropout),
    *(layers.DepthwiseConv2D, layers.MaxPooling2D, layers.AveragePooling2D, layers.ZeroPadding2D),
    layers.GlobalAveragePooling2D,
)


@dataclass(frozen=True)
class Chain:
    """From a convolution whose filters can be removed to the layer that mixes their channels.

    Attributes
    ----------
    maker : str
        Name of the convolution.
    between : tuple of str
        Names of the layers on the way that have weights of their own for each channel.
    user : str
        Name of the convolution or dense layer that takes the channels.
    """

    maker: str
    between: tuple[str, ...]
    user: str


def chains(model: keras.Model) -> list[Chain]:
    """Convolutions whose filters only one other layer uses.

    In MobileNetV2 these are the ones that widen a block, because the channels between blocks are added to others and
    must all stay.
    """
    used, found = consumers(model), []
    for layer in model.layers:
        if not isinstance(layer, layers.Conv2D) or layer.groups != 1:
            continue
        between, after = [], used[layer.name]
        while len(after) == 1 and isinstance(after[0], CHANNELWISE) and getattr(after[0], "depth_multiplier", 1) == 1:
            if after[0].weights:
                between.append(after[0].name)
            after = used[after[0].name]
        if len(after) == 1 and isinstance(after[0], layers.Conv2D | layers.Dense) and _takes_all(after[0]):
            found.append(Chain(layer.name, tuple(between), after[0].name))
    return found


def strengths(model: keras.Model, chain: Chain) -> np.ndarray:
    """Sum of the absolute weights of each filter, as it is after the normalisation that follows, shape (filters,)."""
    layer = model.get_layer(chain.maker)
    first = model.get_layer(chain.between[0]) if chain.between else None
    is_norm = isinstance(first, layers.BatchNormalization)
    kernel = merged(layer, first)[0] if is_norm else np.asarray(layer.kernel)
    return np.abs(kernel).sum(axis=(0, 1, 2))


def strongest(model: keras.Model, keep: float) -> dict[Chain, np.ndarray]:
    """Numbers of the filters to keep, by chain: the share `keep` with the largest `strengths`, at least one.

    References
    ----------
    Li, Kadav, Durdanovic, Samet and Graf (2017), "Pruning filters for efficient ConvNets", section 3.1.
    """
    if not 0 < keep <= 1:
        raise BadParameter(f"keep must lie above 0 and be at most 1, not {keep}.")
    found = {}
    for chain in chains(model):
        order = np.argsort(-strengths(model, chain), kind="stable")
        found[chain] = np.sort(order[: max(round(keep * len(order)), 1)])
    return found


def masked(model: keras.Model, kept: dict[Chain, np.ndarray]) -> keras.Model:
    """The network of the same size in which nobody listens to the other filters."""
    made = keras.models.clone_model(model, clone_function=renewed)
    made.set_weights(model.get_weights())
    for chain, numbers in kept.items():
        user = made.get_layer(chain.user)
        kernel, *rest = user.get_weights()
        silent = np.setdiff1d(np.arange(kernel.shape[-2]), numbers)
        kernel[..., silent, :] = 0
        user.set_weights([kernel, *rest])
    return made


def without_filters(model: keras.Model, kept: dict[Chain, np.ndarray]) -> keras.Model:
    """The smaller network that holds the kept filters alone; it answers as `masked` does.

    Parameters
    ----------
    model : keras.Model
        Flat; it is not changed.
    kept : dict
        Of `strongest`, or any other choice.
    """
    outgoing = {chain.maker: numbers for chain, numbers in kept.items()}
    incoming = {chain.user: numbers for chain, numbers in kept.items()}
    along = {name: numbers for chain, numbers in kept.items() for name in chain.between}

    def changed(layer):
        changes = {"filters": len(outgoing[layer.name])} if layer.name in outgoing else {}
        return renewed(layer, **changes)

    made = keras.models.clone_model(model, clone_function=changed)
    for layer in model.layers:
        arrays = layer.get_weights()
        if layer.name in along:
            by_depth = isinstance(layer, layers.DepthwiseConv2D)
            arrays = [a[:, :, along[layer.name]] if by_depth and a.ndim == 4 else a[along[layer.name]] for a in arrays]
        if layer.name in incoming:
            arrays[0] = arrays[0][..., incoming[layer.name], :]
        if layer.name in outgoing:
            arrays = [a[..., outgoing[layer.name]] for a in arrays]
        made.get_layer(layer.name).set_weights(arrays)
    return made


def _takes_all(layer: keras.Layer) -> bool:
    return isinstance(layer, layers.Dense) or layer.groups == 1
