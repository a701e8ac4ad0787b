"""Profiles: named sets of parameter values for all notebooks, kept in ``params/*.yml``."""

from pathlib import Path
from types import NoneType
from typing import Any

import yaml

from medtk import settings
from medtk.errors import CorruptFile, UnknownName

READER = "reader"  # the notebooks' own values: its file, if there is one, holds minutes only
MINUTES = "minutes"  # the one key of a profile's file that is no notebook


def names() -> list[str]:
    """Every profile, the reader's first."""
    return [READER, *sorted({path.stem for path in _home().glob("*.yml")} - {READER})]


def overlay(profile: str) -> dict[str, dict[str, Any]]:
    """Parameter values of a profile: notebook stem -> name -> value.

    Raises
    ------
    UnknownName
        When there is no such profile.
    CorruptFile
        When its file is not a mapping of mappings.
    """
    content = _content(profile)
    return {stem: values or {} for stem, values in content.items() if stem != MINUTES}


def minutes(profile: str) -> dict[str, float]:
    """Minutes that a profile took on two cores: notebook stem -> minutes; empty when nobody measured."""
    return _content(profile).get(MINUTES) or {}


def _home() -> Path:
    return settings.project_root() / "params"


def _content(profile: str) -> dict:
    if profile not in names():
        raise UnknownName("profile", profile, names())
    path = _home() / f"{profile}.yml"
    if profile == READER and not path.is_file():
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise CorruptFile(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from None
    mapping = isinstance(content, dict) and all(isinstance(v, dict | NoneType) for v in content.values())
    if not mapping:
        raise CorruptFile(f"{path} must hold `notebook: {{parameter: value}}` entries.")
    return content
