"""A small network as one JavaScript file, for the page of the book that answers in the reader's browser.

The file is a script that sets one variable, not JSON to be fetched: browsers refuse to fetch for a page opened from
disk, but they run the scripts that it names.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence

import keras
import numpy as np
from keras import layers

from medtk.errors import BadParameter

VARIABLE = "medtkModel"
STEPS = 127  # an int8 weight lies in -127..127; -128 is left out, so that the range is symmetric
ACTIVATIONS = ("relu", "linear")


def quantized(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights as whole numbers of 8 bits and one scale for each output channel: w = scale · q, to scale / 2.

    Parameters
    ----------
    kernel : ndarray of float, shape (..., channels)

    Returns
    -------
    q : ndarray of int8, shape of `kernel`
    scale : ndarray of float32, shape (channels,)
        1 where all weights of a channel are zero.
    """
    largest = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1)))
    scale = np.where(largest > 0, largest / STEPS, 1.0).astype(np.float32)
    return np.rint(kernel / scale).astype(np.int8), scale


def as_shipped(model: keras.Model) -> keras.Model:
    """Copy of a network with the weights that the page computes with: each scale times its whole number.

    Parameters
    ----------
    model : keras.Model
        Of the layers that `script` knows.
    """
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for layer in copy.layers:
        if isinstance(layer, layers.Conv2D | layers.Dense):
            q, scale = quantized(np.asarray(layer.kernel))
            layer.kernel.assign(q * scale)
    return copy


def script(model: keras.Model, *, classes: Sequence[str], about: Mapping, examples: Sequence[Mapping] = ()) -> str:
    """Text of the JavaScript file.

    Parameters
    ----------
    model : keras.Model
        A chain of Conv2D, MaxPooling2D, GlobalAveragePooling2D, Dense and a last Softmax on square images of one
        channel. Kernels are stored as `quantized`, biases as float32.
    classes : sequence of str
        In the order of the outputs.
    about : dict
        Model card, as JSON can write it.
    examples : sequence of dict
        Images for the page: ``png`` (base64), ``name``, ``label`` and ``probabilities`` as Python gives them.

    Returns
    -------
    str
        Its field ``sha256`` is `digest` of its layers.

    Raises
    ------
    BadParameter
        If the network has another layer or setting, which the page could not compute.
    """
    height, width, channels = model.input_shape[1:]
    if height != width or channels != 1 or len(classes) != model.output_shape[-1]:
        raise BadParameter(
            f"The page takes square grey images and a name for each class, not {model.input_shape[1:]} and {classes}."
        )
    chain = [_layer(layer) for layer in model.layers if not isinstance(layer, layers.InputLayer)]
    if not chain or chain[-1]["kind"] != "softmax":
        raise BadParameter("The last layer must be a Softmax.")
    content = {
        "size": height,
        "classes": list(classes),
        "layers": chain,
        "sha256": digest(chain),
        "about": dict(about),
        "examples": [dict(example) for example in examples],
    }
    return f"window.{VARIABLE} = {json.dumps(content, ensure_ascii=False)};\n"


def read(text: str) -> dict:
    """Content of a file that `script` wrote; `BadParameter` if it is none, or its digest is of other layers."""
    start = f"window.{VARIABLE} = "
    try:
        content = json.loads(text.removeprefix(start).rstrip().removesuffix(";"))
        whole = text.startswith(start) and digest(content["layers"]) == content["sha256"]
    except (json.JSONDecodeError, KeyError, TypeError):
        whole = False
    if not whole:
        raise BadParameter("This is not a model for the page, or it was changed: export it again.")
    return content


def digest(chain: Sequence[Mapping]) -> str:
    """SHA-256 of layers as they are written."""
    return hashlib.sha256(json.dumps(list(chain), sort_keys=True).encode()).hexdigest()


def _layer(layer: keras.Layer) -> dict:
    if isinstance(layer, layers.GlobalAveragePooling2D) and not layer.keepdims:
        return {"kind": "mean"}
    if isinstance(layer, layers.Softmax):
        return {"kind": "softmax"}
    if type(layer) is layers.MaxPooling2D:
        return {"kind": "pool", "size": layer.pool_size[0], "stride": layer.strides[0], "padding": layer.padding}
    activation = getattr(getattr(layer, "activation", None), "__name__", "linear")
    plain = type(layer) in (layers.Conv2D, layers.Dense) and layer.use_bias and activation in ACTIVATIONS
    if not plain or getattr(layer, "groups", 1) != 1 or set(getattr(layer, "dilation_rate", (1,))) != {1}:
        raise BadParameter(f"The page cannot compute {layer.name}, a {type(layer).__name__} with these settings.")
    kernel, bias = layer.get_weights()
    q, scale = quantized(kernel)
    found = {"kind": "dense", "shape": kernel.shape, "weights": _text(q), "scale": _text(scale), "bias": _text(bias)}
    found["relu"] = activation == "relu"
    if isinstance(layer, layers.Conv2D):
        found |= {"kind": "conv", "stride": layer.strides[0], "padding": layer.padding}
    return found


def _text(array: np.ndarray) -> str:
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode()
