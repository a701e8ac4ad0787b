"""Self-checks of the exercises of chapters 41 and 42; see `medtk.lab.check`."""

from collections.abc import Callable

import numpy as np

from medtk.edge.pruning import sparsity_at
from medtk.lab.check import verdict


def scale_and_zero(answer: Callable) -> None:
    """Exercise 41a: ``answer(low, high, bits)`` is the scale and the zero point of a range that holds 0."""
    cases = [(0.0, 6.0, 8, 6 / 255, 0), (-0.5, 1.0, 2, 0.5, 1), (-3.0, 0.0, 4, 0.2, 15)]
    cases += [(-1.0, 1.0, 2, 2 / 3, 2), (-0.4, 2.6, 2, 1.0, 0)]  # 1.5 is rounded up, 0.4 down

    def right():
        found = [(answer(low, high, bits), scale, zero) for low, high, bits, scale, zero in cases]
        return all(abs(s - scale) < 1e-9 and z == zero for (s, z), scale, zero in found)

    verdict(
        right, "2^bits levels leave 2^bits - 1 steps; the zero point is the whole number of the level that gives 0."
    )


def stored_bytes(answer: Callable) -> None:
    """Exercise 41b: ``answer(height, width, channels_in, channels_out, bits)`` is the bytes of a rounded kernel."""
    cases = [(3, 3, 16, 32, 8, 4736), (1, 1, 64, 10, 4, 360), (3, 3, 1, 1, 32, 40), (5, 5, 2, 3, 2, 49.5)]
    verdict(
        lambda: all(answer(*given) == value for *given, value in cases),
        "every weight takes bits / 8 bytes, and every output channel one scale of 4 bytes.",
    )


def share_of_zeros(answer: Callable) -> None:
    """Exercise 42a: ``answer(step, steps, final)`` is the share of zeros on the cubic schedule that ends at `steps`."""
    cases = [(step, steps, final) for steps, final in ((100, 0.8), (7, 0.5)) for step in (0, 1, 3, 6, 7, 50, 100, 130)]
    verdict(
        lambda: all(
            abs(answer(step, steps, final) - sparsity_at(step, begin=0, end=steps, final=final)) < 1e-9
            for step, steps, final in cases
        ),
        "it starts at 0, reaches `final` at `steps` and stays there; what is still missing shrinks with its cube.",
    )


def break_even(answer: Callable) -> None:
    """Exercise 42b: ``answer(bits)`` is the share of zeros from which a bit map and the other values are smaller."""
    verdict(
        lambda: np.allclose([answer(bits) for bits in (32, 16, 8, 4)], [1 / 32, 1 / 16, 1 / 8, 1 / 4]),
        "n values of b bits take n b; the map takes n, and the values that are left (1 - s) n b.",
    )
