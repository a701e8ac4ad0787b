import numpy as np
import pytest
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from medtk import privacy
from medtk.errors import BadParameter


def predictions(n=50, k=3, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, k, n), random.dirichlet(np.ones(k), n)


@pytest.mark.parametrize("shift", [0.0, 0.5, 2.0])
def test_two_normal_scores_have_the_known_success(shift):
    random = np.random.default_rng(1)
    found = privacy.attack_success(random.normal(shift, 1, 3000), random.normal(0, 1, 4000), repeats=200)
    for (low, high), value, exact, margin in (
        (found.auc_interval, found.auc, norm.cdf(shift / np.sqrt(2)), 0.02),
        (found.tpr_interval, found.tpr, norm.cdf(shift - norm.isf(0.01)), 0.04),
    ):
        assert low <= exact <= high and low <= value <= high
        assert value == pytest.approx(exact, abs=margin)
    # Chosen at the best threshold, the advantage is an overestimate, but a small one here.
    assert 0 <= found.advantage - (2 * norm.cdf(shift / 2) - 1) < 0.03
    assert found.advantage_interval.low <= found.advantage <= found.advantage_interval.high


def test_a_perfect_and_a_constant_score():
    perfect = privacy.attack_success(np.arange(10) + 100.0, np.arange(20.0), repeats=50)
    assert (perfect.auc, perfect.tpr, perfect.advantage) == (1, 1, 1)
    assert perfect.tpr_interval.low == pytest.approx(0.722, abs=1e-3)  # Wilson: ten of ten are not certainty
    constant = privacy.attack_success(np.zeros(10), np.zeros(20), repeats=50)
    assert (constant.auc, constant.tpr, constant.advantage) == (0.5, 0, 0)


def test_the_threshold_obeys_the_allowed_rate():
    others = np.arange(100.0)
    members = np.array([98.5, 99.5, 97.5, 50.0])
    assert privacy.attack_success(members, others, fpr=0.01, repeats=20).tpr == 0.5  # above 98: one of a hundred
    assert privacy.attack_success(members, others, fpr=0.0, repeats=20).tpr == 0.25
    assert privacy.attack_success(members, others[:99], fpr=0.01, repeats=20).tpr == 0.5  # none of 99
    assert privacy.attack_success(members, others, fpr=0.02, repeats=20).tpr == 0.75


def test_scores_of_a_small_table():
    labels, probabilities = np.array([0, 1]), np.array([[0.75, 0.25], [0.75, 0.25]])
    np.testing.assert_allclose(privacy.loss_score(labels, probabilities), np.log([0.75, 0.25]))
    np.testing.assert_allclose(privacy.confidence_score(labels, probabilities), [np.log(3), -np.log(3)])


def test_scores_stay_finite_and_ordered_where_softmax_saturates():
    probabilities = np.array([[1, 0], [1 - 1e-6, 1e-6], [0.5, 0.5], [0, 1]], np.float32)
    for score in (privacy.loss_score, privacy.confidence_score):
        found = score(np.zeros(4, int), probabilities)
        assert np.all(np.isfinite(found)) and np.all(np.diff(found) < 0)


def test_a_classifier_that_memorised_is_found_out_and_one_that_could_not_is_not():
    random = np.random.default_rng(0)
    features, labels = random.normal(size=(400, 150)), random.integers(0, 2, 400)
    inside = np.arange(400) < 200
    success = {}
    for width, strength in ((150, 1e3), (2, 1e-3)):
        fitted = LogisticRegression(C=strength, max_iter=500).fit(features[inside, :width], labels[inside])
        scores = privacy.loss_score(labels, fitted.predict_proba(features[:, :width]))
        success[width] = privacy.attack_success(scores[inside], scores[~inside], repeats=100)
    assert success[150].auc_interval.low > 0.65
    assert success[2].auc_interval.low < 0.5 < success[2].auc_interval.high


def test_calibration_by_class_takes_difficulty_away():
    random = np.random.default_rng(2)
    labels = random.integers(0, 2, 3000)
    member = random.random(3000) < 0.5
    scores = 6.0 * labels + member + random.normal(0, 1, 3000)
    reference = random.integers(0, 2, 500)
    calibrated = privacy.by_class(scores, labels, 6.0 * reference + random.normal(0, 1, 500), reference)
    plain, better = (privacy.attack_success(s[member], s[~member], repeats=20).auc for s in (scores, calibrated))
    assert better == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=0.02) and better > plain + 0.1
    with pytest.raises(BadParameter, match="Class 1 has no reference"):
        privacy.by_class(scores, labels, [0.0], [0])


def shadows(m=8, n=2000, seed=3):
    """Scores with a difficulty an image, known from shadow networks, and half a deviation more for members."""
    random = np.random.default_rng(seed)
    difficulty, inside = random.normal(0, 3, n), random.random((m, n)) < 0.5
    inside[0], inside[1] = True, False
    member = random.random(n) < 0.5
    return (
        member,
        difficulty + 1.5 * member + random.normal(size=n),
        difficulty + 1.5 * inside + random.normal(size=(m, n)),
        inside,
    )


def test_likelihood_ratio_knows_the_difficulty_of_each_image():
    member, scores, shadow_scores, inside = shadows()
    ratio = privacy.likelihood_ratio(scores, shadow_scores, inside)
    plain, better = (privacy.attack_success(s[member], s[~member], repeats=20) for s in (scores, ratio))
    ideal = norm.cdf(1.5 / np.sqrt(2))
    assert plain.auc < 0.66 and 0.78 < better.auc < ideal + 0.02
    assert better.tpr > 3 * plain.tpr


def test_likelihood_ratio_of_a_table_by_hand():
    shadow_scores = np.array([[1.0, 5.0], [3.0, 7.0], [-1.0, 2.0], [-3.0, 4.0]])
    inside = np.array([[True] * 2, [True] * 2, [False] * 2, [False] * 2])
    # Means 2 and 6 inside, -2 and 3 outside; squares 1 each, 4 of them, over 2 degrees of freedom: variance 2.
    expected = [norm.logpdf(2.5, 2, 2**0.5) - norm.logpdf(2.5, -2, 2**0.5)]
    expected += [norm.logpdf(0.0, 6, 2**0.5) - norm.logpdf(0.0, 3, 2**0.5)]
    np.testing.assert_allclose(privacy.likelihood_ratio([2.5, 0.0], shadow_scores, inside), expected)


def test_likelihood_ratio_says_what_is_missing():
    _, scores, shadow_scores, inside = shadows(n=5)
    with pytest.raises(BadParameter, match="5 images are inside every"):
        privacy.likelihood_ratio(scores, shadow_scores, np.ones_like(inside))
    with pytest.raises(BadParameter, match="expected, not"):
        privacy.likelihood_ratio(scores, shadow_scores, inside[:2])


def test_fixed_threshold_and_gap():
    assert privacy.yeom_advantage([0.1, 0.2, 0.9], [0.2, 0.8], threshold=0.2) == pytest.approx(2 / 3 - 1 / 2)
    sure = np.array([[0.9, 0.1], [0.1, 0.9]])
    assert privacy.gap_advantage(([0, 1], sure), ([0, 0], sure)) == 0.5
    same = predictions()
    assert privacy.gap_advantage(same, same) == 0


@pytest.mark.parametrize(
    ("members", "others", "fpr", "words"),
    [
        ([], [1.0], 0.01, "neither empty"),
        ([1.0], [np.nan], 0.01, "finite"),
        ([1.0], [1.0], 1.0, "fpr"),
        ([1.0], [1.0], -0.1, "fpr"),
    ],
)
def test_scores_that_do_not_fit(members, others, fpr, words):
    with pytest.raises(BadParameter, match=words):
        privacy.attack_success(members, others, fpr=fpr)
