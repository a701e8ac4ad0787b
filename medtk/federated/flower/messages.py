"""Weights and a few numbers as Flower's records, and back. Arrays only: nothing that is sent can be run.

All arrays of a model travel as one: Flower makes requests of its own for each array on each leg of its way, and an
EfficientNetV2S has hundreds.
"""

import json
from collections.abc import Mapping

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from medtk.federated.aggregation import Weights
from medtk.federated.client import Update

_MODEL = "model:"


def packed(weights: Weights) -> tuple[ArrayRecord, str]:
    """The bytes of all arrays in one, and the layout: a JSON list of each array's type and shape."""
    arrays = [np.asarray(array) for array in weights]
    layout = json.dumps([[array.dtype.str, array.shape] for array in arrays])
    together = b"".join(array.tobytes() for array in arrays)
    return ArrayRecord([np.frombuffer(together, np.uint8)]), layout


def unpacked(record: ArrayRecord, layout: str) -> Weights:
    """Arrays again; `ValueError` if the bytes are not those of the layout."""
    (together,) = record.to_numpy_ndarrays()
    parts = [(np.dtype(kind), tuple(shape)) for kind, shape in json.loads(layout)]
    if any(kind.hasobject for kind, _ in parts) or any(side < 0 for _, shape in parts for side in shape):
        raise ValueError("the layout is none of numbers")
    sizes = [kind.itemsize * int(np.prod(shape)) for kind, shape in parts]
    if together.dtype != np.uint8 or together.size != sum(sizes):
        raise ValueError("the bytes are not those of the layout")
    ends = np.cumsum(sizes, dtype=np.int64)
    return [
        together[end - size : end].copy().view(kind).reshape(shape)
        for end, size, (kind, shape) in zip(ends, sizes, parts, strict=True)
    ]


def ask(models: Mapping[str, Weights], **about: str | int) -> RecordDict:
    """What the server sends: models by name, and about them the plan and the round."""
    content = RecordDict()
    for name, weights in models.items():
        content[_MODEL + name], about[f"layout of {name}"] = packed(weights)
    content["about"] = ConfigRecord(about)
    return content


def models_in(content: RecordDict) -> dict[str, Weights]:
    """Models by name."""
    names = [key.removeprefix(_MODEL) for key in content.array_records]
    return {name: unpacked(content[_MODEL + name], content["about"][f"layout of {name}"]) for name in names}


def answer(model: str, update: Update, seconds: float) -> RecordDict:
    """What a hospital sends after training: shared arrays, from which model, how long it took."""
    record, layout = packed(update.weights)
    about = ConfigRecord({"model": model, "n": update.n, "seconds": seconds, "layout": layout})
    return RecordDict({"weights": record, "about": about, "metrics": MetricRecord(dict(update.metrics))})


def update_in(content: RecordDict) -> tuple[str, Update, float]:
    """Model, update and seconds of an `answer`."""
    about = content["about"]
    update = Update(unpacked(content["weights"], about["layout"]), about["n"], dict(content["metrics"]))
    return str(about["model"]), update, float(about["seconds"])


def numbers(found: Mapping[str, float]) -> RecordDict:
    """What a hospital sends after evaluation."""
    return RecordDict({"metrics": MetricRecord(dict(found))})
