import json

import papermill
import pytest
import small_project

from medtk.errors import BadParameter, CorruptFile, MedtkError, UnknownName
from medtk.runner import notebooks, profiles, sweeps


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTK_ROOT", str(tmp_path))
    return small_project.make(tmp_path)


@pytest.mark.parametrize(
    "which", ["11", "11_first_steps", "first_steps", "11_first_steps.ipynb", "notebooks/11_first_steps.ipynb"]
)
def test_number_name_and_path_mean_the_same_notebook(project, which):
    assert notebooks.find(which).name == "11_first_steps.ipynb"


def test_a_notebook_elsewhere_is_found_by_its_path(project, tmp_path):
    mine = small_project.write(tmp_path / "mine" / "own.ipynb", small_project.chapter())
    assert notebooks.find(str(mine)) == mine.resolve()


def test_unknown_notebook_names_the_nearest(project):
    with pytest.raises(UnknownName, match="did you mean 11_first_steps"):
        notebooks.find("first_step")


def test_no_notebooks_at_all_says_where_they_were_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTK_ROOT", str(tmp_path))
    with pytest.raises(MedtkError, match="MEDTK_ROOT"):
        notebooks.find("11")


def test_parameters_are_those_that_papermill_sees(project):
    path = notebooks.find("11")
    ours, theirs = notebooks.parameters(path), papermill.inspect_notebook(str(path))
    assert list(ours) == list(theirs)
    for name, known in ours.items():
        assert known.kind == theirs[name]["inferred_type_name"]
        assert known.help == theirs[name]["help"]


def test_ranges_come_from_the_comment(project):
    known = notebooks.parameters(notebooks.find("11"))
    assert known["epsilon"].interval == ("[", 0.0, 1.0, "]")
    assert known["dataset"].choices == ("breastmnist", "pneumoniamnist")
    assert known["seed"].interval is None
    assert known["epochs"].default == [1, 2]


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("epsilon", "0.5", 0.5),
        ("epsilon", 1, 1.0),
        ("epsilon", "1e-3", 0.001),
        ("seed", "7", 7),
        ("seed", 3.0, 3),
        ("dataset", "pneumoniamnist", "pneumoniamnist"),
        ("epochs", "3,4", [3, 4]),
        ("epochs", "[3, 4]", [3, 4]),
        ("epochs", [5], [5]),
        ("epochs", "6", [6]),
    ],
)
def test_values_take_the_annotated_type(project, name, given, value):
    found = notebooks.check(notebooks.find("11"), {name: given})[name]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("epsilon", "2", r"must lie in \[0, 1\].*nearest valid value is 1"),
        ("epsilon", -1, "nearest valid value is 0"),
        ("epsilon", "much", "must be a number"),
        ("epsilon", "nan", "must be a number"),
        ("seed", "1.5", "must be a whole number"),
        ("seed", True, "must be a whole number"),
        ("epochs", "1,0", "must lie in"),
        ("dataset", 3, "must be a word"),
    ],
)
def test_a_wrong_value_is_refused_with_the_nearest_valid_one(project, name, given, words):
    with pytest.raises(BadParameter, match=words):
        notebooks.check(notebooks.find("11"), {name: given})


def test_a_wrong_word_names_the_nearest(project):
    with pytest.raises(UnknownName, match="did you mean breastmnist"):
        notebooks.check(notebooks.find("11"), {"dataset": "brestmnist"})


def test_an_unknown_parameter_names_the_nearest(project):
    with pytest.raises(UnknownName, match="did you mean epsilon"):
        notebooks.check(notebooks.find("11"), {"epsilom": 1})


@pytest.mark.parametrize(
    ("source", "given", "value"),
    [
        ("a: int | None = None", "none", None),
        ("a: int | None = None", "4", 4),
        ("a: bool = True", "no", False),
        ("a: tuple[float, ...] = (0.1,)", "(0.1, 0.2)", (0.1, 0.2)),
        ("a: dict = {}", "{b: 1}", {"b": 1}),
        ("a = 3", "4", 4),
        ("a: float = 1.0  # more than nothing (0, inf)", "9e9", 9e9),
    ],
)
def test_other_types(source, given, value):
    assert notebooks.fit(notebooks.parse(source, "x")["a"], given) == value


def test_an_open_end_of_a_range_is_outside():
    known = notebooks.parse("a: float = 1.0  # more than nothing (0, 1]", "x")["a"]
    with pytest.raises(BadParameter, match=r"\(0, 1\]"):
        notebooks.fit(known, 0)


def test_a_parameters_cell_holds_literals_only():
    with pytest.raises(BadParameter, match=r"only `name: type = literal`"):
        notebooks.parse("import os", "x")


@pytest.mark.parametrize("content", ["", "{}", '{"cells": 3}', "not json"])
def test_a_broken_notebook_is_named(tmp_path, content):
    path = tmp_path / "broken.ipynb"
    path.write_text(content)
    with pytest.raises(CorruptFile, match=r"broken\.ipynb is not a notebook"):
        notebooks.read(path)


def test_profiles(project):
    assert profiles.names() == ["reader", "paper", "quick"]
    assert profiles.overlay("reader") == {}
    assert profiles.overlay("quick") == {"11_first_steps": {"epsilon": 0.2, "epochs": [1]}}
    assert profiles.minutes("quick") == {"11_first_steps": 0.5, "12_second_steps": 1}
    with pytest.raises(UnknownName, match="did you mean quick"):
        profiles.overlay("quik")


@pytest.mark.parametrize("content", ["a: [", "- a", "a: 3"])
def test_a_broken_profile_is_named(project, content):
    (project / "params" / "paper.yml").write_text(content)
    with pytest.raises(CorruptFile, match=r"paper\.yml"):
        profiles.overlay("paper")


def test_a_sweep_is_checked_before_anything_runs(project):
    with pytest.raises(BadParameter, match="must lie in"):
        sweeps.run([notebooks.find("11")], "reader", {"epsilon": "0.1,3"})
    with pytest.raises(BadParameter, match="several values"):
        sweeps.run([notebooks.find("11")], "reader", {})
    assert not (project / "build").exists()


def test_reading_joins_lines(tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "source": ["a\n", "b"], "metadata": {}}]}))
    assert notebooks.read(path)["cells"][0]["source"] == "a\nb"
