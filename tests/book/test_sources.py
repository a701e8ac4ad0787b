"""What the book is made from: configuration, contents, references, colours, and the files around it."""

import importlib.util
import json
import re
import tomllib

import jupyter_book
import pytest
import yaml
from jupyter_book.config import validate_yaml


@pytest.fixture(scope="module")
def config(root):
    return yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))


def _prose(root):
    return sorted((root / "book").rglob("*.md"))


def test_config_is_valid_and_executes_nothing(config):
    validate_yaml(config, raise_on_errors=True)
    assert config["execute"]["execute_notebooks"] == "off"
    assert config["only_build_toc_files"] is True


def test_nothing_of_the_config_fetches_scripts(config):
    sphinx = config["sphinx"]["config"]
    assert "sphinx_thebe" not in sphinx["extensions"]
    assert "sphinx-mathjax-offline" in sphinx["extensions"]
    assert sphinx["nb_ipywidgets_js"] == {}
    assert "thebe" not in config["launch_buttons"]


def test_every_page_of_the_contents_exists_or_is_generated(root, toc):
    generated = {"book/scoreboard", "book/data_cards", "book/machines"}
    generated |= {f"book/papers/{path.name}/tables" for path in (root / "book" / "papers").iterdir()}
    stored = {page for page in toc for kind in ("md", "ipynb") if (root / f"{page}.{kind}").is_file()}
    missing = [page for page in toc if page not in stored | generated]
    assert missing == []
    assert len(set(toc)) == len(toc)
    in_the_way = [page for page in generated if (root / f"{page}.md").exists()]
    assert in_the_way == [], "generated pages are not stored"


def test_every_page_and_notebook_is_in_the_contents(root, toc):
    pages = [*_prose(root), *(root / "notebooks").glob("*.ipynb")]
    found = {path.relative_to(root).with_suffix("").as_posix() for path in pages}
    assert found <= set(toc)


def test_teachers_find_every_notebook_in_the_order_of_the_contents(root, toc):
    notebooks = [json.loads((root / f"{page}.ipynb").read_text()) for page in toc if page.startswith("notebooks/")]
    labels = [re.match(r"\((nb-[\w-]+)\)=", "".join(notebook["cells"][0]["source"])).group(1) for notebook in notebooks]
    goals = re.findall(r"^\{ref\}`(nb-[\w-]+)`$", (root / "book" / "teaching.md").read_text(), re.MULTILINE)
    assert goals == labels


def test_jupyter_book_is_pinned_to_version_1(root):
    assert jupyter_book.__version__.startswith("1.")
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]["book"]
    [pin] = [wanted for wanted in extras if wanted.startswith("jupyter-book")]
    assert pin == f"jupyter-book=={jupyter_book.__version__}"
    lock = (root / "requirements.lock").read_text()
    assert re.search(rf"^jupyter-book=={re.escape(jupyter_book.__version__)}\b", lock, re.MULTILINE)


def test_mathjax_comes_from_a_locked_package(root):
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]["book"]
    assert any(wanted.startswith("sphinx-mathjax-offline==") for wanted in extras)
    assert "\nsphinx-mathjax-offline==" in (root / "requirements.lock").read_text()


def test_every_citation_is_in_the_bibliography(root):
    bibliography = (root / "book" / "references.bib").read_text(encoding="utf-8")
    keys = re.findall(r"^@\w+\{([^,\s]+),", bibliography, re.MULTILINE)
    assert len(set(keys)) == len(keys)
    used = set()
    for path in _prose(root):
        used |= _cited(path.read_text(encoding="utf-8"))
    for path in (root / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            used |= _cited("".join(cell["source"]))
    data = [root / "medtk/data/cards.toml", *(root / "medtk/reproduction/papers").glob("*.toml")]
    for path in data:
        used |= set(re.findall(r'^citation\s*=\s*"([^"]+)"', path.read_text(encoding="utf-8"), re.MULTILINE))
    assert used - set(keys) == set()


def _cited(text):
    groups = re.findall(r"\{cite[a-z:]*\}`([^`]+)`", text)
    return {key.strip() for group in groups for key in group.split(",")}


def test_bibliography_entries_are_whole(root):
    bibliography = (root / "book" / "references.bib").read_text(encoding="utf-8")
    for entry in re.split(r"^@", bibliography, flags=re.MULTILINE)[1:]:
        if entry.startswith("misc{hospital2025federated"):
            continue  # its copy prints neither author nor year, and the entry says so
        for field in ("author", "title", "year"):
            assert re.search(rf"^\s*{field}\s*=", entry, re.MULTILINE), entry[:60]


def test_api_pages_name_modules_that_exist(root):
    named = [
        module
        for path in (root / "book" / "api").glob("*.md")
        for module in re.findall(r"automodule:: (\S+)", path.read_text(encoding="utf-8"))
    ]
    assert len(named) > 8
    assert [module for module in named if importlib.util.find_spec(module) is None] == []


def test_no_result_is_typed_into_the_prose(root):
    for path in _prose(root):
        assert re.findall(r"\b\d+\.\d\d\s*%", path.read_text(encoding="utf-8")) == [], path.name


def test_public_address_stands_in_one_place(root, config):
    address = config["repository"]["url"].removeprefix("https://")
    files = [*_prose(root), *root.glob("*.md"), *root.glob("*.cff"), root / "pyproject.toml"]
    assert [path.name for path in files if address in path.read_text(encoding="utf-8")] == []


def _contrast(colour, ground):
    def luminance(text):
        parts = [int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(colour), luminance(ground)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


# The grounds of the theme: the page, and the box around code, which is closer to the text.
GROUNDS = {"light": ["#ffffff", "#f3f4f5"], "dark": ["#121212", "#29313d"]}


@pytest.mark.parametrize(("theme", "grounds"), GROUNDS.items())
def test_colours_have_enough_contrast(root, theme, grounds):
    style = (root / "book" / "_static" / "medtk.css").read_text()
    block = re.search(rf'data-theme="{theme}"\] \{{(.*?)\}}', style, re.DOTALL)[1]
    colours = re.findall(r"(--[\w-]+): (#[0-9a-f]{6});", block)
    assert len(colours) >= 5
    low = [(name, g) for name, colour in colours for g in grounds if _contrast(colour, g) < 4.5]
    assert low == []


def test_contrast_is_that_of_the_standard():
    assert _contrast("#000000", "#ffffff") == pytest.approx(21)
    assert _contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_workflows_call_the_commands_of_the_readme(root):
    readme = (root / "README.md").read_text()
    for name, command in (("test", "make test"), ("book", "make book")):
        workflow = yaml.safe_load((root / ".github" / "workflows" / f"{name}.yml").read_text())
        steps = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
        assert command in steps
        assert command in readme


def test_versions_agree(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"] == "MIT"
    assert f"## {project['version']}" in (root / "CHANGELOG.md").read_text()
