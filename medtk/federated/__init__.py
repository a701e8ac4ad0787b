"""Federated learning: the client step, the aggregation rules, and an engine that runs both in one process."""

from importlib import import_module

_PLACES = {
    "aggregation": [
        "distances",
        "fedavg",
        "krum",
        "krum_scores",
        "median",
        "minus",
        "norm",
        "server_adam",
        "trimmed_mean",
    ],
    "asynchronous": ["NEVER", "buffered", "delays"],
    "checks": ["bytes_of", "fault", "too_long"],
    "client": ["Update", "choose", "client_seed", "evaluate", "predict", "put", "train"],
    "clustered": ["bipartition", "cluster_means", "cosine_similarity", "most_confident", "sattler", "watched"],
    "engine": ["run"],
    "masks": ["join", "part", "reestimated", "shared", "trainable"],
    "private": ["train_privately"],
    "result": ["Result", "model_of", "rows"],
    "secure": ["masked_average"],
    "settings": ["Settings"],
    "stopping": ["Bend", "bend", "conflict", "drift", "stop_by"],
    "strategies": ["Received", "Server", "average", "by_model", "fedadam", "start"],
}
_WHERE = {name: module for module, names in _PLACES.items() for name in names}
__all__ = sorted(_WHERE)


def __getattr__(name: str):
    # Keras and TensorFlow take seconds to import; a rule on NumPy arrays should not wait for them.
    if name in _WHERE:
        return getattr(import_module(f"medtk.federated.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'medtk.federated' has no attribute {name!r}")
