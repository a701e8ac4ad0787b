"""Self-checks of the exercises: each takes the reader's answer and says whether it is right, with a hint if not.

With ``MEDTK_STRICT_CHECKS=1`` a wrong answer raises, so that a program can tell.
"""

import os
from collections.abc import Callable

import numpy as np

from medtk.evaluation import intervals


def verdict(right: Callable[[], bool], hint: str) -> None:
    """Print whether an answer is right, and else the hint; with ``MEDTK_STRICT_CHECKS=1`` `AssertionError` instead."""
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
    verdict(
        lambda: all(abs(answer(np.array(a), np.array(b)) - value) < 1e-9 for a, b, value in cases),
        "find the commonest class among the training labels, then count it among the test labels.",
    )


def wilson_interval(answer: Callable) -> None:
    """Exercise 11b: ``answer(k, n)`` is the 95 % Wilson interval as (low, high)."""
    cases = [(131, 156), (0, 20), (624, 624), (1, 2)]
    verdict(
        lambda: all(np.allclose(answer(k, n), intervals.wilson(k, n)[:2], atol=1e-3) for k, n in cases),
        "the centre is (k + z²/2) / (n + z²) with z = 1.96; it is not k/n. Check k = 0 as well.",
    )


def eight_bits(answer: Callable) -> None:
    """Exercise 12a: ``answer(images)`` is what is left after storage in 8 bits."""
    images = np.array([[-0.004, 0.0, 0.0019, 0.0021, 0.5, 0.9999, 1.004]], np.float32)
    verdict(
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
    verdict(
        lambda: np.allclose(answer(images, gradient, 0.1), wanted, atol=1e-6),
        "the loss of the target class must fall, so the step goes against its gradient's sign.",
    )


def projection(answer: Callable) -> None:
    """Exercise 13a: ``answer(moved, image, epsilon)`` is the nearest point of the ball that is an image."""
    moved, image = np.array([0.9, -0.2, 0.52, 0.5, 1.2]), np.array([0.5, 0.05, 0.5, 0.5, 0.98])
    verdict(
        lambda: np.allclose(answer(moved, image, 0.1), [0.6, 0.0, 0.52, 0.5, 1.0]),
        "a pixel may not leave [image - ε, image + ε], nor [0, 1]; what is inside stays as it is.",
    )


def mcnemar(answer: Callable) -> None:
    """Exercise 13b: ``answer(only_a, only_b)`` is the exact two-sided p-value of McNemar's test."""
    cases = [(25, 15, 0.1539), (5, 5, 1.0), (0, 6, 0.03125), (12, 3, 0.03516)]
    verdict(
        lambda: all(abs(answer(a, b) - value) < 2e-4 for a, b, value in cases),
        "under equality each discordant image is a fair coin: a binomial test with one half, both sides.",
    )


def softened(answer: Callable) -> None:
    """Exercise 14a: ``answer(scores, temperature)`` is the softmax at a temperature, row by row."""
    scores = np.array([[1.0, 2.0, 4.0], [1000.0, 999.0, 0.0]])

    def wanted(temperature):
        powers = np.exp((scores - scores.max(axis=1, keepdims=True)) / temperature)
        return powers / powers.sum(axis=1, keepdims=True)

    verdict(
        lambda: all(np.allclose(answer(scores, t), wanted(t), atol=1e-6) for t in (0.5, 1.0, 20.0)),
        "divide the scores by the temperature first; subtract the largest of a row before exp, or 1000 overflows.",
    )


def distillation_gradient(answer: Callable) -> None:
    """Exercise 14b: ``answer(student, teacher, temperature)`` is the gradient of T² KL by the student's scores."""
    student, teacher = np.array([[0.5, -1.0, 2.0]]), np.array([[1.0, 0.0, 0.5]])
    cases = {1.0: [[-0.3312, -0.1472, 0.4784]], 4.0: [[-0.2301, -0.2957, 0.5257]]}
    verdict(
        lambda: all(np.allclose(answer(student, teacher, t), wanted, atol=1e-3) for t, wanted in cases.items()),
        "the softened answer of the student minus that of the teacher; T² from the loss and 1/T from the chain rule.",
    )


def smallest_step(answer: Callable) -> None:
    """Exercise 15a: ``answer(x, w, b)`` is the shortest step from `x` onto the line w·x + b = 0."""
    x, w = np.array([1.0, 2.0]), np.array([3.0, -4.0])
    cases = [(0.0, [0.6, -0.8]), (10.0, [-0.6, 0.8]), (5.0, [0.0, 0.0])]
    verdict(
        lambda: all(np.allclose(answer(x, w, b), wanted) for b, wanted in cases),
        "along w, with length |w·x + b| / ‖w‖, against the sign of w·x + b.",
    )


def worst_of(answer: Callable) -> None:
    """Exercise 15b: ``answer(right)`` is the accuracy under the worst attack for each image."""
    right = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [1, 1, 1, 0]], bool)
    verdict(
        lambda: abs(answer(right) - 0.25) < 1e-9 and abs(answer(right[2:]) - 0.75) < 1e-9,
        "an image counts only if it is right under every attack: first over attacks, then over images.",
    )


def pooled_statistics(answer: Callable) -> None:
    """Exercise 51a: ``answer(means, variances, sizes)`` is mean and variance of all hospitals' values together."""
    random = np.random.default_rng(0)
    values = [random.normal(m, s, n) for m, s, n in ((0.0, 1.0, 5), (3.0, 0.5, 20), (-2.0, 2.0, 11))]
    means, variances, sizes = (np.array([f(v) for v in values]) for f in (np.mean, np.var, len))
    together = np.concatenate(values)
    verdict(
        lambda: np.allclose(answer(means, variances, sizes), (together.mean(), together.var())),
        "weigh by the sizes, and add to the mean of the variances the variance of the means.",
    )


def clipped_update(answer: Callable) -> None:
    """Exercise 51b: ``answer(start, weights, length)`` shortens an update that is longer than `length`."""
    start, weights = np.array([1.0, 2.0, 0.0]), np.array([4.0, 2.0, 4.0])  # an update of length 5
    cases = [(1.0, [1.6, 2.0, 0.8]), (5.0, [4.0, 2.0, 4.0]), (9.0, [4.0, 2.0, 4.0])]
    verdict(
        lambda: (
            all(np.allclose(answer(start, weights, length), wanted) for length, wanted in cases)
            and np.allclose(answer(start, start, 1.0), start)
        ),
        "the update is weights minus start; only if it is too long is it scaled, and an update of zero stays zero.",
    )


def one_hot_counts(answer: Callable) -> None:
    """Exercise 52a: ``answer(confusion)`` is TP, FP, FN and TN summed over all outputs."""
    cases = [([[169, 65], [45, 345]], (514, 110, 110, 514)), ([[3, 1, 0], [0, 2, 2], [1, 0, 1]], (6, 4, 4, 16))]
    verdict(
        lambda: all(tuple(answer(np.array(matrix))) == wanted for matrix, wanted in cases),
        "each image counts once for each class: take every class against the rest, then add up over the classes.",
    )


def images_needed(answer: Callable) -> None:
    """Exercise 52b: ``answer(p, q)`` is how many images of each hospital show a difference of shares p and q."""
    cases = [(0.80, 0.85, 903), (0.90, 0.80, 197), (0.5, 0.6, 385)]
    verdict(
        lambda: all(abs(answer(p, q) - n) <= 2 for p, q, n in cases),
        "n = (1.96 + 0.84)² (p (1 - p) + q (1 - q)) / (p - q)², for 5 % and a power of 80 %.",
    )


def clipped_rows(answer: Callable) -> None:
    """Exercise 53a: ``answer(gradients, clip_norm)`` cuts each row to length `clip_norm`."""
    rows = np.array([[3.0, 4.0], [0.0, 0.0], [0.3, -0.4], [-6.0, 8.0]])
    verdict(
        lambda: (
            np.allclose(answer(rows, 1.0), [[0.6, 0.8], [0, 0], [0.3, -0.4], [-0.6, 0.8]])
            and np.allclose(answer(rows, 7.0), [[3, 4], [0, 0], [0.3, -0.4], [-4.2, 5.6]])
        ),
        "one length a row (axis=1); divide by the larger of 1 and length / C, so that short rows and zeros stay.",
    )


def noise_on_the_mean(answer: Callable) -> None:
    """Exercise 53b: ``answer(sizes, clip_norm, z)`` is the standard deviation that hides each hospital."""
    cases = [([300, 200, 100], 1.0, 2.0, 1.0), ([5, 5, 5, 5], 2.0, 3.0, 1.5), ([100, 900], 0.5, 1.0, 0.45)]
    verdict(
        lambda: all(abs(answer(sizes, c, z) - value) < 1e-9 for sizes, c, z, value in cases),
        "one hospital moves the mean by its share times C; the largest share decides, since each is to be hidden.",
    )


def separable_cost(answer: Callable) -> None:
    """Exercise 43a: ``answer(kernel, before, after)`` is the share of a convolution's multiplications that is left."""
    cases = [(3, 16, 32, 1 / 32 + 1 / 9), (5, 8, 8, 1 / 8 + 1 / 25), (1, 4, 10, 1 / 10 + 1)]
    verdict(
        lambda: all(abs(answer(k, a, b) - value) < 1e-9 for k, a, b, value in cases),
        "at one place: k·k·before for each channel alone, before·after for the 1 x 1, over k·k·before·after.",
    )


def hypervolume(answer: Callable) -> None:
    """Exercise 43b: ``answer(points, corner)`` is the area that a front dominates: quality up, cost down."""
    cases = [
        ([(1.0, 0.5)], (4.0, 0.0), 1.5),
        ([(1.0, 0.5), (2.0, 0.8)], (4.0, 0.0), 0.5 + 2 * 0.8),
        ([(2.0, 0.8), (1.0, 0.5), (3.0, 0.7)], (4.0, 0.0), 0.5 + 2 * 0.8),
        ([(5.0, 0.9)], (4.0, 0.0), 0.0),
        ([(1.0, 0.5), (2.0, 0.8)], (4.0, 0.3), 0.2 + 2 * 0.5),  # qualities count from the corner's
    ]
    verdict(
        lambda: all(abs(answer(np.array(points), corner) - value) < 1e-9 for points, corner, value in cases),
        "go from cheap to dear, carry the best quality so far, and add a rectangle up to the next cost or the corner.",
    )


def images_for_an_update(answer: Callable) -> None:
    """Exercise 44a: ``answer(loss, disagreement)`` is how many images let a worse update pass in 5 % of all cases."""
    cases = [(0.02, 0.06, 404), (0.05, 0.10, 106), (0.01, 0.02, 539)]
    verdict(
        lambda: all(abs(answer(loss, apart) - n) <= 2 for loss, apart, n in cases),
        "n · loss must be 1.645 standard deviations, and the variance of one image is disagreement - loss².",
    )


def traffic(answer: Callable) -> None:
    """Exercise 44b: ``answer(parameters, hospitals, rounds, bits)`` is what federated training sends, in bytes."""
    cases = [(1000, 3, 10, 32, 240_000), (24_000, 5, 20, 8, 4_800_000), (10, 1, 1, 4, 10)]
    verdict(
        lambda: all(answer(p, k, r, b) == value for p, k, r, b, value in cases),
        "every hospital gets the network and sends it back, in every round; eight bits are a byte.",
    )
