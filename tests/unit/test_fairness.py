import numpy as np
import pytest
from sklearn import metrics as sk

from medtk.evaluation import calibration, fairness
from medtk.evaluation.intervals import largest_difference, newcombe, wilson


def answers(n, right, seed=0, k=2):
    """Labels and probabilities of a classifier that is right with a given chance."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, k, n)
    said = np.where(random.random(n) < right, labels, (labels + 1) % k)
    probabilities = np.full((n, k), 0.3 / max(k - 1, 1))
    probabilities[np.arange(n), said] = 0.7
    return labels, probabilities


def counted(tp, fn, fp, tn):
    """Labels and certain probabilities with the given counts, class 1 positive."""
    labels = np.repeat([1, 1, 0, 0], [tp, fn, fp, tn])
    return labels, np.eye(2)[np.repeat([1, 0, 1, 0], [tp, fn, fp, tn])]


@pytest.mark.parametrize("k", [2, 4])
def test_micro_is_what_sklearn_calls_micro(k):
    labels, probabilities = answers(300, 0.7, k=k)
    said = probabilities.argmax(axis=1)
    row = fairness.micro(labels, probabilities)
    assert row["precision"] == pytest.approx(sk.precision_score(labels, said, average="micro"))
    assert row["recall"] == pytest.approx(sk.recall_score(labels, said, average="micro"))
    assert row["accuracy"] == pytest.approx(sk.accuracy_score(labels, said))
    assert row["f1_avg"] == pytest.approx(sk.f1_score(labels, said, average="macro"))
    assert row["loss"] == pytest.approx(sk.log_loss(labels, probabilities / probabilities.sum(axis=1, keepdims=True)))
    tn, fp, fn, tp = sk.multilabel_confusion_matrix(labels, said).sum(axis=0).ravel()
    assert (row["tn"], row["fp"], row["fn"], row["tp"]) == (tn, fp, fn, tp)


def test_micro_hides_who_is_missed():
    """Two classifiers with opposite faults: one row of the printed kind, two different patients' fates."""
    misses, alarms = counted(290, 100, 10, 224), counted(380, 10, 100, 134)
    a, b = (fairness.micro(*given) for given in (misses, alarms))
    printed = ("accuracy", "precision", "recall", "fn", "fp", "tn", "tp")
    assert all(a[name] == b[name] for name in printed)
    assert (a["tp"], a["fn"]) == (514, 110) and a["tp"] + a["fn"] == 624
    missed = [1 - fairness.per_class(*given)[1]["sensitivity"].value for given in (misses, alarms)]
    assert missed == pytest.approx([100 / 390, 10 / 390])


def test_per_class_beside_sklearn():
    labels, probabilities = answers(200, 0.8, k=3)
    said = probabilities.argmax(axis=1)
    for c, found in enumerate(fairness.per_class(labels, probabilities)):
        assert found["sensitivity"].value == pytest.approx(sk.recall_score(labels == c, said == c))
        assert found["specificity"].value == pytest.approx(sk.recall_score(labels != c, said != c))
        assert found["precision"].value == pytest.approx(sk.precision_score(labels == c, said == c))
        assert found["sensitivity"].interval == wilson(found["sensitivity"].k, found["sensitivity"].n)


def test_a_class_that_does_not_occur_is_unknown_not_zero():
    found = fairness.per_class(np.zeros(5, int), np.tile([0.9, 0.1], (5, 1)))
    assert found[1]["sensitivity"].value is None and found[1]["sensitivity"].interval == (0.0, 1.0)
    assert found[0]["specificity"].value is None and found[1]["specificity"].value == 1


def test_per_group():
    groups = {"a": counted(40, 10, 5, 45), "b": counted(30, 20, 10, 40)}
    found = fairness.per_group(groups)
    assert (found["a"]["tpr"].value, found["b"]["tpr"].value) == (0.8, 0.6)
    assert (found["a"]["fpr"].value, found["b"]["fpr"].value) == (0.1, 0.2)
    assert found["b"]["positive_rate"].value == 0.4 and found["b"]["n"] == 100
    assert found["a"]["accuracy"].interval == wilson(85, 100)
    assert found["a"]["ece"] == calibration.expected_error(*groups["a"])


def test_gap_is_largest_minus_smallest_and_named():
    groups = {"a": counted(40, 10, 5, 45), "b": counted(30, 20, 10, 40), "c": counted(35, 15, 0, 50)}
    found = fairness.gap(groups, fairness.is_found)
    assert found.value == pytest.approx(0.2) and (found.highest, found.lowest) == ("a", "b")
    assert found.interval == largest_difference([(40, 50), (30, 50), (35, 50)])


@pytest.mark.parametrize("shares", [(0.8, 0.8, 0.8), (0.8, 0.82, 0.83), (0.7, 0.8, 0.9), (1.0, 1.0, 1.0)])
def test_the_interval_of_a_gap_holds_it(shares):
    """Three hospitals of 130: in 19 of 20 studies, also where there is no gap at all."""
    true, random = max(shares) - min(shares), np.random.default_rng(0)
    ends = [largest_difference([(k, 130) for k in drawn]) for drawn in random.binomial(130, shares, (400, 3))]
    assert np.mean([low - 1e-9 <= true <= high + 1e-9 for low, high in ends]) >= 0.93


def test_images_of_a_patient_count_for_fewer_than_they_are():
    """Four images a patient, all answered alike: the interval is that of the patients, and shuffles keep them whole."""
    random = np.random.default_rng(0)
    few = {name: answers(50, right, seed) for seed, (name, right) in enumerate({"a": 0.7, "b": 0.9}.items())}
    many = {name: tuple(np.repeat(array, 4, axis=0) for array in arrays) for name, arrays in few.items()}
    patients = {name: np.repeat(random.permutation(50), 4) for name in many}
    alone, blind, aware = (
        fairness.gap(groups, fairness.is_right, patients=known)
        for groups, known in ((few, None), (many, None), (many, patients))
    )
    widths = [one.interval.high - one.interval.low for one in (alone, blind, aware)]
    assert widths[1] < 0.7 * widths[0] and widths[2] == pytest.approx(widths[0], rel=0.05)
    single = {name: np.arange(200) for name in many}
    assert fairness.gap(many, fairness.is_right, patients=single).interval == pytest.approx(blind.interval, rel=0.02)
    by_image, by_patient = (
        fairness.gap_by_chance(many, fairness.is_right, repeats=400, patients=known) for known in (None, patients)
    )
    assert by_image < 0.01 < by_patient
    assert fairness.equalised_odds(many, patients=patients)["tpr"].interval.low == 0


def test_equalised_odds():
    groups = {"a": counted(40, 10, 5, 45), "b": counted(30, 20, 20, 30)}
    found = fairness.equalised_odds(groups)
    assert found["tpr"].value == pytest.approx(0.2) and found["fpr"].value == pytest.approx(0.3)
    assert found["larger"].value == found["fpr"].value and found["larger"].highest == "b"
    # It had the choice of two, so it is less sure.
    assert found["larger"].interval.low < found["fpr"].interval.low
    assert found["larger"].interval.high > found["fpr"].interval.high


def test_equalised_odds_without_positives_has_no_tpr_gap():
    healthy = np.zeros(6, int), np.tile([0.8, 0.2], (6, 1))
    found = fairness.equalised_odds({"a": healthy, "b": healthy})
    assert found["tpr"] is None and found["fpr"].value == 0
    assert fairness.gap({"a": healthy}, fairness.is_right) is None


def test_chance_explains_equal_groups_and_not_unequal_ones():
    alike = {name: answers(208, 0.82, seed) for seed, name in enumerate("abc")}
    apart = {"a": answers(208, 0.95, 1), "b": answers(208, 0.6, 2), "c": answers(208, 0.8, 3)}
    assert fairness.gap_by_chance(alike, fairness.is_right, repeats=300) > 0.05
    assert fairness.gap_by_chance(apart, fairness.is_right, repeats=300) < 0.01
    low = [fairness.gap(groups, fairness.is_right).interval.low for groups in (alike, apart)]
    assert low[0] == 0 < low[1]


def test_chance_keeps_its_level():
    """Under equality a p value below 0.1 comes about one time in ten."""
    ps = []
    for seed in range(100):
        groups = {name: answers(60, 0.8, 10 * seed + i) for i, name in enumerate("abc")}
        ps.append(fairness.gap_by_chance(groups, fairness.is_right, repeats=60, seed=seed))
    assert 0.02 <= np.mean(np.array(ps) <= 0.1) <= 0.2


def test_chance_keeps_its_level_where_groups_differ_in_who_is_ill():
    """Ten ill patients in one hospital, most of them in the others, all found alike often."""
    ps = []
    for seed in range(100):
        random, groups = np.random.default_rng(seed), {}
        for name, n, ill in (("a", 200, 10), ("b", 208, 190), ("c", 208, 190)):
            labels = (np.arange(n) < ill).astype(int)
            found = np.where(labels == 1, random.random(n) < 0.8, 0).astype(int)
            groups[name] = labels, np.eye(2)[found]
        ps.append(fairness.gap_by_chance(groups, fairness.is_found, repeats=60, seed=seed))
    assert 0.02 <= np.mean(np.array(ps) <= 0.1) <= 0.2


def test_printed_hospitals_are_inside_chance():
    """169, 174 and 171 right of 208: Table 2 of the hospital study, as it stands."""
    groups = {}
    for name, right in (("1", 169), ("2", 174), ("3", 171)):
        labels = np.zeros(208, int)
        groups[name] = labels, np.eye(2)[(np.arange(208) >= right).astype(int)]
    assert fairness.gap(groups, fairness.is_right).value == pytest.approx(5 / 208)
    assert fairness.gap_by_chance(groups, fairness.is_right, repeats=200) > 0.5


@pytest.mark.parametrize("call", [fairness.micro, fairness.per_class])
def test_not_probabilities(call):
    with pytest.raises(ValueError):
        call([0, 1], [[0.5, 0.9], [0.1, 0.9]])


def test_newcombe_beside_his_own_table():
    """Newcombe 1998, Table II, method 10: 56 of 70 and 48 of 80; 10 of 10 and 0 of 10."""
    assert newcombe((56, 70), (48, 80)) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert newcombe((10, 10), (0, 10)) == pytest.approx((0.6075, 1.0), abs=5e-5)
    with pytest.raises(ValueError, match="two groups"):
        largest_difference([(1, 2)])
