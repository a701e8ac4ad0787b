import builtins
import math

import numpy as np
import pytest
from scipy.stats import norm

from medtk import privacy
from medtk.errors import BadParameter, MedtkError
from medtk.privacy import accounting


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0, 10.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-6])
def test_one_release_has_the_epsilon_of_the_analytic_gaussian_mechanism(noise, delta):
    found = privacy.epsilon(noise, 1.0, 1, delta)
    assert privacy.gaussian_delta(found, noise) <= delta * (1 + 1e-6)
    assert privacy.gaussian_delta(found - 1e-3, noise) > delta


@pytest.mark.parametrize("steps", [3, 15, 400])
def test_releases_without_sampling_are_one_release_with_less_noise(steps):
    together = privacy.epsilon(4.0, 1.0, steps, 1e-5)
    assert together == pytest.approx(privacy.epsilon(4.0 / math.sqrt(steps), 1.0, 1, 1e-5), rel=1e-3)


@pytest.mark.parametrize(("noise", "rate", "delta"), [(1.0, 0.1, 1e-3), (0.6, 0.02, 1e-5), (3.0, 0.5, 1e-2)])
def test_one_sampled_release_has_the_closed_form(noise, rate, delta):
    """Between (1 - q) N(0, z^2) + q N(1, z^2) and N(0, z^2) the likelihood ratio passes e^epsilon once."""
    epsilon = privacy.epsilon(noise, rate, 1, delta)
    cross = noise**2 * math.log((math.exp(epsilon) - 1 + rate) / rate) + 0.5
    with_record = (1 - rate) * norm.sf(cross / noise) + rate * norm.sf((cross - 1) / noise)
    exact = with_record - math.exp(epsilon) * norm.sf(cross / noise)
    assert exact == pytest.approx(delta, rel=2e-3)


def test_published_values():
    # Abadi et al. (2016), section 4: 1.26 by the moments accountant, which bounds from above.
    many = privacy.epsilon(4.0, 0.01, 10_000, 1e-5)
    assert many < 1.26
    # Bu et al. (2020), "Deep learning with Gaussian differential privacy": so many steps are near one release.
    limit = 0.01 * math.sqrt(10_000 * (math.exp(1 / 16) - 1))
    assert privacy.gaussian_delta(many, 1 / limit) == pytest.approx(1e-5, rel=0.1)
    # Three hospitals, each in every one of 15 rounds.
    for noise, expected in ((1, 18.74), (2, 7.3), (5, 2.3), (10, 1.0)):
        assert privacy.epsilon(noise, 1.0, 15, 1e-3) == pytest.approx(expected, abs=0.06)
    assert privacy.epsilon(1.0, 0.25, 4, 1e-3) == pytest.approx(2.508, abs=2e-3)


def test_the_ends():
    assert privacy.epsilon(0.0, 0.1, 10, 1e-5) == math.inf
    assert privacy.epsilon(0.0, 0.1, 0, 1e-5) == 0
    assert privacy.epsilon(1000.0, 0.01, 1, 1e-3) == pytest.approx(0, abs=1e-6)
    assert privacy.epsilon(0.05, 1.0, 100, 1e-5) == pytest.approx(20853, rel=1e-3)


@pytest.mark.parametrize(
    ("target", "rate", "steps"), [(1.0, 0.05, 200), (8.0, 1.0, 15), (0.1, 0.01, 100), (200.0, 0.5, 20)]
)
def test_noise_for_is_the_inverse_and_errs_to_the_safe_side(target, rate, steps):
    noise = privacy.noise_for(target, rate, steps, 1e-4)
    assert privacy.epsilon(noise, rate, steps, 1e-4) <= target
    assert privacy.epsilon(noise * 0.999, rate, steps, 1e-4) > target


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((-1, 0.1, 1, 1e-5), "noise_multiplier"),
        ((math.nan, 0.1, 1, 1e-5), "noise_multiplier"),
        ((1, 0, 1, 1e-5), "sampling_rate"),
        ((1, 1.1, 1, 1e-5), "sampling_rate"),
        ((1, 0.1, 1, 0), "delta"),
        ((1, 0.1, 1, 1), "delta"),
        ((1, 0.1, -1, 1e-5), "steps"),
        ((1, 0.1, 1.5, 1e-5), "steps"),
    ],
)
def test_values_out_of_range(arguments, words):
    with pytest.raises(BadParameter, match=words):
        privacy.epsilon(*arguments)


@pytest.mark.parametrize("target", [0, -1, math.inf, math.nan])
def test_targets_out_of_range(target):
    with pytest.raises(BadParameter, match="target_epsilon"):
        privacy.noise_for(target, 0.1, 10, 1e-5)


def test_targets_that_no_sensible_noise_gives():
    with pytest.raises(BadParameter, match="promises nothing"):
        privacy.noise_for(1e6, 0.1, 1, 1e-5)
    with pytest.raises(BadParameter, match="ask for more"):
        privacy.noise_for(1e-8, 1.0, 100, 1e-9)


def test_without_the_library_a_sentence_says_what_to_install(monkeypatch):
    imported = builtins.__import__

    def refuse(name, *rest):
        if name.startswith("dp_accounting"):
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MedtkError, match=r"medtk\[privacy\]"):
        accounting.epsilon(1.0, 0.1, 1, 1e-5)


@pytest.mark.parametrize("noise", [0.7, 2.0])
def test_bounds_touch_the_gaussian_mechanism(noise):
    """The best test against one release is known: no bound lies below it, and the lowest of all epsilons' on it."""
    grid = np.linspace(0, 12, 4001)
    pairs = [(epsilon, privacy.gaussian_delta(epsilon, noise)) for epsilon in grid]
    best = 2 * norm.cdf(1 / (2 * noise)) - 1
    advantages = [privacy.advantage_bound(*pair) for pair in pairs]
    assert min(advantages) == pytest.approx(best, abs=1e-9) and advantages[0] == pytest.approx(best, abs=1e-9)
    for fpr in (0.001, 0.01, 0.2):
        power = norm.cdf(norm.ppf(fpr) + 1 / noise)
        bounds = [privacy.power_bound(fpr, *pair) for pair in pairs]
        assert min(bounds) == pytest.approx(power, abs=1e-4) and min(bounds) >= power - 1e-9


def test_advantage_bound_is_that_of_randomised_response():
    """A coin that tells the truth with probability e^eps / (1 + e^eps) reaches the bound."""
    for epsilon in (0.1, 1.0, 5.0):
        truth = math.exp(epsilon) / (1 + math.exp(epsilon))
        assert privacy.advantage_bound(epsilon) == pytest.approx(truth - (1 - truth))
        assert privacy.power_bound(1 - truth, epsilon) == pytest.approx(truth)
    assert privacy.advantage_bound(0) == 0 and privacy.advantage_bound(math.inf) == 1
    assert privacy.power_bound(0.01, math.inf) == 1 and privacy.power_bound(0.01, 0) == 0.01
    with pytest.raises(BadParameter, match="epsilon"):
        privacy.advantage_bound(-1)
    with pytest.raises(BadParameter, match="false_positive_rate"):
        privacy.power_bound(2, 1)
    with pytest.raises(BadParameter, match="noise_multiplier"):
        privacy.gaussian_delta(1, 0)
