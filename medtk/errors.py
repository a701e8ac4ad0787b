"""The few errors that medtk raises on purpose. Each carries one sentence that says what was wrong and what to do."""

import difflib
from collections.abc import Iterable


class MedtkError(Exception):
    """Base class: something that the user can mend. The command line prints it without a traceback."""


class UnknownName(MedtkError):
    """A name that is not in a list of valid names; the message gives the nearest ones.

    Parameters
    ----------
    kind : str
        What was asked for, in words: ``"data set"``, ``"notebook"``.
    name : str
        The name that was given.
    valid : iterable of str
        The names that exist.
    """

    def __init__(self, kind: str, name: str, valid: Iterable[str]):
        valid = sorted(valid)
        near = difflib.get_close_matches(str(name).lower(), valid, n=3, cutoff=0.5)
        shown = ", ".join(valid[:30]) + (" ..." if len(valid) > 30 else "")
        hint = f"did you mean {' or '.join(near)}?" if near else f"valid: {shown}."
        super().__init__(f"Unknown {kind} {name!r}: {hint}")


class BadParameter(MedtkError):
    """A parameter of the wrong type or out of its range."""


class DataUnavailable(MedtkError):
    """A data set or a set of weights could be found nowhere, and a stand-in was not allowed."""


class CorruptFile(MedtkError):
    """A file whose content is not what its name promises: truncated, altered, or unsafe to load."""
