"""The ``medtk edge`` commands: bundles of small networks, a registry of them, and how fast they are here."""

import hashlib
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from medtk.cli_data import Json, print_json

edge_app = typer.Typer(
    help="Small networks: measure them here, ship them as bundles, keep a registry.", no_args_is_help=True
)

Home = Annotated[Path, typer.Argument(metavar="REGISTRY", help="Folder of the registry.")]
File = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle (.zip).")]
Version = Annotated[str, typer.Argument(help="A published version.")]


@edge_app.command("bench")
def edge_bench(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="A bundle (.zip) or an exported network (.tflite); the book's reference network unless told."
        ),
    ] = None,
    stand_in: Annotated[
        str, typer.Option(help="Limits that stand for a small device: none, one_core, one_core_1gb, one_core_400mb.")
    ] = "none",
    threads: Annotated[int, typer.Option(min=1, help="Processor threads.")] = 1,
    repeats: Annotated[int, typer.Option(min=1, help="Blocks of 30 answers; the middle block counts.")] = 5,
    table: Annotated[
        Path | None, typer.Option(help="CSV to add a line to; benchmarks/edge_machines.csv of the project unless told.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Time a network on this machine and add a line to a table; lines of other machines stay."""
    from medtk.edge import bundle, device, reference
    from medtk.reproduction import provenance

    table = table or device.table_of_machines()
    device.read(table)  # a table that cannot be added to is found before the measurement, not after
    with tempfile.TemporaryDirectory() as folder:
        file = file or reference.write(Path(folder))
        if file.suffix == ".zip":
            found = bundle.load(file)
            name, content = f"{found.name} {found.version}", found.network
            with found.unpacked() as network:
                times = device.measured(network, stand_in, threads=threads, repeats=repeats)
        else:
            times = device.measured(file, stand_in, threads=threads, repeats=repeats)
            name, content = file.stem, file.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    line = device.row(provenance.hardware(), name, sha256, len(content), stand_in, threads, times)
    device.add(table, line)
    if as_json:
        return print_json(line)
    lines = device.read(table)
    beside = device.together(lines)[tuple(line[key] for key in device.SAME)]
    columns = ("machine", "cores", "median_ms", "p95_ms", "cold_ms", "peak_mb", "when")
    headings = ("machine", "cores", "median\nms", "p95\nms", "cold\nms", "peak\nMB", "when")
    shown = Table("", *headings, title=f"{name}, {device.STAND_INS[stand_in].said}, threads: {threads}")
    for place, other in enumerate(beside, start=1):
        shown.add_row("this run" if place == len(beside) else "", *(other[column] for column in columns))
    Console().print(shown)
    print(f"Added to {table}, which has {len(lines)} lines. A limit stands for a device; it is none.")


@edge_app.command("predict")
def edge_predict(
    source: Annotated[Path, typer.Argument(help="A bundle (.zip), or a registry, whose active bundle answers.")],
    images: Annotated[list[Path], typer.Argument(help="Pictures.")],
    as_json: Json = False,
) -> None:
    """Answer pictures. For teaching and research, not for clinical use."""
    from medtk.edge import bundle, registry

    found = registry.active(source) if source.is_dir() else bundle.load(source)
    answers = dict(zip(map(str, images), found.answers(images), strict=True))
    if as_json:
        return print_json({"name": found.name, "version": found.version, "answers": answers})
    table = Table("picture", *found.labels, title=f"{found.name} {found.version} (not for clinical use)")
    for picture, answer in answers.items():
        table.add_row(picture, *(f"{share:.1%}" for share in answer.values()))
    Console().print(table)


@edge_app.command("list")
def edge_list(home: Home, as_json: Json = False) -> None:
    """Show the versions of a registry, which one is active, and what happened."""
    from medtk.edge import registry

    found = {
        "versions": registry.versions(home), "active": registry.active_version(home),
        "history": registry.history(home),
    }  # fmt: skip
    if as_json:
        return print_json(found)
    table = Table("event", "version", "active then", "reason", title=f"{home}: active is {found['active']}")
    for event in found["history"]:
        table.add_row(event["event"], event["version"], event["active"], event["reason"])
    print(f"Published: {', '.join(found['versions']) or 'nothing'}")
    Console().print(table)


@edge_app.command("publish")
def edge_publish(
    home: Home,
    file: File,
    activate: Annotated[bool, typer.Option("--activate", help="Use it at once, whatever its quality.")] = False,
) -> None:
    """Copy a bundle into a registry, which is made if need be."""
    from medtk.edge import registry

    version = registry.publish(home, file)
    if activate:
        registry.activate(home, version)
    print(f"Published {version}; active is {registry.active_version(home)}.")


@edge_app.command("update")
def edge_update(
    home: Home,
    version: Version,
    dataset: Annotated[str, typer.Option(help="Its validation images judge, see `medtk data list`.")],
    margin: Annotated[float, typer.Option(help="Loss of balanced accuracy that is let pass, 0 to 1.")] = 0.0,
    synthetic: Annotated[bool, typer.Option(help="Draw images where the real ones are not to be had.")] = False,
) -> int:
    """Use a published version unless it is worse than the active one; exit code 1 if it is refused."""
    from medtk import data
    from medtk.edge import bundle, registry

    wanted = bundle.load(home / "bundles" / f"{version}.zip")
    images = data.load(dataset, size=wanted.size, channels=wanted.channels, allow_synthetic=synthetic)
    decision = registry.update(home, version, images.val, margin=margin)
    print(f"{version}: {decision.reason} Active is {registry.active_version(home)}. Images: {images.source}.")
    return 0 if decision.accepted else 1


@edge_app.command("rollback")
def edge_rollback(
    home: Home, reason: Annotated[str, typer.Option(help="Kept in the registry's history.")] = "by hand"
) -> None:
    """Return to the version that was active before."""
    from medtk.edge import registry

    print(f"Active is {registry.roll_back(home, reason=reason)} again.")
