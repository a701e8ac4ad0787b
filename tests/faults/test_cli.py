"""Bad use of the command line: one sentence, an exit code that is not zero, no traceback, nothing lost."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import small_project

from medtk import cli
from medtk.runner import execute, fingerprint


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTK_ROOT", str(tmp_path))
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("MEDTK_OFFLINE", "1")
    monkeypatch.setattr(fingerprint, "package", lambda: "the same")
    return small_project.make(tmp_path)


@pytest.fixture
def call(project, capsys):
    """Run the command line; its exit code, output and errors."""

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            cli.main(list(arguments))
        captured = capsys.readouterr()
        return end.value.code, captured.out, captured.err

    return run


def assert_one_sentence(errors):
    lines = errors.strip().splitlines()
    assert len(lines) == 1, errors
    assert lines[0].startswith("medtk: ")
    assert lines[0][-1] in ".?"
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "first_step"], "did you mean 11_first_steps"),
        (["run", "77"], "Unknown notebook '77'"),
        (["lint", "nothing.ipynb"], "Unknown notebook"),
        (["run", "11", "-p", "epsilom", "0.1"], "did you mean epsilon"),
        (["run", "11", "-p", "epsilon", "2"], "the nearest valid value is 1"),
        (["run", "11", "-p", "epsilon=-1"], "the nearest valid value is 0"),
        (["run", "11", "-p", "epsilon", "-1"], "the nearest valid value is 0"),
        (["run", "11", "-p", "seed", "x"], "must be a whole number"),
        (["run", "11", "-p", "dataset", "brestmnist"], "did you mean breastmnist"),
        (["run", "11", "-p", "epsilon"], "has no value"),
        (["run", "11", "--profile", "quik"], "did you mean quick"),
        (["run", "11", "--jobs", "0"], "'--jobs'"),
        (["run", "11", "--jobs", "many"], "'--jobs'"),
        (["run", "--no-such-option"], "No such option"),
        (["rum", "11"], "No such command"),
        (["sweep", "11"], "several values"),
        (["sweep", "11", "-p", "epsilon", "0.1,7"], "the nearest valid value is 1"),
        (["data", "show", "brestmnist"], "did you mean breastmnist"),
        (["data", "fetch", "brestmnist"], "did you mean breastmnist"),
        (["data", "verify", "brestmnist"], "did you mean breastmnist"),
        (["data", "fetch", "breastmnist"], "network"),
        (["book", "--profile", "quik"], "did you mean quick"),
    ],
)
def test_mistakes_are_one_sentence(call, monkeypatch, arguments, words):
    monkeypatch.delenv("MEDTK_DATA", raising=False)
    code, _, errors = call(*arguments)
    assert code == 2
    assert_one_sentence(errors)
    assert words in errors


def test_nothing_is_made_before_the_parameters_are_checked(call, project):
    call("run", "-p", "epsilon", "2")
    assert not (project / "build").exists()


def test_a_project_without_notebooks(call, project):
    for path in (project / "notebooks").iterdir():
        path.unlink()
    code, _, errors = call("run")
    assert code == 2
    assert_one_sentence(errors)
    assert "no notebooks" in errors


def test_a_full_disk_keeps_the_last_good_output(call, project, monkeypatch):
    assert call("run", "11")[0] == 0
    output = project / "build" / "notebooks" / "reader" / "11_first_steps.ipynb"
    good = output.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "11_first_steps.part.ipynb")

    monkeypatch.setattr(execute.os, "fsync", full)
    code, _, errors = call("run", "11", "-p", "seed", "3")
    assert code == 74
    assert "The disk is full (11_first_steps.part.ipynb)" in errors
    assert "Traceback" not in errors
    assert output.read_bytes() == good


def test_a_used_up_quota_is_a_full_disk(call, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(execute, "run_all", full)
    code, _, errors = call("run", "11")
    assert code == 74
    assert_one_sentence(errors)
    assert "The disk is full" in errors


def test_a_folder_that_may_not_be_written(call, project):
    (project / "build").write_text("a file where the folder should be")
    code, _, errors = call("run", "11")
    assert code == 74
    assert_one_sentence(errors)
    assert str(project / "build") in errors


def test_a_failing_notebook_gives_its_first_error_and_where_to_look(call, project):
    small_project.write(
        project / "notebooks" / "11_first_steps.ipynb",
        small_project.chapter(work="raise ValueError('no images')"),
    )
    code, output, errors = call("run", "11")
    assert code == 1
    assert "ValueError: no images" in errors
    assert "11_first_steps.failed.ipynb" in errors
    assert "Traceback" not in errors
    assert "failed" in output


def test_a_broken_notebook_is_named(call, project):
    (project / "notebooks" / "11_first_steps.ipynb").write_text("{")
    code, _, errors = call("run", "11")
    assert code == 2
    assert_one_sentence(errors)
    assert "11_first_steps.ipynb is not a notebook" in errors


def start(project, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "medtk.cli", *arguments],
        env={**os.environ, "MEDTK_ROOT": str(project)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell ignores Ctrl-C for what it starts in the background, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_ctrl_c_keeps_what_was_finished(call, project):
    assert call("run", "11", "--profile", "quick")[0] == 0
    output = project / "build" / "notebooks" / "quick" / "11_first_steps.ipynb"
    good = output.read_bytes()
    marker = project / "started"
    work = f"import pathlib, time\npathlib.Path({str(marker)!r}).touch()\ntime.sleep(60)"
    small_project.write(project / "notebooks" / "11_first_steps.ipynb", small_project.chapter(work=work))
    process = start(project, "run", "11", "--profile", "quick")
    end = time.monotonic() + 60
    while not marker.exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=50)  # a machine at work may be slow, but the cell would sleep for 60
    assert process.returncode == 130
    assert errors.decode().strip().splitlines()[-1].startswith("medtk: Stopped.")
    assert b"Traceback" not in errors
    assert output.read_bytes() == good


@pytest.mark.parametrize("command", [["data", "list", "--json"], ["data", "show", "breastmnist"]])
def test_a_reader_that_goes_away_is_no_error(project, command):
    process = start(project, *command)
    process.stdout.close()
    _, errors = process.stderr.read(), process.stderr.close()
    process.wait(20)
    assert process.returncode in (1, 141)
    assert not errors


def test_help_comes_at_once_and_without_tensorflow(project):
    code = "import sys, medtk.cli\nassert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True)
    # Half a second on a quiet machine; the bound leaves room for a busy one.
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("arguments", [[], ["data"]])
def test_no_command_shows_the_commands(call, arguments):
    _, output, errors = call(*arguments)
    assert "Commands" in output + errors


def test_show_lists_parameters_and_runs_nothing(call, project):
    code, output, _ = call("run", "11", "--profile", "quick", "--show")
    assert code == 0
    assert "epsilon" in output
    assert not (project / "build").exists()


def test_sweep_runs_every_combination_once(call, project):
    small_project.write(project / "notebooks" / "11_first_steps.ipynb", small_project.chapter(exercises=[]))
    assert call("sweep", "11", "--profile", "quick", "-p", "seed", "1,2")[0] == 0
    folder = project / "build" / "notebooks" / "quick" / "sweep"
    assert sorted(path.name for path in folder.iterdir()) == ["seed=1", "seed=2"]
    code, output, _ = call("sweep", "11", "--profile", "quick", "-p", "seed", "1,2")
    assert code == 0
    assert output.count("kept") == 2


def test_data_list_as_json(call):
    code, output, _ = call("data", "list", "--json")
    assert code == 0
    listed = json.loads(output)
    assert {"name", "source", "path", "note"} == set(listed[0])
    code, output, _ = call("data", "show", listed[0]["name"], "--json")
    assert json.loads(output)["name"] == listed[0]["name"]


def test_doctor_as_json(call):
    code, output, _ = call("doctor", "--json")
    facts = json.loads(output)
    assert code == 0
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["minutes"]["quick"] == 1.5
    assert facts["minutes"]["paper"] is None
    assert set(facts["weights"]) >= {"densenet121", "mobilenetv2", "resnet50"}
    assert facts["machine"]["cores"] >= 1
    assert call("doctor")[0] == 0


def test_verify_and_report_of_an_empty_ledger(call):
    assert call("verify")[0] == 0
    code, output, _ = call("report", "--json")
    assert code == 0
    assert set(json.loads(output)) == {"papers", "cells", "claims"}
    assert call("report")[0] == 0
    assert call("report", "--forensics")[0] == 0


def test_report_of_one_study_lists_its_cells_and_no_other_study(call):
    code, output, _ = call("report", "hospital", "--json")
    found = json.loads(output)
    assert code == 0 and list(found["papers"]) == ["hospital"]
    assert {entry["paper"] for entry in found["cells"] + found["claims"]} == {"hospital"}
    code, output, _ = call("report", "hospital")
    assert code == 0 and "20,331,360" in output and "pgsl" not in output
    code, output, _ = call("report", "hospital", "--forensics", "--json")
    assert code == 0 and list(json.loads(output)) == ["hospital"]
    code, _, errors = call("report", "hospitals")
    assert code == 2 and "hospital" in errors and "Traceback" not in errors


def test_lint_and_exercises(call, project):
    assert call("lint")[0] == 0
    (project / "notebooks" / "12_second_steps.ipynb").unlink()
    assert call("exercises")[0] == 0
    small_project.write(project / "notebooks" / "12_second_steps.ipynb", small_project.chapter()[:-1])
    code, _, errors = call("lint")
    assert code == 1
    assert "12_second_steps.ipynb: has no cell tagged `finish`." in errors
