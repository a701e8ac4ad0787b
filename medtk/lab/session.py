"""One run of a notebook: its seed, its data, and the records that it leaves."""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from medtk import data, models
from medtk.models.weights import FROM_SCRATCH
from medtk.reproduction import records
from medtk.settings import cache_home, results_home

LEDGER_PROFILES = ("paper", "scaled")


@dataclass
class Run:
    """What `start` gives a notebook.

    Attributes
    ----------
    notebook : str
        Its number, such as ``"11"``.
    profile : str
        ``quick``, ``reader``, ``scaled`` or ``paper``; the runner sets it.
    seed : int
    deviations : list of str
        Differences from the paper's settings, printed beside every number of this run.
    """

    notebook: str
    profile: str
    seed: int
    deviations: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    @property
    def home(self) -> Path:
        """Folder of this run's records: the ledger for the paper's or the scaled settings, else the cache.

        A run on the reader's own images leaves nothing in the ledger, which is there for all to read.
        """
        known = all(name in data.CATALOG for name in self.sources)
        return results_home() if known and self.profile in LEDGER_PROFILES else cache_home() / "records"

    def load(self, name: str, *, size: int = 32, channels: int = 3, n_train: int = 0, n_test: int = 0) -> data.Dataset:
        """Load a data set, say where it came from, and take a stratified part of it if sizes are given.

        Parameters
        ----------
        name : str
            See `medtk.data.names`.
        size, channels : int
            As in `medtk.data.load`.
        n_train, n_test : int
            Images to keep; 0 keeps all.
        """
        dataset = data.load(name, size=size, channels=channels, allow_synthetic=True, seed=self.seed)
        self.sources[name] = dataset.source
        if n_train or n_test:
            dataset = data.subset(dataset, n_train or len(dataset.train), n_test or len(dataset.test), seed=self.seed)
        print(
            f"{dataset.card.title}: {dataset.source} data, {len(dataset.train)} / {len(dataset.val)} / "
            f"{len(dataset.test)} images for training / validation / test."
        )
        if dataset.is_synthetic:
            print(
                "SYNTHETIC DATA: drawn by medtk because the real file was not found. No number below says "
                "anything about the paper. `medtk data fetch` gets the real file where there is a network."
            )
        elif dataset.note:
            print(dataset.note)
        return dataset

    def record(
        self, dataset: data.Dataset, network: str, *, weights: str = "auto", deviations: Sequence[str] = (), **fields
    ) -> dict:
        """Write a record into `home`; arguments as in `medtk.reproduction.records.write`, less what the run knows.

        `deviations` are those of this record alone; the run's own are put before them.
        """
        found = models.weights_source(network, weights)
        deviations = [*self.deviations, *deviations]
        if found.source == "random" and network not in FROM_SCRATCH:
            deviations.append("random starting weights instead of ImageNet's")
        elif found.source == "mirror":
            deviations.append("ImageNet weights from a mirror")
        if dataset.source in ("substitute", "synthetic"):
            deviations.append(f"{dataset.source} data")
        written = records.write(
            self.home,
            seed=self.seed,
            profile=self.profile,
            data={
                "name": dataset.name,
                "source": dataset.source,
                "sha256": dataset.sha256,
                "note": dataset.note,
            },
            weights={"source": found.source, "note": found.note},
            deviations=deviations,
            labels=dataset.test.labels,
            **fields,
        )
        self.written.append(written["id"])
        return written

    def finish(self) -> None:
        """Say what the run did and how long it took."""
        seconds = time.perf_counter() - self.started
        sources = ", ".join(f"{name}: {source}" for name, source in self.sources.items()) or "none"
        print(f"Notebook {self.notebook}, profile {self.profile}, seed {self.seed}: {seconds / 60:.1f} minutes.")
        print(f"Data: {sources}. Records written: {len(self.written)}.")


def start(notebook: str, *, seed: int = 0, profile: str = "") -> Run:
    """Begin a run: set every seed, say with what it runs, and let tables show whole sentences.

    Parameters
    ----------
    notebook : str
        Number of the notebook.
    seed : int
        For Python, NumPy and Keras.
    profile : str
        Left out, it is what the runner says (``$MEDTK_PROFILE``), else ``reader``.
    """
    keras.utils.set_random_seed(seed)
    pd.set_option("display.max_colwidth", None)
    # TensorFlow's notices about compiling, with paths of this machine, would stand among the results.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    run = Run(notebook, profile or os.environ.get("MEDTK_PROFILE", "reader"), seed)
    print(
        f"medtk notebook {notebook}, profile {run.profile}, seed {seed}; Keras {keras.__version__} on "
        f"{keras.backend.backend()}, NumPy {np.__version__}."
    )
    return run
