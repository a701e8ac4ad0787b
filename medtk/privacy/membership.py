"""Membership inference: was this image among the training images? Asked of a classifier's probabilities alone.

Each attack is a score an image, higher where membership is likelier; `attack_success` says how well it separates.
Members are training images, non-members others from the same population (the test split): where the two differ in
more than membership, a detector of that difference looks like a leak.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from medtk.errors import BadParameter
from medtk.evaluation import metrics
from medtk.evaluation.intervals import Interval, wilson

# Probabilities come as float32, or float16 from a record: below this they say nothing.
TINY = 1e-7


class Success(NamedTuple):
    """How well a score tells members from others.

    Attributes
    ----------
    auc : float
        Chance that a random member scores above a random non-member; 0.5 is guessing.
    auc_interval : Interval
    tpr : float
        Share of members found by the lowest threshold that calls at most `fpr` of the non-members members.
    tpr_interval : Interval
        The wider, at each end, of bootstrap (which knows that the threshold was chosen) and Wilson (which
        knows that no hit among n is not a zero).
    fpr : float
        The false-positive rate that was allowed.
    advantage : float
        Largest true-positive minus false-positive rate over all thresholds. Chosen on the same images, so it
        is above zero for a useless score too; compare with `medtk.privacy.advantage_bound` by the intervals.
    advantage_interval : Interval
    """

    auc: float
    auc_interval: Interval
    tpr: float
    tpr_interval: Interval
    fpr: float
    advantage: float
    advantage_interval: Interval


def loss_score(labels, probabilities) -> np.ndarray:
    """Minus the cross-entropy of each image: training lowers the loss of what it saw.

    Parameters
    ----------
    labels : array of int, shape (n,)
    probabilities : array of float, shape (n, k)

    Returns
    -------
    ndarray, shape (n,)
        0 or less. Source: Yeom, Giacomelli, Fredrikson and Jha (2018), "Privacy risk in machine learning",
        Adversary 2.
    """
    labels, probabilities = metrics.checked(labels, probabilities)
    return np.log(np.clip(probabilities[np.arange(len(labels)), labels], TINY, 1.0))


def confidence_score(labels, probabilities) -> np.ndarray:
    """Logit of the true class's probability, log(p / (1 - p)): near normal, as `likelihood_ratio` wants it.

    Parameters as in `loss_score`; shape (n,), from -16 to 16. Source: Carlini et al. (2022), "Membership
    inference attacks from first principles", section IV-C.
    """
    labels, probabilities = metrics.checked(labels, probabilities)
    true = probabilities[np.arange(len(labels)), labels]
    # Not 1 - p, which rounds to zero long before the other classes' sum does.
    rest = probabilities.sum(axis=1) - true
    return np.log(np.clip(true, TINY, 1.0)) - np.log(np.clip(rest, TINY, 1.0))


def by_class(scores, labels, reference_scores, reference_labels) -> np.ndarray:
    """Scores minus the mean score that their class has among images known not to be members.

    A class that is hard to learn has low scores for members and others alike; what counts is the difference.

    Parameters
    ----------
    scores : array of float, shape (n,)
    labels : array of int, shape (n,)
    reference_scores, reference_labels : arrays, shape (m,)
        Of other images, which the attacker knows not to be members: not the ones under attack.

    Returns
    -------
    ndarray, shape (n,)

    Raises
    ------
    BadParameter
        If a class has no reference image.

    References
    ----------
    Song and Mittal (2021), "Systematic evaluation of privacy risks of machine learning models", section 3.
    """
    labels, reference_labels = np.asarray(labels), np.asarray(reference_labels)
    reference_scores, calibrated = np.asarray(reference_scores, np.float64), np.array(scores, np.float64)
    for label in np.unique(labels):
        known = reference_labels == label
        if not known.any():
            raise BadParameter(f"Class {label} has no reference image; take more, or fewer classes.")
        calibrated[labels == label] -= reference_scores[known].mean()
    return calibrated


def likelihood_ratio(scores, shadow_scores, shadow_member) -> np.ndarray:
    """Log-likelihood ratio of each image's score under shadow networks that saw the image and that did not.

    Parameters
    ----------
    scores : array of float, shape (n,)
        `confidence_score` of the network under attack.
    shadow_scores : array of float, shape (m, n)
        The same scores by m networks that were trained alike on other draws of images.
    shadow_member : array of bool, shape (m, n)
        Whether shadow network i was trained on image j.

    Returns
    -------
    ndarray, shape (n,)
        One mean an image and side; one variance a side for all images, which needs few shadow networks
        (four serve; the paper's attack with a variance an image wants 64).

    Raises
    ------
    BadParameter
        If the shapes do not fit, or an image is inside every shadow network or none.

    References
    ----------
    Carlini et al. (2022), "Membership inference attacks from first principles", Algorithm 1, fixed variance.
    """
    scores, shadow_scores = np.asarray(scores, np.float64), np.asarray(shadow_scores, np.float64)
    inside = np.asarray(shadow_member, bool)
    if scores.ndim != 1 or inside.shape != shadow_scores.shape or inside.shape[1:] != scores.shape:
        raise BadParameter(
            "scores (n,), shadow_scores (m, n) and shadow_member (m, n) expected, not "
            f"{scores.shape}, {shadow_scores.shape} and {inside.shape}."
        )
    sides = []
    for side in (inside, ~inside):
        count = side.sum(axis=0)
        if not np.all(count):
            raise BadParameter(
                f"{int(np.sum(count == 0))} images are inside every shadow network or none; train each shadow "
                "network on a random half, and enough of them."
            )
        mean = np.where(side, shadow_scores, 0.0).sum(axis=0) / count
        # Divided by the degrees of freedom: every image's mean takes one.
        freedom = max(int(np.sum(count - 1)), 1)
        variance = np.where(side, (shadow_scores - mean) ** 2, 0.0).sum() / freedom
        sides.append(norm.logpdf(scores, mean, np.sqrt(max(variance, TINY))))
    return sides[0] - sides[1]


def attack_success(
    member_scores, other_scores, *, fpr: float = 0.01, level: float = 0.95, repeats: int = 500, seed: int = 0
) -> Success:
    """How well scores tell members from others, with intervals.

    Parameters
    ----------
    member_scores, other_scores : arrays of float, shapes (m,) and (n,)
        Any attack's scores, higher for likelier members.
    fpr : float
        In [0, 1). At 1 % and fewer than 100 others, no other at all may be above the threshold.
    level : float
        Confidence of the intervals, between 0 and 1.
    repeats, seed : int
        Of the bootstrap.

    Returns
    -------
    Success

    Raises
    ------
    BadParameter
        If there are no scores, one is not finite, or `fpr` is out of range.
    """
    scores = [np.asarray(side, np.float64) for side in (member_scores, other_scores)]
    if any(side.ndim != 1 or not len(side) or not np.all(np.isfinite(side)) for side in scores):
        raise BadParameter("Scores of members and of others must be two lists of finite numbers, neither empty.")
    if not 0 <= fpr < 1:
        raise BadParameter(f"fpr must be in [0, 1), not {fpr}.")
    members, others = scores
    auc, tpr, advantage = _measures(members, others, fpr)
    random = np.random.default_rng(seed)
    drawn = [
        _measures(random.choice(members, len(members)), random.choice(others, len(others)), fpr) for _ in range(repeats)
    ]
    ends = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0).T.tolist()
    auc_interval, tpr_interval, advantage_interval = (Interval(*pair) for pair in ends)
    fixed = wilson(tpr * len(members), len(members), level)
    widest = Interval(min(tpr_interval.low, fixed.low), max(tpr_interval.high, fixed.high))
    return Success(auc, auc_interval, tpr, widest, fpr, advantage, advantage_interval)


def yeom_advantage(member_losses, other_losses, threshold: float) -> float:
    """True-positive minus false-positive rate of "a member if the loss is at most `threshold`".

    The threshold is fixed beforehand, the mean training loss in the paper: nothing is chosen on the images under
    attack, so that the advantage of a useless attack is zero on average. Source: Yeom et al. (2018), Adversary 2.
    """
    return float(np.mean(np.asarray(member_losses) <= threshold) - np.mean(np.asarray(other_losses) <= threshold))


def gap_advantage(members, others) -> float:
    """Advantage of calling every image that is classified rightly a member: the gap in accuracy.

    Parameters
    ----------
    members, others : (labels, probabilities)
        Shapes (n,) and (n, k) each.

    Returns
    -------
    float
        In [-1, 1]; the baseline that any real attack has to beat. Source: Yeom et al. (2018), Adversary 1.
    """
    right = [np.mean(p.argmax(axis=1) == y) for y, p in (metrics.checked(*side) for side in (members, others))]
    return float(right[0] - right[1])


def _measures(members, others, fpr: float) -> tuple[float, float, float]:
    """Area, true-positive rate at `fpr` and advantage, from the rates at every threshold."""
    score = np.concatenate([members, others])
    order = np.argsort(-score, kind="stable")
    score, member = score[order], order < len(members)
    # Equal scores fall together: a threshold cannot part them.
    last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)
    true = np.append(0.0, np.cumsum(member)[last] / len(members))
    false = np.append(0.0, np.cumsum(~member)[last] / len(others))
    area = np.sum(np.diff(false) * (true[1:] + true[:-1]) / 2)
    return float(area), float(true[false <= fpr].max()), float((true - false).max())
