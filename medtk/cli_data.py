"""The ``medtk data`` commands."""

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

data_app = typer.Typer(help="Data sets: what exists, where it is, get it, check it.", no_args_is_help=True)

Names = Annotated[list[str] | None, typer.Argument(help="Names of data sets, see `medtk data list`.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def print_json(content: Any) -> None:
    """Print for programs: no colours, no wrapping."""
    print(json.dumps(content, indent=2, ensure_ascii=False))


@data_app.command("list")
def data_list(as_json: Json = False) -> None:
    """List the data sets and where each would come from."""
    from medtk import data

    found = [data.find(name) for name in data.names()]
    if as_json:
        return print_json(
            [{"name": s.name, "source": s.source, "path": str(s.path or ""), "note": s.note} for s in found]
        )
    table = Table("name", "source", "what or where", title="Data sets")
    for status in found:
        table.add_row(status.name, status.source, str(status.path or status.note))
    Console().print(table)


@data_app.command("fetch")
def data_fetch(names: Names = None) -> None:
    """Download official files and check them; without names, all that have a download."""
    from medtk import data

    for name in names or [name for name in data.names() if data.CATALOG[name].download]:
        print(f"{name}: {data.fetch(name)}")


@data_app.command("verify")
def data_verify(names: Names = None) -> None:
    """Read every byte of the data sets that are here and compare the checksums."""
    from medtk import data

    present = [name for name in data.names() if data.find(name).source != "missing"]
    for name in names or present:
        status = data.verify(name)
        print(f"{name}: {status.source}, {status.path}")
    if not (names or present):
        print("No data set is on this machine; `medtk data fetch` gets the official ones.")


@data_app.command("show")
def data_show(name: str, as_json: Json = False) -> None:
    """Show the card of a data set."""
    import dataclasses

    from medtk import data

    status = data.find(name)
    card = dataclasses.asdict(data.CATALOG[name]) | {"here": status.source, "note": status.note}
    if as_json:
        return print_json(card)
    table = Table("field", "value", title=card.pop("title"), show_header=False)
    for field, value in card.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {number}" for key, number in value.items())
        elif isinstance(value, list | tuple):
            value = "\n".join(str(item) for item in value)
        table.add_row(field, str(value))
    Console().print(table)
