"""Fill the ledger of chapter 53, skipping what is recorded already.

``python -m medtk.lab.private_recording pneumoniamnist`` records one run for each promise, and one without its noise.
"""

import argparse
import math
import sys
from collections.abc import Sequence

from medtk.errors import DataUnavailable, MedtkError
from medtk.lab import private, session
from medtk.settings import results_home


def record(dataset: str, specs: Sequence[private.Spec]) -> None:
    """Make every recording that is not in the ledger yet.

    Raises
    ------
    DataUnavailable
        If only synthetic images could be had.
    """
    for spec in specs:
        name = private.record_name(dataset, spec)
        if (results_home() / "hospital" / "privacy" / f"{name}.json").is_file():
            continue
        run = session.start("53", seed=spec.settings.seed, profile="scaled")
        run.deviations += private.DEVIATIONS
        images = run.load(dataset, size=28, channels=1)
        if images.is_synthetic:
            raise DataUnavailable(f"{dataset} is not here, and synthetic images are never recorded.")
        _, made = private.experiment(run, images, spec)
        print(name, {key: round(value["accuracy"], 4) for key, value in made["metrics"].items()}, flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Record chapter 53: three hospitals under promises of privacy.")
    parser.add_argument("datasets", nargs="+")
    parser.add_argument(
        "--epsilons", nargs="*", type=float, default=[math.inf, 8.0, 3.0, 1.0], help="for each image; inf: no noise"
    )
    parser.add_argument("--hospital-epsilons", nargs="*", type=float, default=[math.inf, 8.0], help="for each hospital")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    chosen = parser.parse_args()
    promises = [("none", math.inf), *(("record", e) for e in chosen.epsilons)]
    promises += [("client", e) for e in chosen.hospital_epsilons]
    try:
        for dataset in chosen.datasets:
            record(dataset, [private.usual_spec(level, e, seed) for seed in chosen.seeds for level, e in promises])
    except MedtkError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
