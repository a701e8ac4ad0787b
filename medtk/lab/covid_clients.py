"""Who has what in paper 2: the images of both modalities, split by frame or by patient, and dealt out to clients."""

from collections.abc import Mapping, Sequence

from medtk.data import Dataset, modalities
from medtk.data.hospitals import Hospital
from medtk.lab.covid_spec import DATASETS, Spec
from medtk.lab.session import Run


def load(run: Run, spec: Spec, *, n_images: int = 0) -> dict[str, Dataset]:
    """Images of both modalities, grey, split as `spec` says; no validation part.

    Parameters
    ----------
    run : Run
        Loads them and says where they came from.
    spec : Spec
        Of it: size, split, seed.
    n_images : int
        Images of each modality to keep, before they are split; 0 keeps all.
    """
    part = {"n_train": round(0.8 * n_images), "n_test": n_images - round(0.8 * n_images)}
    return {
        modality: split_again(run.load(name, size=spec.size, channels=1, **part), spec)
        for modality, name in DATASETS.items()
    }


def split_again(dataset: Dataset, spec: Spec) -> Dataset:
    """All images of a data set, split anew into training and test by the rule and the seed of `spec`.

    See `medtk.data.modalities.split`.
    """
    return modalities.split(dataset, spec.split, spec.seed)


def shared_out(images: Mapping[str, Dataset], spec: Spec) -> list[Hospital]:
    """Clients of a run: the training images of each modality, dealt out by the rule and the seed of `spec`.

    See `medtk.data.modalities.share_out`.
    """
    return modalities.share_out(images, spec.split, spec.clients, spec.seed)


def modality_of(client: str) -> str:
    """Modality of a client, from its name."""
    return client.rpartition("_")[0]


def clusters_of(members: Sequence[Hospital]) -> dict[str, list[str]]:
    """Names of the clients of each modality."""
    found: dict[str, list[str]] = {}
    for member in members:
        found.setdefault(modality_of(member.name), []).append(member.name)
    return found
