"""Federated learning on several machines: the client step and the rules of `medtk.federated`, carried by Flower."""

from importlib import import_module

_PLACES = {
    "federation": ["down", "join", "ready", "result", "status", "up"],
    "plan": ["Plan"],
    "site": ["Source"],
}
_WHERE = {name: module for module, names in _PLACES.items() for name in names}
__all__ = sorted(_WHERE)


def __getattr__(name: str):
    # Starting and stopping processes needs neither Flower nor TensorFlow, which take seconds to import.
    if name in _WHERE:
        return getattr(import_module(f"medtk.federated.flower.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'medtk.federated.flower' has no attribute {name!r}")
