"""Files that are whole or absent, and archives whose bytes depend on their content alone."""

import io
import json
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from medtk.errors import MedtkError


def write_whole(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` in one step: a reader sees the old file or the new one, never a part.

    Raises
    ------
    OSError
        If the disk is full or the folder cannot be written; the old file is then as it was.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would hide a shared ledger from its other readers
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def pack(arrays: dict[str, np.ndarray]) -> bytes:
    """Bytes of an npz archive of ``arrays``; equal arrays give equal bytes (a fixed date, names in order)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(arrays):
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w") as file:
                np.lib.format.write_array(file, np.ascontiguousarray(arrays[name]), allow_pickle=False)
    return buffer.getvalue()


def unpack(content: bytes) -> dict[str, np.ndarray]:
    """Arrays of an npz archive; pickled objects are refused."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def as_json(record: dict) -> str:
    """Text of a record; what is not plain data is refused with its type."""

    def plain(value):
        """Numpy scalars and paths as JSON; anything else is a mistake of the caller."""
        if isinstance(value, np.generic | np.ndarray):
            return value.tolist()
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        raise MedtkError(f"A record holds plain values only, not {type(value).__name__} ({value!r}).")

    return json.dumps(record, indent=1, ensure_ascii=False, default=plain, allow_nan=False) + "\n"
