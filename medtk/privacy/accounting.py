"""What noise buys: epsilon of the (subsampled) Gaussian mechanism, and the noise for a wanted epsilon.

Two data sets are neighbours here when one has one record (or one client) more than the other.
"""

import math

from scipy.optimize import brentq
from scipy.stats import norm

from medtk.errors import BadParameter, MedtkError


def epsilon(noise_multiplier: float, sampling_rate: float, steps: int, delta: float) -> float:
    """Epsilon after `steps` releases of a Poisson-sampled, clipped and noised sum.

    Parameters
    ----------
    noise_multiplier : float
        Standard deviation of the noise divided by the sensitivity (the clipping norm), 0 or more.
    sampling_rate : float
        Chance of each record to be in a step's sample, in (0, 1]. Records that are drawn by shuffling into
        batches of equal size are not drawn so, and this number does not hold for them.
    steps : int
        Releases, 0 or more.
    delta : float
        In (0, 1); below 1 over the number of records, or one record may simply be published.

    Returns
    -------
    float
        An upper bound, tight to about four digits; infinite without noise. From the privacy loss distribution
        (Koskela, Jälkö and Honkela, 2020) as dp-accounting computes it. The bound by Rényi divergence is
        looser: 3.17 instead of 2.51 at noise 1, rate 1/4, 4 steps and delta 0.001.

    Raises
    ------
    BadParameter
        On a value outside its range.
    MedtkError
        If dp-accounting is not installed.
    """
    _check(sampling_rate, steps, delta)
    if not 0 <= noise_multiplier < math.inf:
        raise BadParameter(f"noise_multiplier must be a finite number, 0 or more, not {noise_multiplier}.")
    if steps == 0:
        return 0.0
    if noise_multiplier == 0:
        return math.inf
    # Losses are put on a grid: its step follows the spread of one release's loss, which keeps time and four digits.
    spread = min(sampling_rate * math.sqrt(math.expm1(min(noise_multiplier**-2, 700))), 1 / noise_multiplier)
    grid = min(spread / 50, 0.01 * max(1.0, 0.01 * noise_multiplier**-2))
    one = _privacy_loss().from_gaussian_mechanism(
        noise_multiplier, sampling_prob=sampling_rate, value_discretization_interval=grid
    )
    return float(one.self_compose(steps).get_epsilon_for_delta(delta))


def noise_for(target_epsilon: float, sampling_rate: float, steps: int, delta: float) -> float:
    """Smallest noise multiplier whose `epsilon` is at most `target_epsilon`, to one part in a thousand.

    Parameters
    ----------
    target_epsilon : float
        Above 0.
    sampling_rate, steps, delta
        As in `epsilon`; at least one step.

    Returns
    -------
    float
        Rounded up: its epsilon never exceeds the target.

    Raises
    ------
    BadParameter
        On a value outside its range, or if no noise multiplier from 0.05 to 100,000 gives the target.
    """
    _check(sampling_rate, steps, delta)
    if steps == 0 or not 0 < target_epsilon < math.inf:
        raise BadParameter(
            f"target_epsilon must be a finite number above 0 and steps at least 1, not {target_epsilon} and {steps}."
        )

    def excess(log_noise: float) -> float:
        found = epsilon(math.exp(log_noise), sampling_rate, steps, delta)
        # Beyond the tail that is followed the bound is 0 or infinite, which no root finder likes.
        return math.log(min(max(found, 1e-9), 1e9) / target_epsilon)

    low = high = 0.0
    while excess(high) > 0:
        low, high = high, high + 1.0
        if high > math.log(1e5):
            raise BadParameter(f"No noise multiplier up to 100,000 gives epsilon {target_epsilon}; ask for more.")
    while excess(low) <= 0:
        low, high = low - 0.5, low
        if low < math.log(0.05):
            raise BadParameter(f"Noise of 0.05 already gives epsilon {target_epsilon}, which promises nothing.")
    found = brentq(excess, low, high, xtol=2e-4)
    while excess(found) > 0:
        found += 2e-4
    return math.exp(found)


def gaussian_delta(epsilon: float, noise_multiplier: float) -> float:
    r"""Exact delta of one release by the Gaussian mechanism, sensitivity 1, no sampling.

    .. math:: \delta = \Phi\left(\tfrac{1}{2z} - \epsilon z\right)
              - e^{\epsilon} \, \Phi\left(-\tfrac{1}{2z} - \epsilon z\right)

    T releases with noise multiplier z are one release with :math:`z / \sqrt T`.

    Parameters
    ----------
    epsilon : float
        0 or more.
    noise_multiplier : float
        z, above 0.

    Returns
    -------
    float
        In [0, 1].

    References
    ----------
    Balle and Wang (2018), "Improving the Gaussian mechanism for differential privacy", Theorem 8.
    """
    if not epsilon >= 0 or not noise_multiplier > 0:
        raise BadParameter(
            f"epsilon must be 0 or more and noise_multiplier above 0, not {epsilon} and {noise_multiplier}."
        )
    half, shift = 1 / (2 * noise_multiplier), epsilon * noise_multiplier
    # In logarithms, where e^epsilon cannot overflow.
    return float(norm.cdf(half - shift) - math.exp(epsilon + norm.logcdf(-half - shift)))


def advantage_bound(epsilon: float, delta: float = 0.0) -> float:
    r"""Most that any membership test can gain: true-positive minus false-positive rate, at any threshold.

    .. math:: \mathrm{TPR} - \mathrm{FPR} \le \frac{e^\epsilon - 1 + 2\delta}{e^\epsilon + 1}

    Parameters
    ----------
    epsilon : float
        0 or more, may be infinite.
    delta : float
        In [0, 1].

    Returns
    -------
    float
        In [0, 1].

    References
    ----------
    Humphries et al. (2020), "Investigating membership inference attacks under data dependencies";
    Kairouz, Oh and Viswanath (2015) for delta above 0.
    """
    if not epsilon >= 0 or not 0 <= delta <= 1:
        raise BadParameter(f"epsilon must be 0 or more and delta in [0, 1], not {epsilon} and {delta}.")
    shrink = math.exp(-epsilon)
    return min(1.0, (1 - shrink + 2 * delta * shrink) / (1 + shrink))


def power_bound(false_positive_rate: float, epsilon: float, delta: float = 0.0) -> float:
    r"""Highest true-positive rate of any membership test at a false-positive rate.

    .. math:: \mathrm{TPR} \le \min\left(e^\epsilon\,\mathrm{FPR} + \delta,\;
              1 - e^{-\epsilon}(1 - \delta - \mathrm{FPR})\right)

    Parameters and errors as in `advantage_bound`. Source: Kairouz, Oh and Viswanath (2015), "The composition
    theorem for differential privacy", Theorem 2.1.
    """
    if not epsilon >= 0 or not 0 <= delta <= 1 or not 0 <= false_positive_rate <= 1:
        raise BadParameter(
            "epsilon must be 0 or more, delta and false_positive_rate in [0, 1], not "
            f"{epsilon}, {delta} and {false_positive_rate}."
        )
    grown = math.exp(min(epsilon, 700)) * false_positive_rate + delta
    return float(min(1.0, grown, 1 - math.exp(-epsilon) * (1 - delta - false_positive_rate)))


def _check(sampling_rate: float, steps: int, delta: float) -> None:
    if not 0 < sampling_rate <= 1 or not 0 < delta < 1:
        raise BadParameter(f"sampling_rate must be in (0, 1] and delta in (0, 1), not {sampling_rate} and {delta}.")
    if steps != int(steps) or steps < 0:
        raise BadParameter(f"steps must be a whole number, 0 or more, not {steps}.")


def _privacy_loss():
    try:
        from dp_accounting.pld import privacy_loss_distribution
    except ImportError as error:
        raise MedtkError(
            "Epsilon is computed by dp-accounting, which is not installed: pip install 'medtk[privacy]'."
        ) from error
    return privacy_loss_distribution
