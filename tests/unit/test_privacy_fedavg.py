import numpy as np
import pytest

from medtk import privacy
from medtk.errors import BadParameter


def updates(n=3, seed=0):
    random = np.random.default_rng(seed)
    return [[random.normal(size=(4, 3)).astype(np.float32), random.normal(size=3)] for _ in range(n)]


def norm(update):
    return np.sqrt(sum(np.sum(np.asarray(a, float) ** 2) for a in update))


def test_clipping_takes_all_arrays_together():
    clipped, before = privacy.clip_update([np.array([3.0, 0.0]), np.array([[4.0]])], 2.5)
    assert before == 5
    np.testing.assert_allclose(clipped[0], [1.5, 0])
    np.testing.assert_allclose(clipped[1], [[2.0]])


def test_short_and_zero_updates_stay():
    for update in ([np.array([0.3]), np.array([0.4])], [np.zeros(2)]):
        clipped, _ = privacy.clip_update(update, 0.5)
        np.testing.assert_array_equal(np.concatenate(clipped), np.concatenate(update))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_update_that_is_not_finite_is_refused(value):
    with pytest.raises(BadParameter, match="NaN or infinite"):
        privacy.clip_update([np.array([1.0, value])], 1.0)


def test_sensitivity_is_that_of_the_heaviest_client():
    assert privacy.sensitivity([1, 1, 1], 2.0) == pytest.approx(2 / 3)
    assert privacy.sensitivity([300, 200, 100], 2.0) == pytest.approx(1.0)
    # Noise for equal clients on unequal ones: two thirds of the multiplier, and a larger epsilon.
    honest = privacy.effective_multiplier(1.0 * 2.0 / 3, [300, 200, 100], 2.0)
    assert honest == pytest.approx(2 / 3)
    assert privacy.epsilon(honest, 1.0, 15, 1e-3) > 1.5 * privacy.epsilon(1.0, 1.0, 15, 1e-3)


def test_without_noise_it_is_fedavg_of_clipped_updates():
    given, weights = updates(), [300, 200, 100]
    expected = [(3 * a + 2 * b + c) / 6 for a, b, c in zip(*given, strict=True)]
    free = privacy.noised_mean(given, weights, clip_norm=np.inf, noise_multiplier=0, seed=0)
    for ours, theirs in zip(free, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
        assert ours.dtype == theirs.dtype
    clipped = [privacy.clip_update(u, 1.0)[0] for u in given]
    expected = [(3 * a + 2 * b + c) / 6 for a, b, c in zip(*clipped, strict=True)]
    found = privacy.noised_mean(given, weights, clip_norm=1.0, noise_multiplier=0, seed=0)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-6)
    assert norm(found) <= 1.0 + 1e-6 < norm(free)


@pytest.mark.parametrize("weights", [[1, 1, 1], [300, 200, 100], [1, 0, 0]])
def test_noise_is_calibrated_to_the_real_weights(weights):
    zero = [[np.zeros(20_000), np.zeros((10, 1000))] for _ in weights]
    found = privacy.noised_mean(zero, weights, clip_norm=0.7, noise_multiplier=2.0, seed=3)
    values = np.concatenate([a.ravel() for a in found])
    expected = 2.0 * 0.7 * max(weights) / sum(weights)
    assert values.std() == pytest.approx(expected, rel=0.02)
    assert privacy.effective_multiplier(values.std(), weights, 0.7) == pytest.approx(2.0, rel=0.02)
    assert abs(values.mean()) < 4 * expected / np.sqrt(len(values))
    again = privacy.noised_mean(zero, weights, clip_norm=0.7, noise_multiplier=2.0, seed=3)
    other = privacy.noised_mean(zero, weights, clip_norm=0.7, noise_multiplier=2.0, seed=4)
    assert np.array_equal(again[0], found[0]) and not np.any(other[0] == found[0])


def test_a_round_leaves_alone_what_is_not_released():
    old = [np.ones((2, 2), np.float32), np.array([0.1, 0.2], np.float32), np.zeros(3)]
    clients = [[a + k for a in old] for k in (1, 2)]
    keep = [a.copy() for a in old]
    new = privacy.private_round(
        old, clients, [1, 3], clip_norm=np.inf, noise_multiplier=0, seed=0, released=[True, False, True]
    )
    np.testing.assert_allclose(new[0], old[0] + 1.75)
    np.testing.assert_array_equal(new[1], old[1])
    np.testing.assert_allclose(new[2], old[2] + 1.75)
    assert [a.dtype for a in new] == [a.dtype for a in old]
    for a, b in zip(old, keep, strict=True):
        np.testing.assert_array_equal(a, b)
    noisy = privacy.private_round(
        old, clients, [1, 3], clip_norm=1.0, noise_multiplier=5, seed=0, released=[True, False, True]
    )
    np.testing.assert_array_equal(noisy[1], old[1])
    assert np.all(noisy[0] != new[0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weights": [1, 1]}, "2 updates"),
        ({"weights": [1, -1, 1]}, "weights must be"),
        ({"weights": [0, 0, 0]}, "weights must be"),
        ({"weights": [1, np.nan, 1]}, "weights must be"),
        ({"clip_norm": 0}, "clip_norm"),
        ({"clip_norm": np.inf}, "finite clip_norm"),
        ({"noise_multiplier": -1}, "noise_multiplier"),
        ({"updates": [[np.zeros(2)], [np.zeros(2)], [np.zeros(3)]]}, "equal shapes"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_does_not_fit_is_refused(change, words):
    given = {"updates": updates(), "weights": [1, 1, 1], "clip_norm": 1.0, "noise_multiplier": 1.0, "seed": 0}
    with pytest.raises(BadParameter, match=words):
        privacy.noised_mean(**(given | change))


def test_a_round_of_other_arrays_is_refused():
    with pytest.raises(BadParameter, match="2 entries"):
        privacy.private_round([np.zeros(1)] * 2, [[np.zeros(1)]], [1], clip_norm=1.0, noise_multiplier=0, seed=0)
