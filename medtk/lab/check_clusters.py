"""Self-checks of the exercises of chapters 22 and 23; see `medtk.lab.check`."""

from collections.abc import Callable

import numpy as np

from medtk.lab.check import verdict


def focal_slope(answer: Callable) -> None:
    """Exercise 22a: ``answer(p, gamma)`` is the slope of the focal loss by the score of the true class, two classes."""
    step = 1e-6

    def loss(score, gamma):
        p = 1 / (1 + np.exp(-score))
        return -((1 - p) ** gamma) * np.log(p)

    cases = [(score, gamma) for score in (-3.0, -0.5, 0.0, 2.0) for gamma in (0.0, 1.0, 2.0, 5.0)]
    verdict(
        lambda: all(
            abs(answer(1 / (1 + np.exp(-s)), g) - (loss(s + step, g) - loss(s - step, g)) / (2 * step)) < 1e-5
            for s, g in cases
        ),
        "the product rule on (1 - p)^gamma and log p, times the slope of p by the score, which is p (1 - p).",
    )


def overall_f1(answer: Callable) -> None:
    """Exercise 22b: ``answer(confusion)`` is the mean F1 of the classes, each counted by its images."""
    cases = [([[199, 70], [14, 30]], 0.768223), ([[30, 0], [0, 80]], 1.0), ([[10, 0], [10, 0]], 1 / 3)]
    verdict(
        lambda: all(abs(answer(np.array(matrix)) - wanted) < 1e-5 for matrix, wanted in cases),
        "F1 is 2 TP / (2 TP + FP + FN); rows are true classes, and a row's sum is that class' number of images.",
    )


def client_shares(answer: Callable) -> None:
    """Exercise 23a: ``answer(sizes, clusters)`` is the share of each client in the model of Algorithm 1."""
    cases = [
        ([626, 625, 218, 217], [0, 0, 1, 1], [0.250200, 0.249800, 0.250575, 0.249425]),
        ([300, 100, 50], [0, 0, 1], [0.375, 0.125, 0.5]),
        ([10, 10, 10], [0, 1, 2], [1 / 3, 1 / 3, 1 / 3]),
    ]
    verdict(
        lambda: all(
            np.allclose(answer(np.array(sizes), np.array(clusters)), wanted, atol=1e-5)
            for sizes, clusters, wanted in cases
        ),
        "its part of its cluster's images, divided by the number of clusters.",
    )


def mean_length(answer: Callable) -> None:
    """Exercise 23b: ``answer(part, cosine)`` is the length of the mean of unit updates that pull two ways."""
    cases = [(0.5, 0.0, np.sqrt(0.5)), (0.5, 1.0, 1.0), (0.5, -1.0, 0.0), (0.75, 0.0, np.sqrt(0.625))]
    verdict(
        lambda: all(abs(answer(part, cosine) - wanted) < 1e-9 for part, cosine, wanted in cases),
        "the squared length of p a + (1 - p) b is p² + (1 - p)² + 2 p (1 - p) cos, when a and b have length 1.",
    )
