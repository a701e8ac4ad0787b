"""A limit of memory that is tightened until a network fails, and the record of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_networks import images_and_labels

from medtk import edge
from medtk.data import CATALOG, Dataset, Split
from medtk.edge import ladder, small
from medtk.errors import BadParameter, MedtkError
from medtk.lab import edge_ladder, edge_systems_recording, session
from medtk.reproduction import records

# Wide and shallow: 128 x 128 x 64 activations are 4 MB, its weights 2 kB.
HUNGRY = small.Architecture(width=64, depth=1, size=128)


@pytest.fixture(scope="module")
def hungry(tmp_path_factory):
    return edge.export(small.build(HUNGRY, 2), tmp_path_factory.mktemp("ladder") / "hungry.tflite")


@pytest.fixture(scope="module")
def rungs(hungry):
    return ladder.climbed(hungry, (64, 2, 1, 256), runs=2, frame_ms=1e4)


def process_that(monkeypatch, tmp_path, script):
    """Put a shell script in the place of Python."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(ladder.sys, "executable", str(program))


def test_a_network_needs_at_least_its_activations(rungs):
    assert [(rung.room_mb, rung.outcome) for rung in rungs] == [(64, "runs"), (2, "no memory")]
    assert "Error" in rungs[-1].detail and "/" not in rungs[-1].detail  # what it said, and no path of this machine
    assert ladder.smallest(rungs) == 64 and ladder.smallest(rungs[-1:]) is None
    assert ladder.failure(rungs) == rungs[-1] and ladder.failure(rungs[:1]) is None


@given(st.sets(st.integers(1, 1000), min_size=1), st.integers(0, 1001))
def test_halving_finds_the_step_and_tries_both_sides_of_it(limits, needed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ladder, "tried", lambda _, room: ladder.Rung(room, "runs" if room >= needed else "killed", ""))
        found = ladder.climbed("x", limits)
    enough, less = [x for x in limits if x >= needed], [x for x in limits if x < needed]
    assert ladder.smallest(found) == min(enough, default=None)
    failed = ladder.failure(found)
    assert (failed.room_mb if failed else None) == max(less, default=None)
    assert len(found) <= len(limits).bit_length() and found == sorted(found, key=lambda rung: -rung.room_mb)


def test_a_small_network_runs_where_a_hungry_one_fails(tmp_path):
    file = edge.export(small.build(small.Architecture(width=4, depth=1, size=16), 2), tmp_path / "small.tflite")
    assert ladder.tried(file, 2, runs=2, frame_ms=1e4).outcome == "runs"


def test_what_is_killed_or_slow_is_named(hungry, monkeypatch, tmp_path):
    assert ladder.tried(hungry, 64, frame_ms=1e-6, runs=2).outcome == "too slow"
    (only,) = ladder.climbed(hungry, (64, 32), frame_ms=1e-6, runs=2)
    assert (only.room_mb, only.outcome) == (float("inf"), "too slow") and ladder.smallest([only]) is None
    process_that(monkeypatch, tmp_path, "kill -9 $$")
    assert ladder.tried(hungry, 64) == ladder.Rung(64, "killed", "SIGKILL")
    process_that(monkeypatch, tmp_path, "echo MemoryError >&2; exit 1")
    assert ladder.tried(hungry, 64) == ladder.Rung(64, "no memory", "MemoryError")
    process_that(monkeypatch, tmp_path, "exec sleep 5")
    monkeypatch.setattr(ladder, "PATIENCE", 0.2)
    assert ladder.tried(hungry, 64).outcome == "too slow"


def test_what_makes_no_sense_is_refused(hungry, tmp_path):
    with pytest.raises(BadParameter, match="above 0"):
        ladder.tried(hungry, 0)
    with pytest.raises(BadParameter, match="above 0"):
        ladder.tried(hungry, 1, frame_ms=float("nan"))
    with pytest.raises(MedtkError, match=r"none\.tflite does not run without a limit either"):
        ladder.climbed(tmp_path / "none.tflite")


@pytest.fixture
def dataset(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path / "results"))
    parts = {name: Split(*images_and_labels(24, 2, (32, 32, 1), seed=s)) for s, name in enumerate(("train", "val"))}
    card = CATALOG["chest_xray"]
    return Dataset("chest_xray", **parts, test=parts["val"], class_names=card.class_names, card=card, source="mirror",
                   sha256="0" * 64)  # fmt: skip


def test_the_record_holds_limits_outcomes_and_the_first_failure(dataset, monkeypatch):
    said = {"small as float32": [(8, "runs", "1 ms"), (4, "no memory", "MemoryError: no")],
            "small as int8": [(8, "runs", "1 ms"), (4, "runs", "1 ms")],
            "tiny as float32": [(8, "killed", "SIGABRT")],
            "tiny as int8": [(float("inf"), "too slow", "200 ms")]}  # fmt: skip

    def climbed(file, limits, *, frame_ms):
        assert file.is_file() and list(limits) == [8, 4] and frame_ms == 50
        name, _, recipe = file.stem.partition("-")
        return [ladder.Rung(*rung) for rung in said[f"{name} as {recipe}"]]

    monkeypatch.setattr(ladder, "climbed", climbed)
    run = session.Run("44", "scaled", 0)
    record = edge_ladder.ladder_record(
        run, dataset, name="x-s0", frame_ms=50, limits=(8, 4), large=("tiny",), recipes=("float32", "int8")
    )
    assert records.verify(run.home) == []
    stored = records.load_predictions(record, run.home)
    np.testing.assert_array_equal(stored["small as float32/limit_mb"], [8, 4])
    assert [ladder.OUTCOMES[int(code)] for code in stored["small as float32/outcome"]] == ["runs", "no memory"]
    assert record["metrics"]["small as int8"]["room_mb"] == 4 and record["parameters"]["frame_ms"] == 50
    assert "room_mb" not in record["metrics"]["tiny as float32"]
    table = edge_ladder.recorded().set_index("network")
    assert table["runs with, MB"].to_dict() == {
        "small as float32": "8", "small as int8": "4 or less", "tiny as float32": "–", "tiny as int8": "–"
    }  # fmt: skip
    assert table["fails with, MB"].tolist() == ["4", "–", "8", "any"]
    assert table.loc["tiny as float32", "how"] == "killed (SIGABRT)"
    now = edge_ladder.shown({name: [ladder.Rung(*rung) for rung in rungs] for name, rungs in said.items()})
    assert now.set_index("network").equals(table[now.columns[1:]])


def test_an_empty_ledger_gives_an_empty_table(dataset):
    assert edge_ladder.recorded().empty


def test_the_recorder_knows_ladders(dataset, monkeypatch):
    seen = {}
    monkeypatch.setattr(session.Run, "load", lambda *_, **__: dataset)
    monkeypatch.setattr(edge_ladder, "ladder_record", lambda *_, **given: seen.update(given) or {"metrics": {}})
    edge_systems_recording.main(["ladder", "chest_xray", "--frame-ms", "40"])
    assert seen == {"name": "chest_xray-100px-40ms-s0", "frame_ms": 40.0}
