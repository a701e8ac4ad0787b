"""Training for few bits: the forward pass rounds as the device will, the backward pass pretends that it did not."""

import keras
import numpy as np
from keras import layers, ops

from medtk.edge.surgery import CONVOLUTIONS, consumers, folded, renewed
from medtk.errors import BadParameter

WEIGHTED = (*CONVOLUTIONS, layers.Dense)
ACTIVATIONS = (layers.ReLU, layers.Activation)
# Layers that give values in the range of what they get, or that an export merges with their neighbour.
PASSING = (
    *(layers.InputLayer, layers.Identity, layers.Reshape, layers.Permute, layers.ZeroPadding2D, layers.Dropout),
    *(layers.MaxPooling2D, layers.Softmax, layers.Flatten),
)


def fake_quantized(x, low: float, high: float, bits: int = 8):
    r"""Values rounded to the 2 ** `bits` levels of a range, with a straight-through gradient.

    .. math:: s = \frac{h - l}{2^b - 1}, \quad z = \mathrm{round}(-l / s), \quad
              \hat x = s \, (\mathrm{clip}(\mathrm{round}(x / s) + z, 0, 2^b - 1) - z)

    The range always holds 0, which the level z then gives exactly. The gradient of a value is 1 within the range and
    0 outside: rounding itself has the gradient 0 almost everywhere, and nothing would be learnt.

    Parameters
    ----------
    x : tensor
    low, high : float
        Ends of the range.
    bits : int
        2 to 16.

    Returns
    -------
    tensor
        Of the same shape.

    References
    ----------
    Jacob et al. (2018), section 3 and Eq. (12). Straight-through gradient: Bengio, Léonard and Courville (2013).
    """
    if not 2 <= bits <= 16:
        raise BadParameter(f"bits must lie in 2 to 16, not {bits}.")
    top = 2**bits - 1
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    scale = max(high - low, 1e-8) / top
    zero = round(-low / scale)
    inside = ops.clip(x, -zero * scale, (top - zero) * scale)
    return inside + ops.stop_gradient(ops.round(inside / scale) * scale - inside)


def rounded_weights(kernel, bits: int = 8, *, by_depth: bool = False):
    r"""A kernel rounded channel by channel to whole multiples of :math:`\max|w| / (2^{b-1} - 1)`, straight through.

    Parameters
    ----------
    kernel : tensor
        The last axis is that of the output channels; with `by_depth` the last two are.
    bits : int
    by_depth : bool
        Whether it belongs to a convolution by depth.
    """
    axes = tuple(range(len(kernel.shape) - (2 if by_depth else 1)))
    largest = ops.max(ops.abs(kernel), axis=axes, keepdims=True)
    scale = ops.maximum(largest, 1e-12) / (2 ** (bits - 1) - 1)
    return kernel + ops.stop_gradient(ops.round(kernel / scale) * scale - kernel)


@keras.saving.register_keras_serializable("medtk")
class RoundedWeights(layers.Wrapper):
    """A convolution or dense layer that works with its kernel rounded to a few bits; the kernel itself stays float."""

    def __init__(self, layer, bits: int = 8, **kwargs):
        super().__init__(layer, **kwargs)
        self.bits = bits

    def call(self, x):
        """What the layer gives with the rounded kernel."""
        by_depth = isinstance(self.layer, layers.DepthwiseConv2D)
        values = [
            rounded_weights(v, self.bits, by_depth=by_depth) if v is self.layer.kernel else v
            for v in self.layer.trainable_variables
        ]
        return self.layer.stateless_call(values, [], x)[0]

    def get_config(self):
        """What Keras stores with a network."""
        return super().get_config() | {"bits": self.bits}


@keras.saving.register_keras_serializable("medtk")
class RoundedValues(layers.Layer):
    """`fake_quantized` in a network, with a range that was found before."""

    def __init__(self, low: float, high: float, bits: int = 8, **kwargs):
        super().__init__(**kwargs)
        self.low, self.high, self.bits = low, high, bits

    def call(self, x):
        """Rounded values."""
        return fake_quantized(x, self.low, self.high, self.bits)

    def get_config(self):
        """What Keras stores with a network."""
        return super().get_config() | {"low": self.low, "high": self.high, "bits": self.bits}


def quantization_aware(
    model: keras.Model, calibration: np.ndarray, *, weight_bits: int = 8, activation_bits: int | None = 8
) -> keras.Model:
    """A network that is trained as usual and answers as its quantised export will.

    Normalisation is folded into the convolutions, every kernel is rounded, and so is what each layer gives to the next,
    in the range that it has on the calibration images before this training. An export takes ranges of its own from the
    trained network; after small steps the two are close.

    Parameters
    ----------
    model : keras.Model
        Flat and trained; it is not changed.
    calibration : ndarray of float32, shape (n, height, width, channels)
        Training images.
    weight_bits : int
        Of the kernels.
    activation_bits : int or None
        Of what passes between layers; None leaves it in floats, as the recipes ``weights_int8`` and ``weights_int4``.

    Returns
    -------
    keras.Model
        Its weights are, in number and order, those of `folded` ``(model)``; after training give them to `unrounded`.
    """
    plain = folded(model)
    ranges = {} if activation_bits is None else _ranges(plain, calibration)

    def changed(layer):
        made = renewed(layer)
        return RoundedWeights(made, weight_bits, name=layer.name) if isinstance(layer, WEIGHTED) else made

    def called(layer, *arguments, **options):
        value = layer(*arguments, **options)
        if layer.name in ranges:
            value = RoundedValues(*ranges[layer.name], activation_bits, name=f"{layer.name}_rounded")(value)
        return value

    made = keras.models.clone_model(plain, clone_function=changed, call_function=called)
    made.set_weights(plain.get_weights())
    return made


def unrounded(model: keras.Model, trained: keras.Model) -> keras.Model:
    """Plain network for export: `model` with normalisation folded, and the weights of its `quantization_aware` form."""
    plain = folded(model)
    plain.set_weights(trained.get_weights())
    return plain


def _ranges(plain: keras.Model, calibration: np.ndarray) -> dict[str, tuple[float, float]]:
    """Smallest and largest value that each layer gives to the next, over all calibration images."""
    used = consumers(plain)
    rounded = [layer for layer in plain.layers if not isinstance(layer, PASSING) and not _is_merged(layer, used)]
    outputs = keras.Model(plain.input, [layer.output for layer in rounded]).predict(
        np.asarray(calibration, np.float32), verbose=0
    )
    return {
        layer.name: (float(values.min()), float(values.max())) for layer, values in zip(rounded, outputs, strict=True)
    }


def _is_merged(layer: keras.Layer, used: dict[str, list]) -> bool:
    """Whether an activation function follows, so that a device never sees what this layer gives."""
    after = used[layer.name]
    while len(after) == 1 and isinstance(after[0], layers.Identity):
        after = used[after[0].name]
    return isinstance(layer, WEIGHTED) and len(after) == 1 and isinstance(after[0], ACTIVATIONS)
