"""Data sets: what exists, where it is, and how it gets into memory."""

from medtk.data import partition
from medtk.data.catalog import CATALOG, Card, names
from medtk.data.dataset import Dataset, Split, subset
from medtk.data.loading import load
from medtk.data.sources import Status

__all__ = [
    "CATALOG",
    "Card",
    "Dataset",
    "Split",
    "Status",
    "load",
    "names",
    "partition",
    "subset",
]
