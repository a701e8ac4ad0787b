import functools

import numpy as np
import pytest
import small_networks
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medtk import attacks
from medtk.attacks import sparse
from medtk.models import gradients

NETWORK = small_networks.settled()
N = 4
images = arrays(np.float32, (N, *small_networks.SHAPE), elements=st.floats(0, 1, width=32))
labels = arrays(np.int64, N, elements=st.integers(0, 2))
epsilons = st.floats(0, 0.5)
BALL = {
    "bim": functools.partial(attacks.bim, steps=3),
    "pgd": functools.partial(attacks.pgd, steps=3, restarts=2),
    "mi_fgsm": functools.partial(attacks.mi_fgsm, steps=3),
    "apgd": functools.partial(attacks.apgd, steps=5),
    "square": functools.partial(attacks.square, queries=5),
}
FREE = {
    "deepfool": functools.partial(attacks.deepfool, steps=5),
    "fab": functools.partial(attacks.fab, steps=5),
    "carlini_wagner": functools.partial(attacks.carlini_wagner, search_steps=2, steps=10, initial_c=1.0),
    "jsma": functools.partial(attacks.jsma, gamma=0.05),
    "one_pixel": functools.partial(attacks.one_pixel, population=8, generations=2),
}


@settings(max_examples=25, deadline=None)
@given(images, labels, epsilons)
def test_stays_in_the_ball_and_the_box(x, y, epsilon):
    free, clipped = attacks.fgsm(NETWORK, x, y, epsilon, clip=False), attacks.fgsm(NETWORK, x, y, epsilon, clip=True)
    assert free.dtype == clipped.dtype == np.float32 and free.shape == clipped.shape == x.shape
    assert np.abs(free - x).max() <= epsilon + 1e-6
    assert clipped.min() >= 0 and clipped.max() <= 1
    assert np.all(np.abs(clipped - x) <= np.abs(free - x) + 1e-6)


@settings(max_examples=15, deadline=None)
@given(images, labels, epsilons, st.permutations(range(N)))
def test_each_image_is_attacked_alone(x, y, epsilon, order):
    """The result of an image depends on no other image of the batch, up to signs of vanishing gradients."""
    here = attacks.fgsm(NETWORK, x[order], y[order], epsilon, clip=False)
    there = attacks.fgsm(NETWORK, x, y, epsilon, clip=False)[order]
    assert np.mean(np.abs(here - there) > 1e-6) < 0.01


@settings(max_examples=15, deadline=None)
@given(images, labels, st.floats(1e-3, 0.25))
def test_twice_the_step_goes_twice_as_far(x, y, epsilon):
    once, twice = attacks.fgsm_path(NETWORK, x, y, [epsilon, 2 * epsilon], clip=False)
    np.testing.assert_allclose(twice - x, 2 * (once - x), atol=1e-6)


@pytest.mark.parametrize("name", BALL)
@settings(max_examples=8, deadline=None)
@given(images, labels, epsilons, st.booleans())
def test_iterated_attacks_stay_in_the_ball_and_the_box(name, x, y, epsilon, clip):
    attacked = BALL[name](NETWORK, x, y, epsilon, clip=clip)
    assert attacked.dtype == np.float32 and attacked.shape == x.shape and np.isfinite(attacked).all()
    assert np.abs(attacked - x).max() <= epsilon + 1e-6
    if clip:
        assert attacked.min() >= 0 and attacked.max() <= 1


@settings(max_examples=8, deadline=None)
@given(images, labels, st.floats(0, 5), st.booleans())
def test_l2_attack_stays_in_the_ball_and_the_box(x, y, epsilon, clip):
    attacked = attacks.pgd(NETWORK, x, y, epsilon, norm="l2", steps=3, clip=clip)
    assert np.linalg.norm((attacked - x).reshape(N, -1), axis=1).max() <= epsilon + 1e-4
    if clip:
        assert attacked.min() >= 0 and attacked.max() <= 1


@pytest.mark.parametrize("name", FREE)
@settings(max_examples=8, deadline=None)
@given(images, labels)
def test_minimal_and_sparse_attacks_leave_what_is_wrong_already(name, x, y):
    attacked = FREE[name](NETWORK, x, y)
    assert attacked.dtype == np.float32 and attacked.min() >= 0 and attacked.max() <= 1
    wrong = gradients.scores(NETWORK, x).argmax(axis=1) != y
    np.testing.assert_array_equal(attacked[wrong], x[wrong])
    if name in ("deepfool", "fab", "carlini_wagner"):
        changed = np.any(attacked != x, axis=(1, 2, 3))
        # All or nothing; a point on the very border may be read either way in another batch.
        margin = np.sort(gradients.scores(NETWORK, attacked), axis=1)
        sure = margin[:, -1] - margin[:, -2] > 1e-5
        assert np.all((gradients.scores(NETWORK, attacked).argmax(axis=1) != y)[changed & sure])


@pytest.mark.parametrize("name", [*BALL, *FREE])
def test_the_same_seed_gives_the_same_images_and_the_batch_size_does_not_matter(name):
    x, _ = small_networks.images_and_labels(7, seed=2)
    y = gradients.scores(NETWORK, x).argmax(axis=1)
    attack = functools.partial(BALL[name], epsilon=0.05) if name in BALL else FREE[name]
    once, again, in_parts = (attack(NETWORK, x, y, batch_size=size) for size in (256, 256, 3))
    np.testing.assert_array_equal(once, again)
    # Another order of summation may turn the sign of a vanishing gradient.
    assert np.mean(np.abs(once - in_parts) > 1e-4) < 0.02


@pytest.mark.parametrize("name", ["pgd", "apgd", "square", "one_pixel"])
def test_another_seed_gives_other_images(name):
    x, _ = small_networks.images_and_labels(7, seed=2)
    y = gradients.scores(NETWORK, x).argmax(axis=1)
    attack = functools.partial(BALL[name], epsilon=0.002) if name in BALL else FREE[name]
    if name == "pgd":
        # In so large a ball no two runs end at the same point.
        attack = functools.partial(attack, norm="l2", epsilon=2.0)
    assert np.any(attack(NETWORK, x, y, seed=0) != attack(NETWORK, x, y, seed=1))


@settings(max_examples=10, deadline=None)
@given(images, labels, st.floats(0.001, 0.3))
def test_iterated_steps_are_never_weaker_than_one(x, y, epsilon):
    one, many = attacks.fgsm(NETWORK, x, y, epsilon, clip=True), attacks.bim(NETWORK, x, y, epsilon, steps=3)
    (s_one, l_one, _), (s_many, l_many, _) = (
        gradients.loss_and_gradient(NETWORK, z, y.astype(np.int32)) for z in (one, many)
    )
    wins = (s_many.argmax(axis=1) != y) > (s_one.argmax(axis=1) != y)
    assert np.all(wins | (l_many >= l_one - 1e-4))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 12), st.integers(0, 2**31), st.booleans())
def test_best_pair_is_never_beaten_by_another_pair(values, seed, whole):
    """Whole numbers make ties and exact dominance common."""
    random = np.random.default_rng(seed)
    draw = (lambda: random.integers(-3, 4, (3, values))) if whole else (lambda: random.normal(size=(3, values)))
    alpha, beta = draw().astype(np.float32), draw().astype(np.float32)
    p, q = sparse.best_pairs(alpha, beta, np.ones((3, values), bool))
    for image in range(3):
        a = alpha[image, :, None].astype(float) + alpha[image]
        b = beta[image, :, None].astype(float) + beta[image]
        saliency = np.where((a > 0) & (b < 0), -a * b, 0) * (1 - np.eye(values))
        assert p[image] != q[image]
        assert saliency[p[image], q[image]] >= saliency.max() * (1 - 1e-6)


def test_two_networks_are_not_mixed_up():
    """The compiled steps of one loss belong to one network each."""
    x, y = small_networks.images_and_labels(5)
    other = small_networks.settled(seed=9)
    mine, theirs = (gradients.loss_gradient(model, x, y) for model in (NETWORK, other))
    assert not np.allclose(mine, theirs)
    np.testing.assert_array_equal(gradients.loss_gradient(NETWORK, x, y), mine)
