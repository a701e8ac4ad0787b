"""Fill the ledger for chapter 24, skipping what is recorded already.

``python -m medtk.lab.covid_rounds_recording late members communication --seeds 0 1``. Long runs with a value for each
round are made by ``python -m medtk.lab.covid_recording --rounds 80 ...``.
"""

import argparse
import itertools
import sys

from medtk.errors import DataUnavailable, MedtkError
from medtk.lab import covid, covid_communication, covid_rounds, session
from medtk.lab.covid_rounds import LATE, MEMBERS, TREATMENTS, Late
from medtk.lab.covid_spec import PAPER, SPLITS, Spec
from medtk.models import COVID_NETWORKS
from medtk.settings import results_home

COMMON = ("network", "weights", "size", "rounds", "local_epochs", "batch_size", "learning_rate")


def start(spec: Spec) -> tuple[session.Run, dict]:
    """A run and its images; `DataUnavailable` if only synthetic ones could be had."""
    run = session.start("24", seed=spec.seed, profile="scaled")
    images = covid.load(run, spec)
    if any(dataset.is_synthetic for dataset in images.values()):
        raise DataUnavailable("The images of paper 2 are not here, and synthetic ones are never recorded.")
    return run, images


def there(experiment: str, name: str) -> bool:
    """Whether the ledger has a record."""
    return (results_home() / PAPER / experiment / f"{name}.json").is_file()


def record_late(spec: Spec, delay: int) -> None:
    """One slow client, treated in every way."""
    todo = [Late(treatment, delay=delay) for treatment in TREATMENTS]
    todo = [late for late in todo if not there(LATE, covid_rounds.late_name(spec, late, "ultrasound"))]
    if not todo:
        return
    run, images = start(spec)
    model = covid.network(spec)
    for late in todo:
        found = covid_rounds.late_recorded(run, images, spec, model, late)
        print(late, {m: round(r["metrics"]["clean"]["balanced_accuracy"], 4) for m, r in found.items()}, flush=True)


def record_members(spec: Spec) -> None:
    """Losses of training and test images under the shared model."""
    if not there(MEMBERS, covid_rounds.members_name(spec, "ultrasound")):
        run, images = start(spec)
        found = covid_rounds.members_recorded(run, images, spec, covid.network(spec))
        print(
            covid_rounds.members_name(spec, "both"), {m: r["metrics"]["members"] for m, r in found.items()}, flush=True
        )


def record_communication(size: int) -> None:
    """Bytes of a round of every network."""
    for network in COVID_NETWORKS:
        spec = Spec(way="multi_modal", network=network, weights="random", size=size)
        if not there(covid_communication.EXPERIMENT, covid_communication.record_name(spec)):
            run, images = start(spec)
            payload = covid_communication.measured(
                spec, covid.shared_out(images, spec), covid_communication.image_bytes(images)
            )
            made = covid_communication.recorded(run, images, spec, payload)
            print(network, covid_communication.break_evens(made), flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Record slow clients, recognised images and traffic of paper 2.")
    parser.add_argument("experiments", nargs="+", choices=("late", "members", "communication"))
    parser.add_argument("--splits", nargs="+", default=["patient"], choices=SPLITS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--ways", nargs="+", default=["clustered"], help="of members")
    parser.add_argument("--network", default="small", choices=COVID_NETWORKS)
    parser.add_argument("--weights", default="random")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--local-epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=Spec().batch_size)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--delay", type=int, default=3)
    try:
        chosen = parser.parse_args(arguments)
        common = {name: getattr(chosen, name) for name in COMMON}
        for seed, split in itertools.product(chosen.seeds, chosen.splits):
            spec = Spec(way="multi_modal", split=split, seed=seed, **common)
            if "late" in chosen.experiments:
                record_late(spec, chosen.delay)
            if "members" in chosen.experiments:
                for way in chosen.ways:
                    record_members(Spec(**{**vars(spec), "way": way}))
        if "communication" in chosen.experiments:
            record_communication(chosen.size)
    except MedtkError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
