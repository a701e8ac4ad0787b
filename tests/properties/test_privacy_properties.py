import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medtk import privacy
from medtk.data import Split
from medtk.privacy import shamir

noises = st.floats(0.4, 20)
rates = st.floats(0.005, 1)
steps = st.integers(1, 300)
deltas = st.floats(1e-7, 0.1)
vectors = arrays(np.float64, 6, elements=st.floats(-100, 100))


@settings(max_examples=12, deadline=None)
@given(noises, rates, steps, deltas, st.floats(1.05, 3))
def test_epsilon_falls_with_noise_and_delta_and_rises_with_rate_and_steps(noise, rate, n, delta, factor):
    here = privacy.epsilon(noise, rate, n, delta)
    slack = 1e-3 * here + 1e-6
    assert privacy.epsilon(noise * factor, rate, n, delta) <= here + slack
    assert privacy.epsilon(noise, rate, n, min(delta * factor, 0.5)) <= here + slack
    assert privacy.epsilon(noise, min(rate * factor, 1), n, delta) >= here - slack
    assert privacy.epsilon(noise, rate, n + 1, delta) >= here - slack
    # Sampling never costs privacy: without it the answer is known exactly.
    assert privacy.gaussian_delta(here, noise / np.sqrt(n)) >= delta * 0.98 or rate < 1


@given(st.floats(0, 30), st.floats(0.02, 50))
def test_gaussian_delta_is_a_probability_and_falls(epsilon, noise):
    here = privacy.gaussian_delta(epsilon, noise)
    assert -1e-12 <= here <= 1
    assert privacy.gaussian_delta(epsilon + 0.1, noise) <= here + 1e-12
    assert privacy.gaussian_delta(epsilon, noise * 1.1) <= here + 1e-12


@given(st.floats(0, 50), st.floats(0, 1), st.floats(0, 1))
def test_no_threshold_beats_the_advantage_bound(epsilon, delta, fpr):
    power = privacy.power_bound(fpr, epsilon, delta)
    assert 0 <= power <= 1 and power >= fpr - 1e-12
    assert power - fpr <= privacy.advantage_bound(epsilon, delta) + 1e-9


@given(st.lists(vectors, min_size=2, max_size=5), st.floats(0.01, 50), st.data())
def test_a_client_moves_the_mean_by_the_sensitivity_at_most(updates, clip_norm, data):
    n = len(updates)
    weights = data.draw(st.lists(st.integers(1, 1000), min_size=n, max_size=n))
    which = data.draw(st.integers(0, n - 1))
    given_ = {"weights": weights, "clip_norm": clip_norm, "noise_multiplier": 0, "seed": 0}
    full = privacy.noised_mean([[u] for u in updates], **given_)[0]
    without = privacy.noised_mean([[u * (i != which)] for i, u in enumerate(updates)], **given_)[0]
    assert np.linalg.norm(full - without) <= privacy.sensitivity(weights, clip_norm) * (1 + 1e-9)


@given(vectors, st.floats(0.01, 50))
def test_clipping_shortens_and_keeps_the_direction(update, clip_norm):
    (clipped,), norm = privacy.clip_update([update], clip_norm)
    assert np.linalg.norm(clipped) <= min(clip_norm, norm) * (1 + 1e-9)
    np.testing.assert_allclose(clipped * max(norm, 1e-300), update * np.linalg.norm(clipped), atol=1e-6)


def _linear():
    keras.utils.set_random_seed(0)
    images = keras.Input((2, 2, 1))
    scores = keras.layers.Dense(3, name="logits")(keras.layers.Flatten()(images))
    return keras.Model(images, keras.layers.Softmax()(scores))


MODEL = _linear()
START, SGD = MODEL.get_weights(), keras.optimizers.SGD(1.0)


def summed(images, labels, clip_norm):
    """Sum of clipped gradients: a step of size 1, times the images that it was divided by."""
    MODEL.set_weights(START)
    privacy.train_epoch(MODEL, SGD, Split(images, labels), privacy.PrivateSgd(clip_norm, 0.0, len(labels)), 0)
    moved = [a - b for a, b in zip(MODEL.get_weights(), START, strict=True)]
    return len(labels) * np.concatenate([a.ravel() for a in moved])


@settings(max_examples=25, deadline=None)
@given(
    arrays(np.float32, (5, 2, 2, 1), elements=st.floats(-1000, 1000, width=32)),
    arrays(np.int64, 5, elements=st.integers(0, 2)),
    st.floats(0.05, 5),
)
def test_an_image_moves_the_sum_of_gradients_by_the_clipping_norm_at_most(images, labels, clip_norm):
    apart = summed(images, labels, clip_norm) - summed(images[1:], labels[1:], clip_norm)
    assert np.linalg.norm(apart) <= clip_norm * (1 + 1e-4) + 1e-4


@given(st.lists(arrays(np.float64, 4, elements=st.floats(-5, 5)), min_size=2, max_size=5), st.data())
@settings(max_examples=25, deadline=None)
def test_secure_sum_is_the_sum_whoever_drops_out(updates, data):
    n = len(updates)
    threshold = n // 2 + 1
    dropped = data.draw(st.sets(st.integers(0, n - 1), max_size=n - threshold))
    total, seen = privacy.secure_sum([[u] for u in updates], threshold=threshold, limit=5.0, dropped=dropped)
    expected = sum(u for i, u in enumerate(updates) if i not in dropped)
    np.testing.assert_allclose(total[0], expected, rtol=0, atol=n * privacy.resolution(5.0, n))
    assert not set(seen) & dropped


@given(st.integers(0, 2**256 - 1), st.integers(1, 6), st.data())
def test_any_shares_enough_give_the_secret(secret, threshold, data):
    n = data.draw(st.integers(threshold, 8))
    random = np.random.default_rng(data.draw(st.integers(0, 100)))
    shares = shamir.split(secret, threshold, n, random.bytes)
    chosen = data.draw(st.permutations(sorted(shares)))[:threshold]
    assert shamir.combine({place: shares[place] for place in chosen}) == secret


@given(arrays(np.float64, 9, elements=st.floats(-30, 30)), st.integers(1, 100))
def test_fixed_point_returns_what_it_was_given(values, n):
    back = privacy.to_arrays(privacy.to_integers([values[:4], values[4:]], 30.0, n), [values[:4], values[4:]], 30.0, n)
    np.testing.assert_allclose(np.concatenate(back), values, rtol=0, atol=privacy.resolution(30.0, n) / 2 * 1.001)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30), st.lists(st.floats(-10, 10), min_size=1, max_size=30))
def test_success_depends_on_the_order_of_scores_alone(members, others):
    here = privacy.attack_success(members, others, repeats=10)
    there = privacy.attack_success(2 * np.array(members) + 3, 2 * np.array(others) + 3, repeats=10)
    if len({2 * x + 3 for x in [*members, *others]}) == len({*members, *others}):
        assert here == there
    swapped = privacy.attack_success(others, members, repeats=10)
    assert here.auc + swapped.auc == pytest.approx(1)
    assert 0 <= here.tpr <= 1 and here.advantage >= max(0, here.tpr - 0.01) - 1e-12
