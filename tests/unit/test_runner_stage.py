import pytest
import small_project
import yaml

from medtk.errors import MedtkError
from medtk.runner import execute, fingerprint, notebooks, pages, stage

TOC = {
    "format": "jb-book",
    "root": "book/intro",
    "parts": [
        {
            "caption": "Paper 1",
            "chapters": [
                {
                    "file": "book/papers/robust_transfer/index.md",
                    "sections": [{"file": "notebooks/11_first_steps"}],
                },
                {"file": "book/data_cards"},
            ],
        }
    ],
}
CONFIG = {
    "title": "Small book",
    "author": "Nobody",
    "only_build_toc_files": True,
    "execute": {"execute_notebooks": "force"},
    "sphinx": {"config": {"mathjax_path": "mathjax.js", "html_js_files": []}},
    "html": {"use_issues_button": False, "use_repository_button": False},
    "launch_buttons": {"thebe": False},
}
PAGES = {"book/data_cards.md": "# Data cards\n\nGenerated.\n"}


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTK_ROOT", str(tmp_path))
    monkeypatch.setattr(fingerprint, "package", lambda: "the same")
    monkeypatch.setattr(pages, "generated", lambda: dict(PAGES))
    small_project.make(tmp_path)
    papers = tmp_path / "book" / "papers" / "robust_transfer"
    papers.mkdir(parents=True)
    (tmp_path / "book" / "intro.md").write_text("# Welcome\n\nSee [the paper](papers/robust_transfer/index.md).\n")
    (papers / "index.md").write_text("# A paper\n\nText.\n")
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(TOC, sort_keys=False))
    (tmp_path / "_config.yml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path


def run():
    work = small_project.chapter(work="print('Hello')", exercises=[])
    small_project.write(notebooks.notebook_home() / "11_first_steps.ipynb", work)
    [outcome] = execute.run_all([notebooks.find("11")], "quick", resume=True)
    return outcome


def test_pages_of_a_table_of_contents():
    assert stage.toc_files(TOC) == [
        "book/intro",
        "book/papers/robust_transfer/index",
        "notebooks/11_first_steps",
        "book/data_cards",
    ]


def test_an_old_notebook_is_not_staged(project):
    with pytest.raises(MedtkError, match="medtk run --profile quick --resume"):
        stage.stage("quick")
    run()
    stage.stage("quick")
    small_project.write(notebooks.find("11"), small_project.chapter(work="print('changed')"))
    with pytest.raises(MedtkError, match="has not been run with profile quick since it changed"):
        stage.stage("quick")


def test_stage_holds_the_book_and_nothing_else(project):
    run()
    site = stage.stage("quick")
    assert yaml.safe_load((site / "_config.yml").read_text())["execute"]["execute_notebooks"] == "off"
    assert (site / "book" / "data_cards.md").read_text() == PAGES["book/data_cards.md"]
    injected = [
        cell
        for cell in notebooks.read(site / "notebooks" / "11_first_steps.ipynb")["cells"]
        if "injected-parameters" in notebooks.tags(cell)
    ]
    assert [notebooks.tags(cell) for cell in injected] == [["injected-parameters", "remove-cell"]]
    dates = {path: path.stat().st_mtime_ns for path in site.rglob("*")}
    (site / "book" / "old.md").write_text("# Old")
    (project / "book" / "intro.md").write_text("# New\n")
    stage.stage("quick")
    assert not (site / "book" / "old.md").exists()
    changed = {path.name for path, date in dates.items() if path.is_file() and path.stat().st_mtime_ns != date}
    assert changed == {"intro.md"}


def test_a_book_is_built_from_disk_to_disk(project, monkeypatch):
    run()
    # A default configuration loads scripts from the network; the real book bundles them.
    monkeypatch.setattr(stage, "check_offline", lambda html: [])
    site = stage.stage("quick")
    start = stage.build()
    assert start == site / "_build" / "html" / "index.html"
    assert "Hello" in (site / "_build" / "html" / "notebooks" / "11_first_steps.html").read_text()

    monkeypatch.setattr(stage, "check_pages", lambda html, toc: ["page missing was not built"])
    with pytest.raises(MedtkError, match="page missing was not built"):
        stage.build()
    assert not (site / "_build").exists()


def test_a_warning_fails_the_build_again_and_again(project):
    run()
    (project / "book" / "intro.md").write_text("# Welcome\n\nSee [nothing](nowhere.md).\n")
    site = stage.stage("quick")
    with pytest.raises(MedtkError, match=r"WARNING.*nowhere\.md.*book\.log"):
        stage.build()
    assert not (site / "_build").exists()


@pytest.mark.parametrize("version", ["2.1.7", "0.15.1"])
def test_another_jupyter_book_is_refused(project, monkeypatch, version):
    monkeypatch.setattr("jupyter_book.__version__", version)
    with pytest.raises(MedtkError, match="cannot read this book"):
        stage.build()


def test_pages_are_compared_with_the_table_of_contents(tmp_path):
    for name in ("index", "genindex", "search", "book/intro", "book/stray", "_static/webpack"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.html").touch()
    assert stage.check_pages(tmp_path, ["book/intro", "book/lost"]) == [
        "page book/lost is in the table of contents and was not built",
        "page book/stray is in no table of contents",
    ]


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://cdn.example.org/a.js"></script>',
        '<script async\n src="//cdn.example.org/a.js"></script>',
        '<link rel="stylesheet" href="https://fonts.example.org/a.css">',
        '<link href="https://fonts.example.org" rel="preconnect">',
        '<img alt="" src="http://example.org/a.png">',
        "<style>@import url('https://example.org/a.css');</style>",
        "<style>a { background: url(https://example.org/a.png) }</style>",
        '<script type="module">import m from "https://cdn.example.org/m.mjs";</script>',
        '<script>import("https://cdn.example.org/m.mjs")</script>',
    ],
)
def test_what_needs_the_network_is_found(tmp_path, text):
    (tmp_path / "a.html").write_text(f"<html>{text}</html>")
    [problem] = stage.check_offline(tmp_path)
    assert problem.startswith("a.html needs the network: ")


@pytest.mark.parametrize(
    "text",
    [
        '<a href="https://example.org">a link for people</a>',
        '<link rel="canonical" href="https://example.org/a.html">',
        '<script src="_static/a.js"></script>',
        '<img src="../_images/a.png">',
        "<p>Written in https://example.org style</p>",
    ],
)
def test_what_needs_none_is_let_be(tmp_path, text):
    (tmp_path / "a.html").write_text(f"<html>{text}</html>")
    assert stage.check_offline(tmp_path) == []


def test_data_cards_name_every_set_and_where_it_came_from(monkeypatch):
    from medtk import data

    page = pages.data_cards()
    assert page.startswith("(data-cards)=\n# Data cards\n")
    for name in data.names():
        assert f"| `{name}` |" in page
    assert page.count("| Here |") == len(data.names())
    assert "```" not in page
