import numpy as np
import small_networks
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medtk import attacks

NETWORK = small_networks.settled()
N = 4
images = arrays(np.float32, (N, *small_networks.SHAPE), elements=st.floats(0, 1, width=32))
labels = arrays(np.int64, N, elements=st.integers(0, 2))
epsilons = st.floats(0, 0.5)


@settings(max_examples=25, deadline=None)
@given(images, labels, epsilons)
def test_stays_in_the_ball_and_the_box(x, y, epsilon):
    free, clipped = attacks.fgsm(NETWORK, x, y, epsilon), attacks.fgsm(NETWORK, x, y, epsilon, clip=True)
    assert free.dtype == clipped.dtype == np.float32 and free.shape == clipped.shape == x.shape
    assert np.abs(free - x).max() <= epsilon + 1e-6
    assert clipped.min() >= 0 and clipped.max() <= 1
    assert np.all(np.abs(clipped - x) <= np.abs(free - x) + 1e-6)


@settings(max_examples=15, deadline=None)
@given(images, labels, epsilons, st.permutations(range(N)))
def test_each_image_is_attacked_alone(x, y, epsilon, order):
    """The result of an image depends on no other image of the batch, up to signs of vanishing gradients."""
    here = attacks.fgsm(NETWORK, x[order], y[order], epsilon)
    there = attacks.fgsm(NETWORK, x, y, epsilon)[order]
    assert np.mean(np.abs(here - there) > 1e-6) < 0.01


@settings(max_examples=15, deadline=None)
@given(images, labels, st.floats(1e-3, 0.25))
def test_twice_the_step_goes_twice_as_far(x, y, epsilon):
    once, twice = attacks.fgsm_path(NETWORK, x, y, [epsilon, 2 * epsilon])
    np.testing.assert_allclose(twice - x, 2 * (once - x), atol=1e-6)
