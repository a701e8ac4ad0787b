"""Reading files that may be broken or hostile, and writing files that must not end up half written."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from medtk.errors import CorruptFile, MedtkError


def checksum(path: Path, algorithm: str = "sha256") -> str:
    """Hexadecimal digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def check(path: Path, *, md5: str = "", sha256: str = "", remedy: str = "") -> None:
    """Raise `CorruptFile` if the file's checksum is not the expected one; no expectation, no check."""
    for algorithm, wanted in (("md5", md5), ("sha256", sha256)):
        if wanted and (found := checksum(path, algorithm)) != wanted:
            reason = f"{algorithm} {found}, not {wanted}"
            raise CorruptFile(f"{path} is not the file it should be ({reason}). {remedy}".strip())


def read_npz(path: Path, keys: tuple[str, ...], remedy: str = "") -> dict[str, np.ndarray]:
    """Arrays `keys` of an npz file, without ever unpickling.

    Raises
    ------
    CorruptFile
        If the file is truncated, is no npz, lacks a key or holds Python objects.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in keys}
    except (FileNotFoundError, PermissionError) as error:
        raise MedtkError(f"{path} cannot be read: {error.strerror}.") from error
    except Exception as error:  # numpy parses the header as Python source: damage can raise almost anything
        cause = str(error).strip("'\"").split("\n")[0].rstrip(".")
        raise CorruptFile(f"{path} cannot be read as arrays ({cause}). {remedy}".strip()) from error


def write_atomically(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Write a file whole or not at all: to a temporary file beside it, flushed to disk, then renamed.

    Parameters
    ----------
    path : Path
        The file to make or replace; its folder is made if needed.
    write : callable
        Gets the open binary file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
