import copy
import json
import os
import subprocess
import sys
import time

import psutil
import pytest
import small_project

from medtk.errors import UnknownName
from medtk.runner import doctor, execute, exercises, fingerprint, notebooks


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTK_ROOT", str(tmp_path))
    # Tests must not run again when somebody saves a file of the package meanwhile.
    monkeypatch.setattr(fingerprint, "package", lambda: "the same")
    return small_project.make(tmp_path)


def printed(path):
    content = notebooks.read(path)
    return "".join("".join(output.get("text", "")) for cell in content["cells"] for output in cell.get("outputs", []))


def test_run_and_resume(project):
    work = notebooks.all_notebooks()
    first = execute.run_all(work, "quick", {"seed": "5"}, jobs=2)
    assert [(outcome.notebook, outcome.state) for outcome in first] == [
        ("11_first_steps", "ran"),
        ("12_second_steps", "ran"),
    ]
    assert "0.2 5" in printed(first[0].output)
    assert first[0].output == project / "build" / "notebooks" / "quick" / "11_first_steps.ipynb"
    assert first[0].peak_memory_mb > 10
    assert not list(first[0].output.parent.glob("*.part.ipynb"))

    again = execute.run_all(work, "quick", {"seed": "5"}, resume=True)
    assert [outcome.state for outcome in again] == ["kept", "kept"]
    assert again[0].seconds == first[0].seconds
    small_project.write(work[0], small_project.chapter(work="print('changed')"))
    changed = execute.run_all(work, "quick", {"seed": "5"}, resume=True)
    assert [outcome.state for outcome in changed] == ["ran", "kept"]
    assert "changed" in printed(changed[0].output)
    assert doctor.estimate("quick") == round(sum(o.seconds for o in changed) / 60, 1)


def test_a_failing_notebook_keeps_the_last_good_output_and_does_not_stop_the_others(project, capfd):
    first, second = notebooks.all_notebooks()
    [good] = execute.run_all([first], "quick")
    before = good.output.read_bytes()
    work = "import sys\nprint(1)\nos_error = open('/nonexistent/file')\n"
    small_project.write(first, small_project.chapter(work=work))
    failed, ran = execute.run_all([first, second], "quick", resume=True)
    assert (failed.state, ran.state) == ("failed", "ran")
    assert failed.error.startswith("In [")
    assert "FileNotFoundError" in failed.error
    assert "\n" not in failed.error
    assert failed.output.name == "11_first_steps.failed.ipynb"
    assert failed.output.is_file()
    assert good.output.read_bytes() == before
    assert "FileNotFoundError" in capfd.readouterr().err


def test_standard_error_of_processes_is_kept(project):
    small_project.write(
        project / "notebooks" / "11_first_steps.ipynb",
        small_project.chapter(
            work="import subprocess, sys\nsubprocess.run(['sh', '-c', 'exit 0'])\nimport os\nos._exit(3)"
        ),
    )
    [outcome] = execute.run_all([notebooks.find("11")], "quick")
    assert outcome.state == "failed"
    assert "Kernel died" in outcome.error
    assert outcome.log.is_file()


def test_values_go_to_the_notebooks_that_have_them(project):
    small_project.write(
        project / "notebooks" / "12_second_steps.ipynb",
        small_project.chapter(parameters="seed: int = 0  # start"),
    )
    plan = execute.plan(notebooks.all_notebooks(), "quick", {"epsilon": "0.4", "seed": "1"})
    assert [values for _, values in plan] == [{"epsilon": 0.4, "epochs": [1], "seed": 1}, {"seed": 1}]
    with pytest.raises(UnknownName, match="did you mean epsilon"):
        execute.plan(notebooks.all_notebooks(), "quick", {"epsilo": "0.4"})


def test_key_follows_all_it_depends_on(project, monkeypatch, tmp_path):
    path = notebooks.find("11")

    def key(**changes):
        return fingerprint.key(path, **{"profile": "quick", "parameters": {"seed": 1}, **changes})

    monkeypatch.delenv("MEDTK_DATA", raising=False)
    first = key()
    assert key() == first
    assert key(profile="paper") != first
    assert key(parameters={"seed": 2}) != first
    with monkeypatch.context() as changed:
        changed.setattr(fingerprint, "package", lambda: "another")
        assert key() != first
    monkeypatch.setenv("MEDTK_DATA", str(tmp_path))
    assert key() != first


def test_package_hash_covers_the_locked_versions(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTK_ROOT", str(tmp_path))
    first = fingerprint.package()
    (tmp_path / "requirements.lock").write_text("numpy==3\n")
    assert fingerprint.package() != first


def test_ledger_hash_ignores_speed_and_quick_runs(project):
    home = project / "results" / "paper" / "experiment"
    home.mkdir(parents=True)
    empty = fingerprint.ledger()
    record = {"id": "a", "profile": "paper", "metrics": {"clean": 0.9}, "seconds": 3}
    (home / "a.json").write_text(json.dumps(record))
    first = fingerprint.ledger()
    assert first != empty
    (home / "a.json").write_text(json.dumps(record | {"seconds": 4}))
    assert fingerprint.ledger() == first
    (home / "b.json").write_text(json.dumps(record | {"profile": "quick"}))
    assert fingerprint.ledger() == first
    (home / "a.json").write_text(json.dumps(record | {"metrics": {"clean": 0.8}}))
    assert fingerprint.ledger() != first


def test_when_the_run_is_killed_its_kernel_ends_too(project):
    marker = project / "kernel.pid"
    work = f"import os, time\nopen({str(marker)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)"
    small_project.write(project / "notebooks" / "11_first_steps.ipynb", small_project.chapter(work=work))
    command = [sys.executable, "-m", "medtk.cli", "run", "11", "--profile", "quick"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ)
    wait_for(lambda: marker.exists() and marker.read_text())
    kernel = int(marker.read_text())
    process.kill()
    process.communicate(timeout=20)
    wait_for(lambda: not psutil.pid_exists(kernel) or psutil.Process(kernel).status() == "zombie")


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_exercises_tell_solution_and_starter_apart(project):
    assert exercises.verify(notebooks.find("11")) == []
    began = time.monotonic()
    assert exercises.verify(notebooks.find("11")) == []
    assert time.monotonic() - began < 1


def test_a_check_that_accepts_the_starter_and_a_wrong_solution_are_found(project):
    starter, check, solution = small_project.EXERCISE
    lax = small_project.exercise("11a", [starter, ("print('right')", ["check"]), solution])
    wrong = small_project.exercise("11b", [starter, check, ("answer = 5", ["solution"])])
    path = project / "notebooks" / "11_first_steps.ipynb"
    small_project.write(path, small_project.chapter(exercises=lax + wrong))
    problems = exercises.verify(path)
    assert len(problems) == 2
    assert "check of exercise 11a passes without a solution" in problems[0]
    assert "solution of exercise 11b fails" in problems[1]


def test_an_error_outside_the_exercises_is_told(project):
    path = project / "notebooks" / "11_first_steps.ipynb"
    small_project.write(path, small_project.chapter(work="1 / 0"))
    assert any("ZeroDivisionError" in problem for problem in exercises.verify(path))


def test_a_graded_notebook_checks_twice(project):
    content = notebooks.read(notebooks.find("11"))
    before = copy.deepcopy(content)
    roles = [notebooks.tags(cell)[0] for cell in exercises.graded(content)["cells"] if notebooks.tags(cell)]
    assert roles[roles.index("exercise") :] == ["exercise", "check", "solution", "check", "finish"]
    assert content == before
