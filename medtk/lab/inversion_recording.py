"""Fill the ledger of chapter 33, skipping what is recorded already.

``python -m medtk.lab.inversion_recording inversion mnist --defenses none pgsl`` records two split networks.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from itertools import product

from medtk import lab
from medtk.errors import BadParameter, DataUnavailable, MedtkError
from medtk.lab import inversion, inversion_more
from medtk.lab.inversion_spec import STRENGTHS, Spec, as_study, named, record_name
from medtk.lab.pgsl_spec import PAPER, SIZES, prepared
from medtk.settings import results_home

# Images: training and test, 0 for all. Mammograms are few, and every one of them is used.
PARTS = {"mnist": (1500, 300), "mias_paper": (0, 0)}
FEW = {"mnist": (1500, 30), "mias_paper": (0, 0)}
SMALL = {"mnist": 28, "mias_paper": 32}  # pixels, where one network is attacked many times
EPOCHS = {"mnist": 4, "mias_paper": 6}
# Steps: 940 of each decoder and 460 of the generator on MNIST, 3,010 and 3,060 on the few mammograms.
EFFORT = {"mnist": {}, "mias_paper": {"decoder_epochs": 86, "gan_epochs": 180}}
# Made here: name of the record, seed, and ``make(run)``.
Planned = tuple[str, int, Callable]


def usual(dataset: str, defense: str = "none", strength: float = 0.0, seed: int = 0) -> Spec:
    """Settings of the recorded runs on a data set."""
    return Spec(defense, strength, epochs=EPOCHS[dataset], **EFFORT[dataset], seed=seed)


def planned(experiment: str, dataset: str, chosen: argparse.Namespace) -> Iterator[Planned]:
    """Recordings of one experiment on one data set."""
    if experiment == "attributes" and dataset != "mias_paper":
        raise BadParameter(f"Attributes are known of the mammograms of mias_paper only, not of {dataset}.")
    size, (n_train, n_test) = SIZES[dataset], PARTS[dataset]

    def load(run, size=size, n_train=n_train, n_test=n_test):
        images = run.load(dataset, size=size, channels=1)
        if images.is_synthetic:
            raise DataUnavailable(f"{dataset} is not here, and synthetic images are never recorded.")
        return prepared(images, as_study(usual(dataset, seed=run.seed)), n_train, n_test)

    for seed in chosen.seeds:
        if experiment == "inversion":
            for defense, strength in named(chosen.defenses):
                spec = usual(dataset, defense, strength, seed)
                yield (
                    record_name(dataset, size, spec),
                    seed,
                    lambda run, spec=spec: inversion.defended(run, load(run), spec)[1],
                )
        elif experiment == "gradients":
            side, (train, test) = SMALL[dataset], FEW[dataset]
            how = {"iterations": chosen.iterations, "restarts": chosen.restarts}
            yield (
                inversion_more.gradients_name(dataset, side, test or 50, **how, seed=seed),
                seed,
                lambda run, side=side, train=train, test=test, seed=seed, how=how: inversion_more.gradients(
                    run, load(run, side, train, test), **how, spec=usual(dataset, seed=seed)
                )[1],
            )
        elif experiment == "depth":
            yield (
                f"{dataset}-{SMALL[dataset]}px-s{seed}",
                seed,
                lambda run, seed=seed: inversion_more.depth(run, load(run, SMALL[dataset]), usual(dataset, seed=seed))[
                    1
                ],
            )
        else:
            for column, (defense, strength) in product(("side", "tissue"), named(chosen.defenses)):
                spec = usual(dataset, defense, strength, seed)
                yield (
                    inversion_more.attribute_name(dataset, size, column, spec),
                    seed,
                    lambda run, column=column, spec=spec: inversion_more.attribute(run, load(run), spec, column),
                )


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description="Record chapter 33: inversion of what split networks send.")
    parser.add_argument("experiment", choices=("inversion", "gradients", "depth", "attributes"))
    parser.add_argument("datasets", nargs="+", choices=list(SIZES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--iterations", type=int, default=300, help="of gradient matching")
    parser.add_argument("--restarts", type=int, default=3, help="searches of an image at most, in gradient matching")
    parser.add_argument(
        "--defenses", nargs="+", default=list(STRENGTHS), help="with a strength behind a hyphen: laplace-0.5"
    )
    return parser.parse_args(arguments)


def main() -> None:
    """Make every recording that was asked for and is not in the ledger yet."""
    chosen = parsed()
    try:
        # All of it is planned first, so that a wrong name is told before hours of the right ones.
        for name, seed, make in [job for one in chosen.datasets for job in planned(chosen.experiment, one, chosen)]:
            if (results_home() / PAPER / chosen.experiment / f"{name}.json").is_file():
                continue
            record = make(lab.start("33", seed=seed, profile="scaled"))
            print(name, summary(record), flush=True)
    except MedtkError as error:
        sys.exit(str(error))


def summary(record: dict) -> dict:
    """Squared error and similarity of what was rebuilt, accuracy of what was answered."""
    return {
        name: [round(found[key], 4) for key in ("mse", "ssim", "accuracy", "explained") if key in found]
        for name, found in record["metrics"].items()
    }


if __name__ == "__main__":
    main()
