"""Every notebook keeps the rules and runs with the quick profile; its exercises have checks that tell."""

import re

import pytest

from medtk.runner import execute, exercises, lint, notebooks, profiles

NOTEBOOKS = notebooks.all_notebooks()
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


@pytest.fixture(autouse=True)
def private_cache(tmp_path_factory, monkeypatch):
    """One cache for this file, in place of one a test: what a notebook trained, its exercises find again."""
    folder = tmp_path_factory.getbasetemp() / "notebooks-cache"
    monkeypatch.setenv("MEDTK_CACHE", str(folder))


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
def test_notebook_runs_and_its_checks_tell_the_solution_from_the_starter(path, tmp_path):
    assert exercises.verify(path, "quick", out=tmp_path) == []
