"""Write environment.yml, for conda and Binder, from requirements.lock: the same versions in both."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# medmnist would bring torch, which nothing here needs, and dp-accounting an old attrs: postBuild installs both alone.
LEFT_OUT = {"medmnist", "dp-accounting", "torch", "torchvision"}
HEAD = """\
# Written by `make lock` from requirements.lock; change pyproject.toml instead.
# After `conda env create -f environment.yml` run `sh postBuild` inside the environment (Binder does).
name: medtk
channels: [conda-forge]
dependencies:
  - python=3.11
  - pip
  - pip:
"""


def pinned(lock: str) -> list[str]:
    """Requirements of a lock file, ``name==version ; marker``, without hashes and without `LEFT_OUT`."""
    lines = re.findall(r"^([A-Za-z0-9._-]+==[^\\\n]+?)\s*\\?$", lock, flags=re.MULTILINE)
    return [line for line in lines if line.split("==")[0] not in LEFT_OUT]


def render(lock: str) -> str:
    """Text of environment.yml for the text of a lock file."""
    return HEAD + "".join(f'      - "{line}"\n' for line in pinned(lock))


if __name__ == "__main__":
    (ROOT / "environment.yml").write_text(render((ROOT / "requirements.lock").read_text()))
