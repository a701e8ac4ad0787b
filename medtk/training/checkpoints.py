"""One file a training run: the weights, the optimizer, and the history so far."""

import io
import json
import os
import sys
import zipfile
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
    arrays |= {
        f"optimizer_{i:04d}": keras.ops.convert_to_numpy(v) for i, v in enumerate(model.optimizer.variables)
    }
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
        temporary.unlink(missing_ok=True)
        raise MedtkError(f"Cannot write the checkpoint {path}: {error.strerror}. Training up to there is lost.") from error


def restore(path: Path, model: keras.Model) -> list[dict]:
    """Put a saved state into a model of the same shape.

    Returns
    -------
    list of dict
        The history so far; empty if there is no file, or if the file is damaged. A damaged file is set aside as
        ``*.corrupt`` and named on standard error.
    """
    if not path.is_file():
        return []
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        history = json.loads(str(arrays.pop("history")))
        weights = [arrays[key] for key in sorted(arrays) if key.startswith("weight_")]
        state = [arrays[key] for key in sorted(arrays) if key.startswith("optimizer_")]
        if len(state) != len(model.optimizer.variables):
            raise ValueError("the optimizer has another number of variables")
        model.set_weights(weights)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        aside = path.with_suffix(".corrupt")
        path.replace(aside)
        print(f"Cache entry {path.name} is damaged ({error}); set aside as {aside} and trained again.", file=sys.stderr)
        return []
    for variable, value in zip(model.optimizer.variables, state, strict=True):
        variable.assign(value)
    return history
