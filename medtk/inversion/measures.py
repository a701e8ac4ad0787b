"""How near a rebuilt image is to the original, for each image by itself, pixels from 0 to 1."""

import numpy as np
from scipy.ndimage import gaussian_filter

from medtk.errors import BadParameter

SIGMA = 1.5  # pixels, of the window of SSIM
RADIUS = 5  # the window has 11 by 11 pixels
BEST_PSNR = 100.0  # dB; an exact copy would be infinitely good, which no mean survives


def mse(rebuilt: np.ndarray, originals: np.ndarray) -> np.ndarray:
    """Mean squared error of each image over its pixels.

    Parameters
    ----------
    rebuilt, originals : ndarray, shape (n, height, width, channels)
        Pixels from 0 to 1. Rebuilt ones outside are clipped first: whoever looks at an image sees no whiter white.

    Returns
    -------
    ndarray of float64, shape (n,)
        From 0 to 1. On a scale to 255 the numbers would be 65,025 times as large.

    Raises
    ------
    BadParameter
        If the shapes differ or the originals leave [0, 1].
    """
    rebuilt, originals = _pair(rebuilt, originals)
    return ((rebuilt - originals) ** 2).mean(axis=(1, 2, 3))


def psnr(rebuilt: np.ndarray, originals: np.ndarray) -> np.ndarray:
    r"""Peak signal-to-noise ratio of each image in dB, :math:`-10 \log_{10}` of `mse`, at most 100."""
    return np.minimum(-10 * np.log10(np.maximum(mse(rebuilt, originals), 1e-30)), BEST_PSNR)


def ssim(rebuilt: np.ndarray, originals: np.ndarray) -> np.ndarray:
    """Structural similarity of each image, 1 for an exact copy, near 0 for one without common structure.

    Means, variances and the covariance are taken in a Gaussian window of 11 by 11 pixels; places whose window leaves
    the image are left out; channels are averaged.

    Parameters
    ----------
    rebuilt, originals
        As in `mse`, at least 11 pixels a side.

    Returns
    -------
    ndarray of float64, shape (n,)
        From -1 to 1.

    Raises
    ------
    BadParameter
        As `mse`, or if the images are too small.

    References
    ----------
    Wang, Bovik, Sheikh and Simoncelli (2004), "Image quality assessment: from error visibility to structural
    similarity", IEEE Transactions on Image Processing 13(4).
    """
    a, b = _pair(rebuilt, originals)
    if min(a.shape[1:3]) < 2 * RADIUS + 1:
        raise BadParameter(f"SSIM needs at least 11 pixels a side, not {a.shape[1]} x {a.shape[2]}.")
    mean_a, mean_b = _blurred(a), _blurred(b)
    var_a, var_b = _blurred(a * a) - mean_a**2, _blurred(b * b) - mean_b**2
    common = _blurred(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    each = (2 * mean_a * mean_b + c1) * (2 * common + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return each[:, RADIUS:-RADIUS, RADIUS:-RADIUS].mean(axis=(1, 2, 3))


def errors(rebuilt: np.ndarray, originals: np.ndarray) -> dict[str, np.ndarray]:
    """All three measures: ``mse``, ``psnr``, ``ssim``, one value an image."""
    return {measure.__name__: measure(rebuilt, originals) for measure in (mse, psnr, ssim)}


def baselines(public: np.ndarray, originals: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """What an attacker reaches who looks at nothing: he always shows the same image.

    Parameters
    ----------
    public : ndarray, shape (m, height, width, channels)
        Images that he has.
    originals : ndarray, shape (n, height, width, channels)

    Returns
    -------
    dict
        `errors` of ``mean`` (the mean public image, the best constant answer to his knowledge) and ``zero`` (black).
    """
    answers = {"mean": np.mean(public, axis=0), "zero": np.zeros(originals.shape[1:])}
    return {name: errors(np.broadcast_to(one, originals.shape), originals) for name, one in answers.items()}


def _blurred(images: np.ndarray) -> np.ndarray:
    return gaussian_filter(images, SIGMA, axes=(1, 2), radius=RADIUS)


def _pair(rebuilt: np.ndarray, originals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rebuilt, originals = np.asarray(rebuilt, np.float64), np.asarray(originals, np.float64)
    if rebuilt.shape != originals.shape or rebuilt.ndim != 4:
        raise BadParameter(
            "Rebuilt images and originals need one shape (n, height, width, channels), not "
            f"{rebuilt.shape} and {originals.shape}."
        )
    if originals.size and not (originals.min() >= 0 and originals.max() <= 1):
        raise BadParameter("The originals leave [0, 1]; divide them by their largest possible value first.")
    return np.clip(rebuilt, 0, 1), originals
