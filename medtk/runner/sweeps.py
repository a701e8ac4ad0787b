"""Runs of notebooks with every combination of some parameters' values."""

import itertools
from collections.abc import Iterable
from pathlib import Path

from medtk.errors import BadParameter
from medtk.runner import execute


def combinations(given: dict[str, str]) -> list[dict[str, str]]:
    """Every combination of comma-separated values, the last parameter changing fastest.

    Examples
    --------
    >>> combinations({"epsilon": "0.1,0.2", "seed": "1"})
    [{'epsilon': '0.1', 'seed': '1'}, {'epsilon': '0.2', 'seed': '1'}]
    """
    values = [[value.strip() for value in text.split(",")] for text in given.values()]
    return [dict(zip(given, combination, strict=True)) for combination in itertools.product(*values)]


def run(
    paths: Iterable[Path], profile: str, given: dict[str, str], *, resume: bool = True, jobs: int = 1
) -> list[execute.Outcome]:
    """Run notebooks once a combination, each into ``build/notebooks/<profile>/sweep/<name=value,...>``.

    Parameters
    ----------
    paths : iterable of Path
        The notebooks.
    profile : str
        Whose values the other parameters have.
    given : dict of str
        Parameter -> values with commas between them.
    resume, jobs
        As in `execute.run_all`.

    Raises
    ------
    UnknownName, BadParameter
        Before anything runs, for any combination.
    """
    paths, grid = list(paths), combinations(given)
    if not given:
        raise BadParameter("A sweep needs a parameter with several values, such as `-p seed 1,2,3`.")
    for combination in grid:
        execute.plan(paths, profile, combination)
    outcomes = []
    for combination in grid:
        name = ",".join(f"{key}={value}" for key, value in combination.items())
        out = execute.output_home(profile) / "sweep" / name
        outcomes += execute.run_all(paths, profile, combination, out=out, resume=resume, jobs=jobs)
    return outcomes
