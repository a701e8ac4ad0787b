"""A small local registry of bundles: publish, activate, update unless worse, roll back.

A folder with the published bundles and one file, ``state.json``, which says which of them is active and what happened.
Every change of state is one renaming of that file, so that a killed program leaves the old state or the new one.
One program may write at a time; any number may read.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medtk.data import Split, files
from medtk.edge import bundle
from medtk.edge.bundle import Bundle
from medtk.errors import BadParameter, CorruptFile, UnknownName
from medtk.evaluation import intervals, metrics

STATE = "state.json"
MARGIN = 0.0


@dataclass(frozen=True)
class Decision:
    """What became of an update.

    Attributes
    ----------
    accepted : bool
    reason : str
        A sentence with the numbers.
    old, new : float or None
        Balanced accuracy on the validation images; `old` is None where nothing was active.
    p_value : float or None
        Of McNemar's exact test of the two on these images: how far the difference could be chance.
    """

    accepted: bool
    reason: str
    old: float | None
    new: float
    p_value: float | None


def publish(home: Path, file: Path) -> str:
    """Copy a bundle into the registry; a version that is there is never replaced.

    Parameters
    ----------
    home : path
        Folder of the registry, created if need be.
    file : path
        A bundle.

    Returns
    -------
    str
        Its version.

    Raises
    ------
    CorruptFile
        If the bundle is damaged.
    BadParameter
        If other content has been published under this version, or the registry is of another network's bundles.
    """
    home, found = Path(home), bundle.load(file)
    target = _place(home, found.version)
    others = versions(home)
    if found.version in others:
        if _open(home, found.version).sha256 == found.sha256:
            return found.version
        raise BadParameter(f"{found.name} {found.version} is published already with other content; take a new version.")
    if others and (name := _open(home, others[0]).name) != found.name:
        raise BadParameter(f"this registry holds versions of {name}; give {found.name} a folder of its own.")
    target.parent.mkdir(parents=True, exist_ok=True)
    content = Path(file).read_bytes()
    files.write_atomically(target, lambda stream: stream.write(content))
    return found.version


def versions(home: Path) -> list[str]:
    """Published versions, the oldest first."""
    found = sorted((Path(home) / "bundles").glob("*.zip"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    return [path.stem for path in found]


def history(home: Path) -> list[dict]:
    """What happened: ``event`` (activate, update, refuse, roll back), ``version``, ``active`` after it, ``reason``."""
    return _state(home)["history"]


def active_version(home: Path) -> str | None:
    """Version in use, or None."""
    return _state(home)["active"]


def active(home: Path) -> Bundle:
    """Load the bundle in use.

    Raises
    ------
    BadParameter
        If none is.
    CorruptFile
        If it is damaged; `roll_back` returns to the one before.
    """
    version = active_version(home)
    if version is None:
        raise BadParameter(f"Nothing is active in {home}; publish a bundle and activate it.")
    return _open(home, version)


def activate(home: Path, version: str, *, reason: str = "by hand") -> None:
    """Put a published version into use, whatever its quality; the bundle is checked first."""
    _open(home, version)
    _note(home, "activate", version, version, reason)


def update(
    home: Path,
    version: str,
    validation: Split,
    *,
    margin: float = MARGIN,
    answer: Callable[[Bundle, np.ndarray], np.ndarray] = Bundle.predict,
) -> Decision:
    """Put a published version into use unless it is worse than the active one.

    The rule: it is refused if its balanced accuracy on the validation images is below that of the active bundle by more
    than `margin`. Balanced, so that an update cannot pay for a rare class with a common one.

    Parameters
    ----------
    home : path
    version : str
    validation : Split
        Images as the network takes them, and labels. Not the test images: a registry that chooses by them has used
        them up.
    margin : float
        0 to 1.
    answer : callable
        ``answer(bundle, images)`` gives probabilities.

    Returns
    -------
    Decision
    """
    if not 0 <= margin <= 1 or len(validation) == 0:
        raise BadParameter(
            f"an update needs validation images and a margin of 0 to 1, not {len(validation)}, {margin}."
        )
    new = _open(home, version)
    p_new = answer(new, validation.images)
    score = _balanced(validation.labels, p_new)
    if active_version(home) is None:
        decision = Decision(True, f"nothing was active; balanced accuracy {score:.3f}.", None, score, None)
    else:
        p_old = answer(active(home), validation.images)
        before = _balanced(validation.labels, p_old)
        p_value = intervals.mcnemar(validation.labels, p_old, p_new).p
        accepted = score >= before - margin
        words = f"balanced accuracy {score:.3f} on {len(validation)} validation images, {before:.3f} before, "
        words += f"McNemar p = {p_value:.3f}: {'taken' if accepted else 'refused, it is worse'}."
        decision = Decision(accepted, words, before, score, p_value)
    now = version if decision.accepted else active_version(home)
    _note(home, "update" if decision.accepted else "refuse", version, now, decision.reason)
    return decision


def roll_back(home: Path, *, reason: str = "by hand") -> str:
    """Return to the version that was active before the present one.

    Returns
    -------
    str
        The version now in use.

    Raises
    ------
    BadParameter
        If none was.
    """
    state = _state(home)
    # Each activation is on a stack; a roll back takes the last one off, so that two of them go back two steps.
    stack: list[str] = []
    for event in state["history"]:
        if event["event"] == "roll back":
            stack.pop()
        elif event["event"] in ("activate", "update") and [event["version"]] != stack[-1:]:
            stack.append(event["version"])
    if len(stack) < 2:
        raise BadParameter(f"There is no version before {state['active']} in {home} to roll back to.")
    _open(home, stack[-2])
    _note(home, "roll back", stack[-1], stack[-2], reason)
    return stack[-2]


def _balanced(labels: np.ndarray, probabilities: np.ndarray) -> float:
    return metrics.classification(labels, probabilities)["balanced_accuracy"]


def _place(home: Path, version: str) -> Path:
    return Path(home) / "bundles" / f"{version}.zip"


def _open(home: Path, version: str) -> Bundle:
    if version not in versions(home):
        raise UnknownName("version", version, versions(home))
    return bundle.load(_place(home, version))


def _state(home: Path) -> dict:
    path = Path(home) / STATE
    if not path.is_file():
        return {"active": None, "history": []}
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        return {"active": state["active"], "history": list(state["history"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptFile(f"{path} cannot be read ({error}); delete it and activate a version again.") from error


def _note(home: Path, event: str, version: str, now: str | None, reason: str) -> None:
    state = _state(home)
    line = {"event": event, "version": version, "active": now, "reason": reason}
    text = json.dumps({"active": now, "history": [*state["history"], line]}, indent=1) + os.linesep
    Path(home).mkdir(parents=True, exist_ok=True)
    files.write_atomically(Path(home) / STATE, lambda stream: stream.write(text.encode()))
