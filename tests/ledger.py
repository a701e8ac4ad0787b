"""Small records for the ledger's tests."""

import numpy as np

from medtk.reproduction import records

BREAST = (156, 114)


def answers(n, right, classes=2, majority=None):
    """Labels and probabilities of ``n`` images with exactly ``right`` of them classified correctly."""
    labels = (np.arange(n) >= (majority or n // 2)).astype(int)
    given = np.where(np.arange(n) < right, labels, (labels + 1) % classes)
    return labels, 0.2 / classes + 0.8 * np.eye(classes)[given]


def write(home, right=131, *, name="run", column="DenseNet121", extra=None, cells=None, **changes):
    """Write a record that answers a cell of Table I with ``right`` right answers of BreastMNIST's 156."""
    labels, clean = answers(*BREAST[:1], right, majority=BREAST[1])
    predictions = {"clean": clean}
    for key, count in (extra or {}).items():
        predictions[key] = answers(BREAST[0], count, majority=BREAST[1])[1]
    settings = {
        "experiment": "11_transfer_learning",
        "paper": "robust_transfer",
        "cells": [{"table": "I", "row": "BreastMNIST", "column": column, "predictions": "clean"}]
        if cells is None
        else cells,
        "parameters": {"epochs": 5, "learning_rate": np.float32(1e-3)},
        "seed": 0,
        "profile": "paper",
        "data": {"name": "breastmnist", "source": "official", "sha256": "0" * 64},
        "weights": {"source": "random", "note": "no ImageNet weights here"},
        "labels": labels,
        "predictions": predictions,
        "seconds": 1.5,
        "deviations": ["weights start at random values"],
    }
    return records.write(home, name=name, **(settings | changes))


def table_two(row="BreastMNIST / DenseNet121"):
    """Cells of one row of Table II with the keys that a run gives its conditions."""
    keys = {"Clean": "clean"} | {f"ε = 0.00{i}": f"epsilon=0.00{i}" for i in range(1, 6)}
    return [{"table": "II", "row": row, "column": c, "predictions": k} for c, k in keys.items()]
