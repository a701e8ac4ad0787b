"""Every notebook keeps the rules and runs with the quick profile; its exercises have checks that tell."""

import re
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from threading import Event

import pytest

from medtk.runner import execute, exercises, lint, notebooks, profiles

NOTEBOOKS = notebooks.all_notebooks()
RUNS = "test_notebook_runs_and_its_checks_tell_the_solution_from_the_starter"
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


@pytest.fixture(scope="module")
def problems(request, tmp_path_factory):
    """What is wrong with each notebook that was asked for, as it becomes known.

    Two run at a time. Those of one study run one after another and share a cache: what one has trained, the next one
    finds.
    """
    home = tmp_path_factory.mktemp("graded")
    asked = [item.callspec.params["path"] for item in request.session.items if item.originalname == RUNS]
    found, over = {path: Future() for path in asked}, Event()

    def study(paths, cache):
        for path in paths:
            if over.is_set():
                return
            try:
                around = {"MEDTK_CACHE": str(cache)}
                wrong = exercises.verify(path, "quick", out=home, environment=around)
                # Its name says "failed" where starters fail, as they should.
                found[path].set_result(wrong or unsaid(*home.glob(f"{path.stem}.executed*.ipynb")))
            except Exception as error:
                found[path].set_exception(error)

    pool = ThreadPoolExecutor(2)
    for number, paths in groupby(asked, lambda path: path.name[0]):
        pool.submit(study, list(paths), home / f"cache{number}")
    yield found
    over.set()
    pool.shutdown(cancel_futures=True)


def unsaid(executed):
    """Problems of a notebook that does not say where its images come from, above all when they are synthetic."""
    cells = notebooks.read(executed)["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    said = "".join("".join(output["text"]) for output in outputs if output["output_type"] == "stream")
    sources = re.findall(r": (\w+) data, \d+ / \d+ / \d+ images", said)
    if not sources:
        return [f"{executed.stem} does not say where its images come from."]
    hidden = "synthetic" in sources and "SYNTHETIC DATA" not in said
    return [f"{executed.stem} has synthetic images and no warning."] if hidden else []


def test_no_notebook_is_left_out():
    assert NOTEBOOKS, "notebooks/ holds no notebook"
    stray = set(notebooks.notebook_home().rglob("*.ipynb")) - set(NOTEBOOKS)
    assert {path for path in stray if ".ipynb_checkpoints" not in path.parts} == set()
    numbers = [path.name[:2] for path in NOTEBOOKS]
    assert len(set(numbers)) == len(numbers)
    assert all(re.fullmatch(r"\d\d_[a-z0-9_]+", path.stem) for path in NOTEBOOKS)


@pytest.mark.parametrize("profile", ["quick", "scaled", "paper"])
def test_profiles_name_notebooks_and_parameters_that_exist(profile):
    stems = {path.stem for path in NOTEBOOKS}
    assert set(profiles.overlay(profile)) <= stems
    assert set(profiles.minutes(profile)) <= stems
    execute.plan(NOTEBOOKS, profile)


@each
def test_notebook_keeps_the_rules(path):
    assert lint.lint(path) == []


@each
def test_notebook_runs_and_its_checks_tell_the_solution_from_the_starter(path, problems):
    assert problems[path].result() == []
