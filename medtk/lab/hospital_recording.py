"""Fill the ledger of paper 5, skipping what is recorded already; a run that was stopped goes on at its last round.

``python -m medtk.lab.hospital_recording --ways fedavg local centralised --partitions dirichlet iid --seeds 0``

With another network or size than the study's, the records bear the profile ``scaled`` and say what differs.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator

from medtk.data.hospitals import PARTITIONS
from medtk.errors import DataUnavailable, MedtkError
from medtk.lab import hospital, session
from medtk.lab.hospital_spec import EXPERIMENT, PAPER, WAYS, Spec, deviations, record_name
from medtk.models import HOSPITAL_NETWORKS
from medtk.settings import results_home


def planned(chosen: argparse.Namespace, seed: int) -> Iterator[Spec]:
    """Every combination that was asked for; alpha is varied only where the partition depends on it."""
    names = ("network", "size", "weights", "rounds", "batch_size", "learning_rate", "n_train")
    fixed = {name: getattr(chosen, name) for name in names}
    for partition, way in itertools.product(chosen.partitions, chosen.ways):
        for alpha in chosen.alphas if partition in ("dirichlet", "quantity_skew") else [Spec.dirichlet_alpha]:
            yield Spec(way=way, partition=partition, dirichlet_alpha=alpha, seed=seed, **fixed)


def missing(specs: Iterator[Spec]) -> list[Spec]:
    """Those that the ledger does not hold; the record of all test images is written last."""
    folder = results_home() / PAPER / EXPERIMENT
    return [spec for spec in specs if not (folder / f"{record_name(spec)}.json").is_file()]


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
    model = None
    for seed in chosen.seeds:
        specs = missing(planned(chosen, seed))
        if not specs:
            continue
        run = session.start("51", seed=seed, profile=profile(specs[0]))
        dataset = run.load("chest_xray", size=specs[0].size, n_train=specs[0].n_train)
        if dataset.is_synthetic:
            raise DataUnavailable("chest_xray is not here, and synthetic images are never recorded.")
        model = hospital.network(specs[0], into=model)
        for spec in specs:
            made, found = hospital.recorded(run, dataset, spec, model)
            accuracies = {name: round(value["accuracy"], 4) for name, value in found["all"]["metrics"].items()
                          if "confusion" in value}  # fmt: skip
            print(record_name(spec), accuracies, f"{made.seconds / 60:.1f} min", flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line."""
    usual = Spec()
    parser = argparse.ArgumentParser(description="Record runs of the hospital study on chest_xray.")
    parser.add_argument("--ways", nargs="+", default=["fedavg"], choices=WAYS)
    parser.add_argument("--partitions", nargs="+", default=["dirichlet"], choices=PARTITIONS)
    parser.add_argument("--alphas", nargs="+", type=float, default=[usual.dirichlet_alpha])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--network", default=usual.network, choices=list(HOSPITAL_NETWORKS))
    parser.add_argument("--size", type=int, default=usual.size, help="pixels a side")
    parser.add_argument("--weights", default=usual.weights)
    parser.add_argument("--rounds", type=int, default=usual.rounds)
    parser.add_argument("--batch-size", type=int, default=usual.batch_size)
    parser.add_argument("--learning-rate", type=float, default=usual.learning_rate)
    parser.add_argument("--n-train", type=int, default=0, help="training images of all hospitals, 0 for all")
    try:
        record(parser.parse_args(arguments))
    except MedtkError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
