"""Each room of the package stands on a floor and imports only from floors below, never in a circle."""

import ast
from pathlib import Path

import pytest

import medtk

FLOORS = {
    "": 0, "settings": 0, "errors": 0,
    "data": 1,
    "models": 2, "training": 2, "evaluation": 2,
    "attacks": 3, "defenses": 3, "federated": 3, "split_learning": 3, "inversion": 3, "edge": 3, "privacy": 3,
    "reproduction": 4,
    "lab": 5,
    "runner": 6,
    "cli": 7, "cli_data": 7, "cli_edge": 7, "cli_federate": 7,
}  # fmt: skip


def modules(package: Path) -> dict[str, Path]:
    """Dotted name -> file of every module of a package."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, known: dict[str, Path]) -> set[tuple[str, str]]:
    """(module, name or empty) of all that a module imports from its own package, functions included."""
    package, found = name.split(".")[0], set()
    base = name if known[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(known[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = base.split(".")[: len(base.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                found.add((inner, "") if inner in known else (source, alias.name))
    return {(module, what) for module, what in found if module.split(".")[0] == package and module != name}


def room(module: str) -> str:
    return module.partition(".")[2].partition(".")[0]


def problems(package: Path) -> list[str]:
    known = modules(package)
    graph = {name: imports(name, known) for name in known}
    found = [f"{name}: name the floor of {room(name)}" for name in known if room(name) not in FLOORS]
    if found:
        return found
    rooms: dict[str, set[str]] = {}
    for name, targets in graph.items():
        for module, what in targets:
            mine, other = room(name), room(module)
            if mine == other:
                continue
            rooms.setdefault(mine, set()).add(other)
            if FLOORS.get(other, 99) > FLOORS[mine]:
                found.append(f"{name} imports upwards from {module}")
            elif FLOORS[other] == FLOORS[mine] != 0 and any(p.startswith("_") for p in [*module.split("."), what]):
                found.append(f"{name} uses {module}.{what}, which is private to its neighbour")
    found += [f"circle of modules: {circle}" for circle in circles({k: {m for m, _ in v} for k, v in graph.items()})]
    return found + [f"circle of rooms: {circle}" for circle in circles(rooms)]


def circles(graph: dict[str, set[str]]) -> list[str]:
    """First circle that is met from each start, if any."""
    done: set[str] = set()

    def walk(name, trail):
        if name in trail:
            return [" -> ".join([*trail[trail.index(name) :], name])]
        if name in done:
            return []
        found = [circle for other in sorted(graph.get(name, ())) for circle in walk(other, [*trail, name])]
        done.add(name)
        return found

    return [circle for start in sorted(graph) for circle in walk(start, [])]


def test_medtk_keeps_its_floors():
    assert problems(Path(medtk.__file__).parent) == []


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {"data/__init__.py": "from medtk.models import build"},
            "medtk.data imports upwards from medtk.models",
        ),
        (
            {"data/__init__.py": "def f():\n    import medtk.lab.plots"},
            "imports upwards from medtk.lab.plots",
        ),
        ({"data/a.py": "from ..models import build"}, "medtk.data.a imports upwards from medtk.models"),
        ({"data/a.py": "from medtk import cli"}, "medtk.data.a imports upwards from medtk.cli"),
        ({"data/a.py": "from . import b", "data/b.py": "from .a import x"}, "circle of modules"),
        (
            {"models/__init__.py": "import medtk.training", "training/a.py": "import medtk.models"},
            "circle of rooms",
        ),
        ({"models/__init__.py": "from medtk.training import _secret"}, "private to its neighbour"),
        ({"attic/__init__.py": ""}, "name the floor of attic"),
    ],
)
def test_a_breach_is_found(tmp_path, files, words):
    package = tmp_path / "medtk"
    for name in ("__init__.py", "models/__init__.py", "training/__init__.py", "data/__init__.py", "cli.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("")
    assert problems(package) == []
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    assert any(words in problem for problem in problems(package)), problems(package)
