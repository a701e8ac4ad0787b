"""A project with tiny notebooks, for tests of the runner and of the command line."""

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

PARAMETERS = """\
# Parameters
epsilon: float = 0.1  # size of the attack [0, 1]
seed: int = 0  # start of the random numbers
dataset: str = 'breastmnist'  # which images {breastmnist, pneumoniamnist}
epochs: list[int] = [1, 2]  # passes over the data [1, 100]
"""
EXERCISE = [
    ("# Set answer to two plus two.\nanswer = None", ["exercise"]),
    (
        "import os\ngood = answer == 4\nprint('right' if good else 'not yet')\n"
        "assert good or os.environ.get('MEDTK_STRICT_CHECKS') != '1'",
        ["check"],
    ),
    ("answer = 4\nassert answer == 4", ["solution"]),
]


def cell(source, *tags, **metadata):
    made = new_code_cell(source)
    made.metadata.update({"tags": list(tags)} if tags else {}, **metadata)
    return made


def exercise(name="11a", parts=EXERCISE):
    return [cell(source, *tags, medtk={"exercise": name}) for source, tags in parts]


def chapter(*, work="print(epsilon, seed)", parameters=PARAMETERS, exercises=None):
    """Cells of a notebook that keeps every rule."""
    return [
        new_markdown_cell("(nb:11)=\n# A chapter\n\n:::{note}\nA note.\n:::"),
        cell("pass", "bootstrap"),
        cell(parameters, "parameters"),
        cell("import math", "setup"),
        cell(work, "results"),
        cell("print('claims')", "claims"),
        *(exercise() if exercises is None else exercises),
        cell("print('end')", "finish"),
    ]


def write(path, cells):
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(cells=cells, metadata={"kernelspec": kernel})
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def make(root):
    """Two notebooks and two profiles under `root`."""
    write(root / "notebooks" / "11_first_steps.ipynb", chapter())
    write(root / "notebooks" / "12_second_steps.ipynb", chapter(work="print(seed)"))
    (root / "params").mkdir()
    (root / "params" / "quick.yml").write_text(
        "minutes: {11_first_steps: 0.5, 12_second_steps: 1}\n11_first_steps: {epsilon: 0.2, epochs: [1]}\n"
    )
    (root / "params" / "paper.yml").write_text("minutes: {}\n")
    (root / "requirements.lock").write_text("numpy==2\n")
    return root
