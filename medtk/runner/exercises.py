"""Exercises of a notebook, and the proof that their checks tell an answer from none.

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


def graded(content: dict) -> dict:
    """The notebook as one run can prove it: after each solution its check stands once more.

    So the first check sees the starter, the second the solution, and whatever they raise, the run goes on.
    """
    cells = copy.deepcopy(content["cells"])
    again = {}
    for exercise in find(content):
        for index in (exercise.starter, exercise.check, exercise.solution):
            cells[index]["metadata"]["tags"].append("raises-exception")
        again[exercise.solution] = copy.deepcopy(cells[exercise.check])
        again[exercise.solution]["id"] += "-again"
        again[exercise.solution]["metadata"]["tags"].append("again")
    both = [[cell, again[index]] if index in again else [cell] for index, cell in enumerate(cells)]
    return content | {"cells": [cell for pair in both for cell in pair]}


def verify(
    path: Path, profile: str = "quick", *, out: Path | None = None, environment: dict[str, str] | None = None
) -> list[str]:
    """Run a notebook with its checks and tell what is wrong: a solution that fails its check, a starter that passes.

    Parameters
    ----------
    path : Path
        The source notebook.
    profile : str
        Whose parameter values are used.
    out : Path, optional
        Folder for what was run; ``build/exercises`` unless told.
    environment : dict of str, optional
        Variables for the kernel, beside this process's own.

    Returns
    -------
    list of str
        One sentence a problem, an error outside the exercises included; empty when every check tells solution and
        starter apart, which is remembered until something changes that it depends on.
    """
    content = notebooks.read(path)
    out = out or settings.project_root() / "build" / "exercises"
    out.mkdir(parents=True, exist_ok=True)
    [(_, parameters)] = execute.plan([path], profile)
    key, proof = fingerprint.key(path, profile, parameters), out / f"{path.stem}.proof"
    if proof.is_file() and proof.read_text() == key:
        return []
    around = {"MEDTK_PROFILE": profile, STRICT: "1"} | (environment or {})
    outcome = _run(graded(content), path.stem, out, parameters, around)
    if not outcome.output.exists():
        return [f"{path.stem} did not run, {outcome.error}."]
    problems = [f"{path.stem}: {problem}" for problem in _problems(notebooks.read(outcome.output))]
    if not problems:
        proof.write_text(key)
    return problems


def _run(content: dict, name: str, out: Path, parameters: dict[str, Any], around: dict[str, str]) -> execute.Outcome:
    source, target = out / f"{name}.ipynb", out / f"{name}.executed.ipynb"
    source.write_text(json.dumps(content), encoding="utf-8")
    return execute.run_one(source, parameters, target, around)


def _problems(executed: dict) -> list[str]:
    # papermill counts the wanted errors as a failure too; what is in the cells decides.
    problems, name = [], ""
    for number, cell in enumerate(executed["cells"], 1):
        if cell["cell_type"] != "code":
            continue
        roles = notebooks.tags(cell)
        name = cell["metadata"].get("medtk", {}).get("exercise", name)
        raised = [f"{o['ename']}: {o['evalue']}" for o in cell["outputs"] if o["output_type"] == "error"]
        if "solution" in roles or "again" in roles:
            problems += [f"the solution of exercise {name} fails, {error}." for error in raised]
        elif "check" in roles and not raised:
            problems.append(f"the check of exercise {name} passes without a solution.")
        elif raised and not {"check", "exercise"} & set(roles):
            problems.append(f"cell {number}, outside the exercises, raised {raised[0]}.")
        if cell["execution_count"] is None and cell["source"]:
            problems.append(f"the run ended before cell {number}.")
            break
    return problems
