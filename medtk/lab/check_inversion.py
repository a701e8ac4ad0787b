"""Self-checks of the exercises of chapter 33; see `medtk.lab.check`."""

from collections.abc import Callable

import numpy as np

from medtk import inversion, split_learning
from medtk.lab.check import verdict


def psnr_on_a_scale(answer: Callable) -> None:
    """Exercise 33a: ``answer(error, largest)`` is the PSNR in dB of a squared error on a scale from 0 to `largest`."""
    cases = [(0.01, 1.0, 20.0), (3.14, 255.0, 43.1616), (650.25, 255.0, 20.0), (1.0, 1.0, 0.0)]
    verdict(
        lambda: all(abs(answer(error, largest) - value) < 1e-3 for error, largest, value in cases),
        "divide the error by the square of the largest value, then take minus ten times the decimal logarithm.",
    )


def map_taken_off(answer: Callable) -> None:
    """Exercise 33b: ``answer(tensor)`` is the image before the attack, where one pixel of a block was raised to 1."""
    random = np.random.default_rng(0)
    images = random.uniform(0, 0.9, (3, 8, 6, 1)).astype(np.float32)
    attacked = images.copy()
    attacked[:, 1::4, ::4] = 1.0
    tensors = split_learning.with_map(attacked, attacked - images)
    verdict(
        lambda: np.allclose(answer(tensors), images, atol=1e-6),
        "in each block, take the map's number from the brightest of the four pixels, then put the pixels back.",
    )


def distance_correlation(answer: Callable) -> None:
    """Exercise 33c: ``answer(a, b)`` is the distance correlation of the rows of two arrays."""
    random = np.random.default_rng(1)
    a = random.normal(size=(7, 3))
    cases = [(a, 2 - 3 * a), (a, a[:, :1] ** 2), (a, random.normal(size=(7, 2)))]
    verdict(
        lambda: all(abs(answer(x, y) - float(inversion.distance_correlation(x, y))) < 2e-3 for x, y in cases),
        "subtract from each distance the means of its row and its column, and add the mean of all distances.",
    )
