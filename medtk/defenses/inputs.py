"""Defences that change the image before the network sees it: coarser storage, which may wipe out a perturbation.

Each takes images and gives images; the defended answer is ``model.predict(jpeg(images, quality=75))``. Neither has a
useful gradient, so an attack on the bare network says little: `medtk.defenses.straight_through` lets one pass.
"""

import io

import numpy as np
from PIL import Image

from medtk.data.preprocessing import check_range
from medtk.errors import BadParameter


def jpeg(images: np.ndarray, quality: int = 75) -> np.ndarray:
    """Images as they come back from a JPEG file.

    Parameters
    ----------
    images : ndarray of float, shape (n, height, width, 1 or 3)
        In [0, 1]; what lies up to 0.5 outside, as after an attack without clipping, is clipped: a file cannot hold it.
    quality : int
        1 (coarsest) to 95, on the scale of Pillow, with its colour subsampling (4:2:0) for 3 channels.

    Returns
    -------
    ndarray of float32, shape of `images`

    Raises
    ------
    BadParameter

    References
    ----------
    Dziugaite, Ghahramani and Roy (2016); Guo, Rana, Cisse and van der Maaten (2018).
    """
    images = _checked(images)
    if not isinstance(quality, int | np.integer) or not 1 <= quality <= 95:
        raise BadParameter(f"quality of a JPEG must be a whole number from 1 to 95, not {quality}.")
    if images.shape[-1] not in (1, 3):
        raise BadParameter(f"JPEG holds images of 1 or 3 channels, not {images.shape[-1]}.")
    levels = np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)
    stored = [_through_a_file(image.squeeze(-1) if image.shape[-1] == 1 else image, int(quality)) for image in levels]
    return np.reshape(np.array(stored, np.float32), images.shape) / np.float32(255)


def _through_a_file(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="JPEG", quality=quality)
    return np.asarray(Image.open(file))


def reduce_bits(images: np.ndarray, bits: int = 4) -> np.ndarray:
    """Images rounded to the nearest of 2 ** `bits` levels.

    Parameters
    ----------
    images : ndarray of float
        In [0, 1]; what lies up to 0.5 outside is clipped.
    bits : int
        Bits a channel, 1 to 16. 8 is what an ordinary image file stores.

    Returns
    -------
    ndarray of float32, shape of `images`

    Raises
    ------
    BadParameter

    References
    ----------
    Xu, Evans and Qi (2018), "Feature squeezing", section III-A.
    """
    images = _checked(images)
    if not isinstance(bits, int | np.integer) or not 1 <= bits <= 16:
        raise BadParameter(f"bits must be a whole number from 1 to 16, not {bits}.")
    top = np.float32(2 ** int(bits) - 1)
    return np.rint(np.clip(images, 0, 1) * top) / top


def _checked(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 4 or not np.issubdtype(images.dtype, np.floating) or not np.all(np.isfinite(images)):
        raise BadParameter(
            f"images must be finite floats of shape (n, height, width, channels), not {images.dtype} of {images.shape}."
        )
    check_range(images, beyond=0.5)  # what an attack without clipping oversteps is let through
    return images.astype(np.float32, copy=False)
