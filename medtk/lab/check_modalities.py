"""Self-checks of the exercises of chapters 21 and 24; see `medtk.lab.check`."""

from collections.abc import Callable

import numpy as np

from medtk.lab.check import verdict


def patients_on_both_sides(answer: Callable) -> None:
    """Exercise 21a: ``answer(train_groups, test_groups)`` is the share of test images whose patient was trained on."""
    cases = [(["a", "a", "b"], ["a", "c"], 0.5), (["a"], ["b", "b"], 0.0), (["x"], ["x", "y", "x"], 2 / 3)]
    verdict(
        lambda: all(abs(answer(np.array(a), np.array(b)) - value) < 1e-9 for a, b, value in cases),
        "count test images, not patients: np.isin tells which of them have a group that occurs in training.",
    )


def frame_share(answer: Callable) -> None:
    """Exercise 21b: ``answer(heat, margin)`` is the part of a map in a frame of `margin` pixels along the edges."""
    flat, middle = np.ones((10, 10)), np.zeros((10, 10))
    middle[4:6, 4:6] = 3.0
    corner = middle + np.pad([[4.0]], ((0, 9), (0, 9)))
    cases = [(flat, 1, 0.36), (flat, 2, 0.64), (middle, 3, 0.0), (corner, 1, 0.25)]
    verdict(
        lambda: all(abs(answer(heat, margin) - value) < 1e-9 for heat, margin, value in cases),
        "one minus the sum over the inner part, divided by the sum over the whole map.",
    )


def step_for_both(answer: Callable) -> None:
    """Exercise 24a: ``answer(mine, theirs)`` tells whether a short step down my gradient lowers their loss."""
    cases = [([1.0, 0.0], [0.5, 2.0], True), ([1.0, 0.0], [-0.1, 5.0], False), ([2.0, -1.0], [1.0, 1.0], True)]
    # Neither the first direction decides nor a single one on which both agree.
    cases += [([1.0, 1.0], [0.5, -2.0], False), ([-1.0, 2.0], [1.0, 1.0], True)]
    verdict(
        lambda: all(bool(answer(np.array(a), np.array(b))) == value for a, b, value in cases),
        "their loss changes by minus the step size times the product of the two gradients.",
    )


def rounds_for_images(answer: Callable) -> None:
    """Exercise 24b: ``answer(numbers, clients, image_bytes)`` is the rounds that weigh as much as the images."""
    cases = [(1_000_000, 4, 32_000_000, 1.0), (250_000, 2, 16_000_000, 4.0), (15_000_000, 4, 30_000_000, 0.0625)]
    verdict(
        lambda: all(abs(answer(n, k, size) - value) < 1e-9 for n, k, size, value in cases),
        "a number takes four bytes, each client gets the network and sends it back.",
    )
