import json
import subprocess

import ledger
import numpy as np
import pytest

from medtk.errors import MedtkError, UnknownName
from medtk.reproduction import provenance, records, storage


def test_a_record_says_everything(tmp_path):
    record = ledger.write(tmp_path)
    stored = json.loads((tmp_path / f"{record['id']}.json").read_text(encoding="utf-8"))
    assert stored == record
    keys = (
        "schema id experiment paper cells parameters seed profile data weights versions commit hardware "
        "backend seconds peak_memory_mb while_training metrics predictions deviations"
    )
    assert list(record) == keys.split()
    assert record["id"] == "robust_transfer/11_transfer_learning/run"
    assert record["metrics"]["clean"]["accuracy"] == 131 / 156
    assert record["cells"][0]["metric"] == "accuracy"
    assert record["versions"]["numpy"] == np.__version__
    assert record["peak_memory_mb"] is None or record["peak_memory_mb"] > 0
    assert record["data"] == {"note": "", "sha256": "0" * 64, "name": "breastmnist", "source": "official"}


def test_metrics_come_from_what_is_stored(tmp_path):
    random = np.random.default_rng(0)
    labels, probabilities = random.integers(0, 2, 156), random.dirichlet([1, 1], 156)
    record = ledger.write(tmp_path, labels=labels, predictions={"clean": probabilities})
    stored = records.load_predictions(record, tmp_path)
    assert stored["clean"].dtype == np.float16
    assert stored["labels"].dtype == np.int64
    assert np.array_equal(stored["labels"], labels)
    assert records.verify(tmp_path) == []


def test_same_content_same_bytes(tmp_path):
    one = ledger.write(tmp_path / "a")
    two = ledger.write(tmp_path / "b")
    assert one["predictions"] == two["predictions"]
    arrays = {"labels": np.arange(3), "clean": np.eye(3)}
    assert storage.pack(arrays) == storage.pack(dict(reversed(arrays.items())))


def test_all_are_read_in_order_of_id(tmp_path):
    for name in ("b", "a", "c"):
        ledger.write(tmp_path, name=name)
    assert [record["id"][-1] for record in records.read_all(tmp_path)] == ["a", "b", "c"]
    assert records.read_all(tmp_path / "absent") == []
    assert records.verify(tmp_path / "absent") == []


def test_a_new_version_replaces_the_old_one_whole(tmp_path):
    ledger.write(tmp_path, 131)
    ledger.write(tmp_path, 120)
    assert [r["metrics"]["clean"]["accuracy"] for r in records.read_all(tmp_path)] == [120 / 156]
    assert len(list(tmp_path.rglob("*.npz"))) == 1
    assert records.verify(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "../up"}, "file name"),
        ({"name": ".hidden"}, "file name"),
        ({"paper": "another"}, "paper"),
        ({"data": {"name": "breastmnist", "source": "web"}}, "data source"),
        ({"weights": {"source": "found"}}, "weights source"),
        ({"cells": [{"table": "I", "row": "r", "column": "c", "predictions": "x"}]}, "unknown predictions"),
        (
            {"cells": [{"table": "I", "row": "r", "column": "c", "predictions": "clean", "metric": "luck"}]},
            "unknown metric",
        ),
        ({"parameters": {"model": object()}}, "plain values"),
        ({"predictions": {}}, "no predictions"),
        ({"predictions": {"labels": np.eye(2)}}, "called 'labels'"),
    ],
)
def test_wrong_records_are_refused_and_leave_nothing(tmp_path, changes, said):
    with pytest.raises(MedtkError, match=said):
        ledger.write(tmp_path, **changes)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_cell_that_the_paper_has_not_is_refused_with_the_nearest(tmp_path):
    cell = {"table": "I", "row": "BreastMNIST", "column": "DenseNet12", "predictions": "clean"}
    with pytest.raises(UnknownName, match="cell of paper robust_transfer"):
        ledger.write(tmp_path, cells=[cell])


def test_predictions_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected"):
        ledger.write(tmp_path, predictions={"clean": np.eye(2)})


def test_verify_names_a_record_in_the_wrong_place(tmp_path):
    record = ledger.write(tmp_path)
    path = tmp_path / f"{record['id']}.json"
    path.rename(path.with_name("other.json"))
    assert "belongs elsewhere" in records.verify(tmp_path)[0]


def test_provenance_outside_git(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "project_root", lambda: tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.commit.__wrapped__() == "unknown"


def test_provenance_marks_changes(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    monkeypatch.setattr(provenance, "project_root", lambda: tmp_path)
    for folder in ("medtk", "notebooks", "params"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_text("one")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    clean = provenance.commit.__wrapped__()
    assert len(clean) == 40
    (tmp_path / "medtk" / "file").write_text("two")
    assert provenance.commit.__wrapped__() == clean + "+changes"


def test_measurements_are_stored_averaged_and_verified(tmp_path):
    errors = np.array([0.25, 0.5, 0.125], np.float32)
    record = ledger.write(tmp_path, measurements={"rebuilt": {"mse": errors}, "layer": {"parameters": 66}})
    assert record["metrics"]["rebuilt"] == {"mse": pytest.approx(errors.mean()), "n": 3}
    assert record["metrics"]["layer"] == {"parameters": 66.0, "n": 1}
    assert records.verify(tmp_path) == []
    path = tmp_path / f"{record['id']}.json"
    path.write_text(path.read_text().replace('"parameters": 66.0', '"parameters": 65.0'))
    assert any("parameters of layer" in problem for problem in records.verify(tmp_path))


@pytest.mark.parametrize("measured", [{"labels": {"mse": [1.0]}}, {"a/b": {"mse": [1.0]}}, {"a": {"mse": [np.nan]}}])
def test_measurements_that_cannot_be_kept(tmp_path, measured):
    with pytest.raises(MedtkError):
        ledger.write(tmp_path, measurements=measured)
    assert records.read_all(tmp_path) == []


def test_a_changed_confusion_matrix_is_noticed(tmp_path):
    record = ledger.write(tmp_path)
    condition = next(iter(record["metrics"]))
    path = tmp_path / f"{record['id']}.json"
    content = json.loads(path.read_text())
    content["metrics"][condition]["confusion"][0][0] += 1
    path.write_text(json.dumps(content))
    assert any("confusion of" in problem for problem in records.verify(tmp_path))


def test_a_record_older_than_a_metric_is_valid_and_one_with_an_unknown_metric_is_not(tmp_path):
    record = ledger.write(tmp_path)
    condition = next(iter(record["metrics"]))
    path = tmp_path / f"{record['id']}.json"
    content = json.loads(path.read_text())
    del content["metrics"][condition]["loss"]
    path.write_text(json.dumps(content))
    assert records.verify(tmp_path) == []
    content["metrics"][condition]["beauty"] = 1.0
    path.write_text(json.dumps(content))
    assert any("beauty" in problem for problem in records.verify(tmp_path))
