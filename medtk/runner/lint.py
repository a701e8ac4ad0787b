"""Rules for notebooks, by cell tag: a chapter's parts and their order, no outputs, readable anywhere."""

import ast
import re
from pathlib import Path

from medtk.errors import BadParameter, MedtkError
from medtk.runner import exercises, notebooks

ORDER = ["bootstrap", "parameters", "setup", "results", "claims", "exercise", "finish"]
ONCE = ["bootstrap", "parameters", "setup", "finish"]
REQUIRED = {"start": ["bootstrap", "parameters", "setup", "finish"], "chapter": ORDER}
LONGEST_CELL = 40
MOST_CELLS = 80
ABSOLUTE = re.compile(r"""(?<![\w.:/])(?:/(?:home|Users|tmp|root|work|mnt|opt|var|data|content)/|~/|[A-Z]:\\\\)""")
FENCE = re.compile(r"^\s*```+\s*\{", re.MULTILINE)
IMAGE = re.compile(r"!\[\s*\]\(")
ALT_ARGUMENT = re.compile(r"\balt\s*=")


def lint(path: Path) -> list[str]:
    """Problems of a notebook, one sentence each; empty when it keeps every rule.

    Parameters
    ----------
    path : Path
        A source notebook. One whose number is below 10 is an introduction: it needs no results, claims or
        exercises.
    """
    content = notebooks.read(path)
    cells = content["cells"]
    problems = [*_anatomy(path, cells), *_exercises(content), *_parameters(cells), *_title(cells)]
    if len(cells) > MOST_CELLS:
        problems.append(f"has {len(cells)} cells, more than {MOST_CELLS}")
    for number, cell in enumerate(cells, start=1):
        rules = _code if cell["cell_type"] == "code" else _text
        problems += [f"cell {number}: {problem}" for problem in rules(cell)]
    return [f"{path.name}: {problem}." for problem in problems]


def _anatomy(path: Path, cells: list[dict]) -> list[str]:
    found = [tag for cell in cells for tag in ORDER if tag in notebooks.tags(cell)]
    required = REQUIRED["start" if re.match(r"0\d_", path.name) else "chapter"]
    problems = [f"has no cell tagged `{tag}`" for tag in required if tag not in found]
    problems += [f"has more than one cell tagged `{tag}`" for tag in ONCE if found.count(tag) > 1]
    places = [ORDER.index(tag) for tag in found]
    for tag, before, after in zip(found[1:], places, places[1:], strict=False):
        if after < before:
            problems.append(f"`{tag}` comes after `{ORDER[before]}`; the order is {', '.join(ORDER)}")
            break
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    if code and "finish" in found and "finish" not in notebooks.tags(code[-1]):
        problems.append("`finish` is not the last code cell")
    return problems


def _exercises(content: dict) -> list[str]:
    try:
        found = [exercise.id for exercise in exercises.find(content)]
    except MedtkError as error:
        return [str(error).rstrip(".")]
    return [f"exercise {name} is there twice" for name in sorted(set(found)) if found.count(name) > 1]


def _parameters(cells: list[dict]) -> list[str]:
    cell = next((cell for cell in cells if "parameters" in notebooks.tags(cell)), None)
    if cell is None:
        return []
    try:
        parameters = notebooks.parse(cell["source"], "this notebook")
    except (BadParameter, SyntaxError) as error:
        return [str(error).rstrip(".")]
    names = {node.target.id for node in ast.parse(cell["source"]).body if isinstance(node, ast.AnnAssign)}
    problems = [f"parameter {name} has no annotation" for name in parameters if name not in names]
    problems += [f"parameter {name} has no comment" for name, known in parameters.items() if not known.help]
    for name, known in parameters.items():
        try:
            notebooks.fit(known, known.default)
        except MedtkError as error:
            problems.append(f"the default of {name} is not valid: {str(error).rstrip('.')}")
    return problems


def _title(cells: list[dict]) -> list[str]:
    titles = [
        line
        for cell in cells
        if cell["cell_type"] == "markdown"
        for line in re.sub(r"^```.*?^```", "", cell["source"], flags=re.MULTILINE | re.DOTALL).splitlines()
        if line.startswith("# ")
    ]
    return [] if len(titles) == 1 else [f"has {len(titles)} titles (`# ...`) instead of one"]


def _text(cell: dict) -> list[str]:
    problems = []
    if FENCE.search(cell["source"]):
        problems.append("a directive in back-quotes; write it with colons, which read in Jupyter and Colab")
    if IMAGE.search(cell["source"]):
        problems.append("an image without a text for those who do not see it")
    return problems + _paths(cell)


def _code(cell: dict) -> list[str]:
    problems, roles, source = [], notebooks.tags(cell), cell["source"]
    if cell.get("outputs") or cell.get("execution_count"):
        problems.append("stored with outputs; run `nbstripout` on it")
    if len(source.splitlines()) > LONGEST_CELL:
        problems.append(f"more than {LONGEST_CELL} lines")
    if re.search(r"^\s*(?:import|from)\s+myst_nb\b", source, re.MULTILINE):
        problems.append("imports myst_nb, which Colab does not have")
    if re.search(r"^\s*!|^%%(?:bash|sh|script)", source, re.MULTILINE):
        problems.append("calls a shell")
    if re.search(r"^\s*%", source, re.MULTILINE) and "bootstrap" not in roles:
        problems.append("a magic command; only the bootstrap cell may have one")
    if not source.strip():
        problems.append("is empty")
    if "figure" in roles and not (_alt(cell) or ALT_ARGUMENT.search(source)):
        problems.append("a figure without metadata.mystnb.image.alt")
    if (figure := cell["metadata"].get("mystnb", {}).get("figure")) and not figure.get("caption"):
        problems.append("a figure without a caption")
    return problems + _paths(cell)


def _alt(cell: dict) -> str:
    return cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "").strip()


def _paths(cell: dict) -> list[str]:
    match = ABSOLUTE.search(cell["source"])
    return [f"an absolute path ({cell['source'][match.start() :].split()[0]})"] if match else []
