"""What a network costs on paper: multiplications, counted from the shapes of its layers."""

from collections.abc import Iterator

import keras
import numpy as np
from keras import layers


def layers_of(model: keras.Model) -> Iterator[keras.Layer]:
    """Layers of a network, those of networks inside it included."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from layers_of(layer)
        else:
            yield layer


def macs(model: keras.Model) -> int:
    """Multiplications with addition for one image, in convolutions and dense layers.

    A convolution does (kernel height x kernel width x channels in / groups) of them for each value that it gives; one
    by depth does kernel height x kernel width; a dense layer, one for each weight. What is left out (normalisation,
    which an export folds into the convolution before it, activations, pooling) is small beside them.

    Parameters
    ----------
    model : keras.Model
        Built, with a known size of its images.
    """
    return sum(_macs_of(layer) for layer in layers_of(model))


def _macs_of(layer: keras.Layer) -> int:
    if not isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D | layers.Dense):
        return 0
    values = int(np.prod(layer.output.shape[1:]))
    if isinstance(layer, layers.DepthwiseConv2D):
        return values * int(np.prod(layer.kernel_size))
    if isinstance(layer, layers.Conv2D):
        return values * int(np.prod(layer.kernel.shape[:3]))
    return values * int(layer.kernel.shape[0])
