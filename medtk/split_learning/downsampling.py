"""Blocks of pixels become channels, and back; and the map that travels along."""

import numpy as np

from medtk.errors import BadParameter


def to_channels(images: np.ndarray, block: int = 2) -> np.ndarray:
    """Each square block of pixels becomes one place with more channels; no value changes.

    Parameters
    ----------
    images : ndarray, shape (n, height, width, channels)
        Height and width are multiples of `block`.
    block : int
        Side of a block in pixels.

    Returns
    -------
    ndarray, shape (n, height / block, width / block, block * block * channels)
        The pixels of a block, row by row, each with its channels.

    Raises
    ------
    BadParameter
        If there is no whole number of blocks.

    References
    ----------
    Khowaja et al. (2022), section IV-B.
    """
    n, height, width, channels = np.shape(images)
    if height % block or width % block:
        raise BadParameter(f"Height and width must be multiples of {block}, not {height} and {width}.")
    places = (n, height // block, width // block, block * block * channels)
    return (
        np.reshape(images, (*places[:2], block, places[2], block, channels)).transpose(0, 1, 3, 2, 4, 5).reshape(places)
    )


def to_pixels(tensors: np.ndarray, block: int = 2) -> np.ndarray:
    """The inverse of `to_channels`, for as large a block."""
    n, height, width, channels = np.shape(tensors)
    if channels % block**2:
        raise BadParameter(f"{block**2} channels make a block of pixels; {channels} are no multiple of that.")
    blocks = np.reshape(tensors, (n, height, width, block, block, channels // block**2))
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(n, block * height, block * width, channels // block**2)


def with_map(attacked: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """What the client's first layer sees: the attacked image and its map, as channels.

    The study gives the map one channel of half the height and width, which holds one number for each block of pixels.
    It does not say which: here the sum over the block, and over colours.

    Parameters
    ----------
    attacked, maps : ndarray of float32, shape (n, height, width, channels)
        The map is what was added: ``attacked = image + map``.

    Returns
    -------
    ndarray of float32, shape (n, height / 2, width / 2, 4 * channels + 1)
    """
    if np.shape(attacked) != np.shape(maps):
        raise BadParameter(f"Each image needs a map of its shape: {np.shape(attacked)} and {np.shape(maps)} differ.")
    total = to_channels(maps).sum(axis=-1, keepdims=True)
    return np.concatenate([to_channels(attacked), total], axis=-1)


def parted(tensors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Attacked images and the channel of their map, from `with_map`."""
    return to_pixels(tensors[..., :-1]), tensors[..., -1:]


def map_taken_off(tensors: np.ndarray) -> np.ndarray:
    """What a server that knows the method makes of a tensor: the images before the attack, as far as the map tells.

    The map has one number a block, the attack changed some of its pixels. The guess is that it was the one that is now
    most extreme: the brightest where the sum is above 0, the darkest where it is below. It is exact wherever one pixel
    of a block was changed and is now at the end of the range, which is how the pixel attack leaves it.

    Parameters
    ----------
    tensors : ndarray of float32, shape (n, height, width, 5)
        From `with_map`, of grey images.

    Returns
    -------
    ndarray of float32, shape (n, 2 * height, 2 * width, 1)
        In [0, 1].
    """
    if tensors.shape[-1] != 5:
        raise BadParameter("Taking the map off is written for grey images: four channels and the map.")
    pixels, total = tensors[..., :4].copy(), tensors[..., 4]
    extreme = np.where(total > 0, pixels.argmax(axis=-1), pixels.argmin(axis=-1))
    at = np.expand_dims(extreme, -1)
    np.put_along_axis(pixels, at, np.take_along_axis(pixels, at, -1) - total[..., None], -1)
    return to_pixels(np.clip(pixels, 0, 1))
