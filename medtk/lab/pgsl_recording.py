"""Fill the ledger of paper 3, skipping what is recorded already; training that was stopped goes on at its last epoch.

``python -m medtk.lab.pgsl_recording streams mnist --images jsma cw bim fgsm none pgsl --n-train 6000 --n-test 2000``
"""

import argparse
import itertools
import sys
from collections.abc import Iterator

from medtk.errors import BadParameter, DataUnavailable, MedtkError
from medtk.lab import mammograms, pgsl, pgsl_images, session
from medtk.lab.pgsl_spec import IMAGES, PAPER, SIZES, SPLITS, Spec, deviations, prepared, record_name
from medtk.settings import results_home

NOTEBOOKS = {"recovery": "32", "streams": "34", "mammograms": "34"}


def planned(chosen: argparse.Namespace) -> Iterator[Spec]:
    """Every combination that was asked for; the cut and μ are varied only where the method has them."""
    fixed = {name: getattr(chosen, name) for name in ("epochs", "batch_size", "size")}
    for split, seed, images in itertools.product(chosen.splits, chosen.seeds, chosen.images):
        whole = images == "pgsl"
        for cut, mu in itertools.product(chosen.cuts, chosen.mus) if whole else [(Spec.cut, Spec.mu)]:
            yield Spec(images=images, split=split, cut=cut, mu=mu, seed=seed, **fixed)


def record(chosen: argparse.Namespace) -> None:
    """Make every recording that is not in the ledger yet.

    Raises
    ------
    DataUnavailable
        If only synthetic images could be had.
    """
    for spec in planned(chosen):
        run = session.start(NOTEBOOKS[chosen.experiment], seed=spec.seed, profile="paper")
        size = spec.size or SIZES[chosen.dataset]
        dataset = run.load(chosen.dataset, size=size, channels=1)
        if dataset.is_synthetic:
            raise DataUnavailable(f"{chosen.dataset} is not here, and synthetic images are never recorded.")
        dataset = prepared(dataset, spec, chosen.n_train, chosen.n_test)
        name = record_name(dataset, spec)
        if (results_home() / PAPER / chosen.experiment / f"{name}.json").is_file():
            continue
        run.profile = "scaled" if deviations(spec, dataset) else "paper"
        if chosen.experiment == "recovery":
            _, made = pgsl_images.recovery(run, dataset, spec)
            said = {key: round(value["mse"], 5) for key, value in made["metrics"].items()}
        else:
            _, made = pgsl.recorded(run, dataset, spec)
            said = {key: round(value["accuracy"], 4) for key, value in made["metrics"].items() if "accuracy" in value}
        print(name, said, f"{made['seconds'] / 60:.1f} min", flush=True)


def try_mammograms(chosen: argparse.Namespace) -> None:
    """Make every recording of `medtk.lab.mammograms` that is not in the ledger yet.

    Raises
    ------
    BadParameter
        If other images are asked for.
    DataUnavailable
        If the mammograms are not here.
    """
    if chosen.dataset != "mias_paper":
        raise BadParameter(f"mammograms tries the images of mias_paper, not {chosen.dataset}.")
    for seed, learner, view in itertools.product(chosen.seeds, chosen.learners, chosen.views):
        name = mammograms.record_name(view, learner, chosen.part, seed)
        skipped = learner == "study" and view not in mammograms.STUDY_VIEWS
        if skipped or (results_home() / PAPER / mammograms.EXPERIMENT / f"{name}.json").is_file():
            continue
        run = session.start(NOTEBOOKS[chosen.experiment], seed=seed, profile="scaled")
        made = mammograms.recorded(run, view, learner, part=chosen.part)
        print(name, f"balanced {made['metrics']['held out']['balanced_accuracy']:.1%}", flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line."""
    usual = Spec()
    parser = argparse.ArgumentParser(description="Record the study on split learning.")
    parser.add_argument("experiment", choices=NOTEBOOKS)
    parser.add_argument("dataset", choices=SIZES)
    parser.add_argument("--images", nargs="+", default=["pgsl"], choices=IMAGES)
    parser.add_argument("--splits", nargs="+", default=[usual.split], choices=SPLITS, help="of the mammograms")
    parser.add_argument("--cuts", nargs="+", type=int, default=[usual.cut])
    parser.add_argument("--mus", nargs="+", type=float, default=[usual.mu])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--size", type=int, default=usual.size, help="pixels a side; 0 for the data set's own")
    parser.add_argument("--epochs", type=int, default=usual.epochs)
    parser.add_argument("--batch-size", type=int, default=usual.batch_size)
    parser.add_argument("--n-train", type=int, default=0, help="training images, 0 for all")
    parser.add_argument("--n-test", type=int, default=0, help="test images, 0 for all")
    parser.add_argument("--views", nargs="+", default=list(mammograms.VIEWS), choices=mammograms.VIEWS)
    parser.add_argument("--learners", nargs="+", default=list(mammograms.LEARNERS), choices=mammograms.LEARNERS)
    parser.add_argument("--part", default="cv", choices=("cv", "test"), help="of mammograms: folds, or test women")
    try:
        chosen = parser.parse_args(arguments)
        (try_mammograms if chosen.experiment == "mammograms" else record)(chosen)
    except MedtkError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
