"""Exercises of a notebook: the solved and the untouched notebook, and the proof that checks tell them apart.

An exercise is a cell tagged ``exercise`` with its id in ``metadata.medtk.exercise``, one tagged ``check``
and one tagged ``solution``. A check prints "not yet" for a wrong answer; when ``MEDTK_STRICT_CHECKS`` is 1
it raises.
"""

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtk import settings
from medtk.errors import MedtkError
from medtk.runner import execute, fingerprint, notebooks

STRICT = "MEDTK_STRICT_CHECKS"


@dataclass(frozen=True)
class Exercise:
    """Where an exercise's three cells are in the list of cells."""

    id: str
    starter: int
    check: int
    solution: int


def find(content: dict) -> list[Exercise]:
    """Exercises of a notebook's content (see `notebooks.read`).

    Raises
    ------
    MedtkError
        When an exercise has no id, no check or no solution.
    """
    roles = [
        (role, index)
        for index, cell in enumerate(content["cells"])
        for role in ("exercise", "check", "solution")
        if role in notebooks.tags(cell)
    ]
    found = []
    for start in range(0, len(roles), 3):
        part = roles[start : start + 3]
        if [role for role, _ in part] != ["exercise", "check", "solution"]:
            raise MedtkError(
                f"Cell {part[0][1] + 1}: each exercise needs, in order, a starter, a check and a solution."
            )
        cell = content["cells"][part[0][1]]
        if not (name := cell["metadata"].get("medtk", {}).get("exercise")):
            raise MedtkError(f"Cell {part[0][1] + 1}: the exercise has no id in metadata.medtk.exercise.")
        found.append(Exercise(str(name), *(index for _, index in part)))
    return found


def solution(content: dict) -> dict:
    """The notebook of a student who solved everything: solutions stand in the starters' place."""
    solved = copy.deepcopy(content)
    exercises = find(content)
    for exercise in exercises:
        solved["cells"][exercise.starter]["source"] = content["cells"][exercise.solution]["source"]
    return _without(solved, {exercise.solution for exercise in exercises})


def starter(content: dict) -> dict:
    """The notebook of a student who solved nothing; a failing check does not end the run."""
    untouched = copy.deepcopy(content)
    exercises = find(content)
    for exercise in exercises:
        for index in (exercise.starter, exercise.check):
            untouched["cells"][index]["metadata"]["tags"].append("raises-exception")
    return _without(untouched, {exercise.solution for exercise in exercises})


def _without(content: dict, dropped: set[int]) -> dict:
    content["cells"] = [cell for index, cell in enumerate(content["cells"]) if index not in dropped]
    return content


def verify(path: Path, profile: str = "quick", *, out: Path | None = None) -> list[str]:
    """Run both notebooks and tell what is wrong: a solution that fails its check, a starter that passes.

    Parameters
    ----------
    path : Path
        The source notebook.
    profile : str
        Whose parameter values are used.
    out : Path, optional
        Folder for the two notebooks; ``build/exercises`` unless told.

    Returns
    -------
    list of str
        One sentence a problem; empty when every check tells solution and starter apart, which is remembered
        until something changes that it depends on.
    """
    content = notebooks.read(path)
    if not find(content):
        return []
    out = out or settings.project_root() / "build" / "exercises"
    out.mkdir(parents=True, exist_ok=True)
    [(_, parameters)] = execute.plan([path], profile)
    key, proof = fingerprint.key(path, profile, parameters), out / f"{path.stem}.proof"
    if proof.is_file() and proof.read_text() == key:
        return []
    problems = _verify_solution(content, path, out, profile, parameters)
    problems += _verify_starter(content, path, out, profile, parameters)
    if not problems:
        proof.write_text(key)
    return problems


def _run(content: dict, name: str, out: Path, profile: str, parameters: dict[str, Any]) -> execute.Outcome:
    source, target = out / f"{name}.ipynb", out / f"{name}.executed.ipynb"
    source.write_text(json.dumps(content), encoding="utf-8")
    return execute.run_one(source, parameters, target, {"MEDTK_PROFILE": profile, STRICT: "1"})


def _verify_solution(content, path, out, profile, parameters) -> list[str]:
    outcome = _run(solution(content), f"{path.stem}.solution", out, profile, parameters)
    return [f"{path.stem}: the solutions fail, {outcome.error}."] if outcome.state == "failed" else []


def _verify_starter(content, path, out, profile, parameters) -> list[str]:
    outcome = _run(starter(content), f"{path.stem}.starter", out, profile, parameters)
    problems, name = [], ""
    # papermill counts the wanted errors as a failure too; what is in the cells decides.
    for cell in notebooks.read(outcome.output)["cells"] if outcome.output.exists() else []:
        roles = notebooks.tags(cell)
        name = cell["metadata"].get("medtk", {}).get("exercise", name)
        raised = [output["ename"] for output in cell.get("outputs", []) if output["output_type"] == "error"]
        if "check" in roles and not raised:
            problems.append(f"{path.stem}: the check of exercise {name} passes without a solution.")
        elif raised and not {"check", "exercise"} & set(roles):
            problems.append(f"{path.stem}: a cell outside the exercises raised {raised[0]}, {outcome.error}.")
    if not outcome.output.exists():
        problems.append(f"{path.stem}: the starter did not run, {outcome.error}.")
    return problems
