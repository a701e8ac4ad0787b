"""Rules of paper 4 on made records: what holds, what does not, and what the records cannot decide."""

import pytest
from lightweight_records import evidence, failed, made

from medtk.reproduction import compare, papers, records, rules_lightweight, variants
from medtk.reproduction.evidence import reading
from medtk.settings import results_home

INT8, INT4, QAT4 = "float as int8", "float as weights_int4", "qat4 as weights_int4"
SPARSE, FILTERS = "sparse0.8 as float32", "filters0.5 as float32"


@pytest.fixture(autouse=True)
def homes(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path / "results"))


def holds(rule):
    return {case.name.split(",")[0]: case.holds for case in getattr(rules_lightweight, rule)(evidence())}


def many():
    made()
    made("tuned", ms=1.1)
    made(recipe="keras", ms=9)
    made(recipe="int8", right=90, kb=30, ms=0.5, mb=6)
    made(recipe="weights_int4", right=70, kb=20, ms=1.5, mb=9)
    made("qat4", "weights_int4", right=99, kb=20, ms=1.5)
    made("sparse0.8", "float32", kb=100, zipped=30, ms=1.0)
    made("filters0.5", "float32", kb=40, ms=0.6, macs=4e5)


def test_rules_on_made_records():
    many()
    assert holds("quantization_shrinks") == {INT8: True, INT4: False}
    assert holds("bit_widths") == {INT8: True, INT4: False, QAT4: False}
    assert holds("pruning_shrinks") == {SPARSE: False, FILTERS: True}
    assert holds("pruning_kinds") == {SPARSE: False, FILTERS: True}
    assert holds("accuracy_kept") == {INT8: True, INT4: False, QAT4: True, SPARSE: True, FILTERS: True}
    assert holds("accuracy_rises") == {INT8: False, INT4: False, QAT4: True, SPARSE: False, FILTERS: False}
    assert holds("faster") == {INT8: True, INT4: False, QAT4: False, SPARSE: False, FILTERS: True}
    verdicts = {c["claim"]: c["verdict"] for c in compare.report(results_home())["claims"]}
    texts = {claim.id: claim.text for claim in papers.load("lightweight").claims}
    assert verdicts[texts["pruning_kinds"]] == "differs"
    assert verdicts[texts["three_tasks"]] == "not_testable"
    assert verdicts[texts["edge_latency"]] == "not_testable"


def test_claims_share_one_pairing_one_draw_a_pair_and_one_reading_a_record(monkeypatch):
    many()
    made("tuned", ms=1.1, seed=1)

    def spied(module, name, what):
        """What each call of a function was about; the function still does its work."""
        whole, seen = getattr(module, name), []
        monkeypatch.setattr(module, name, lambda *given: seen.append(what(*given)) or whole(*given))
        return seen

    changed = spied(variants, "change", lambda _, pair: pair.name)
    read = spied(records, "load_predictions", lambda record, home: record["id"])
    paired = spied(variants, "_paired", id)
    home = results_home()
    shared = compare.claims(records.read_all(home), home, ["lightweight"])
    assert len(changed) == len(set(changed)) == 5 and len(read) == len(set(read)) > 5
    assert len(paired) == 2  # of the records, and of what the paper printed, which is nothing
    # Each rule alone, with evidence of its own, says the same.
    for claim in papers.load("lightweight").claims:
        if hasattr(rules_lightweight, claim.rule):
            own = [case for case in getattr(rules_lightweight, claim.rule)(evidence()) if case.holds is not None]
            (entry,) = [entry for entry in shared if entry["claim"] == claim.text]
            if own:
                assert f"Holds in {sum(case.holds for case in own)} of {len(own)}" in entry["reason"]


def test_predictions_that_claims_share_cannot_be_changed(tmp_path):
    record = made()
    stored = reading(results_home())(record)
    with pytest.raises(ValueError, match="read-only"):
        stored["clean"][0] = 0
    with pytest.raises(TypeError):
        stored["other"] = stored["clean"]


def test_a_time_within_the_noise_of_equal_files_is_left_open():
    made(ms=1.0)
    made(recipe="int8", ms=0.6)
    assert holds("faster") == {INT8: None}  # no two files with the same operations: nobody knows the noise
    made("tuned", ms=1.6)
    assert variants.noise(evidence(), variants.time) == pytest.approx(1.6)
    assert holds("faster") == {INT8: True}  # 0.60 is less than 1 / 1.6
    made(recipe="float16", ms=0.7)
    made(recipe="weights_int8", ms=1.5)
    made(recipe="dynamic_int4", ms=1.7)
    made("sparse0.5", "float32", ms=0.65)
    assert holds("faster") == {
        INT8: True, "float as float16": None, "float as weights_int8": None, "float as dynamic_int4": False,
        "sparse0.5 as float32": False,
    }  # fmt: skip


def test_a_difference_below_five_percent_is_none_however_steady_the_machine():
    assert variants.less(0.97, 1.0) is None and variants.less(1.03, 1.0) is None
    assert variants.less(0.94, 1.0) is True and variants.less(1.06, 1.0) is False


def test_memory_is_asked_and_not_only_the_file():
    made(ms=2)
    made("tuned", ms=2)
    made(recipe="int8", kb=30, ms=1, mb=12)
    made(recipe="weights_int8", kb=30, ms=1, mb=9.8)
    assert holds("quantization_shrinks") == {INT8: False, "float as weights_int8": None}


def test_a_form_that_was_trained_on_is_compared_with_the_network_that_was_too():
    made(right=80)
    made("qat8", "int8", right=95)
    made("filters0.5", right=80)
    qat8 = "qat8 as int8"
    assert holds("accuracy_kept") == holds("accuracy_rises") == {qat8: None, FILTERS: None}
    made("tuned", right=95)
    assert holds("accuracy_kept") == {qat8: True, FILTERS: False}
    assert holds("accuracy_rises") == {qat8: False, FILTERS: False}
    assert "tuned" not in {pair.form for pair in variants.pairs(evidence())}


def test_a_loss_that_other_images_could_undo_is_left_open():
    made(right=90)
    made(recipe="int8", right=89)
    made(recipe="weights_int4", right=60)
    (case, lost) = rules_lightweight.accuracy_kept(evidence())
    assert case.holds is None and case.detail.startswith("-1.0 points [-3.")
    assert lost.holds is False


def test_seeds_are_paired_and_averaged():
    for seed, (whole, few) in enumerate(((90, 86), (80, 82))):
        made(right=whole, seed=seed)
        made(recipe="int8", right=few, seed=seed)
    made(recipe="int8", right=10, seed=7)  # its float network is missing
    (case,) = rules_lightweight.accuracy_kept(evidence())
    assert case.detail.startswith("-1.0 points") and len(case.records) == 4


def test_a_float_network_that_names_one_class_is_no_evidence():
    made(right=52)
    made(recipe="int8", right=52)
    assert rules_lightweight.accuracy_kept(evidence()) == []


def test_a_recipe_that_failed_counts_against_the_claim():
    made()
    made("tuned")
    failed()
    for rule in ("accuracy_kept", "accuracy_rises", "faster", "quantization_shrinks"):
        (case,) = getattr(rules_lightweight, rule)(evidence())
        assert case.holds is False and case.detail == "failed: no numbers"


def test_a_family_has_to_be_recorded_and_to_stand_beside_a_plain_network():
    made(recipe="int8", right=85)
    made()
    made("tuned")
    float_int8 = [case.holds for case in rules_lightweight.mobile_families(evidence())]
    assert float_int8 == [None, None]  # nothing beside it, and no ShuffleNet
    made(network="small")
    made(recipe="int8", network="small", right=85, kb=10)
    assert holds("mobile_families") == {INT8: True, "ShuffleNet": None}
    made(recipe="int8", network="small", right=89, kb=10)
    assert holds("mobile_families") == {INT8: False, "ShuffleNet": None}
    made(recipe="int8", network="small", right=89, kb=200)
    assert holds("mobile_families")[INT8] is True  # better, and larger
    made(recipe="int8", right=60)
    assert holds("mobile_families")[INT8] is False  # ten points above naming one class


def test_three_tasks_are_one_claim():
    def verdict():
        (case,) = rules_lightweight.three_tasks(evidence())
        return case.holds, case.detail

    def task(dataset, classes, whole, few):
        made(dataset=dataset, classes=classes, right=whole, n=700, network="small")
        made(recipe="int8", dataset=dataset, classes=classes, right=few, n=700, network="small")

    task("chest_xray", 2, 600, 590)
    task("retinamnist", 5, 300, 300)
    holds, text = verdict()
    assert holds is None and "skin lesions: not recorded" in text and "chest X-rays: 1 of 1" in text
    task("dermamnist", 7, 170, 168)  # 24 %, where naming one class gives 14 %
    holds, text = verdict()
    assert holds is None and "skin lesions: no float network has learnt it" in text
    task("dermamnist", 7, 500, 490)
    assert verdict()[0] is True
    task("retinamnist", 5, 300, 200)
    assert verdict()[0] is False
