"""One file a training run: the weights, the optimizer, and the history so far."""

import contextlib
import io
import json
import os
import sys
from pathlib import Path

import keras
import numpy as np

from medtk.errors import MedtkError


def save(path: Path, model: keras.Model, history: list[dict]) -> None:
    """Write the state of a run whole or not at all.

    Parameters
    ----------
    path : Path
        Ends in ``.npz``; its folder is created.
    model : keras.Model
        Compiled, its optimizer built.
    history : list of dict
        One entry an epoch done.

    Raises
    ------
    MedtkError
        If the file cannot be written (a full disk, say); the old file, if any, stays.
    """
    arrays = {f"weight_{i:04d}": np.asarray(w) for i, w in enumerate(model.get_weights())}
    arrays |= {f"optimizer_{i:04d}": keras.ops.convert_to_numpy(v) for i, v in enumerate(model.optimizer.variables)}
    buffer = io.BytesIO()
    np.savez(buffer, history=np.array(json.dumps(history)), **arrays)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise MedtkError(
            f"Cannot write the checkpoint {path}: {error.strerror}. Training since the last one is lost."
        ) from error


def restore(path: Path, model: keras.Model) -> list[dict]:
    """Put a saved state into a model of the same shape.

    Returns
    -------
    list of dict
        The history so far; empty if there is no file, or if the file is damaged. A damaged file changes nothing
        in the model, is set aside as ``*.corrupt`` and named on standard error.
    """
    if not path.is_file():
        return []
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        history = json.loads(str(arrays.pop("history")))
        variables = [*model.weights, *model.optimizer.variables]
        names = [key for part in ("weight_", "optimizer_") for key in sorted(arrays) if key.startswith(part)]
        values = [arrays[name] for name in names]
        if [value.shape for value in values] != [tuple(variable.shape) for variable in variables]:
            raise ValueError("its arrays are not those of this network")
    except Exception as error:  # zipfile and NumPy answer damage with nearly every kind of error
        aside = path.with_suffix(".corrupt")
        path.replace(aside)
        print(
            f"Cache entry {path.name} is damaged ({error}); set aside as {aside} and trained again.",
            file=sys.stderr,
        )
        return []
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return history
