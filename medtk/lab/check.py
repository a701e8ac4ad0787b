"""Self-checks of the exercises: each takes the reader's answer and says whether it is right, with a hint if not.

With ``MEDTK_STRICT_CHECKS=1`` a wrong answer raises, so that a program can tell.
"""

import os
from collections.abc import Callable

import numpy as np

from medtk.evaluation import intervals


def _verdict(right: Callable[[], bool], hint: str) -> None:
    try:
        passed = bool(right())
        problem = hint
    except Exception as error:
        passed, problem = False, f"your answer raised {type(error).__name__}: {error}. {hint}"
    if passed:
        print("Right.")
    elif os.environ.get("MEDTK_STRICT_CHECKS") == "1":
        raise AssertionError(f"Not yet: {problem}")
    else:
        print(f"Not yet: {problem}")


def majority_accuracy(answer: Callable) -> None:
    """Exercise 11a: ``answer(train_labels, test_labels)`` is the accuracy of the constant predictor."""
    cases = [([0, 0, 1], [0, 1, 1, 1], 0.25), ([2, 2, 0, 1], [2, 0], 0.5), ([1, 1, 0], [0, 0], 0.0)]
    _verdict(
        lambda: all(abs(answer(np.array(a), np.array(b)) - value) < 1e-9 for a, b, value in cases),
        "find the commonest class among the training labels, then count it among the test labels.",
    )


def wilson_interval(answer: Callable) -> None:
    """Exercise 11b: ``answer(k, n)`` is the 95 % Wilson interval as (low, high)."""
    cases = [(131, 156), (0, 20), (624, 624), (1, 2)]
    _verdict(
        lambda: all(np.allclose(answer(k, n), intervals.wilson(k, n)[:2], atol=1e-3) for k, n in cases),
        "the centre is (k + z²/2) / (n + z²) with z = 1.96; it is not k/n. Check k = 0 as well.",
    )


def eight_bits(answer: Callable) -> None:
    """Exercise 12a: ``answer(images)`` is what is left after storage in 8 bits."""
    images = np.array([[-0.004, 0.0, 0.0019, 0.0021, 0.5, 0.9999, 1.004]], np.float32)
    _verdict(
        lambda: np.allclose(answer(images) * 255, [[0, 0, 0, 1, 128, 255, 255]], atol=1e-3),
        "clip to [0, 1], multiply by 255, round, and divide by 255 again.",
    )


def targeted_step(answer: Callable) -> None:
    """Exercise 12b: ``answer(images, gradient_to_target, epsilon)`` steps towards the target class."""
    images, gradient = (
        np.full((1, 2, 2, 1), 0.5, np.float32),
        np.array([[[[1.0], [-2.0]], [[0.0], [3.0]]]], np.float32),
    )
    wanted = np.array([[[[0.4], [0.6]], [[0.5], [0.4]]]])
    _verdict(
        lambda: np.allclose(answer(images, gradient, 0.1), wanted, atol=1e-6),
        "the loss of the target class must fall, so the step goes against its gradient's sign.",
    )
