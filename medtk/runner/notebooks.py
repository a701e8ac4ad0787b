"""Which notebooks there are, which parameters each takes, and whether given values fit them."""

import ast
import io
import json
import math
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medtk import settings
from medtk.errors import BadParameter, CorruptFile, MedtkError, UnknownName

NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
INTERVAL = re.compile(rf"([\[(])\s*({NUMBER}|-inf)\s*,\s*({NUMBER}|inf)\s*([\])])\s*\.?$")
CHOICES = re.compile(r"\{([^{}]*)\}\s*\.?$")
WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a word"}


@dataclass(frozen=True)
class Parameter:
    """One line of a notebook's ``parameters`` cell.

    Attributes
    ----------
    name, kind : str
        The variable and its annotation, such as ``"int"`` or ``"list[str]"``.
    default : Any
        The reader's value.
    help : str
        The comment behind it, the range included.
    choices : tuple of str
        Valid words; empty when every word will do.
    interval : tuple of (str, float, float, str) or None
        Opening bracket, lowest, highest, closing bracket.
    """

    name: str
    kind: str
    default: Any
    help: str = ""
    choices: tuple[str, ...] = ()
    interval: tuple[str, float, float, str] | None = None


def notebook_home() -> Path:
    """Folder of the notebooks that the project keeps."""
    return settings.project_root() / "notebooks"


def all_notebooks() -> list[Path]:
    """Every notebook of the project, in the order of their numbers."""
    return sorted(notebook_home().glob("[0-9][0-9]_*.ipynb"))


def find(which: str) -> Path:
    """Path of the notebook that a number, a name or a path means.

    Parameters
    ----------
    which : str
        ``"11"``, ``"11_transfer_learning"``, ``"transfer_learning"``, with or without ``.ipynb``, or a path.

    Raises
    ------
    UnknownName
        When no notebook is meant by it.
    """
    path = Path(which)
    if path.suffix == ".ipynb" and path.is_file():
        return path.resolve()
    wanted = path.name.removesuffix(".ipynb")
    known = all_notebooks()
    if not known:
        raise MedtkError(f"There are no notebooks in {notebook_home()}: set MEDTK_ROOT to the project's folder.")
    for notebook in known:
        number, _, name = notebook.stem.partition("_")
        if wanted in (notebook.stem, number, name):
            return notebook
    raise UnknownName("notebook", which, [notebook.stem for notebook in known])


def read(path: Path) -> dict:
    """Content of a notebook file as plain dictionaries, each cell's source as one string.

    Raises
    ------
    CorruptFile
        When the file is not a notebook.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        cells = content["cells"]
        for cell in cells:
            cell["source"] = "".join(cell["source"])
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        hint = f"restore it with `git checkout -- {path.name}`"
        raise CorruptFile(f"{path} is not a notebook ({error!r}); {hint}.") from None
    return content


def tags(cell: dict) -> list[str]:
    """Tags of a cell."""
    return cell.get("metadata", {}).get("tags", [])


def parameters(path: Path) -> dict[str, Parameter]:
    """Parameters of a notebook, by name, in the order of its ``parameters`` cell.

    Raises
    ------
    BadParameter
        When the cell holds anything but literals with a name.
    """
    cell = next((cell for cell in read(path)["cells"] if "parameters" in tags(cell)), None)
    return parse(cell["source"], path.stem) if cell else {}


def parse(source: str, where: str) -> dict[str, Parameter]:
    """Parameters in the source of a ``parameters`` cell; `where` names the notebook in errors.

    Examples
    --------
    >>> parse("epochs: int = 3  # passes over the data [1, 100]", "11")["epochs"].interval
    ('[', 1.0, 100.0, ']')
    """
    comments = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        try:
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            default = ast.literal_eval(node.value)
        except (AttributeError, ValueError, TypeError):
            message = f"The parameters cell of {where} may hold only `name: type = literal` lines"
            raise BadParameter(f"{message}, not line {node.lineno}.") from None
        kind = ast.unparse(node.annotation) if isinstance(node, ast.AnnAssign) else type(default).__name__
        comment = comments.get(node.end_lineno, "")
        found[target.id] = Parameter(target.id, kind, default, comment, *_range(comment))
    return found


def _range(comment: str) -> tuple[tuple[str, ...], tuple[str, float, float, str] | None]:
    if match := CHOICES.search(comment):
        return tuple(word.strip().strip("'\"") for word in match[1].split(",")), None
    if match := INTERVAL.search(comment):
        return (), (match[1], float(match[2]), float(match[3]), match[4])
    return (), None


def check(path: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Values for a notebook's parameters, converted and checked before any work is done.

    Parameters
    ----------
    path : Path
        The notebook.
    given : dict
        Values by name: words as typed on a command line, or values of the right type already.

    Returns
    -------
    dict
        The same names with values of the annotated types.

    Raises
    ------
    UnknownName
        A parameter that the notebook does not have.
    BadParameter
        A value of another type or out of its range.
    """
    known = parameters(path)
    for name in given:
        if name not in known:
            raise UnknownName(f"parameter of {path.stem}", name, known)
    return {name: fit(known[name], value) for name, value in given.items()}


def fit(parameter: Parameter, given: Any) -> Any:
    """One value as the parameter's type, inside its range.

    Raises
    ------
    BadParameter, UnknownName
        When it is not, see `check`.
    """
    kinds = [kind.strip() for kind in parameter.kind.split("|")]
    if "None" in kinds and (given is None or str(given).lower() == "none"):
        return None
    kind = next(kind for kind in kinds if kind != "None")
    outer, _, inner = kind.partition("[")
    if outer in ("list", "tuple"):
        items = _items(given)
        inner = inner.rstrip("]").split(",")[0].strip() or "str"
        values = [_within(parameter, _convert(parameter, inner, item)) for item in items]
        return values if outer == "list" else tuple(values)
    return _within(parameter, _convert(parameter, kind, given))


def _items(given: Any) -> list:
    if isinstance(given, str):
        given = yaml.safe_load(given) if given.strip().startswith(("[", "(")) else given.split(",")
        given = given.strip("()").split(",") if isinstance(given, str) else given
        return [item.strip() if isinstance(item, str) else item for item in given if item != ""]
    return list(given) if isinstance(given, list | tuple) else [given]


def _convert(parameter: Parameter, kind: str, given: Any) -> Any:
    try:
        if kind == "bool":
            words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
            return words[str(given).lower()]
        if kind == "int" and not isinstance(given, bool) and float(given).is_integer():
            return int(float(given))
        if kind == "float" and not isinstance(given, bool) and math.isfinite(float(given)):
            return float(given)
        if kind == "str" and isinstance(given, str):
            return given
        if kind not in WORDS:
            return yaml.safe_load(given) if isinstance(given, str) else given
    except (KeyError, ValueError, TypeError):
        pass
    message = f"Parameter {parameter.name!r} must be {WORDS[kind]}, not {given!r}"
    raise BadParameter(f"{message}; {_hint(parameter)}.")


def _within(parameter: Parameter, value: Any) -> Any:
    if parameter.choices and str(value) not in parameter.choices:
        raise UnknownName(f"value of parameter {parameter.name}:", str(value), parameter.choices)
    if parameter.interval and not isinstance(value, str):
        opening, low, high, closing = parameter.interval
        above = value >= low if opening == "[" else value > low
        below = value <= high if closing == "]" else value < high
        if not (above and below):
            nearest = f"the nearest valid value is {min(max(value, low), high):g}"
            hint = nearest if opening + closing == "[]" else _hint(parameter)
            message = f"Parameter {parameter.name!r} must lie in {opening}{low:g}, {high:g}{closing}, not {value:g}"
            raise BadParameter(f"{message}; {hint}.")
    return value


def _hint(parameter: Parameter) -> str:
    return f"the notebook's own value is {parameter.default!r}"
