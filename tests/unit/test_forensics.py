from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtk.reproduction import forensics, papers


@settings(deadline=None)
@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.integers(2, 6))
def test_a_real_count_is_always_found(count, decimals):
    k, n = count
    assert k in forensics.attainable(round(k / n, decimals), n, decimals)


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 400))
def test_attainable_equals_trying_every_count(units, n):
    printed = units / 1000
    # Whole numbers, so that halves are judged exactly.
    tried = [k for k in range(n + 1) if 2 * abs(1000 * k - units * n) <= n]
    assert forensics.attainable(printed, n, 3) == tried


def test_attainable_by_hand():
    assert forensics.attainable(0.8397, 156, 4) == [131]
    assert forensics.attainable(0.8400, 156, 4) == []
    assert forensics.attainable(0.25, 156, 2) == [39]
    assert forensics.attainable(0.7778, 1000, 4) == []


def test_consistent():
    assert forensics.consistent(0.8, 0.6, 0.686, 3)
    assert not forensics.consistent(0.8, 0.6, 0.70, 2)
    assert forensics.consistent(0.0, 0.0, 0.0, 2)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_the_true_matrix_is_among_those_that_fit(n_positive, n_negative, data):
    tp, fp = data.draw(st.integers(0, n_positive)), data.draw(st.integers(0, n_negative))
    fn, tn = n_positive - tp, n_negative - fp
    printed = {
        "accuracy": round((tp + tn) / (n_positive + n_negative), 4),
        "recall": round(tp / n_positive, 4),
    }
    if tp + fp:
        printed["precision"] = round(tp / (tp + fp), 4)
    found = forensics.confusion_matrices(n_positive, n_negative, 4, **printed)
    assert {"tp": tp, "fn": fn, "fp": fp, "tn": tn} in found


def test_accuracy_and_macro_f1_can_leave_one_matrix():
    found = forensics.confusion_matrices(390, 234, 6, accuracy=0.823718, macro_f1=0.808482)
    assert found == [{"tp": 345, "fn": 45, "fp": 65, "tn": 169}]
    assert forensics.confusion_matrices(10, 10, 4, accuracy=0.9, recall=0.25) == []


@pytest.fixture(scope="module")
def found():
    return forensics.findings("robust_transfer")


def test_findings_of_the_first_paper(found):
    assert all(set(f) == {"check", "where", "verdict", "finding"} for f in found)
    attainable = {f["where"]: f for f in found if f["check"] == "attainable values"}
    assert {where: f["verdict"] for where, f in attainable.items()} == {
        "BreastMNIST": "consistent",
        "PneumoniaMNIST": "consistent",
        "DermaMNIST": "consistent",
        "OCTMNIST": "problem",
    }
    assert "38 of 38" in attainable["BreastMNIST"]["finding"]
    assert "3 of 57" in attainable["OCTMNIST"]["finding"]
    assert "399 + 147 = 546, stated 546" in str(found)
    assert "39; always answering malignant, the rarer class, gives 42 (26.92 %)" in str(found)


def test_every_value_of_the_three_small_sets_is_attainable():
    cells = [c for c in papers.load("robust_transfer").cells if c.printed is not None and c.n != 1000]
    assert all(len(forensics.attainable(c.printed, c.n, c.decimals)) == 1 for c in cells)


def test_rows_at_the_commonest_class_and_rows_that_rise(found):
    where = {
        check: [f["where"] for f in found if f["check"] == check]
        for check in Counter(f["check"] for f in found)
    }
    assert where["majority class"] == [
        "table III, BreastMNIST / MobileNetV2 / AT",
        "table III, DermaMNIST / DenseNet121 / KD",
        "table III, DermaMNIST / MobileNetV2 / AT",
    ]
    assert where["rising with epsilon"] == [
        "table II, DermaMNIST / MobileNetV2",
        "table III, BreastMNIST / MobileNetV2 / AT",
        "table III, DermaMNIST / MobileNetV2 / AT",
    ]


def test_repeated_runs_agree_and_a_slip_would_be_seen(found):
    assert [f["verdict"] for f in found if f["check"] == "repeated values"] == ["consistent"]
    cells = [c for c in papers.load("robust_transfer").cells if c.printed is not None]
    slip = [c if c.table != "I" else papers.Cell(**{**vars(c), "text": "1%", "printed": 0.01}) for c in cells]
    assert {f["verdict"] for f in forensics._repeats(slip)} == {"problem"}


def test_claims_that_the_printed_numbers_contradict(found):
    against = [f["finding"] for f in found if f["check"] == "claims" and f["verdict"] == "problem"]
    assert len(against) == 3
    assert any("largest data set" in text and "2 of 3" in text for text in against)


def test_papers_without_tables_have_no_findings():
    assert forensics.findings(papers.load("pgsl")) == []
