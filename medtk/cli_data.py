"""The ``medtk data`` commands."""

import json
from pathlib import Path
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


@data_app.command("hospitals")
def data_hospitals(
    out: Annotated[Path, typer.Option(help="Folder to make; must not exist, or be empty.")],
    partition: Annotated[
        str, typer.Option(help="iid, label_skew, dirichlet, quantity_skew or acquisition_shift.")
    ] = "iid",
    hospitals: Annotated[int, typer.Option(min=1, help="How many.")] = 3,
    dirichlet_alpha: Annotated[float, typer.Option(help="Of dirichlet and quantity_skew: small is unequal.")] = 0.5,
    shards: Annotated[int, typer.Option(min=1, help="Of label_skew: blocks of one class a hospital.")] = 2,
    val_fraction: Annotated[float, typer.Option(help="Part of a hospital's training images for validation.")] = 0.1,
    dataset: Annotated[str, typer.Option(help="See `medtk data list`.")] = "chest_xray",
    size: Annotated[int | None, typer.Option(min=1, help="Side in pixels; as stored unless told.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same shares.")] = 0,
    synthetic: Annotated[bool, typer.Option(help="Draw images where the real ones are not to be had.")] = False,
) -> None:
    """Share a data set out among hospitals and write each one's folders."""
    from medtk import data

    card = data.CATALOG[data.find(dataset).name]
    loaded = data.load(dataset, size=size or card.shape[0], allow_synthetic=synthetic, seed=seed)
    chosen = {
        "partition": partition,
        "hospitals": hospitals,
        "dirichlet_alpha": dirichlet_alpha,
        "shards": shards,
        "val_fraction": val_fraction,
        "seed": seed,
    }
    shared = data.hospitals.split(loaded, **chosen)
    about = chosen | {"dataset": dataset, "size": loaded.image_shape[0], "sha256": loaded.sha256}
    data.write_hospitals(shared, out, about)
    table = Table("hospital", "split", "n", *shared.class_names, title=f"{out}: {dataset}, {loaded.source}")
    for row in data.hospitals.table(shared.members, shared.class_names):
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)
