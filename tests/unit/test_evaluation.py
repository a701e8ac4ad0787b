import numpy as np
import pytest

from medtk.evaluation import calibration, intervals, metrics

LABELS = np.array([0, 0, 0, 1])
SURE = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7]])


def test_classification_by_hand():
    found = metrics.classification(LABELS, SURE)
    assert found["accuracy"] == 0.75
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["auc"] == 1.0
    assert found["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert found["brier"] == pytest.approx(2 * (0.1**2 + 0.2**2 + 0.6**2 + 0.3**2) / 4)
    assert found["n"] == 4


def test_ties_count_half_and_the_first_column_wins():
    even = np.full((4, 2), 0.5)
    assert metrics.classification(LABELS, even)["accuracy"] == 0.75
    assert metrics.auc(LABELS, even) == 0.5


def test_one_class_has_no_auc():
    assert metrics.classification(np.zeros(3, int), SURE[:3])["auc"] is None


def test_a_class_without_images_is_left_out_of_the_means():
    probabilities = np.eye(3)[[0, 1, 1, 0]]
    found = metrics.classification(np.array([0, 1, 1, 0]), probabilities)
    assert found["auc"] == found["balanced_accuracy"] == found["macro_f1"] == 1.0


@pytest.mark.parametrize(
    ("labels", "probabilities", "said"),
    [
        (LABELS, SURE[:3], "expected"),
        (LABELS, SURE[:, :1], "two classes"),
        (LABELS + 1, SURE, "do not fit"),
        (LABELS - 1, SURE, "do not fit"),
        (LABELS.astype(float), SURE, "integers"),
        (LABELS, SURE * 0.9, "sum to 1"),
        (LABELS, SURE * np.nan, "sum to 1"),
        (LABELS, SURE * [[1, -1]], "0 or more"),
        (LABELS[:0], SURE[:0], "at least one image"),
    ],
)
def test_wrong_input_is_refused(labels, probabilities, said):
    with pytest.raises(ValueError, match=said):
        metrics.classification(labels, probabilities)


def test_calibration_error_by_hand():
    # Bins of width 1/2: both sure answers at 0.9 are in the upper one, half of them right.
    labels, probabilities = np.array([0, 1]), np.array([[0.9, 0.1], [0.9, 0.1]])
    assert calibration.expected_error(labels, probabilities, bins=2) == pytest.approx(0.4)
    curve = calibration.reliability(labels, probabilities, bins=2)
    assert curve["count"].tolist() == [0, 2]
    assert np.isnan(curve["accuracy"][0])


def test_temperature_finds_the_factor_that_sharpened_the_probabilities():
    random = np.random.default_rng(0)
    honest = calibration.soften(random.dirichlet([1, 1, 1], 4000), 1.0)
    labels = np.array([random.choice(3, p=row) for row in honest])
    sharp = calibration.soften(honest, 1 / 2.5)
    assert calibration.temperature(labels, sharp) == pytest.approx(2.5, rel=0.08)
    assert np.allclose(calibration.soften(sharp, 2.5), honest)


def test_wilson_against_a_published_value():
    # Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I: 81 of 263.
    low, high = intervals.wilson(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


@pytest.mark.parametrize(("k", "n", "level"), [(1, 0, 0.95), (-1, 5, 0.95), (6, 5, 0.95), (1, 5, 1.0)])
def test_wilson_refuses(k, n, level):
    with pytest.raises(ValueError):
        intervals.wilson(k, n, level)


def test_over_seeds_by_hand():
    low, high = intervals.over_seeds([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))
    new_low, new_high = intervals.over_seeds([1.0, 2.0, 3.0], kind="new_run")
    assert (new_high - new_low) / (high - low) == pytest.approx(2.0)


@pytest.mark.parametrize(("values", "kind"), [([1.0], "mean"), ([1.0, 2.0], "median")])
def test_over_seeds_refuses(values, kind):
    with pytest.raises(ValueError):
        intervals.over_seeds(values, kind=kind)


def test_mcnemar_counts_only_what_differs():
    labels = np.zeros(12, int)
    right, wrong = [1.0, 0.0], [0.0, 1.0]
    a = np.array([right] * 10 + [wrong] * 2)
    b = np.array([right] * 4 + [wrong] * 8)
    assert intervals.mcnemar(labels, a, b) == (6, 0, pytest.approx(2 / 2**6))
    assert intervals.mcnemar(labels, a, a) == (0, 0, 1.0)


def test_bootstrap_repeats_itself_and_widens_for_groups():
    random = np.random.default_rng(1)
    labels = np.repeat(random.integers(0, 2, 30), 10)
    score = np.repeat(random.uniform(0, 1, 30), 10)
    probabilities = np.column_stack([1 - score, score])
    alone = intervals.bootstrap(labels, probabilities, metrics.auc, repeats=200)
    assert alone == intervals.bootstrap(labels, probabilities, metrics.auc, repeats=200)
    grouped = intervals.bootstrap(labels, probabilities, metrics.auc, repeats=200, groups=np.repeat(np.arange(30), 10))
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)


def test_bootstrap_without_any_value_is_refused():
    with pytest.raises(ValueError, match="no value"):
        intervals.bootstrap(np.zeros(4, int), SURE, metrics.auc, repeats=5)
