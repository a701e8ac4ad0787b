"""Self-checks of the exercises of chapters 31, 32 and 34; see `medtk.lab.check`."""

from collections.abc import Callable

import numpy as np

from medtk.lab.check import verdict


def returned_gradient(answer: Callable) -> None:
    """Exercise 31a: ``answer(activations, weights, labels)`` is the gradient that a server of one layer sends back."""
    random = np.random.default_rng(0)
    a, w, y = random.normal(size=(4, 3)), random.normal(size=(3, 5)), np.array([0, 4, 2, 2])

    def loss(activations):
        scores = activations @ w
        shifted = scores - scores.max(axis=1, keepdims=True)
        return np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(4), y])

    def slope(i, j):
        step = np.zeros_like(a)
        step[i, j] = 1e-5
        return (loss(a + step) - loss(a - step)) / 2e-5

    wanted = np.array([[slope(i, j) for j in range(3)] for i in range(4)])
    verdict(
        lambda: np.allclose(answer(a, w, y), wanted, atol=1e-6),
        "by the scores it is (softmax - one-hot) / n; then back through the layer with its weights transposed.",
    )


def cheaper_split(answer: Callable) -> None:
    """Exercise 31b: ``answer(images, activations, weights)`` is whether an epoch of split learning sends less."""
    cases = [(100, 10, 1001, True), (100, 10, 1000, False), (60_000, 12_544, 200_000, False), (1, 5, 6, True)]
    verdict(
        lambda: all(bool(answer(*given)) == wanted for *given, wanted in cases),
        "both ways means twice on either side, so the twos cancel: images times activations against weights.",
    )


def soft_threshold(answer: Callable) -> None:
    """Exercise 32a: ``answer(values, by)`` solves the problem of the sum of absolute values."""
    values = np.array([3.0, -2.0, 0.4, -0.4, 0.0, 1.0])
    verdict(
        lambda: np.allclose(answer(values, 1.0), [2.0, -1.0, 0, 0, 0, 0]) and np.allclose(answer(values, 0.0), values),
        "towards 0 by so much, but not past it; the sign stays.",
    )


def undone(answer: Callable) -> None:
    """Exercise 32b: ``answer(tensor)`` puts the four channels of a block back into their places, for one grey image."""
    image = np.arange(24.0).reshape(4, 6)
    tensor = np.stack([image[i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=-1)
    verdict(
        lambda: np.array_equal(answer(tensor), image),
        "channel 0 is every second pixel of every second row, from the first; channel 1 starts one to the right.",
    )


def fused_scores(answer: Callable) -> None:
    """Exercise 34a: ``answer(scores, weights)`` fuses the scores of three streams for one image."""
    scores = np.array([[0.8, 0.2], [0.4, 0.6], [0.5, 0.5]])
    parts = np.array([0.5 * 0.8, 0.3 * 0.6, 0.2 * 0.5])
    even = np.array([[0.9, 0.1]] * 3)
    verdict(
        lambda: (
            np.allclose(answer(scores, np.array([0.5, 0.3, 0.2])), parts / parts.sum() @ scores)
            and np.allclose(answer(even, np.array([0.5, 0.3, 0.2])), even[0])
        ),
        "each fixed weight times the largest score of its stream; divide by the sum of the three.",
    )


def on_both_sides(answer: Callable) -> None:
    """Exercise 34b: ``answer(train, test)`` is the share of test entries whose patient is in the training set."""
    cases = [(["a", "b", "b"], ["a", "c"], 0.5), (["a"], ["b", "c"], 0.0), (["x", "y"], ["x", "x", "y", "z"], 0.75)]
    verdict(
        lambda: all(abs(answer(np.array(a), np.array(b)) - value) < 1e-9 for a, b, value in cases),
        "look each test entry's patient up among the training patients; count entries, not patients.",
    )
