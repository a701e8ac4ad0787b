"""Fill the ledger for chapter 21: ``python -m medtk.lab.shortcut_recording --seeds 0 1 2``."""

import argparse
import sys

from medtk.data import modalities
from medtk.errors import DataUnavailable, MedtkError
from medtk.lab import session, shortcuts
from medtk.lab.covid_spec import DATASETS
from medtk.settings import results_home


def record(splits: list[str], seeds: list[int], size: int) -> None:
    """Make every recording that is not in the ledger yet.

    Raises
    ------
    DataUnavailable
        If only synthetic images could be had.
    """
    folder = results_home() / shortcuts.PAPER / shortcuts.EXPERIMENT
    for seed in seeds:
        for split in splits:
            names = [shortcuts.record_name(split, modality, seed) for modality in DATASETS]
            if all((folder / f"{name}.json").is_file() for name in names):
                continue
            run = session.start("21", seed=seed, profile="paper")
            images = shortcuts.load(run, DATASETS, split, seed, size=size)
            other = run.load(shortcuts.OTHER, size=size, channels=1)
            if any(dataset.is_synthetic for dataset in (*images.values(), other)):
                raise DataUnavailable("the images are not here, and synthetic ones are never recorded.")
            for modality, made in shortcuts.recorded(run, images, split, seed, other).items():
                print(
                    split,
                    modality,
                    {view: f"{made['metrics'][view]['auc']:.4f}" for view in shortcuts.VIEWS},
                    flush=True,
                )


def main(arguments: list[str] | None = None) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Record what thumbnails tell about the images of paper 2.")
    parser.add_argument("--splits", nargs="+", default=list(modalities.SPLITS), choices=modalities.SPLITS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--size", type=int, default=64, help="pixels a side from which the thumbnails are made")
    try:
        chosen = parser.parse_args(arguments)
        record(chosen.splits, chosen.seeds, chosen.size)
    except MedtkError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
