"""Single weights set to zero, on a schedule, and a file format in which zeros cost next to nothing."""

import io
from collections.abc import Sequence
from zlib import compress, decompress

import keras
import numpy as np
from keras import layers

from medtk.errors import BadParameter, CorruptFile

SMALLEST = 1024  # values; smaller kernels save nothing worth the harm


def sparsity_at(step: int, *, begin: int, end: int, final: float, initial: float = 0.0, power: float = 3.0) -> float:
    r"""Share of weights that are zero at a step of training.

    .. math:: s_t = s_f + (s_i - s_f) \left(1 - \frac{t - t_0}{t_1 - t_0}\right)^p

    Fast at first, when there is much to spare, and slowly at the end.

    Parameters
    ----------
    step : int
    begin, end : int
        Steps between which it rises; before `begin` it is `initial`, from `end` on `final`.
    final, initial : float
        0 to below 1.
    power : float

    References
    ----------
    Zhu and Gupta (2017), "To prune, or not to prune", Eq. (1), with p = 3.
    """
    if not (0 <= initial <= final < 1 and begin < end):
        raise BadParameter(
            f"0 <= initial <= final < 1 and begin < end expected, not {initial}, {final}, {begin}, {end}."
        )
    done = min(max((step - begin) / (end - begin), 0.0), 1.0)
    return final + (initial - final) * (1 - done) ** power


def prunable(model: keras.Model) -> list[keras.Layer]:
    """Convolutions and dense layers with a large kernel, but the ``logits``: convolutions by depth have too few."""
    return [
        layer
        for layer in model.layers
        if isinstance(layer, layers.Conv2D | layers.Dense)
        and layer.name != "logits"
        and int(np.prod(layer.kernel.shape)) >= SMALLEST
    ]


def mask(kernel: np.ndarray, sparsity: float) -> np.ndarray:
    """1 for the weights to keep and 0 for the round(sparsity x size) smallest ones; of equals the first ones go."""
    kernel = np.asarray(kernel)
    kept = np.ones(kernel.size, np.float32)
    kept[np.argsort(np.abs(kernel), axis=None, kind="stable")[: round(sparsity * kernel.size)]] = 0
    return kept.reshape(kernel.shape)


def sparsity(model: keras.Model) -> float:
    """Share of zeros among all weights that the network would be shipped with."""
    arrays = [np.asarray(variable) for variable in model.trainable_variables]
    return 1 - sum(np.count_nonzero(a) for a in arrays) / sum(a.size for a in arrays)


class Pruner(keras.callbacks.Callback):
    """While a network trains: keeps the smallest weights of each large kernel at zero, more of them as time goes by.

    Parameters
    ----------
    final : float
        Share of zeros in each large kernel at the end.
    steps : int
        Steps of the whole training; the last third of them trains what is left.
    first_step : int
        Steps that were done before this call of ``fit``.
    every : int
        Steps between two choices of the weights that go.
    """

    def __init__(self, final: float, *, steps: int, first_step: int = 0, every: int = 20):
        super().__init__()
        self.final, self.end, self.step, self.every = final, max(2 * steps // 3, 1), first_step, every
        self.masks: list = []

    def on_train_begin(self, logs=None):
        """Choose before the first step."""
        self._choose()

    def on_train_batch_end(self, batch, logs=None):
        """Choose again if it is time, and put back to zero what the step has moved."""
        self.step += 1
        if self.step % self.every == 0 or self.step == self.end:
            self._choose()
        self._apply()

    def _choose(self):
        share = sparsity_at(self.step, begin=0, end=self.end, final=self.final)
        self.masks = [keras.ops.convert_to_tensor(mask(layer.kernel, share)) for layer in prunable(self.model)]
        self._apply()

    def _apply(self):
        for layer, kept in zip(prunable(self.model), self.masks, strict=True):
            layer.kernel.assign(layer.kernel * kept)


def pack(arrays: Sequence[np.ndarray], *, bits: int = 32) -> bytes:
    """Arrays in one compressed file: where the values are, a bit each, and the values that are not zero.

    Parameters
    ----------
    arrays : sequence of ndarray of float32
        Weights of a network, in order; the last axis is that of the output channels.
    bits : {32, 16, 8}
        Of a value. 32 keeps it exactly and 16 rounds it; 8 stores a whole number, and one scale an output channel, for
        arrays of two axes or more.

    Returns
    -------
    bytes
        For `unpack`.
    """
    if bits not in (32, 16, 8):
        raise BadParameter(f"bits must be 32, 16 or 8, not {bits}.")
    parts = {"bits": np.array(bits)}
    for number, array in enumerate(np.asarray(a, np.float32) for a in arrays):
        values = array
        if bits == 8 and array.ndim >= 2:
            largest = np.abs(array).max(axis=tuple(range(array.ndim - 1)), initial=0)
            scale = np.maximum(largest, np.float32(1e-12)) / np.float32(127)
            values = np.rint(array / scale).astype(np.int8)
            parts[f"scale_{number}"] = scale
        elif bits == 16:
            values = array.astype(np.float16)
        there = values != 0
        parts |= {
            f"shape_{number}": np.array(array.shape, np.int32),
            f"there_{number}": np.packbits(there),
            f"values_{number}": values[there],
        }
    file = io.BytesIO()
    np.savez(file, **parts)
    return compress(file.getvalue(), 9)


def unpack(content: bytes) -> list[np.ndarray]:
    """Arrays of `pack`, as float32.

    Raises
    ------
    CorruptFile
        If it is not such a file.
    """
    try:
        with np.load(io.BytesIO(decompress(content)), allow_pickle=False) as stored:
            parts = {name: stored[name] for name in stored.files}
        return [_filled(parts, number) for number in range(sum(name.startswith("shape_") for name in parts))]
    except Exception as error:  # zlib, zipfile and NumPy answer damage with nearly every kind of error
        raise CorruptFile(f"These are no packed weights ({error}); get the file again.") from error


def _filled(parts: dict, number: int) -> np.ndarray:
    shape, values = tuple(parts[f"shape_{number}"]), parts[f"values_{number}"]
    array = np.zeros(int(np.prod(shape)), np.float32)
    array[np.unpackbits(parts[f"there_{number}"], count=array.size).astype(bool)] = values
    return array.reshape(shape) * parts.get(f"scale_{number}", np.float32(1))
