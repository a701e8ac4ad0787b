import pytest
import small_project
from nbformat.v4 import new_markdown_cell, new_output
from small_project import cell, chapter, exercise

from medtk.runner.lint import lint


@pytest.fixture
def problems(tmp_path):
    """Lint cells as a notebook of a given name."""
    return lambda cells, name="11_chapter.ipynb": lint(small_project.write(tmp_path / name, cells))


def with_extra(extra, **options):
    cells = chapter(**options)
    cells.insert(4, extra)
    return cells


def test_a_good_notebook_has_no_problems(problems):
    assert problems(chapter()) == []


def test_an_introduction_needs_no_results(problems):
    cells = [made for made in chapter(exercises=[]) if made.metadata.get("tags") not in (["results"], ["claims"])]
    assert problems(cells, "00_start.ipynb") == []
    assert len(problems(cells, "11_chapter.ipynb")) == 3


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (cell("pass", "setup"), "more than one cell tagged `setup`"),
        (cell("pass", "claims"), "`results` comes after `claims`"),
        (new_markdown_cell("```{note}\nText\n```"), "directive in back-quotes"),
        (new_markdown_cell("# Second title"), "has 2 titles"),
        (new_markdown_cell("![](picture.png)"), "image without a text"),
        (new_markdown_cell("Look into /home/me/data"), "absolute path (/home/me/data)"),
        (cell("from myst_nb import glue"), "imports myst_nb"),
        (cell("!ls"), "calls a shell"),
        (cell("%%bash\nls"), "calls a shell"),
        (cell("%time 1"), "magic command"),
        (cell("open('/tmp/x')"), "absolute path"),
        (cell("\n".join(["pass"] * 41)), "more than 40 lines"),
        (cell(" "), "is empty"),
        (cell("draw()", "figure"), "figure without metadata.mystnb.image.alt"),
        (
            cell("draw()", "figure", mystnb={"image": {"alt": " "}}),
            "figure without metadata.mystnb.image.alt",
        ),
        (cell("draw()", mystnb={"figure": {"name": "a"}}), "figure without a caption"),
        (cell("pass", "exercise", medtk={"exercise": "11z"}), "a starter, a check and a solution"),
    ],
)
def test_each_rule(problems, extra, words):
    found = problems(with_extra(extra))
    assert any(words in problem for problem in found), found
    assert all(problem.startswith("11_chapter.ipynb: ") for problem in found)


@pytest.mark.parametrize(
    "extra",
    [
        cell("plots.show(figure, alt='A curve that falls')", "figure"),
        cell("draw()", "figure", mystnb={"image": {"alt": "A curve that falls"}}),
        cell("1 // 2  # see https://example.org/data/one"),
        new_markdown_cell("```python\n# no title\n```\nSee [the card](../book/data/cards.md)."),
        new_markdown_cell("![A cat](cat.png)"),
    ],
)
def test_what_is_allowed(problems, extra):
    assert problems(with_extra(extra)) == []


def test_outputs_are_refused(problems):
    extra = cell("print(1)")
    extra.outputs = [new_output("stream", text="1")]
    assert any("stored with outputs" in problem for problem in problems(with_extra(extra)))
    extra.outputs, extra.execution_count = [], 3
    assert any("stored with outputs" in problem for problem in problems(with_extra(extra)))


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ("a = 1  # number", "parameter a has no annotation"),
        ("a: int = 1", "parameter a has no comment"),
        ("a: int = 1.5  # number", "default of a is not valid"),
        ("a: int = 5  # number [1, 3]", "default of a is not valid"),
        ("a: int = f()  # number", "literal"),
        ("a: int =", "invalid syntax"),
    ],
)
def test_parameters(problems, parameters, words):
    found = problems(chapter(parameters=parameters))
    assert any(words in problem for problem in found), found


def test_missing_parts_and_a_late_end(problems):
    assert problems([new_markdown_cell("# Title")]) != []
    found = problems([*chapter(), cell("print('after the end')")])
    assert found == ["11_chapter.ipynb: `finish` is not the last code cell."]


def test_exercises(problems):
    starter, check, solution = exercise()
    assert any("starter, a check and a solution" in p for p in problems(chapter(exercises=[starter, check])))
    assert any("starter, a check and a solution" in p for p in problems(chapter(exercises=[starter, solution])))
    assert any("there twice" in p for p in problems(chapter(exercises=exercise() + exercise())))
    nameless = cell(starter.source, "exercise")
    assert any("no id" in p for p in problems(chapter(exercises=[nameless, check, solution])))


def test_too_many_cells(problems):
    cells = chapter()
    cells[4:4] = [cell("pass") for _ in range(80)]
    assert any("more than 80" in problem for problem in problems(cells))
