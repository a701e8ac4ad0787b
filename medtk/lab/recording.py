"""Fill the ledger: run a study's experiments at the paper's settings, skipping what is recorded already.

``python -m medtk.lab.recording transfer breastmnist pneumoniamnist --seeds 0 1 2`` is what ``make record`` calls.
"""

import argparse
import collections
import itertools
import sys
from collections.abc import Callable, Iterator

from medtk import training
from medtk.data import GROUPED, Dataset, card_of, regroup
from medtk.defenses import adversarial, distillation
from medtk.errors import DataUnavailable, MedtkError
from medtk.lab import defended, session, stronger, transfer
from medtk.settings import results_home

EPSILON = 0.003  # of the strong attacks: the middle of the paper's range
# A recording yet to be made: experiment, name of its record, number of its notebook, seed, and how to make it.
Planned = tuple[str, str, str, int, Callable[[session.Run, Dataset], tuple[object, dict]]]


def baselines(dataset: str, chosen: argparse.Namespace) -> Iterator[Planned]:
    """Tables I and II, and the other choices of the ambiguity register, which answer no cell."""
    compiled = collections.defaultdict(dict)
    for choice, scaling, seed, network in itertools.product(
        chosen.trainable, chosen.scalings, chosen.seeds, chosen.networks
    ):
        spec = training.Spec(network, trainable=choice, scaling=scaling, seed=seed)
        answers = (choice, scaling) == ("all", "unit") and not dataset.endswith(GROUPED)

        def make(run, data, spec=spec, answers=answers, compiled=compiled[network, choice, scaling]):
            return transfer.baseline(run, data, spec, answers=answers, compiled=compiled)

        yield "transfer", transfer.record_name(dataset, spec), "12", seed, make


def adversarial_trainings(dataset: str, chosen: argparse.Namespace) -> Iterator[Planned]:
    """Rows AT of Table III, and the other ways to train adversarially, which answer no cell."""
    compiled = collections.defaultdict(dict)
    for method, share, crafting, seed, network in itertools.product(
        chosen.methods, chosen.clean_shares, chosen.crafting, chosen.seeds, chosen.networks
    ):
        base = training.Spec(network, seed=seed)
        spec = adversarial.Spec(base, method, clean_share=share, crafting=crafting, seed=seed)
        answers = (method, share) == ("printed", 0.0)

        def make(run, data, spec=spec, answers=answers, compiled=compiled[network]):
            return defended.adversarially_trained(run, data, spec, answers=answers, compiled=compiled)

        yield "adversarial", defended.adversarial_name(dataset, spec), "13", seed, make


def distillations(dataset: str, chosen: argparse.Namespace) -> Iterator[Planned]:
    """Rows KD of Table III, and the students of other teachers, sizes and temperatures, which answer no cell."""
    for student, temperature, statistics, seed, network in itertools.product(
        chosen.students, chosen.temperatures, chosen.statistics, chosen.seeds, chosen.networks
    ):
        teacher = training.Spec(network, seed=seed)
        spec = distillation.Spec(teacher, student, temperature=temperature, teacher_statistics=statistics, seed=seed)
        answers = spec == distillation.Spec(teacher, seed=seed)

        def make(run, data, spec=spec, answers=answers):
            return defended.distilled(run, data, spec, answers=answers)

        yield "distillation", defended.distilled_name(dataset, spec), "14", seed, make


def strong_attacks(dataset: str, chosen: argparse.Namespace) -> Iterator[Planned]:
    """Networks and defences under every attack of chapter 15; the paper has no such cell."""
    for seed, defense, network in itertools.product(chosen.seeds, chosen.defenses, chosen.networks):
        spec = training.Spec(network, seed=seed)

        def make(run, data, spec=spec, defense=defense):
            return stronger.record(run, data, spec, EPSILON, defense=defense)

        n_test = card_of(dataset).counts["test"]
        yield "attacks", stronger.record_name(dataset, n_test, spec, EPSILON, defense), "15", seed, make


EXPERIMENTS = {
    "transfer": baselines,
    "adversarial": adversarial_trainings,
    "distillation": distillations,
    "attacks": strong_attacks,
}


def record(planned: Iterator[Planned], dataset: str) -> None:
    """Make every recording that is not in the ledger yet.

    Parameters
    ----------
    planned : iterator
        From one of `EXPERIMENTS`.
    dataset : str
        Name of the data set; with ``-by-group`` behind it, split again so that no group is on two sides.

    Raises
    ------
    DataUnavailable
        If only synthetic images could be had.
    """
    for experiment, name, notebook, seed, make in planned:
        if (results_home() / "robust_transfer" / experiment / f"{name}.json").is_file():
            continue
        run = session.start(notebook, seed=seed, profile="paper")
        data = run.load(dataset.removesuffix(GROUPED))
        if dataset.endswith(GROUPED):
            data = regroup(data)
        if data.is_synthetic:
            raise DataUnavailable(f"{dataset} is not here, and synthetic images are never recorded.")
        _, made = make(run, data)
        accuracies = {key: round(value["accuracy"], 4) for key, value in made["metrics"].items()}
        print(name, accuracies, flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Record one experiment of paper 1 on some data sets.")
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("datasets", nargs="+")
    parser.add_argument("--networks", nargs="+", default=list(transfer.TITLES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--trainable", nargs="+", default=["all"])
    parser.add_argument("--scalings", nargs="+", default=["unit"])
    parser.add_argument("--methods", nargs="+", default=["printed"])
    parser.add_argument("--clean-shares", nargs="+", type=float, default=[0.0])
    parser.add_argument("--crafting", nargs="+", default=["inference"])
    parser.add_argument("--defenses", nargs="+", default=["none", "at", "kd"])
    parser.add_argument("--students", nargs="+", default=["small"])
    parser.add_argument("--temperatures", nargs="+", type=float, default=[1.0])
    parser.add_argument("--statistics", nargs="+", default=["moving"])
    chosen = parser.parse_args()
    try:
        for dataset in chosen.datasets:
            record(EXPERIMENTS[chosen.experiment](dataset, chosen), dataset)
    except MedtkError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
