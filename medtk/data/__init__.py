"""Data sets: what exists, where it is, and how it gets into memory.

The names below are the whole public surface; the rest of medtk uses nothing else of this package.
"""

from medtk.data import hospitals, modalities, partition
from medtk.data.catalog import CATALOG, Card, names
from medtk.data.dataset import Dataset, Split, subset
from medtk.data.hospital_folders import load_hospitals, write_hospitals
from medtk.data.loading import load
from medtk.data.preprocessing import resize
from medtk.data.regroup import GROUPED, card_of, regroup, seen_in_training
from medtk.data.sources import Status, fetch, find, verify

__all__ = [
    "CATALOG",
    "GROUPED",
    "Card",
    "Dataset",
    "Split",
    "Status",
    "card_of",
    "fetch",
    "find",
    "hospitals",
    "load",
    "load_hospitals",
    "modalities",
    "names",
    "partition",
    "regroup",
    "resize",
    "seen_in_training",
    "subset",
    "verify",
    "write_hospitals",
]
