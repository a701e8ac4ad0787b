"""The state of a run in one file, and the name of that file: a digest of everything that changes the result."""

import dataclasses
import functools
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from medtk import training
from medtk.data import files
from medtk.data.hospitals import batches
from medtk.errors import BadParameter, MedtkError

# Part of every key: raise it when a change to this room changes what a run gives.
RECIPE = 2


def key(model: keras.Model, parts: Mapping[str, Any]) -> str:
    """Name of a run: a digest of the network with its weights, of `parts`, and of the versions that compute it.

    `parts` may hold numbers, words, arrays, splits, named functions, `functools.partial` of them, and lists and
    dictionaries of all these.

    Raises
    ------
    BadParameter
        If a function has no name that says what it does: a lambda, or one made inside another.
    """
    whole = {
        "recipe": RECIPE,
        "network": _layers(model),
        "weights": training.digest_of_arrays(*model.get_weights()),
        "trained": [tuple(v.shape) for v in model.trainable_variables],
        "keras": [keras.__version__, keras.backend.backend()],
        "parts": dict(parts),
    }
    return training.digest_of(json.loads(json.dumps(whole, default=_identity)))


def _layers(model: keras.Model) -> list:
    # Keras numbers layers as they are made; the same network built twice must have the same key.
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found.append(_layers(layer))
        else:
            config = {k: str(v) for k, v in layer.get_config().items() if k not in ("name", "build_config")}
            found.append([type(layer).__name__, config])
    return found


def _identity(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [str(value.dtype), value.shape, training.digest_of_arrays(value)]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if dataclasses.is_dataclass(value) and not hasattr(value, "take"):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if hasattr(value, "take"):
        return [training.digest_of_arrays(*(a for b in batches(value) for a in (b.images, b.labels)))]
    return _function(value)


def _function(value: Callable) -> list[str]:
    name, module = getattr(value, "__qualname__", ""), getattr(value, "__module__", "")
    if not inspect.isfunction(value) or "<" in name:
        raise BadParameter(
            f"{value!r} cannot be told from another one when the run goes on later. Give a function defined by itself, "
            "or functools.partial of one with its parameters, or run with keep=False."
        )
    # Functions of medtk stand for their recipe; the reader's own may change between two runs.
    return [module, name, "" if module.startswith("medtk.") else inspect.getsource(value)]


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state whole or not at all.

    Parameters
    ----------
    path : Path
        Ends in ``.npz``.
    state : dict
        Of what JSON can hold, and arrays, at any depth. Tuples come back as lists.

    Raises
    ------
    BadParameter
        If there is something else in it.
    MedtkError
        If the file cannot be written; the old one, if any, stays.
    """
    arrays: list[np.ndarray] = []

    def packed(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            arrays.append(value)
            return {"array": len(arrays) - 1}
        if isinstance(value, Mapping):
            if not all(isinstance(name, str) for name in value):
                raise BadParameter(f"the state of a run needs names that are words, not {list(value)[:5]}.")
            return {"items": {name: packed(inner) for name, inner in value.items()}}
        if isinstance(value, list | tuple):
            return [packed(inner) for inner in value]
        return value.item() if isinstance(value, np.generic) else value

    try:
        text = json.dumps(packed(state))
    except TypeError as error:
        raise BadParameter(
            f"the state of a run holds numbers, words, arrays, lists and dicts only: {error}."
        ) from error
    named = {f"a{i}": array for i, array in enumerate(arrays)}
    try:
        files.write_atomically(path, lambda file: np.savez(file, state=np.array(text), **named))
    except OSError as error:
        raise MedtkError(f"Cannot write the round's state {path}: {error.strerror}. The round is lost.") from error


def restore(path: Path, sound: Callable[[dict], bool]) -> dict | None:
    """State of a file, or None if there is none or it is damaged: that one is set aside and named.

    Parameters
    ----------
    path : Path
    sound : callable
        Whether what was read can be gone on from.
    """
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}

        def unpacked(value: Any) -> Any:
            if isinstance(value, dict):
                if "array" in value:
                    return arrays[f"a{value['array']}"]
                return {name: unpacked(inner) for name, inner in value["items"].items()}
            return [unpacked(inner) for inner in value] if isinstance(value, list) else value

        state = unpacked(json.loads(str(arrays["state"])))
        if not sound(state):
            raise ValueError("it is not the state of this run")
        return state
    except Exception as error:  # zipfile and NumPy answer damage with nearly every kind of error
        aside = path.with_suffix(".corrupt")
        path.replace(aside)
        print(f"Run {path.name} is damaged ({error}); set aside as {aside} and begun again.", file=sys.stderr)
        return None
