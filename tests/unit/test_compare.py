import json
from dataclasses import replace

import ledger
import numpy as np
import pytest

from medtk.evaluation import intervals
from medtk.reproduction import compare, pages, papers, records, rulebook
from medtk.reproduction.evidence import Evidence, printed, reading
from medtk.reproduction.quantities import one_answer
from medtk.runner.pages import generated

PAPER = papers.load("robust_transfer")
CELL = PAPER.cell("I", "BreastMNIST", "DenseNet121")  # printed 83.97 % = 131 of 156, commonest class 73.08 %


def judged(home, cell=CELL):
    return compare.judge(cell, records.read_all(home))


def verdicts_of_testable(report):
    """Verdicts of all claims but those that no run of ours can speak to."""
    beyond = {claim.text for paper in map(papers.load, papers.IDS) for claim in paper.claims if claim.untestable}
    return {claim["verdict"] for claim in report["claims"] if claim["claim"] not in beyond}


def test_without_records_everything_is_unrecorded(tmp_path):
    report = compare.report(tmp_path)
    assert list(report) == ["papers", "cells", "claims"]
    assert list(report["papers"]) == list(papers.IDS)
    assert report["papers"]["robust_transfer"] == {
        "cells": 222,
        "recorded": 0,
        "reproduced": 0,
        "direction": 0,
        "differs": 0,
        "not_testable": 0,
        "unrecorded": 222,
    }
    assert verdicts_of_testable(report) == {"unrecorded"}
    assert "medtk run" in report["cells"][0]["reason"]
    json.dumps(report, allow_nan=False)


def test_one_study_alone_is_judged_as_among_all(tmp_path):
    attacked(tmp_path, [131, 111, 50, 140, 131, 60], weights=PRETRAINED)
    whole, found = compare.report(tmp_path), records.read_all(tmp_path)
    for paper in papers.IDS:
        assert compare.cells(found, tmp_path, [paper]) == [c for c in whole["cells"] if c["paper"] == paper]
        assert compare.claims(found, tmp_path, [paper]) == [c for c in whole["claims"] if c["paper"] == paper]
    assert {c["verdict"] for c in whole["cells"]} > {"unrecorded"}


def test_the_keys_that_programs_read(tmp_path):
    ledger.write(tmp_path)
    report = compare.report(tmp_path)
    cell = "paper table row column printed ours low high n verdict reason record deviations data_source weights_source"
    assert set(cell.split()) <= report["cells"][0].keys()
    assert report["claims"][0].keys() == {"paper", "claim", "verdict", "reason", "records"}


PRETRAINED = {"source": "imagenet"}


def test_reproduced_by_one_run(tmp_path):
    ledger.write(tmp_path, 125, weights=PRETRAINED)
    entry = judged(tmp_path)
    assert entry["verdict"] == "reproduced"
    assert entry["low"] < 0.8397 < entry["high"]
    assert (entry["ours"], entry["n"], entry["runs"]) == (125 / 156, 156, 1)
    assert entry["record"] == "robust_transfer/11_transfer_learning/run"
    assert entry["deviations"] == ["weights start at random values"]
    assert (entry["data_source"], entry["weights_source"]) == ("official", "imagenet")


def test_a_random_start_that_meets_the_number_transfers_nothing(tmp_path):
    ledger.write(tmp_path, 131)
    entry = judged(tmp_path)
    assert entry["verdict"] == "direction" and "nothing is transferred" in entry["reason"]


def test_smaller_settings_that_meet_the_number_have_not_reproduced_it(tmp_path):
    ledger.write(tmp_path, 131, profile="scaled")
    entry = judged(tmp_path)
    assert entry["verdict"] == "direction" and "smaller settings" in entry["reason"]


def test_rounding_of_the_printed_number_is_allowed_for(tmp_path):
    for seed in range(3):  # no spread at all: the interval is one point, 131/156 = 0.839744, printed as 0.8397
        ledger.write(tmp_path, 131, name=f"seed{seed}", seed=seed, weights=PRETRAINED)
    assert judged(tmp_path)["verdict"] == "reproduced"


def test_direction_and_difference(tmp_path):
    ledger.write(tmp_path, 150)
    assert judged(tmp_path)["verdict"] == "direction"
    ledger.write(tmp_path, 120)
    entry = judged(tmp_path)
    assert entry["verdict"] == "differs" and "nothing is transferred" in entry["reason"]
    ledger.write(tmp_path, 120, weights=PRETRAINED)
    assert "transferred" not in judged(tmp_path)["reason"]


def test_an_interval_that_holds_everything_confirms_nothing(tmp_path):
    for seed, right in enumerate((60, 120, 156)):
        ledger.write(tmp_path, right, name=f"seed{seed}", seed=seed)
    entry = judged(tmp_path)
    assert entry["high"] - entry["low"] > 0.9
    assert entry["verdict"] == "not_testable" and "say too little" in entry["reason"]


def test_what_the_training_loop_said_does_not_part_the_seeds(tmp_path):
    for seed in range(3):
        ledger.write(tmp_path, 131, name=f"seed{seed}", seed=seed, while_training={"accuracy": 0.8 + seed / 100})
    assert judged(tmp_path)["runs"] == 3


def test_three_seeds_give_the_interval_of_the_next_run(tmp_path):
    for seed, right in enumerate((118, 124, 130)):
        ledger.write(tmp_path, right, name=f"seed{seed}", seed=seed)
    entry = judged(tmp_path)
    assert entry["ours"] == pytest.approx(124 / 156)
    assert entry["runs"] == 3
    assert entry["high"] == pytest.approx(min(1, (124 + 4.302653 * 6 * (4 / 3) ** 0.5) / 156), abs=1e-6)


def test_two_runs_on_the_same_images_do_not_count_as_more_images(tmp_path):
    ledger.write(tmp_path, 120, name="a", seed=0)
    one = judged(tmp_path)
    ledger.write(tmp_path, 120, name="b", seed=1)
    two = judged(tmp_path)
    assert (two["low"], two["high"], two["runs"]) == (one["low"], one["high"], 2)


def test_two_runs_apart_have_an_interval_that_holds_both(tmp_path):
    ends = []
    for right in (120, 140):
        ledger.write(tmp_path / str(right), right)
        ends.append(judged(tmp_path / str(right)))
    for seed, right in enumerate((120, 140)):
        ledger.write(tmp_path, right, name=f"seed{seed}", seed=seed)
    entry = judged(tmp_path)
    assert (entry["low"], entry["high"]) == (ends[0]["low"], ends[1]["high"])


def test_a_network_with_one_answer_is_left_out_of_the_mean(tmp_path):
    """The mean of a constant 73 % and of 51 % met printed numbers that neither network was near."""
    ledger.write(tmp_path, 114, name="constant", seed=0)
    ledger.write(tmp_path, 131, name="looks", seed=1)
    entry = judged(tmp_path)
    assert (entry["ours"], entry["runs"]) == (131 / 156, 1)
    assert "Of 2 runs 1 is left out" in entry["reason"] and entry["records"] == [entry["record"]]


def test_a_network_that_has_not_learned_decides_nothing(tmp_path):
    ledger.write(tmp_path, 115)  # one malignant image found
    entry = judged(tmp_path)
    assert entry["verdict"] == "not_testable" and "no network here has learned" in entry["reason"]
    attacked(tmp_path, [131, 114, 110, 100, 90, 80])  # one answer for all, under attack: that is the attack's doing
    entry = judged(tmp_path, PAPER.cell("II", "BreastMNIST / DenseNet121", "ε = 0.001"))
    assert entry["verdict"] == "direction" and "same answer" not in entry["reason"]


def test_the_same_images_tell_the_side_that_intervals_cannot(tmp_path):
    attacked(tmp_path, [131, 124, 131, 100, 90, 80])
    found, cell = records.read_all(tmp_path), PAPER.cell("II", "BreastMNIST / DenseNet121", "ε = 0.002")
    assert compare.judge(PAPER.cell("II", "BreastMNIST / DenseNet121", "ε = 0.003"), found)["verdict"] == "direction"
    lost = PAPER.cell("II", "BreastMNIST / DenseNet121", "ε = 0.001")  # 7 images lost and none gained
    entry = compare.judge(lost, found, reading(tmp_path))
    assert entry["low"] < 131 / 156 and (entry["verdict"], entry["n"]) == ("direction", 156)
    assert compare.judge(lost, found)["verdict"] == "differs"
    assert compare.judge(cell, found, reading(tmp_path))["verdict"] == "differs"  # no image was lost


@pytest.mark.parametrize("changes", [{"profile": "quick"}, {"data": {"name": "breastmnist", "source": "synthetic"}}])
def test_quick_and_synthetic_runs_never_count(tmp_path, changes):
    ledger.write(tmp_path, 131, extra={"reestimated": 131}, **changes)
    report = compare.report(tmp_path)
    assert report["papers"]["robust_transfer"]["recorded"] == 0
    assert verdicts_of_testable(report) == {"unrecorded"}


def test_the_setting_nearest_the_paper_answers_not_the_nearest_number(tmp_path):
    ledger.write(tmp_path, 131, name="scaled", profile="scaled")
    ledger.write(tmp_path, 100, name="paper")
    assert judged(tmp_path)["record"].endswith("/paper")
    ledger.write(tmp_path, 101, name="pretrained", weights={"source": "imagenet"})
    assert judged(tmp_path)["record"].endswith("/pretrained")
    ledger.write(tmp_path, 102, name="other", weights={"source": "imagenet"}, parameters={"epochs": 9}, deviations=[])
    assert judged(tmp_path)["record"].endswith("/other")


def test_settings_are_never_averaged(tmp_path):
    ledger.write(tmp_path, 131, name="a", parameters={"trainable": "all", "seed": 0})
    ledger.write(tmp_path, 120, name="b", parameters={"trainable": "all", "seed": 1}, seed=1)
    ledger.write(tmp_path, 40, name="c", parameters={"trainable": "head"})
    assert judged(tmp_path)["records"] == [f"robust_transfer/11_transfer_learning/{name}" for name in "ab"]


def test_a_cell_without_a_printed_number(tmp_path):
    ledger.write(tmp_path, 42, column="ResNet50")
    entry = judged(tmp_path, PAPER.cell("I", "BreastMNIST", "ResNet50"))
    assert entry["verdict"] == "not_testable"
    assert entry["ours"] == 42 / 156
    assert "printed no number" in entry["reason"]


def test_a_stand_in_that_may_not_stand_for_the_test_set(tmp_path):
    cells = [{"table": "I", "row": "OCTMNIST", "column": "DenseNet121", "predictions": "clean"}]
    ledger.write(tmp_path, cells=cells, data={"name": "oct_subset", "source": "substitute"})
    entry = judged(tmp_path, PAPER.cell("I", "OCTMNIST", "DenseNet121"))
    assert entry["verdict"] == "not_testable"
    assert "oct_subset (substitute)" in entry["reason"]
    assert "medtk run" in entry["reason"]


def test_a_part_of_the_test_set_does_not_stand_for_it(tmp_path):
    labels, clean = ledger.answers(50, 42)
    ledger.write(tmp_path, labels=labels, predictions={"clean": clean})
    assert judged(tmp_path)["verdict"] == "not_testable"


def attacked(home, counts, **changes):
    extra = {f"epsilon=0.00{i}": count for i, count in enumerate(counts[1:], 1)}
    ledger.write(home, counts[0], extra=extra, cells=ledger.table_two(), **changes)


def test_attacked_cells_are_judged_against_the_clean_column(tmp_path):
    # Printed: 83.97, 71.15, 56.41, 50.00, 43.59, 38.46 %; ours starts elsewhere and falls further.
    attacked(tmp_path, [131, 111, 50, 140, 131, 60], weights=PRETRAINED)
    found = {
        column: judged(tmp_path, PAPER.cell("II", "BreastMNIST / DenseNet121", column))
        for column in ("Clean", "ε = 0.001", "ε = 0.002", "ε = 0.003", "ε = 0.004", "ε = 0.005")
    }
    verdicts = [entry["verdict"] for entry in found.values()]
    assert verdicts == ["reproduced", "reproduced", "direction", "differs", "differs", "reproduced"]
    assert "below the Clean column's value" in found["ε = 0.002"]["reason"]


def test_claims_from_records(tmp_path):
    attacked(tmp_path, [131, 120, 110, 100, 90, 80])
    ledger.write(tmp_path, 120, name="mobilenet", column="MobileNetV2")
    transfer = {"experiment": "transfer", "parameters": {"network": "resnet50"}, "while_training": {"accuracy": 0.75}}
    ledger.write(tmp_path, 42, name="resnet", column="ResNet50", extra={"reestimated": 116}, **transfer)
    ledger.write(tmp_path, 114, name="resnet1", column="ResNet50", extra={"reestimated": 114}, seed=1, **transfer)
    mine = [entry for entry in compare.claims(records.read_all(tmp_path)) if entry["paper"] == PAPER.id]
    found = {claim.rule: entry for claim, entry in zip(PAPER.claims, mine, strict=True)}
    assert found["attack_lowers"]["verdict"] == "direction"  # 1 of 11 cases is recorded
    reason = found["attack_lowers"]["reason"]
    assert "recorded cases: DenseNet121 on BreastMNIST (83.97 %" in reason and "10 more" in reason
    assert found["attack_lowers"]["records"] == ["robust_transfer/11_transfer_learning/run"]
    assert found["densenet_leads"]["verdict"] == "direction"  # on 1 of 4 data sets
    assert found["resnet_breast"]["verdict"] == "differs"  # one of two runs
    assert found["resnet_overfits"]["verdict"] == "differs"
    assert found["resnet_overfits"]["records"] == ["robust_transfer/transfer/resnet"]
    assert found["training_helps"]["verdict"] == "unrecorded"
    assert "48 of 50" in found["training_helps"]["reason"]


def test_a_claim_recorded_only_on_a_stand_in_is_not_testable(tmp_path):
    labels, clean = ledger.answers(1000, 700)
    for i, network in enumerate(("DenseNet121", "MobileNetV2", "ResNet50")):
        cell = {"table": "I", "row": "OCTMNIST", "column": network, "predictions": "clean"}
        data = {"name": "oct_subset", "source": "substitute"}
        ledger.write(tmp_path, name=f"oct{i}", cells=[cell], data=data, labels=labels, predictions={"clean": clean})
    verdicts = {entry["claim"]: entry["verdict"] for entry in compare.claims(records.read_all(tmp_path))}
    assert verdicts[PAPER.claims[0].text] == "not_testable"


def test_the_flip_of_a_chest_image_is_looked_for_in_the_predictions(tmp_path):
    labels, clean = ledger.answers(624, 624, majority=234)
    clean = 1.2 * clean - 0.1  # from 90 to 98 % sure
    flipped = clean.copy()
    flipped[-1] = [0.92, 0.08]
    ledger.write(
        tmp_path,
        cells=[],
        experiment="transfer",
        data={"name": "pneumoniamnist", "source": "official"},
        labels=labels,
        predictions={"clean": clean / clean.sum(1, keepdims=True), "epsilon=0.005": flipped},
    )
    found = records.read_all(tmp_path)
    at = [claim.rule for claim in PAPER.claims].index("chest_flip")
    assert compare.claims(found)[at]["verdict"] == "unrecorded"
    assert compare.claims(found, tmp_path)[at]["verdict"] == "reproduced"
    defended = [record | {"experiment": "adversarial"} for record in found]
    assert compare.claims(defended, tmp_path)[at]["verdict"] == "unrecorded"


def test_the_book_says_of_every_claim_what_the_command_says(tmp_path, monkeypatch):
    labels, clean = ledger.answers(624, 624, majority=234)
    sure = 1.2 * clean - 0.1  # from 90 to 98 %
    settings = {"data": {"name": "pneumoniamnist", "source": "official"}, "labels": labels, "cells": []}
    settings["experiment"] = "transfer"
    ledger.write(tmp_path, predictions={"clean": sure, "epsilon=0.005": sure[:, ::-1]}, **settings)
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path))
    words = {"reproduced": "✓ holds", "unrecorded": "· not recorded"}
    at = [claim.rule for claim in PAPER.claims].index("chest_flip")
    said = words[compare.report(tmp_path)["claims"][at]["verdict"]]
    (line,) = [x for x in generated()["book/scoreboard.md"].splitlines() if PAPER.claims[at].text in x]
    assert said == "✓ holds" and said in line


def test_a_claim_says_what_networks_measured_again_answer(tmp_path):
    """As training left it the network gives one answer; measured again it can be attacked."""
    again = {"reestimated": 131} | {f"reestimated-epsilon=0.00{i}": 131 - 10 * i for i in range(1, 6)}
    ledger.write(tmp_path, 114, extra=again | {f"epsilon=0.00{i}": 114 for i in range(1, 6)}, cells=ledger.table_two())
    found = records.read_all(tmp_path)
    at = next(i for i, claim in enumerate(PAPER.claims) if claim.id == "attack_lowers")
    claim = compare.claims(found, tmp_path)[at]
    assert claim["verdict"] == "not_testable" and "no seed at which every network has learned" in claim["reason"]
    assert "measured again it holds in 1 of 1 cases" in claim["reason"]
    plain = [record | {"metrics": {k: v for k, v in record["metrics"].items() if k[:2] != "re"}} for record in found]
    assert "measured again" not in compare.claims(plain, tmp_path)[at]["reason"]


def test_conditions_are_compared_on_the_seeds_that_both_have(tmp_path):
    """Seed 1 alone would say that the attack helps; only seed 0 was recorded with and without it."""
    attacked(tmp_path, [131, 120, 110, 100, 90, 80])
    ledger.write(tmp_path, 20, cells=ledger.table_two()[:1], name="seed1", seed=1)
    runs, _ = compare._evidence(PAPER, records.read_all(tmp_path), None)
    keys = tuple(("breastmnist", "densenet121", "none", epsilon) for epsilon in (0.0, 0.001))
    assert len(runs.runs[keys[0]]) == 2 and runs.values(keys) == [131 / 156, 120 / 156]
    assert runs.values(keys[:1]) == [(131 + 20) / 2 / 156]


def test_networks_that_start_otherwise_are_not_ranked(tmp_path):
    ledger.write(tmp_path, 131)
    ledger.write(tmp_path, 120, name="mobilenet", column="MobileNetV2", weights={"source": "mirror"})
    text = next(claim.text for claim in PAPER.claims if claim.id == "densenet_leads")
    (claim,) = [c for c in compare.claims(records.read_all(tmp_path)) if c["claim"] == text]
    assert claim["verdict"] == "not_testable" and "random weights" in claim["reason"]
    assert len(claim["records"]) == 2


def test_one_answer_for_every_image_reproduces_nothing(tmp_path):
    printed = PAPER.cell("III", "BreastMNIST / MobileNetV2 / AT", "ε = 0.001")  # 73.08 %, the commonest class
    cells = [{"table": "III", "row": printed.row, "column": printed.column, "predictions": "clean"}]
    labels, _ = ledger.answers(156, 156, majority=114)
    always = np.tile([0.1, 0.9], (156, 1))
    ledger.write(tmp_path, cells=cells, labels=1 - labels, predictions={"clean": always}, weights={"source": "mirror"})
    entry = judged(tmp_path, printed)
    assert round(entry["ours"], 4) == printed.printed == 0.7308
    assert entry["verdict"] == "not_testable" and "the same answer" in entry["reason"]
    seven = {"accuracy": 0.6688, "balanced_accuracy": 1 / 7, "macro_f1": 2 * 0.6688 / 1.6688 / 7}
    assert one_answer(seven) and not one_answer(seven | {"balanced_accuracy": 0.15})
    assert not one_answer({"accuracy": 1.0, "balanced_accuracy": 1.0, "macro_f1": 1.0})
    assert not one_answer({"accuracy": 0.5})


@pytest.mark.parametrize("paper", papers.IDS)
def test_every_rule_bears_an_empty_ledger_and_the_printed_numbers(paper):
    study = papers.load(paper)
    for claim in study.claims:
        assert all(case.holds is None for case in rulebook.cases(claim, paper, Evidence({})))
        # These ask figures that print no number, counts that the paper hides, and runs that it does not report.
        asks_more = ("best_mu", "early_cut", "map_withheld", "balanced_false_negatives", "non_iid", "three_tasks")
        asks_more += ("above_commonest", "tightly_grouped", "improves_recognition")
        if claim.rule not in asks_more:
            assert all(case.holds is not None for case in rulebook.cases(claim, paper, printed(study)))


def test_pages_say_every_number_and_every_verdict_in_words(tmp_path):
    attacked(tmp_path, [131, 111, 50, 140, 131, 60], weights=PRETRAINED)
    ledger.write(tmp_path, 42, name="resnet", column="ResNet50")
    report = compare.report(tmp_path)
    tables = pages.paper_page(report, "robust_transfer")
    assert tables.count("\n# ") == 1
    assert all(cell.text.replace("*", "\\*") in tables for cell in PAPER.cells)
    for words in ("✓ reproduced", "≈ direction holds", "✗ differs", "– not testable here", "· not recorded"):
        assert words in tables
    assert "weights start at random values" in tables
    assert "no set of fewer than" in tables
    rows = [line for line in tables.splitlines() if line.startswith("|")]
    assert all(line.endswith(" |") for line in rows)
    board = pages.scoreboard_page(report)
    assert "| 222 |" in board
    assert PAPER.claims[0].text in board
    assert "prints no table" in pages.paper_page(report, "lightweight")


def test_numbers_of_networks_measured_again_stand_apart(tmp_path):
    """One network gives one answer as training left it; of the other nothing was measured again."""
    ledger.write(tmp_path, 114, extra={"reestimated": 131}, weights=PRETRAINED)
    ledger.write(tmp_path, 42, name="resnet", column="ResNet50")
    report = compare.report(tmp_path)
    cells = {(cell["row"], cell["column"]): cell for cell in report["cells"] if cell["table"] == "I"}
    dense, resnet = (cells["BreastMNIST", name] for name in ("DenseNet121", "ResNet50"))
    assert dense["verdict"] == "not_testable" and resnet["measured_again"] is None
    assert dense["measured_again"]["verdict"] == "reproduced" and dense["measured_again"]["ours"] == 131 / 156
    assert report["papers"]["robust_transfer"]["reproduced"] == 0
    board, tables = pages.scoreboard_page(report), pages.paper_page(report, "robust_transfer")
    assert board.count("| 222 |") == 2 and "| 222 | 1 |" in board and "| 222 | 0 |" in board
    rows = [line for line in tables.splitlines() if line.startswith("| BreastMNIST | ")]
    assert any("DenseNet121" in row and row.endswith("| 83.97 % | ✓ reproduced |") for row in rows)
    assert any("ResNet50" in row and row.endswith("|  |  |") for row in rows)
    assert "Measured again" not in pages.paper_page(report, "hospital")


@pytest.mark.parametrize("paper", papers.IDS[1:])
def test_pages_of_the_other_papers_hold_every_printed_number_and_claim(tmp_path, paper):
    study = papers.load(paper)
    page = pages.paper_page(compare.report(tmp_path), paper)
    assert all(f"| {cell.text}" in page for cell in study.cells)
    assert all(claim.text.replace("_", "\\_") in page for claim in study.claims)
    assert all(f"## {table}:" in page or f"## Table {table}:" in page for table in study.tables)
    assert ("Smaller is better" in page) == (paper in ("pgsl", "hospital"))


def measured(paper, *values, n=624, dataset="chest_xray", name="run"):
    """Records as a run of another paper would leave them: a value for each cell, by place and metric."""
    cells = [
        {"table": place[0], "row": place[1], "column": place[2], "predictions": f"p{i}", "metric": metric}
        for i, (place, metric, _) in enumerate(values)
    ]
    metrics = {f"p{i}": {metric: value, "n": n} for i, (_, metric, value) in enumerate(values)}
    return {
        "id": f"{paper}/x/{name}", "experiment": "x", "paper": paper, "cells": cells, "metrics": metrics,
        "parameters": {}, "seed": int(name[-1]) if name[-1].isdigit() else 0, "profile": "paper",
        "data": {"name": dataset, "source": "official"}, "weights": {"source": "random"}, "deviations": [],
    }  # fmt: skip


def other(paper, place, *found):
    return compare.judge(papers.load(paper).cell(*place), list(found))


def test_counts_have_intervals_and_numbers_need_three_runs():
    wrong, loss = ("1", "Global Model", "FN"), ("1", "Global Model", "Loss")
    one = measured("hospital", (wrong, "false_negatives", 100.0), (loss, "loss", 0.41))
    entry = other("hospital", wrong, one)
    assert entry["verdict"] == "reproduced" and 80 < entry["low"] < 100 < 110 < entry["high"] < 125
    assert "printed 110" in entry["reason"] and "%" not in entry["reason"].replace("95 %", "")
    entry = other("hospital", loss, one)
    assert (entry["verdict"], entry["low"]) == ("differs", None)
    three = [measured("hospital", (loss, "loss", v), name=f"s{i}") for i, v in enumerate((0.38, 0.40, 0.43))]
    entry = other("hospital", loss, *three)
    assert entry["verdict"] == "reproduced" and entry["runs"] == 3
    wild = [measured("hospital", (loss, "loss", v), name=f"s{i}") for i, v in enumerate((0.1, 0.4, 0.9))]
    assert other("hospital", loss, *wild)["verdict"] == "not_testable"


def test_an_exact_number_is_reproduced_by_one_run():
    place = ("Fig. 1", "dense_2", "Param #")
    entry = other("hospital", place, measured("hospital", (place, "parameters", 40_992)))
    assert entry["verdict"] == "reproduced" and "40,992 is ours" in entry["reason"]
    entry = other("hospital", place, measured("hospital", (place, "parameters", 40_991)))
    assert entry["verdict"] == "differs" and "it is not reproduced" in entry["reason"]


def counted(place, confusion, name="s0"):
    """Record of the X-rays' second class, with its confusion matrix."""
    metric = {"Precision": "precision", "Recall": "recall", "F1-Score": "f1"}[place[2].split(" / ")[1]]
    found = measured("clustered_covid", (place, metric, 0.0), n=313, dataset="covid_xray_paper", name=name)
    found["metrics"]["p0"], found["cells"][0]["of"] = {"confusion": confusion, "n": 313}, 1
    return found


def test_recall_is_a_share_of_its_class_and_precision_of_those_called():
    place = ("III", "X-ray / COVID-19", "Clustered / Recall")
    found = measured("clustered_covid", (place, "recall", 36 / 44), n=313, dataset="covid_xray_paper")
    entry = other("clustered_covid", place, found)
    assert entry["verdict"] == "reproduced" and entry["high"] - entry["low"] > 0.2  # 44 images, not 313
    for column, share, n in (("Recall", 36 / 44, 44), ("Precision", 36 / 40, 40), ("F1-Score", 36 / 42, 42)):
        place = ("III", "X-ray / COVID-19", f"Clustered / {column}")
        entry = other("clustered_covid", place, counted(place, [[265, 4], [8, 36]]))
        assert entry["ours"] == pytest.approx(share)
        assert (entry["low"], entry["high"]) == pytest.approx(intervals.wilson(share * n, n))
    # Nobody was called ill: a share of nothing.
    place = ("III", "X-ray / COVID-19", "Clustered / Precision")
    entry = other("clustered_covid", place, counted(place, [[269, 0], [44, 0]]))
    assert (entry["ours"], entry["low"]) == (0.0, None)


def test_the_interval_of_an_f1_holds_what_other_images_give():
    """Of a network that finds 8 of 10 ill and calls 1 of 10 of the others: at least 95 of 100 of them."""
    random, place, held = np.random.default_rng(0), ("III", "X-ray / COVID-19", "Clustered / F1-Score"), 0
    true = 2 * 0.8 * 44 / (0.8 * 44 + 0.1 * 269 + 44)
    for _ in range(200):
        hits, alarms = random.binomial(44, 0.8), random.binomial(269, 0.1)
        entry = other(
            "clustered_covid", place, counted(place, [[269 - int(alarms), int(alarms)], [44 - int(hits), int(hits)]])
        )
        held += entry["low"] <= true <= entry["high"]
    assert held >= 190


def test_the_side_of_a_number_without_interval_is_not_known():
    ours, theirs = (("III", "X-ray / COVID-19", f"{setup} / Precision") for setup in ("Clustered", "Multi-modal"))
    for confusion, verdict in (([[269, 0], [44, 0]], "not_testable"), ([[230, 39], [4, 40]], "direction")):
        runs = [
            counted(place, one, name)
            for place, one, name in ((ours, confusion, "a0"), (theirs, [[150, 119], [22, 22]], "b0"))
        ]
        entry = other("clustered_covid", ours, *runs)
        assert entry["verdict"] == verdict, entry["reason"]


def test_larger_errors_are_judged_against_another_row():
    ours, plain = ("I", "JSMA + DLG", "MIAS"), ("I", "DLG [23]", "MIAS")

    def verdict(mine, reference, seeds=3, n=50, other_n=50):
        found = []
        for seed in range(seeds):
            found.append(measured("pgsl", (ours, "mse", mine + seed / 9), n=n, dataset="mias_paper", name=f"a{seed}"))
            far = reference + seed / 9
            found.append(measured("pgsl", (plain, "mse", far), n=other_n, dataset="mias_paper", name=f"b{seed}"))
        return other("pgsl", ours, *found)

    entry = verdict(2.0, 1.0)
    assert entry["verdict"] == "direction" and "above the DLG [23] row's value" in entry["reason"]
    assert verdict(6.9, 7.0)["verdict"] == "differs"
    # Networks trained apart take three seeds, and the same images.
    for entry in (verdict(2.0, 1.0, seeds=2), verdict(2.0, 1.0, other_n=20)):
        assert entry["verdict"] == "not_testable" and "our side of it cannot be judged" in entry["reason"]
    alone = other("pgsl", ours, measured("pgsl", (ours, "mse", 1.0), n=50, dataset="mias_paper"))
    assert alone["verdict"] == "not_testable" and "our side of it cannot be judged" in alone["reason"]


@pytest.mark.parametrize(("n", "verdict"), [(1, "not_testable"), (15, "not_testable"), (16, "reproduced")])
def test_a_squared_error_of_few_images_is_not_judged(n, verdict):
    place = ("I", "DLG [23]", "MNIST")
    cell = replace(papers.load("pgsl").cell(*place), given="")  # as if the paper had named its scale
    entry = compare.judge(cell, [measured("pgsl", (place, "mse", 0.12), n=n, dataset="mnist")])
    assert entry["verdict"] == verdict and entry["ours"] == 0.12  # the number stays, the verdict waits
    assert ("fewer than 16" in entry["reason"]) == (verdict == "not_testable")
    # Neither does a number far away stand against the paper, nor one of several runs with as few images.
    far = [measured("pgsl", (place, "mse", 9.0), n=n, dataset="mnist", name=f"s{i}") for i in range(3)]
    assert compare.judge(cell, far)["verdict"] == ("not_testable" if n < 16 else "differs")


def test_one_impossible_error_leaves_its_column_without_a_scale():
    place = ("I", "iDLG [24]", "MNIST")  # printed 0.048, and 2.34 further down
    entry = other("pgsl", place, measured("pgsl", (place, "mse", 0.048), n=99, dataset="mnist"))
    assert entry["verdict"] == "not_testable" and "no scale" in entry["reason"]


def test_the_constant_answer_stands_for_macro_f1_too():
    place = ("1", "Global Model", "F1 Avg")
    low, high = (other("hospital", place, measured("hospital", (place, "macro_f1", v))) for v in (0.30, 0.60))
    assert (low["verdict"], high["verdict"]) == ("differs", "direction")
    assert "always giving the commonest class" in high["reason"] and "38.46 %" in high["reason"]


def test_claims_of_other_papers_are_judged_by_their_tables():
    def verdict(*right):
        """Of three hospitals with these shares of right answers, in each class."""
        found = []
        for k, share in enumerate(right, 1):
            place = ("2", f"Hospital {k}", "Accuracy")
            found.append(measured("hospital", (place, "accuracy", share), n=208, name=f"h{k}-s0"))
            counts = [[round(n * share), n - round(n * share)] for n in (8000, 13000)]
            found[-1]["metrics"]["clean"] = {"confusion": [counts[0], counts[1][::-1]]}
        claims = compare.claims(found)
        return next(c for c in claims if c["paper"] == "hospital" and "lie close together" in c["claim"])

    assert verdict()["verdict"] == "unrecorded"
    assert verdict(0.80, 0.81, 0.82)["verdict"] == "reproduced"
    assert verdict(0.70, 0.81, 0.82)["verdict"] == "differs"
    assert verdict(0.77, 0.81, 0.82)["verdict"] == "not_testable"


def test_markdown_signs_in_a_sentence_stay_text():
    assert pages._plain("a|b *c* $d$ e_f `g_h`") == "a\\|b \\*c\\* \\$d\\$ e\\_f `g_h`"
