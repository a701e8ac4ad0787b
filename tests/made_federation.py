"""A small federation for tests: hospitals with made images on disk, and waiting for a run of theirs."""

import time

import numpy as np

from medtk import data
from medtk.data import CATALOG, Dataset, Split
from medtk.federated import flower

PATIENCE = 900  # seconds; a busy machine takes its time, and a test that waits for nothing is stopped all the same


def images(n, seed):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, n)
    shown = random.random((n, 32, 32, 3), np.float32)
    shown[..., 0] = 0.5 * shown[..., 0] + 0.5 * labels[:, None, None]
    return Split(shown, labels.astype(np.int64))


def write_hospitals(folder, n_train, n_hospitals):
    """Folders of hospitals of unequal size; gives back the names of the classes."""
    whole = Dataset("small", images(n_train, 0), images(12, 1), images(12, 2), ("NORMAL", "PNEUMONIA"),
                    CATALOG["pneumoniamnist"], "synthetic", "0" * 64)  # fmt: skip
    data.write_hospitals(data.hospitals.split(whole, "quantity_skew", n_hospitals, dirichlet_alpha=5), folder)
    return whole.class_names


def until(folder, done):
    """Wait until the status of a run is as it should be; a run that has failed never will be."""
    end = time.monotonic() + PATIENCE
    while not done(found := flower.status(folder)):
        assert found["state"] not in ("failed", "stopped"), found
        assert time.monotonic() < end, found
        time.sleep(0.1)
    return found


def finished(found):
    return found["state"] == "finished"
