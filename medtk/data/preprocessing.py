"""Resizing and channels, for whole batches at once."""

import numpy as np

from medtk.errors import BadParameter

_CHUNK_BYTES = 64 * 2**20


def _weights(n_in: int, n_out: int) -> np.ndarray:
    """Matrix (n_out, n_in) of a triangle filter with half-pixel centres, wider where it shrinks."""
    scale = n_in / n_out
    support = max(scale, 1.0)  # averaging over the shrunk area, so that fine texture does not alias
    centres = (np.arange(n_out) + 0.5) * scale - 0.5
    distance = np.abs(np.arange(n_in) - centres[:, None]) / support
    weight = np.clip(1.0 - distance, 0.0, None)
    return (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)


def check_size(size: int | None) -> None:
    """Raise `BadParameter` unless `size` is None or a positive whole number."""
    whole = isinstance(size, (int, np.integer)) and not isinstance(size, bool)
    if size is not None and not (whole and size >= 1):
        raise BadParameter(f"size must be a positive whole number of pixels, not {size!r}.")


def check_range(images: np.ndarray, beyond: float) -> None:
    """Raise `BadParameter` if pixels lie more than `beyond` outside [0, 1]: clipping would leave black and white."""
    if images.size and (images.min() < -beyond or images.max() > 1 + beyond):
        raise BadParameter(
            f"images must be in [0, 1], not from {images.min():.7g} to {images.max():.7g}; "
            "divide pixels of 0 to 255 by 255."
        )


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """Resize a batch of images to ``size`` by ``size`` pixels, bilinear and antialiased.

    Parameters
    ----------
    images : ndarray, shape (n, height, width, channels)
        Any real type; values are used as they are.
    size : int
        New side in pixels, at least 1. Aspect ratio is not kept.

    Returns
    -------
    ndarray of float32, shape (n, size, size, channels)
        Within the range of the input values.

    Raises
    ------
    BadParameter
        If `size` is not a positive integer.
    """
    check_size(size)
    n, height, width, channels = images.shape
    if (height, width) == (size, size):
        return images.astype(np.float32)
    rows, columns = _weights(height, size), _weights(width, size)
    result = np.empty((n, size, size, channels), np.float32)
    step = max(1, _CHUNK_BYTES // (4 * channels * max(height, size) * max(width, size)))
    for start in range(0, n, step):
        part = images[start : start + step].astype(np.float32)
        # Width last makes this one large matrix product, not one with a vector for each row of each image.
        part = np.ascontiguousarray(part.swapaxes(-1, -2)) @ columns.T
        part = np.ascontiguousarray(part.swapaxes(-1, -2)).reshape(len(part), height, -1)
        result[start : start + step] = np.matmul(rows, part).reshape(-1, size, size, channels)
    # Rounding in the sums can leave the range by one part in ten million, and a pixel must stay in [0, 1].
    return np.clip(result, images.min(initial=0), images.max(initial=0), out=result) if n else result


def set_channels(images: np.ndarray, channels: int | None) -> np.ndarray:
    """Give a batch the wanted number of channels.

    Parameters
    ----------
    images : ndarray, shape (n, height, width, c)
        Grey (c = 1) or colour (c = 3).
    channels : {None, 1, 3}
        None or c: unchanged. Grey becomes colour by repetition.

    Returns
    -------
    ndarray, shape (n, height, width, channels)

    Raises
    ------
    BadParameter
        If colour should become grey: that loses information and is for the caller to do, knowingly.
    """
    if channels not in (None, 1, 3):
        raise BadParameter(f"channels must be 1, 3 or None, not {channels!r}.")
    if channels is None or channels == images.shape[-1]:
        return images
    if channels == 1:
        raise BadParameter("these images are in colour; turn them into grey yourself if you want one channel.")
    return np.repeat(images, 3, axis=-1)
