import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import ledger
import pytest

from medtk.errors import CorruptFile, MedtkError
from medtk.reproduction import records, storage


def files(home):
    return sorted(path.name for path in Path(home).rglob("*") if path.is_file())


def parts(home, record):
    folder = home / record["paper"] / record["experiment"]
    return home / f"{record['id']}.json", folder / record["predictions"]["file"]


@pytest.mark.parametrize("keep", [0, 1, 40, -1])
def test_truncated_predictions(tmp_path, keep):
    record = ledger.write(tmp_path)
    _, npz = parts(tmp_path, record)
    npz.write_bytes(npz.read_bytes()[:keep])
    with pytest.raises(CorruptFile, match="SHA-256"):
        records.load_predictions(record, tmp_path)
    assert npz.name in records.verify(tmp_path)[0]


def test_altered_byte(tmp_path):
    _, npz = parts(tmp_path, ledger.write(tmp_path))
    content = bytearray(npz.read_bytes())
    content[len(content) // 2] ^= 1
    npz.write_bytes(content)
    assert len(records.verify(tmp_path)) == 1


def test_absent_predictions(tmp_path):
    record = ledger.write(tmp_path)
    parts(tmp_path, record)[1].unlink()
    with pytest.raises(CorruptFile, match="cannot be read"):
        records.load_predictions(record, tmp_path)
    assert len(records.verify(tmp_path)) == 1


def test_a_damaged_archive_with_a_matching_checksum_is_still_refused(tmp_path):
    record = ledger.write(tmp_path)
    json_path, npz = parts(tmp_path, record)
    npz.write_bytes(b"PK\x03\x04 no archive")
    record["predictions"]["sha256"] = hashlib.sha256(npz.read_bytes()).hexdigest()
    json_path.write_text(json.dumps(record))
    assert "cannot be read" in records.verify(tmp_path)[0]


@pytest.mark.parametrize("metric", ["accuracy", "auc", "ece", "n"])
@pytest.mark.parametrize("change", [1e-6, None, "0.8", True])
def test_altered_metric(tmp_path, metric, change):
    record = ledger.write(tmp_path)
    json_path, _ = parts(tmp_path, record)
    values = record["metrics"]["clean"]
    values[metric] = values[metric] + change if isinstance(change, float) else change
    json_path.write_text(json.dumps(record))
    problems = records.verify(tmp_path)
    assert len(problems) == 1
    assert metric in problems[0]


def test_removed_metric_and_condition(tmp_path):
    record = ledger.write(tmp_path, extra={"epsilon=0.001": 100})
    json_path, _ = parts(tmp_path, record)
    del record["metrics"]["clean"]["auc"]
    json_path.write_text(json.dumps(record))
    assert "metrics of clean" in records.verify(tmp_path)[0]
    del record["metrics"]["epsilon=0.001"]
    json_path.write_text(json.dumps(record))
    assert "conditions" in records.verify(tmp_path)[0]


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"schema": 1}', "\udcff"])
def test_a_file_that_is_no_record(tmp_path, content):
    json_path, _ = parts(tmp_path, ledger.write(tmp_path))
    json_path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(CorruptFile, match=r"run\.json"):
        records.read_all(tmp_path)
    assert "run.json" in records.verify(tmp_path)[0]


@pytest.mark.parametrize(
    "change",
    [{"schema": 2}, {"data": None}, {"cells": [{}]}, {"id": "x"}, {"predictions": {"file": "../../a.npz"}}],
)
def test_a_record_of_another_form(tmp_path, change):
    record = ledger.write(tmp_path)
    parts(tmp_path, record)[0].write_text(json.dumps(record | change))
    with pytest.raises(CorruptFile, match="not a record"):
        records.read_all(tmp_path)


# The second file of a record is its JSON: a stop before it must leave the old record as it was.
KILLED = """
    import os, signal, sys
    sys.path.insert(0, {tests!r})
    import ledger
    from medtk.reproduction import records
    real, calls = records.write_whole, []

    def stop_before_the_second(path, content):
        calls.append(path)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        real(path, content)

    records.write_whole = stop_before_the_second
    ledger.write({home!r}, 99)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("before", [False, True])
def test_kill_between_the_two_files(tmp_path, before):
    if before:
        ledger.write(tmp_path, 131)
    code = textwrap.dedent(KILLED.format(tests=str(Path(ledger.__file__).parent), home=str(tmp_path)))
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    kept = [record["metrics"]["clean"]["accuracy"] for record in records.read_all(tmp_path)]
    assert kept == ([131 / 156] if before else [])
    assert ["belongs to no record" in problem for problem in records.verify(tmp_path)] == [True]
    ledger.write(tmp_path, 100)
    assert records.verify(tmp_path) == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("before", [False, True])
def test_full_disk(tmp_path, monkeypatch, call, nth, before):
    if before:
        ledger.write(tmp_path, 131)
    was, calls, real = files(tmp_path), [], getattr(os, call)

    def full(*arguments):
        calls.append(arguments)
        if len(calls) == nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments)

    monkeypatch.setattr(storage.os, call, full)
    with pytest.raises(MedtkError, match="not written: No space left"):
        ledger.write(tmp_path, 99)
    assert files(tmp_path) == was
    assert records.verify(tmp_path) == []


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "robust_transfer").write_text("in the way")
    with pytest.raises(MedtkError, match="was not written"):
        ledger.write(tmp_path)
