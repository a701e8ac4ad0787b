"""Chapters 51 and 52 on the reader's own hospitals: folders of pictures in place of a collection that is shared out."""

import json
import re
from pathlib import Path

import numpy as np

from medtk import data, training
from medtk.data import Card, Dataset, Split
from medtk.data.hospitals import Hospital, Hospitals, Share
from medtk.errors import BadParameter, DataUnavailable
from medtk.lab.session import Run

NAME = "own_hospitals"
ABOUT_RECORDS = (
    "`folder` is set. Below, only what is called *this run* is of your images; what is printed or recorded is of the "
    "study's collection."
)
# Names of conditions in a record, beside which hospitals stand with their own.
RESERVED = ("labels", "clean", "reestimated")


def read(run: Run, folder: str, size: int, *, skip_unreadable: bool = False) -> tuple[Dataset, Hospitals]:
    """Read the reader's own hospitals for chapters 51 and 52, and say what was found.

    The global test set is all hospitals' own test images together, so that each can be asked of the network of its
    hospital; ``GLOBAL_TEST_DATASET`` is not used. Validation images are read and not used either.

    Parameters
    ----------
    run : Run
        Its records go to the cache from now on, never to the ledger.
    folder : str
        In the layout of `medtk.data.load_hospitals`, with two classes, two hospitals or more, and test images of each.
    size : int
        Side in pixels to resize to.
    skip_unreadable : bool
        Whether pictures that cannot be read are left out and named, or refused.

    Returns
    -------
    dataset : Dataset
        Training, validation and test images of all, with the source ``folder``; ``synthetic`` where medtk drew them.
    hospitals : Hospitals
        Their parts are shares of the data set.

    Raises
    ------
    DataUnavailable
        If the folder or its layout is not there, or a hospital has no training or test image.
    BadParameter
        If there is one hospital only, not two classes, or a name that cannot stand in a record.
    CorruptFile
        If pictures cannot be read and `skip_unreadable` is False.
    """
    root = Path(folder).expanduser().absolute()
    layout = f"{root / 'HOSPITAL'}/<name>/{{train,val,test}}/<class>/"
    if not root.is_dir():
        raise DataUnavailable(f"There is no folder {root}: give the full path of one that holds {layout}.")
    found = data.load_hospitals(root, size, skip_unreadable=skip_unreadable)
    names = [member.name for member in found.members]
    if untested := [member.name for member in found.members if not len(member.test)]:
        raise DataUnavailable(f"No test image of {', '.join(untested)}: each hospital needs some in {layout}.")
    if len(names) < 2:
        raise BadParameter(f"{root / 'HOSPITAL'} holds {names[0]} only, and a comparison needs two hospitals or more.")
    if len(found.class_names) != 2:
        raise BadParameter(
            f"These chapters tell ill from well, so {root} must have two class folders, not {len(found.class_names)} "
            f"({', '.join(found.class_names)}). `medtk federate` trains with any number."
        )
    if odd := [name for name in names if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or name in RESERVED]:
        raise BadParameter(
            f"A hospital cannot be called {' or '.join(map(repr, odd))}: name its folder in {root / 'HOSPITAL'} with "
            f"letters, digits, _ and -, and not {', '.join(RESERVED)}."
        )
    wholes = {part: _together([getattr(member, part) for member in found.members]) for part in ("train", "val", "test")}
    whole = {part: together for part, (together, _) in wholes.items()}
    members = tuple(
        Hospital(name, **{part: Share(together, rows[k]) for part, (together, rows) in wholes.items()})
        for k, name in enumerate(names)
    )
    dataset = Dataset(
        NAME, **whole, class_names=found.class_names, card=_card(found.class_names, whole, size),
        source="synthetic" if _drawn(root) else "folder", note="Images of the reader's own folder.",
        sha256=training.digest_of_arrays(*(a for split in whole.values() for a in (split.images, split.labels))),
    )  # fmt: skip
    run.sources[NAME] = dataset.source
    run.deviations.append("the reader's own images instead of the study's")
    counts = " / ".join(str(len(split)) for split in whole.values())
    print(f"Hospitals of your own ({', '.join(names)}): {dataset.source} data, {counts} images for training / "
          "validation / test.")  # fmt: skip
    for sentence in found.skipped:
        print(f"Left out: {sentence}")
    ill = dataset.class_names[1]
    print(f"{ill!r} counts as ill, the second of {' and '.join(map(repr, dataset.class_names))}. The order is that of "
          f'the alphabet, or of a file partition.json in the folder: {{"class_names": ["well", "ill"]}}.')  # fmt: skip
    if dataset.is_synthetic:
        print("SYNTHETIC DATA: medtk drew these images. No number below says anything about a hospital.")
    return dataset, Hospitals(members, dataset.test, dataset.class_names, dataset.source, found.skipped)


def _together(splits: list[Split]) -> tuple[Split, list[np.ndarray]]:
    """One split of all, and the rows of each in it; patients are known if all hospitals name theirs."""
    ends = np.cumsum([len(split) for split in splits])
    groups = None
    if all(split.groups is not None for split in splits if len(split)) and ends[-1]:
        # A patient of one hospital is nobody that another hospital knows, whatever their numbers.
        groups = np.concatenate([[f"{k}/{group}" for group in s.groups] for k, s in enumerate(splits) if len(s)])
    images, labels = (np.concatenate([getattr(split, what) for split in splits]) for what in ("images", "labels"))
    rows = [np.arange(end - len(split), end) for split, end in zip(splits, ends, strict=True)]
    return Split(images, labels, groups), rows


def _drawn(root: Path) -> bool:
    """Whether the folder says of itself that medtk drew its images."""
    about = root / "partition.json"
    return about.is_file() and json.loads(about.read_text(encoding="utf-8")).get("source") == "synthetic"


def _card(class_names: tuple[str, ...], whole: dict[str, Split], size: int) -> Card:
    return Card(
        NAME, "Hospitals of your own", "", "binary", class_names, {part: len(split) for part, split in whole.items()},
        (size, size, 3), "", "", "", "folder", "", (),
    )  # fmt: skip
