"""One set of versions: the lock, environment.yml and the installed packages agree."""

import importlib.metadata
import re
from pathlib import Path

import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
REQUIREMENTS = [
    Requirement(line) for line in re.findall(r"^([A-Za-z0-9._-]+==[^\\\n]+?)\s*\\?$", LOCK, flags=re.MULTILINE)
]


def test_lock_is_hashed_and_names_no_address():
    assert len(REQUIREMENTS) > 100
    blocks = re.split(r"\n(?=\S)", LOCK)
    assert all("--hash=sha256:" in block for block in blocks if "==" in block)
    assert "://" not in LOCK and "index-url" not in LOCK


def test_environment_has_the_versions_of_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(part["pip"] for part in environment["dependencies"] if isinstance(part, dict))
    mine = {str(Requirement(line)) for line in pip}
    left_to_post_build = {"medmnist", "dp-accounting", "torch", "torchvision"}
    assert {str(r) for r in REQUIREMENTS if r.name not in left_to_post_build} == mine


def test_installed_versions_are_the_locked_ones():
    for requirement in REQUIREMENTS:
        if requirement.marker is None or requirement.marker.evaluate():
            assert importlib.metadata.version(requirement.name) in requirement.specifier, requirement.name


def test_every_dependency_of_the_package_is_locked():
    locked = {requirement.name for requirement in REQUIREMENTS}
    wanted = {Requirement(line).name for line in importlib.metadata.requires("medtk")}
    assert wanted <= locked
