"""What attacks do from step to step, on scores and gradients that are written down."""

import keras
import numpy as np
import small_networks

from medtk import attacks
from medtk.attacks import black_box, boundary, universal


def test_fab_walks_along_the_border_and_part_of_the_way_back(monkeypatch):
    """On an affine network of two classes all points lie on a line: 0 is the image, 1 the border."""
    images = keras.Input((3, 3, 1))
    logits = keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(images))
    model = keras.Model(images, keras.layers.Softmax()(logits))
    # One class rises by the sum of the pixels; from 0.5 everywhere it wins where they all rise by 0.3.
    kernel = np.stack([np.zeros(9), np.ones(9)], axis=1)
    model.get_layer("logits").set_weights([kernel, np.array([9 * 0.8, 0], np.float32)])
    seen, real = [], boundary.loss_and_gradient
    monkeypatch.setattr(
        boundary, "loss_and_gradient", lambda *args, **kw: seen.append(args[1] - 0.5) or real(*args, **kw)
    )
    attacks.fab(model, np.full((1, 3, 3, 1), 0.5, np.float32), np.zeros(1, int), steps=5, clip=False)
    expected = [0.0]
    for _ in range(4):
        here = expected[-1]
        weight = min(abs(1 - here) / (abs(1 - here) + 1), 0.1)
        there = (1 - weight) * (here + 1.05 * (1 - here)) + weight * 1.05
        assert there > 1
        expected.append(0.9 * there)
    for difference, here in zip(seen, expected, strict=True):
        np.testing.assert_allclose(difference, 0.3 * here, atol=1e-5)


def test_square_paints_ever_smaller_squares(monkeypatch):
    """No square is better than the stripes, so what differs from them is a square, but where it has their colours."""
    images = np.full((12, 32, 32, 3), 0.5, np.float32)
    seen = []

    def right(model, points, **_):
        seen.append(points)
        return np.tile(np.array([[1, 0, 0]], np.float32), (len(points), 1))

    monkeypatch.setattr(black_box, "scores", right)
    network = small_networks.classifier(shape=(32, 32, 3))
    attacks.square(network, images, np.zeros(12, int), 0.1, queries=100)
    stripes, *painted = seen[1:]
    sides = {}
    for query, points in enumerate(painted):
        differs = np.any(points != stripes, axis=-1)
        rows = differs.any(axis=2).sum(axis=1).max()
        assert differs.any(axis=1).sum(axis=1).max() <= rows
        sides.setdefault(rows, query)
    # Of 10,000 queries the area halves after 10, 50, 200, ...: here two halvings fall between the first two squares.
    assert sides == {29: 0, 14: 1, 10: 3, 7: 6, 5: 11, 4: 21, 3: 41, 2: 61, 1: 81}


def written_universal(monkeypatch, gradient, turned, **settings):
    """Perturbation of four images, steps of 0.01; gradients and who is turned for each image, and by look."""
    images = np.full((4, *small_networks.SHAPE), 0.5, np.float32)
    images += np.arange(4)[:, None, None, None] / 100  # so that a stub knows them in any order
    looks = iter(turned)

    def said(points):
        return np.eye(3, dtype=np.float32)[np.isin(points, next(looks)).astype(int)]

    def which(points):
        return np.argsort(np.argsort(points[:, 0, 0, 0]))

    def written(model, points, wanted, **_):
        own = which(points)
        return said(own), None, np.ones_like(points) * np.array(gradient, np.float32)[own][:, None, None, None]

    monkeypatch.setattr(universal, "loss_and_gradient", written)
    monkeypatch.setattr(universal, "scores", lambda model, points: said(which(points)))
    return attacks.universal_perturbation(
        small_networks.classifier(), images, np.zeros(4, int), 0.1, step_size=0.01, **settings
    )


def test_universal_perturbation_is_that_of_the_best_pass(monkeypatch):
    """Each pass adds 0.01; the second turns three images of four, the last one."""
    turned = [[], [0], [], [0, 1, 2], [], [3]]
    found = written_universal(monkeypatch, [1, 1, 1, 1], turned, epochs=3)
    np.testing.assert_allclose(found, 0.02, atol=1e-6)


def test_images_that_the_universal_perturbation_turns_do_not_pull(monkeypatch):
    found = written_universal(monkeypatch, [1, -5, 1, 1], [[1], [1]], epochs=1)
    np.testing.assert_allclose(found, 0.01, atol=1e-6)
