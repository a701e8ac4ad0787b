"""When Auto-PGD halves its step and goes back, on losses that are written down; it looks after 22, 41, 57 of 100 steps.

There is no ball, and the gradient is 1: then each step goes as far as the step size, 0.2 at first.
"""

import numpy as np
import pytest
import small_networks

from medtk import attacks
from medtk.attacks import auto_pgd


@pytest.fixture
def path(monkeypatch):
    """Function from the loss and the gradient at each point, 0 for the start, to one pixel of the points."""

    def path(loss, gradient=lambda point: 1.0):
        seen = []

        def written(model, points, wanted, **_):
            point = len(seen) - 1  # the first call is for the image itself
            seen.append(points[0, 0, 0, 0])
            scores = np.eye(3, dtype=np.float32)[wanted]
            return scores, np.array([loss(point)], np.float32), np.full_like(points, gradient(point))

        monkeypatch.setattr(auto_pgd, "loss_and_gradient", written)
        monkeypatch.setattr(auto_pgd, "projected", lambda points, *_: points)
        image = np.full((1, *small_networks.SHAPE), 0.5, np.float32)
        attacks.apgd(small_networks.classifier(), image, np.zeros(1, int), 0.1, steps=100)
        return np.array(seen[1:])

    return path


def halved(points, look, best):
    """Whether the step after a look starts at the best point, with half the size and a quarter of the last move."""
    assert np.allclose(np.diff(points[: look + 1]), 0.2, atol=1e-5), "halved before"
    back = points[best] + 0.75 * 0.1 + 0.25 * (points[best] - points[look - 1])
    return points[look + 1] == pytest.approx(back, abs=1e-5)


def test_a_loss_that_mostly_rises_keeps_the_step(path):
    """Four steps of five rise, and each window has a new best."""
    points = path(lambda point: point - 3 * (point % 5 == 0))
    np.testing.assert_allclose(np.diff(points[:71]), 0.2, atol=1e-5)


def test_a_loss_that_rises_at_half_of_the_steps_halves_it(path):
    points = path(lambda point: point if point % 2 else point - 3)
    assert halved(points, 22, best=21)


def test_rises_are_counted_from_look_to_look(path):
    """22 steps of 22 rise, then one of 19, which is a new best."""
    points = path(lambda point: point if point < 24 else -point)
    assert halved(points, 41, best=23)


def test_a_loss_that_rises_below_its_best_halves_the_step_at_the_second_look(path):
    points = path(lambda point: point if point else 1000)
    assert halved(points, 41, best=0)


def test_the_step_after_a_return_takes_the_gradient_of_the_best_point(path):
    points = path(lambda point: -point, gradient=lambda point: 1.0 if point == 0 else -1.0)
    # The first step up, and from the second on down, with momentum; all that matters is where it goes on from.
    back = points[0] + 0.75 * 0.1 + 0.25 * (points[0] - points[21])
    assert points[23] == pytest.approx(back, abs=1e-5)
