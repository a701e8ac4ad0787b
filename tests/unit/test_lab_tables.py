"""Tables of the notebooks say what the ledger says, with an empty ledger and with a full one."""

import pytest

from medtk import lab
from medtk.lab import recording
from medtk.reproduction import compare, papers, records
from medtk.settings import results_home

ONE_RECORD = ["transfer", "breastmnist", "--networks", "mobilenetv2", "--seeds", "0"]


def test_an_empty_ledger_still_gives_every_printed_number(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path))
    table = lab.tables.beside_paper("robust_transfer", "I")
    assert len(table) == 12 and set(table["recorded"]) == {""}
    assert set(table["images"]) == set(table["seeds"]) == set(table["differs in"]) == {""}
    assert table.set_index(["row", "column"]).loc[("BreastMNIST", "DenseNet121"), "paper"] == "83.97%"
    assert len(lab.robust_tables.choices("breastmnist")) == 0


def test_a_recorded_number_says_what_it_rests_on():
    table = lab.tables.beside_paper("pgsl", "I").set_index(["row", "column"])
    cells = {(c["row"], c["column"]): c for c in lab.tables.cells("pgsl") if c["table"] == "I" and c["runs"]}
    assert cells
    for key, cell in cells.items():
        said = table.loc[key]
        assert (said["images"], said["seeds"]) == (f"{cell['n']:,}", str(cell["runs"]))
        assert said["differs in"].count(";") == len(cell["deviations"]) - 1 and ":" not in said["differs in"]
    counted = lab.tables.beside_paper("clustered_covid", "I")
    assert set(counted["images"]) == {""}


def test_this_run_stands_in_the_cells_that_it_answers(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path))
    cell = {"table": "II", "row": "BreastMNIST / DenseNet121", "column": "Clean", "predictions": "clean"}
    mine = {"cells": [cell], "metrics": {"clean": {"accuracy": 0.5}}}
    table = lab.tables.beside_paper("robust_transfer", "II", rows="BreastMNIST", this_run=mine)
    assert table["row"].str.startswith("BreastMNIST").all()
    assert list(table["this run"][table["this run"] != ""]) == ["50.0%"]


def test_a_table_judges_its_own_paper_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path))
    seen = {"judge": set(), "_claim": set()}
    judge, claim = compare.judge, compare._claim
    monkeypatch.setattr(compare, "judge", lambda cell, *rest: seen["judge"].add(cell.paper) or judge(cell, *rest))
    monkeypatch.setattr(
        compare, "_claim", lambda one, paper, *rest: seen["_claim"].add(paper) or claim(one, paper, *rest)
    )
    lab.tables.beside_paper("pgsl", "I")
    assert seen == {"judge": {"pgsl"}, "_claim": set()}
    lab.tables.claims("hospital", [claim.id for claim in papers.load("hospital").claims][:1])
    assert seen == {"judge": {"pgsl"}, "_claim": {"hospital"}}


def test_claims_are_found_by_id():
    ids = [claim.id for claim in papers.load("robust_transfer").claims]
    assert len(lab.tables.claims("robust_transfer", ids)) == len(ids)
    assert len(lab.tables.claims("robust_transfer", ids[:2])) == 2


def test_the_register_repeats_the_records():
    table = lab.robust_tables.choices("breastmnist")
    stored = [
        r
        for r in records.read_all(results_home())
        if (r["paper"], r["experiment"]) == ("robust_transfer", "transfer")
        and r["parameters"]["dataset"] == "breastmnist"
    ]
    assert len(table) == len(stored) > 0
    assert sorted(table["test"]) == sorted(r["metrics"]["clean"]["accuracy"] for r in stored)


def test_what_is_recorded_is_not_run_again(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["recording", *ONE_RECORD])
    recording.main()
    assert capsys.readouterr().out == ""


def test_synthetic_images_are_never_recorded(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path))
    monkeypatch.setenv("MEDTK_OFFLINE", "1")
    monkeypatch.delenv("MEDTK_DATA", raising=False)
    monkeypatch.setattr("sys.argv", ["recording", *ONE_RECORD])
    with pytest.raises(SystemExit, match="synthetic"):
        recording.main()
    assert not list(tmp_path.iterdir())
