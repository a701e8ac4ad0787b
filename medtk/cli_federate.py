"""The ``medtk federate`` commands: federated learning on several machines, or on one as if it were several."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from medtk.cli_data import Json, print_json
from medtk.errors import BadParameter, DataUnavailable

federate_app = typer.Typer(
    help="Federated learning on several machines: start a server, join it, look, stop.", no_args_is_help=True
)

Folder = Annotated[Path, typer.Argument(help="Folder of the run, or the invitation of a hospital.")]
Data = Annotated[Path | None, typer.Option(help="Folder with HOSPITAL/NAME/{train,val,test}/CLASS/.")]
DatasetName = Annotated[str, typer.Option(help="Instead of --data: a data set, see `medtk data list`.")]
Partition = Annotated[str, typer.Option(help="Of --dataset: how hospitals differ, see `medtk data hospitals`.")]
Alpha = Annotated[float, typer.Option(help="Of the partitions dirichlet and quantity_skew.")]
Synthetic = Annotated[bool, typer.Option(help="Draw images where the real ones are not to be had.")]
SkipUnreadable = Annotated[bool, typer.Option(help="Leave out pictures that cannot be read, and name them.")]
Heartbeat = Annotated[float, typer.Option(help="Seconds between signs of life, 10 or more; two missed: gone.")]


@federate_app.command("up")
def federate_up(
    folder: Folder,
    local: Annotated[int, typer.Option(help="Start so many hospitals on this machine too.")] = 0,
    hospitals: Annotated[str | None, typer.Option(help="Names, with commas; hospital_1,... for --local.")] = None,
    classes: Annotated[str | None, typer.Option(help="Names of the classes, with commas; --local knows them.")] = None,
    address: Annotated[str, typer.Option(help="Name or IP by which hospitals reach this machine; 127.0.0.1.")] = "",
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port that hospitals reach; 8000.")] = None,
    listen: Annotated[str, typer.Option(help="Address to listen at; all, unless --address is loopback.")] = "",
    network: Annotated[
        str | None, typer.Option(help="small, small_groups, mobilenetv2_035 or efficientnetv2s.")
    ] = None,
    weights: Annotated[str | None, typer.Option(help="auto, imagenet, mirror or random.")] = None,
    size: Annotated[int | None, typer.Option(help="Side of the images in pixels, 32 or more.")] = None,
    rounds: Annotated[int | None, typer.Option(help="More of them go on with a run that is there.")] = None,
    local_epochs: Annotated[int | None, typer.Option(help="Passes of a hospital in a round.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of the hospitals.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam or sgd.")] = None,
    proximal: Annotated[float | None, typer.Option(help="FedProx's mu; 0 is FedAvg.")] = None,
    fraction: Annotated[float | None, typer.Option(help="Part of the hospitals drawn for a round.")] = None,
    min_clients: Annotated[int | None, typer.Option(help="Fewest good updates of a round.")] = None,
    max_ratio: Annotated[float | None, typer.Option(help="Update so many times the middle length is refused.")] = None,
    strategy: Annotated[str | None, typer.Option(help="fedavg, median, trimmed_mean, krum or fedadam.")] = None,
    batchnorm: Annotated[str | None, typer.Option(help="average, local or local_statistics.")] = None,
    validate: Annotated[bool | None, typer.Option(help="Evaluate on validation images after each round.")] = None,
    noise_multiplier: Annotated[
        float | None, typer.Option(help="DP-SGD in each hospital, with so much noise; needs --no-validate.")
    ] = None,
    clip_norm: Annotated[float | None, typer.Option(help="With noise: longest gradient of an image; 1.")] = None,
    delta: Annotated[float | None, typer.Option(help="With noise: at which epsilon is told; 1e-5.")] = None,
    round_timeout: Annotated[float | None, typer.Option(help="Seconds until a round goes on without the late.")] = None,
    start_timeout: Annotated[float | None, typer.Option(help="Seconds to wait for all hospitals at first.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Same seed, same run.")] = None,
    data: Data = None,
    dataset: DatasetName = "",
    partition: Partition = "iid",
    dirichlet_alpha: Alpha = 0.5,
    synthetic: Synthetic = False,
    heartbeat: Heartbeat = 30,
) -> None:
    """Start the server of a run, new or stopped; each hospital finds its invitation in FOLDER/invitations."""
    from medtk.federated import flower

    options = {
        name: value
        for name, value in {
            "network": network, "weights": weights, "size": size, "rounds": rounds, "local_epochs": local_epochs,
            "batch_size": batch_size, "learning_rate": learning_rate, "optimizer": optimizer, "proximal": proximal,
            "fraction": fraction, "min_clients": min_clients, "max_ratio": max_ratio, "strategy": strategy,
            "batchnorm": batchnorm, "validate": validate, "noise_multiplier": noise_multiplier,
            "clip_norm": clip_norm, "delta": delta, "round_timeout": round_timeout,
            "start_timeout": start_timeout, "seed": seed,
        }.items()
        if value is not None
    }  # fmt: skip
    given = {"hospitals": _names(hospitals), "class_names": _names(classes)}
    if local and not (data or dataset):
        raise BadParameter("hospitals on this machine need images: --data FOLDER, or --dataset NAME.")
    if local:
        given = _local(local, given, data, dataset)
    stored = _stored(folder)
    options |= {name: value for name, value in given.items() if value}
    if stored is None and not (given["hospitals"] and given["class_names"]):
        raise BadParameter("a new run needs --hospitals and --classes, or --local with images on this machine.")
    plan = flower.Plan(**options) if stored is None else dataclasses.replace(stored, **options)
    console = Console()
    with console.status("Starting"):
        plan = flower.up(folder, plan, address=address, port=port, listen=listen)
        places = [folder / "invitations" / name for name in plan.hospitals]
        try:
            for index, place in enumerate(places if local else []):
                share = {"dataset": dataset, "partition": partition, "dirichlet_alpha": dirichlet_alpha}
                share |= {"index": index, "of": len(places), "seed": plan.seed, "synthetic": synthetic}
                source = flower.Source(folder=str(data.resolve())) if data else flower.Source(**share)
                flower.join(place, source, heartbeat=heartbeat)
            said = [flower.ready(place) for place in [folder, *(places if local else [])]]
        except BaseException:
            flower.down(folder)
            raise
    print(f"The server is up: {said[0]}.")
    for place, sentence in zip(places, said[1:] or [""] * len(places), strict=True):
        print(f"{place.name}: {sentence or f'`medtk federate join {place} --data FOLDER` on its machine'}.")
    print(f"`medtk federate status {folder} --follow` shows the rounds, `medtk federate down {folder}` stops all.")


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _stored(folder: Path):
    from medtk.federated import flower

    path = folder / "plan.json"
    return flower.Plan.read(path.read_text(encoding="utf-8")) if path.is_file() else None


def _local(local: int, given: dict, data: Path | None, dataset: str) -> dict:
    """Names and classes of hospitals on this machine, as far as they were not given."""
    if data is None:
        from medtk.data import CATALOG, find

        names = [f"hospital_{k + 1}" for k in range(local)]
        classes = CATALOG[find(dataset).name].class_names
    else:
        homes = sorted(path for path in (data / "HOSPITAL").glob("*") if path.is_dir())
        names = [home.name for home in homes]
        about = data / "partition.json"
        found = {path.parent.name for home in homes for path in home.glob("*/*/*")}
        classes = json.loads(about.read_text(encoding="utf-8"))["class_names"] if about.is_file() else sorted(found)
    names = list(given["hospitals"] or names)
    if len(names) != local:
        raise DataUnavailable(f"--local {local}, but there are {len(names)} hospitals: {', '.join(names) or 'none'}.")
    return {"hospitals": tuple(names), "class_names": given["class_names"] or tuple(classes)}


@federate_app.command("join")
def federate_join(
    folder: Annotated[Path, typer.Argument(help="The invitation of this hospital, with its node_key.")],
    data: Data = None,
    hospital: Annotated[str, typer.Option(help="Its name in --data; the name of the invitation unless told.")] = "",
    dataset: DatasetName = "",
    partition: Partition = "iid",
    dirichlet_alpha: Alpha = 0.5,
    index: Annotated[int, typer.Option(min=0, help="Of --dataset: which share, from 0.")] = 0,
    of: Annotated[int, typer.Option(min=1, help="Of --dataset: how many shares.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Of --dataset: same seed, same shares.")] = 0,
    synthetic: Synthetic = False,
    skip_unreadable: SkipUnreadable = False,
    max_epsilon: Annotated[
        float | None, typer.Option(help="Train with noise only, and no further than this epsilon.")
    ] = None,
    heartbeat: Heartbeat = 30,
) -> None:
    """Start this hospital: it waits for rounds in the background, and its images stay where they are."""
    from medtk.federated import flower

    source = flower.Source(
        folder=str(data.resolve()) if data else "", member=hospital, dataset=dataset, partition=partition,
        dirichlet_alpha=dirichlet_alpha, index=index, of=of, seed=seed, synthetic=synthetic,
        skip_unreadable=skip_unreadable, max_epsilon=max_epsilon,
    )  # fmt: skip
    with Console().status("Joining"):
        flower.join(folder, source, heartbeat=heartbeat)
        said = flower.ready(folder)
    print(f"Joined: {said}. `medtk federate status {folder}` looks, `medtk federate down {folder}` leaves.")


@federate_app.command("status")
def federate_status(
    folder: Folder,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until the run has ended; Ctrl-C stops looking.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Show rounds, hospitals and metrics of a run, or how a hospital is."""
    from medtk.federated import flower

    found = flower.status(folder)
    shown = 0
    while follow and found["kind"] == "server" and found["state"] in ("starting", "waiting", "running"):
        for entry in found["history"][shown:]:
            print(_line(entry))
        shown = len(found["history"])
        time.sleep(1)
        found = flower.status(folder)
    if as_json:
        print_json(found)
    else:
        _show(found)
    return 1 if found["state"] in ("failed", "stopped") else 0


def _line(entry: dict) -> str:
    rows = entry["clients"]
    bad = [f"{row['client']} {row['status']}: {row['why']}" for row in rows if row["why"]]
    good = f"round {entry['round']}: {len(rows) - len(bad)} of {len(rows)} hospitals, {entry['seconds']:.1f} s"
    return "; ".join([good, *_accuracy(entry, "validation accuracy {:.3f}"), *bad])


def _accuracy(entry: dict, words: str) -> list[str]:
    """Accuracy over all hospitals' validation images together."""
    rows = entry["evaluation"]
    total = sum(row["n"] for row in rows)
    return [words.format(sum(row["accuracy"] * row["n"] for row in rows) / total)] if total else []


def _show(found: dict) -> None:
    running = ", ".join(f"{name} {'runs' if runs else 'does not run'}" for name, runs in found["processes"].items())
    print(f"{found['state']}: {found['said']} ({running or 'no process'})")
    if spent := found.get("epsilon"):
        each = spent if isinstance(spent, dict) else {"this hospital": spent}
        shown = (f"{name} {'unknown' if value is None else f'{value:.3g}'}" for name, value in each.items())
        print(f"epsilon spent: {', '.join(shown)}")
    if not found.get("history"):
        return
    table = Table("round", "hospitals", "seconds", "validation accuracy", "what went wrong")
    for entry in found["history"]:
        bad = [f"{row['client']} {row['status']}: {row['why']}" for row in entry["clients"] if row["why"]]
        good = f"{len(entry['clients']) - len(bad)} of {len(entry['clients'])}"
        accuracy = "".join(_accuracy(entry, "{:.3f}"))
        table.add_row(str(entry["round"]), good, f"{entry['seconds']:.1f}", accuracy, "\n".join(bad))
    Console().print(table)


@federate_app.command("down")
def federate_down(folder: Folder) -> None:
    """Stop what `up` or `join` started from a folder; what was finished is kept."""
    from medtk.federated import flower

    stopped = flower.down(folder)
    print(f"Stopped: {', '.join(stopped)}." if stopped else "Nothing was running.")
