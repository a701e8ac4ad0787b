from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtk.evaluation import metrics
from medtk.reproduction import arithmetic, consistency, forensics, papers


@settings(deadline=None)
@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.integers(2, 6))
def test_a_real_count_is_always_found(count, decimals):
    k, n = count
    assert k in arithmetic.attainable(round(k / n, decimals), n, decimals)


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 400))
def test_attainable_equals_trying_every_count(units, n):
    printed = units / 1000
    # Whole numbers, so that halves are judged exactly.
    tried = [k for k in range(n + 1) if 2 * abs(1000 * k - units * n) <= n]
    assert arithmetic.attainable(printed, n, 3) == tried


def test_attainable_by_hand():
    assert arithmetic.attainable(0.8397, 156, 4) == [131]
    assert arithmetic.attainable(0.8400, 156, 4) == []
    assert arithmetic.attainable(0.25, 156, 2) == [39]
    assert arithmetic.attainable(0.7778, 1000, 4) == []


def test_consistent():
    assert arithmetic.consistent(0.8, 0.6, 0.686, 3)
    assert not arithmetic.consistent(0.8, 0.6, 0.70, 2)
    assert arithmetic.consistent(0.0, 0.0, 0.0, 2)


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
    found = arithmetic.confusion_matrices(n_positive, n_negative, 4, **printed)
    assert {"tp": tp, "fn": fn, "fp": fp, "tn": tn} in found


def test_accuracy_and_macro_f1_can_leave_one_matrix():
    found = arithmetic.confusion_matrices(390, 234, 6, accuracy=0.823718, macro_f1=0.808482)
    assert found == [{"tp": 345, "fn": 45, "fp": 65, "tn": 169}]
    assert arithmetic.confusion_matrices(10, 10, 4, accuracy=0.9, recall=0.25) == []


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
    assert all(len(arithmetic.attainable(c.printed, c.n, c.decimals)) == 1 for c in cells)


def test_rows_at_the_commonest_class_and_rows_that_rise(found):
    where = {check: [f["where"] for f in found if f["check"] == check] for check in Counter(f["check"] for f in found)}
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
    assert len(against) == 4
    assert any("least robust" in text and "4 of 4" in text for text in against)
    assert any("largest data set" in text and "2 of 3" in text for text in against)


def of(paper, check):
    return [f for f in forensics.findings(paper) if f["check"] == check]


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_right_answers_by_class_are_found_again(n_positive, n_negative, data):
    tp, tn = data.draw(st.integers(0, n_positive)), data.draw(st.integers(0, n_negative))
    n = n_positive + n_negative
    counts = np.array([[tn, n_negative - tn], [n_positive - tp, tp]])
    value = metrics.macro_f1(counts)
    assert arithmetic.macro_f1(tp, tn, n) == pytest.approx(value)
    pairs = arithmetic.right_by_class(n, tp + tn, round(value, 4), 4)
    assert (max(tp, tn), min(tp, tn)) in pairs
    assert arithmetic.nearest_macro_f1(n, tp + tn, value) == pytest.approx(value)


def test_a_matrix_is_found_from_both_classes():
    printed = {"recall": 0.82, "negative_recall": 0.94, "precision": 0.71, "negative_f1": 0.96}
    found = arithmetic.confusion_matrices(44, 269, 2, **printed)
    assert {"tp": 36, "fn": 8, "fp": 15, "tn": 254} in found
    assert all(m["tp"] / (m["tp"] + m["fp"]) == pytest.approx(0.71, abs=0.005) for m in found)
    assert arithmetic.confusion_matrices(44, 269, 2, negative_precision=0.1, negative_recall=0.9) == []


def test_covid_tables_are_six_matrices_and_one_slip():
    found = {f["where"]: f for f in of("clustered_covid", "confusion matrix")}
    assert [f["verdict"] for f in found.values()] == ["consistent"] * 3 + ["problem"] + ["consistent"] * 2
    assert "30 of 44 covid and 198 of 269 healthy" in found["table III, covid_xray_paper, Multi-modal"]["finding"]
    slip = found["table III, pocus_paper, Specialised"]["finding"]
    assert "Without 0.97, the f1 of covid, there is 76 of 80 covid and 28 of 30 healthy" in slip
    [harmonic] = of("clustered_covid", "harmonic mean")
    assert "0.9599" in harmonic["finding"]


def test_covid_counts_settings_and_gains():
    counts = {f["finding"].partition(":")[0]: f for f in of("clustered_covid", "counts")}
    assert [f["verdict"] for f in counts.values()] == ["problem", "note", "note", "note"]
    assert "= 1208, stated 1103" in str(counts)
    assert len(of("clustered_covid", "said twice")) == 3
    gains = of("clustered_covid", "differences")
    assert [f["verdict"] for f in gains] == ["consistent", "consistent"]
    assert "+24.5 points (does not fit), weighted by images it is +17.0 points (fits)" in gains[0]["finding"]
    [easier] = of("clustered_covid", "claims")
    assert "1 of 6 cases: Clustered, weighted mean" in easier["finding"]


def test_split_learning_values_no_count_gives():
    mias, mnist = of("pgsl", "attainable values")
    assert (mias["verdict"], mnist["verdict"]) == ("problem", "consistent")
    assert "0 of 11 printed values" in mias["finding"] and "among 50 images" in mias["finding"]
    assert [f["verdict"] for f in of("pgsl", "differences")] == ["consistent", "problem", "consistent", "consistent"]
    assert "JSMA [28] and S_a are equal in every column: 46.3%, 65.4%" in str(of("pgsl", "equal rows"))
    assert ["13 of 13" in f["finding"] for f in of("pgsl", "scale")] == [True, False]
    [small] = of("pgsl", "small test set")
    assert "between 70.57 % and 91.09 %" in small["finding"]
    assert "7 of 11 values cannot be told" in small["finding"]
    assert any("5 of 6 cases" in f["finding"] for f in of("pgsl", "claims"))


def test_hospital_tables_are_micro_averages_of_one_network():
    [micro] = of("hospital", "micro-average")
    assert micro["verdict"] == "note" and micro["finding"].count(" right, ") == 4
    found = {f["where"]: f for f in of("hospital", "macro F1")}
    assert [f["verdict"] for f in found.values()] == ["consistent", "consistent", "problem", "consistent"]
    assert "345 of 390 pneumonia and 169 of 234 normal" in found["table 1, Global Model"]["finding"]
    assert "116 of 130 pneumonia and 53 of 78 normal" in found["table 2, Hospital 1"]["finding"]
    assert "not possible; the nearest is 0.8206" in found["table 2, Hospital 2"]["finding"]
    [pooled] = of("hospital", "pooled rows")
    assert "118 and 56 for Hospital 2: a macro F1 of 0.8206, printed 0.8210" in pooled["finding"]
    assert [f["verdict"] for f in of("hospital", "counts")] == ["note", "note", "consistent", "consistent"]


def changed(paper, place, text):
    """Numbers of a paper with one of them replaced."""
    study = papers.load(paper)
    value, decimals = papers.parse(text)
    new = {"text": text, "printed": value, "decimals": decimals}
    cells = tuple(papers.Cell(**(vars(c) | (new if c.key == place else {}))) for c in study.cells)
    return papers.Paper(**(vars(study) | {"cells": cells}))


@pytest.mark.parametrize(
    ("paper", "place", "text", "check"),
    [
        ("hospital", ("2", "Hospital 1", "TP"), "168", "micro-average"),
        ("hospital", ("2", "Hospital 3", "Loss"), "0.4986", "pooled rows"),
        ("clustered_covid", ("III", "X-ray / Healthy", "Clustered / Recall"), "0.97", "confusion matrix"),
        ("clustered_covid", ("III", "X-ray / Healthy", "Clustered / F1-Score"), "0.90", "harmonic mean"),
        ("clustered_covid", ("III", "X-ray / Healthy", "Multi-modal / F1-Score"), "0.70", "differences"),
        ("pgsl", ("II", "PGSL", "MIAS"), "85.2%", "differences"),
    ],
)
def test_a_slip_in_one_number_is_seen(paper, place, text, check):
    def problems(study):
        return sum(f["verdict"] == "problem" for f in forensics.findings(study) if f["check"] == check)

    assert problems(changed(paper, place, text)) > problems(papers.load(paper))


def test_a_setting_said_twice_alike_is_consistent():
    alike = {"what": "Batch size", "said": [["II", "16"], ["IV", "16"]]}
    assert consistency._setting(alike)["verdict"] == "consistent"


def test_a_paper_without_numbers_says_so():
    [numbers] = of("lightweight", "numbers")
    assert "16 claims" in numbers["finding"]
    assert len(of("lightweight", "said twice")) == 2
