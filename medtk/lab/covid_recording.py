"""Fill the ledger of paper 2, skipping what is recorded already; a run that was stopped goes on at its last round.

``python -m medtk.lab.covid_recording --network small --size 32 --rounds 30 --learning-rate 0.001 --ways clustered``

With another network or size than the study's, the records bear the profile ``scaled`` and say what differs. With
``KERAS_BACKEND=jax`` before it the same command trains on JAX, on a GPU if JAX finds one, and the records say so.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator

import keras

from medtk.errors import DataUnavailable, MedtkError
from medtk.lab import covid, session
from medtk.lab.covid_spec import EXPERIMENT, PAPER, SETTING, SPLITS, WAYS, Spec, deviations, record_name
from medtk.models import COVID_NETWORKS
from medtk.settings import results_home


def planned(chosen: argparse.Namespace, seed: int, split: str) -> Iterator[Spec]:
    """Every way that was asked for, on one split."""
    fixed = {name: getattr(chosen, name) for name in SETTING}
    for way in chosen.ways:
        yield Spec(way=way, split=split, seed=seed, **fixed)


def missing(specs: Iterator[Spec]) -> list[Spec]:
    """Those that the ledger does not hold; the record of ultrasound is written last."""
    folder = results_home() / PAPER / EXPERIMENT
    return [spec for spec in specs if not (folder / f"{record_name(spec, 'ultrasound')}.json").is_file()]


def profile(spec: Spec) -> str:
    """``paper`` where nothing differs from what the study says, else ``scaled``."""
    return "scaled" if deviations(spec) else "paper"


def record(chosen: argparse.Namespace) -> None:
    """Make every recording that is not in the ledger yet.

    Raises
    ------
    DataUnavailable
        If only synthetic images could be had.
    """
    model: keras.Model | None = None
    for seed, split in itertools.product(chosen.seeds, chosen.splits):
        specs = missing(planned(chosen, seed, split))
        if not specs:
            continue
        run = session.start("23", seed=seed, profile=profile(specs[0]))
        images = covid.load(run, specs[0])
        if any(dataset.is_synthetic for dataset in images.values()):
            raise DataUnavailable("The images of paper 2 are not here, and synthetic ones are never recorded.")
        model = covid.network(specs[0], into=model)
        for spec in specs:
            made, found = covid.recorded(run, images, spec, model)
            shares = {m: round(r["metrics"]["clean"]["balanced_accuracy"], 4) for m, r in found.items()}
            print(record_name(spec, "both"), shares, f"{made.seconds / 60:.1f} min", flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line."""
    usual = Spec()
    parser = argparse.ArgumentParser(description="Record runs of the clustered-learning study.")
    parser.add_argument("--ways", nargs="+", default=["specialised", "multi_modal", "clustered"], choices=list(WAYS))
    parser.add_argument("--splits", nargs="+", default=["frame"], choices=SPLITS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--network", default=usual.network, choices=COVID_NETWORKS)
    parser.add_argument("--size", type=int, default=usual.size, help="pixels a side")
    parser.add_argument("--weights", default=usual.weights)
    parser.add_argument("--clients", type=int, default=usual.clients, help="of each modality")
    parser.add_argument("--rounds", type=int, default=usual.rounds)
    parser.add_argument("--local-epochs", type=int, default=usual.local_epochs)
    parser.add_argument("--batch-size", type=int, default=usual.batch_size)
    parser.add_argument("--learning-rate", type=float, default=usual.learning_rate)
    try:
        record(parser.parse_args(arguments))
    except MedtkError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
