"""Fill the ledger: run a study's experiments at the paper's settings, skipping what is recorded already.

``python -m medtk.lab.recording breastmnist pneumoniamnist --seeds 0 1 2`` is what ``make record`` calls.
"""

import argparse
import itertools
import sys

from medtk import models, training
from medtk.errors import DataUnavailable, MedtkError
from medtk.lab import session, transfer
from medtk.settings import results_home


def record_transfer(
    datasets: list[str], networks: list[str], trainable: list[str], scalings: list[str], seeds: list[int]
) -> None:
    """Record paper 1's baselines, seed by seed, so that a run cut short still has whole rows.

    Parameters
    ----------
    datasets, networks : list of str
        Names.
    trainable : list of str
        Choices of what trains; ``all`` answers the paper's cells, the others fill the ambiguity register.
    scalings : list of str
        Ranges of pixel values; ``unit`` answers the paper's cells.
    seeds : list of int

    Raises
    ------
    DataUnavailable
        If only synthetic images could be had.
    """
    for dataset_name, choice, scaling, seed, network in itertools.product(
        datasets, trainable, scalings, seeds, networks
    ):
        spec = training.Spec(network, trainable=choice, scaling=scaling, seed=seed)
        name = transfer.record_name(dataset_name, spec)
        if (results_home() / "robust_transfer" / "transfer" / f"{name}.json").is_file():
            continue
        run = session.start("12", seed=seed, profile="paper")
        dataset = run.load(dataset_name)
        if dataset.is_synthetic:
            raise DataUnavailable(f"{dataset_name} is not here, and synthetic images are never recorded.")
        _, record = transfer.baseline(run, dataset, spec, answers=(choice, scaling) == ("all", "unit"))
        print(
            name, {key: round(value["accuracy"], 4) for key, value in record["metrics"].items()}, flush=True
        )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=record_transfer.__doc__.splitlines()[0])
    parser.add_argument("datasets", nargs="+")
    parser.add_argument("--networks", nargs="+", default=list(models.NETWORKS))
    parser.add_argument("--trainable", nargs="+", default=["all"])
    parser.add_argument("--scalings", nargs="+", default=["unit"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    chosen = parser.parse_args()
    try:
        record_transfer(chosen.datasets, chosen.networks, chosen.trainable, chosen.scalings, chosen.seeds)
    except MedtkError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
