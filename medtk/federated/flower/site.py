"""A hospital's own side: where its images are, and how they become the classes of the run."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medtk import data
from medtk.data import Split
from medtk.data.hospitals import Hospital
from medtk.errors import BadParameter, DataUnavailable, UnknownName


@dataclass(frozen=True)
class Source:
    """Where a hospital's images come from: its own folders, or a share of a data set that is known by name.

    Attributes
    ----------
    folder : str
        Holds ``HOSPITAL/<name>/{train,val,test}/<class>/``, see `medtk.data.load_hospitals`. Empty: `dataset`.
    member : str
        Name of the hospital in that folder; the name that it was invited by, unless told.
    dataset, partition, dirichlet_alpha, seed
        As in `medtk.data.hospitals.split`.
    index, of : int
        Which of how many shares, from 0.
    synthetic : bool
        Whether images may be drawn where the real ones are not to be had.
    skip_unreadable : bool
        Whether pictures that cannot be read are left out, and named in the log.
    max_epsilon : float, optional
        The hospital trains with noise only, and not beyond this epsilon, whatever the server asks for.
    noise_seed : int, optional
        Of sampling and noise, for tests: whoever knows it can take the noise off. Unless told, both come from the
        operating system in each round.
    """

    folder: str = ""
    member: str = ""
    dataset: str = ""
    partition: str = "iid"
    dirichlet_alpha: float = 0.5
    index: int = 0
    of: int = 3
    seed: int = 0
    synthetic: bool = False
    skip_unreadable: bool = False
    max_epsilon: float | None = None
    noise_seed: int | None = None

    def check(self, name: str) -> None:
        """Say at once what can be said without reading a picture."""
        if bool(self.folder) == bool(self.dataset):
            raise BadParameter("give the images of the hospital: either its folder, or the name of a data set.")
        if self.max_epsilon is not None and not self.max_epsilon > 0:
            raise BadParameter(f"max_epsilon must be above 0, not {self.max_epsilon}.")
        if self.dataset and not 0 <= self.index < self.of:
            raise BadParameter(f"the index of the share must lie in 0 to {self.of - 1}, not {self.index}.")
        if self.folder:
            home = Path(self.folder) / "HOSPITAL"
            there = sorted(path.name for path in home.glob("*") if path.is_dir())
            if not there:
                raise DataUnavailable(f"There is no folder {home} with a folder for the hospital in it.")
            if (self.member or name) not in there:
                raise UnknownName(f"hospital in {home}", self.member or name, there)

    def load(self, name: str, class_names: tuple[str, ...], size: int) -> Hospital:
        """Read the images, with labels in the order of `class_names`.

        Raises
        ------
        BadParameter
            If the hospital has a class that is not one of the run's.
        DataUnavailable, CorruptFile, UnknownName
            If images cannot be had or read.
        """
        if self.folder:
            found = data.load_hospitals(
                self.folder, size, only=self.member or name, skip_unreadable=self.skip_unreadable
            )
            for sentence in found.skipped:
                print(f"left out: {sentence}")
            member = found.members[0]
        else:
            loaded = data.load(self.dataset, size=size, channels=3, allow_synthetic=self.synthetic, seed=self.seed)
            found = data.hospitals.split(
                loaded, self.partition, self.of, dirichlet_alpha=self.dirichlet_alpha, seed=self.seed
            )
            member = found.members[self.index]
        unknown = [label for label in found.class_names if label not in class_names]
        if unknown or (self.dataset and found.class_names != tuple(class_names)):
            raise BadParameter(
                f"the classes of this hospital are {', '.join(found.class_names)}, those of the run "
                f"{', '.join(class_names)}. Name its class folders, or the data set, as the run does."
            )
        if found.class_names != tuple(class_names):
            order = np.array([class_names.index(label) for label in found.class_names])
            parts = {part: getattr(member, part) for part in ("train", "val", "test")}
            member = Hospital(name, **{k: Split(s.images, order[s.labels], s.groups) for k, s in parts.items()})
        return dataclasses.replace(member, name=name)


def invitation(folder: Path) -> dict:
    """What the server wrote for this hospital: name, address, port, classes and size of the images."""
    try:
        return json.loads((folder / "invitation.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataUnavailable(
            f"{folder} is no invitation: it holds no invitation.json. `medtk federate up` makes a folder for each "
            "hospital under invitations/."
        ) from error
    except ValueError as error:
        raise BadParameter(
            f"{folder / 'invitation.json'} is damaged ({error}); ask for the invitation again."
        ) from error
