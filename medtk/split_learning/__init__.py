"""Split learning: a network cut between a client and a server, and a defence that attacks its own images first."""

from importlib import import_module

_PLACES = {
    "engine": ["Client", "LocalClient", "as_one", "put_state", "run_epoch", "state_of"],
    "network": ["CUT_LAYER", "blocks", "build", "compiled", "head", "reseed"],
    "parts": ["Answer", "answers", "client_forward", "server_step", "split_at"],
}
_WHERE = {name: module for module, names in _PLACES.items() for name in names}
__all__ = sorted(_WHERE)


def __getattr__(name: str):
    # Keras and TensorFlow take seconds to import; rearranging pixels should not wait for them.
    if name in _WHERE:
        return getattr(import_module(f"medtk.split_learning.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'medtk.split_learning' has no attribute {name!r}")
