"""The ``medtk`` command. Each command imports what it needs when it runs, so that help comes at once."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterable
from typing import Annotated

import click
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from medtk import settings
from medtk.cli_data import Json, data_app, print_json
from medtk.cli_edge import edge_app
from medtk.cli_federate import federate_app
from medtk.errors import BadParameter, MedtkError

app = typer.Typer(
    name="medtk",
    help="Five studies on trustworthy medical-image AI, rebuilt end to end. For teaching and research.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data_app, name="data")
app.add_typer(edge_app, name="edge")
app.add_typer(federate_app, name="federate")

Notebooks = Annotated[list[str] | None, typer.Argument(help="Numbers, names or paths; all of them unless told.")]
Profile = Annotated[str, typer.Option(help="quick, reader, scaled or paper: whose parameter values.")]
Pairs = Annotated[list[str] | None, typer.Option("--parameter", "-p", metavar="NAME VALUE", help="Set a parameter.")]
Resume = Annotated[bool, typer.Option("--resume/--again", help="Keep outputs that nothing has changed for.")]
Jobs = Annotated[int, typer.Option(min=1, help="Notebooks at a time.")]
STOPPED = 130


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a mistake ends it with one sentence and a code that is not zero."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(_join_pairs(arguments), standalone_mode=False)
        sys.stdout.flush()  # here, where a reader who has gone can still be dealt with
        if code == STOPPED:  # typer turns Ctrl-C into this code
            _fail("Stopped. What was finished is kept; `medtk run --resume` goes on from there.", code)
    except (KeyboardInterrupt, click.Abort):
        code = _fail("Stopped.", STOPPED)
    except MedtkError as error:
        code = _fail(str(error), 2)
    except click.ClickException as error:
        code = _fail(f"{error.format_message().rstrip('.')}; `medtk --help` lists what there is.", 2)
    except BrokenPipeError:
        # The reader of our output (head, less) has gone; Python would complain once more at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except OSError as error:
        code = _fail(_explain(error), 74)
    sys.exit(code or 0)


def _fail(sentence: str, code: int) -> int:
    with contextlib.suppress(OSError):
        print(f"medtk: {sentence}", file=sys.stderr)
    return code


def _explain(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "free some space and run the same command again; what was finished is kept"
        return f"The disk is full{where}: {remedy}."
    return f"{error.strerror or error}{where}."


def _join_pairs(arguments: list[str]) -> list[str]:
    """``-p name value`` as ``-p name=value``: the option then has one value, as every option must."""
    joined, rest = [], list(arguments)
    while rest:
        word = rest.pop(0)
        joined.append(word)
        if word in ("-p", "--parameter") and rest:
            name = rest.pop(0)
            joined.append(f"{name}={rest.pop(0)}" if "=" not in name and rest else name)
    return joined


def _pairs(given: list[str] | None) -> dict[str, str]:
    found = {}
    for pair in given or []:
        name, equals, value = pair.partition("=")
        if not equals:
            raise BadParameter(f"Parameter {name!r} has no value: write `-p {name} VALUE`.")
        found[name] = value
    return found


def _choose(names: list[str] | None):
    from medtk.runner import notebooks

    paths = [notebooks.find(name) for name in names] if names else notebooks.all_notebooks()
    if not paths:
        raise MedtkError(f"There are no notebooks in {notebooks.notebook_home()}.")
    return paths


def _report_runs(outcomes) -> int:
    from medtk.runner import execute

    console = Console()
    console.print(execute.summary(outcomes))
    for outcome in outcomes:
        if outcome.state == "failed":
            _fail(f"{outcome.notebook} failed, {outcome.error}; see {outcome.log} and {outcome.output}.", 1)
        else:
            console.print(str(outcome.output), soft_wrap=True, highlight=False)
    return 1 if any(outcome.state == "failed" for outcome in outcomes) else 0


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what is installed, which data and weights are real here, and how long each profile takes."""
    from medtk.runner import doctor as runner_doctor

    facts = runner_doctor.examine()
    if as_json:
        return print_json(facts)
    table = Table("what", "state", "note", title=f"medtk on Python {facts['python']}")
    for name, version in facts["packages"].items():
        table.add_row(name, version or "not installed", "")
    for kind in ("data", "weights"):
        table.add_section()
        for name, state in facts[kind].items():
            table.add_row(f"{kind}: {name}", state["source"], state.get("path") or state["note"])
    for kind in ("machine", "folders"):
        table.add_section()
        for name, value in facts[kind].items():
            table.add_row(name.replace("_", " "), str(value), "")
    table.add_section()
    for profile, minutes in facts["minutes"].items():
        state = "not measured yet" if minutes is None else f"{minutes:g} minutes"
        table.add_row(f"profile {profile}", state, f"medtk run --profile {profile}")
    Console().print(table)


@app.command()
def run(
    names: Notebooks = None,
    profile: Profile = "reader",
    parameter: Pairs = None,
    resume: Resume = False,
    jobs: Jobs = 1,
    show: Annotated[bool, typer.Option("--show", help="Show the parameters and run nothing.")] = False,
) -> int:
    """Run notebooks, one process each; outputs go to build/notebooks/PROFILE."""
    from medtk.runner import execute

    paths, given = _choose(names), _pairs(parameter)
    if show:
        return _show_parameters(execute.plan(paths, profile, given))
    return _report_runs(execute.run_all(paths, profile, given, resume=resume, jobs=jobs))


def _show_parameters(plan) -> int:
    from medtk.runner import notebooks

    table = Table("notebook", "parameter", "type", "value", "meaning")
    for path, values in plan:
        for name, known in notebooks.parameters(path).items():
            table.add_row(path.stem, name, known.kind, repr(values.get(name, known.default)), known.help)
    Console().print(table)
    return 0


@app.command()
def sweep(
    names: Notebooks = None,
    profile: Profile = "reader",
    parameter: Pairs = None,
    resume: Resume = True,
    jobs: Jobs = 1,
) -> int:
    """Run notebooks with every combination of values: -p epsilon 0.001,0.002 -p seed 1,2."""
    from medtk.runner import sweeps

    return _report_runs(sweeps.run(_choose(names), profile, _pairs(parameter), resume=resume, jobs=jobs))


@app.command()
def report(
    paper: Annotated[str, typer.Argument(help="One study, cell by cell; all studies in brief unless told.")] = "",
    as_json: Json = False,
    forensics: Annotated[bool, typer.Option("--forensics", help="What the printed numbers themselves say.")] = False,
) -> None:
    """Set the recorded results beside the printed numbers."""
    from medtk.reproduction import compare, papers

    ids = [papers.load(paper).id] if paper else papers.IDS
    if forensics:
        return _report_forensics(ids, as_json)
    found = compare.report(settings.results_home(), ids)
    if as_json:
        return print_json(found)
    columns = ["cells", "recorded", "reproduced", "direction", "differs", "not_testable", "unrecorded"]
    # Headings in two lines, so that an 80-column terminal shows them whole.
    headings = ["cells", "re-\ncorded", "repro-\nduced", "direc-\ntion", "differs", "not\ntestable", "un-\nrecorded"]
    table = Table("paper", *headings, title="Printed numbers", box=box.SIMPLE, padding=(0, 1, 0, 0))
    for name, counts in found["papers"].items():
        table.add_row(name, *(str(counts[column]) for column in columns))
    claims = Table("paper", "claim", "verdict", "reason", title="Claims")
    for claim in found["claims"]:
        claims.add_row(claim["paper"], claim["claim"], claim["verdict"], claim["reason"])
    Console().print(table, *([_cells(found["cells"])] if paper else []), claims)


def _cells(judged: list[dict]) -> Table:
    from medtk.reproduction.quantities import shown

    table = Table("table", "row", "column", "printed", "recorded", "verdict", title="Cells", box=box.SIMPLE)
    for cell in judged:
        numbers = ["" if cell[name] is None else shown(cell[name], cell["metric"]) for name in ("printed", "ours")]
        table.add_row(cell["table"], cell["row"], cell["column"], *numbers, cell["verdict"])
    return table


def _report_forensics(ids: Iterable[str], as_json: bool) -> None:
    from medtk.reproduction import forensics, papers

    found = {name: forensics.findings(papers.load(name)) for name in ids}
    if as_json:
        return print_json(found)
    for paper, findings in found.items():
        print(f"{paper}: {len(findings)} findings")
        for finding in findings:
            print("  " + ", ".join(f"{key} {value}" for key, value in finding.items() if value not in (None, "")))


@app.command()
def verify() -> int:
    """Recompute every stored number of every record from its predictions."""
    from medtk.reproduction import records

    home = settings.results_home()
    problems = records.verify(home)
    for problem in problems:
        _fail(problem, 1)
    if problems:
        return _fail(f"{len(problems)} of the stored numbers or files are not what they should be.", 1)
    print(f"{len(records.read_all(home))} records in {home}: every stored number was recomputed and is equal.")
    return 0


@app.command()
def book(
    profile: Profile = "quick",
    jobs: Jobs = 1,
    strict: Annotated[bool, typer.Option("--strict/--lenient", help="Treat warnings as errors.")] = True,
) -> int:
    """Run what has changed, put the book together, build it."""
    from medtk.runner import execute, stage

    outcomes = execute.run_all(_choose(None), profile, resume=True, jobs=jobs)
    if code := _report_runs(outcomes):
        return code
    with Console(stderr=True).status("Building the book"):
        stage.stage(profile)
        start = stage.build(strict)
    print(f"The book is ready, open {start}")
    return 0


@app.command()
def lint(names: Notebooks = None) -> int:
    """Check notebooks against the rules of their anatomy."""
    from medtk.runner import lint as runner_lint

    paths = _choose(names)
    problems = [problem for path in paths for problem in runner_lint.lint(path)]
    for problem in problems:
        _fail(problem, 1)
    print(f"{len(paths)} notebooks, {len(problems)} problems")
    return 1 if problems else 0


@app.command()
def exercises(names: Notebooks = None, profile: Profile = "quick") -> int:
    """Prove that each exercise's check accepts the solution and refuses the starter."""
    from medtk.runner import exercises as runner_exercises

    paths = _choose(names)
    problems = [problem for path in paths for problem in runner_exercises.verify(path, profile)]
    for problem in problems:
        _fail(problem, 1)
    print(f"{len(paths)} notebooks, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    main()
