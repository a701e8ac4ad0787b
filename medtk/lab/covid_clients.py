"""Who has what in paper 2: the images of both modalities, split by frame or by patient, and dealt out to clients."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from medtk.data import Dataset, Split, partition
from medtk.data.hospitals import Hospital, Share
from medtk.lab.covid_spec import DATASETS, PAPER, Spec
from medtk.lab.session import Run
from medtk.reproduction import papers


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

    By ``frame`` each class gives the same part to the test set as in the study's Table I, whatever the patient; from
    the whole set that makes the printed counts. By ``patient`` whole patients are held out, about the same part.
    """
    splits = [split for split in (dataset.train, dataset.val, dataset.test) if len(split)]
    images, labels = (np.concatenate([getattr(split, what) for split in splits]) for what in ("images", "labels"))
    known = all(split.groups is not None for split in splits)
    groups = np.concatenate([split.groups for split in splits]) if known else None
    if spec.split == "patient":
        facts = papers.load(PAPER).datasets[dataset.name]
        share = facts["n_test"] / (facts["n_test"] + facts["n_train"])
        kept, held = partition.hold_out(labels, groups, share, spec.seed)
    else:
        random, chosen = np.random.default_rng(spec.seed), []
        for c, name in enumerate(dataset.class_names):
            rows = np.flatnonzero(labels == c)
            chosen.append(random.permutation(rows)[: round(len(rows) * _test_share(dataset.name, name))])
        held = np.sort(np.concatenate(chosen))
        kept = np.setdiff1d(np.arange(len(labels)), held)
    pool = Split(images, labels, groups)
    said = f"Split again by {spec.split} (seed {spec.seed}): {len(kept)} training and {len(held)} test images."
    note = f"{dataset.note} {said}".strip()
    return replace(dataset, train=pool.take(kept), val=pool.take(kept[:0]), test=pool.take(held), note=note)


def _test_share(dataset: str, class_name: str) -> float:
    """Part of a class that Table I gives to the test set."""
    counts = {
        cell.needs["split"]: cell.printed
        for cell in papers.load(PAPER).cells
        if cell.table == "I" and (cell.needs["dataset"], cell.needs["class"]) == (dataset, class_name)
    }
    return counts["test"] / (counts["test"] + counts["train"])


def shared_out(images: Mapping[str, Dataset], spec: Spec) -> list[Hospital]:
    """Clients: the training images of each modality, dealt out at random as evenly as can be.

    Parameters
    ----------
    images : mapping
        From `load`.
    spec : Spec
        Of it: clients, seed, and split: by ``patient``, all images of a patient go to one client.
    """
    members = []
    for modality, dataset in images.items():
        train = dataset.train
        if spec.split == "patient" and train.groups is not None:
            shares = partition.by_group(train.groups, spec.clients, spec.seed)
        else:
            shares = partition.iid(train.labels, spec.clients, spec.seed)
        members += [Hospital(f"{modality}_{k}", Share(train, rows)) for k, rows in enumerate(shares, start=1)]
    return members


def modality_of(client: str) -> str:
    """Modality of a client, from its name."""
    return client.rpartition("_")[0]


def clusters_of(members: Sequence[Hospital]) -> dict[str, list[str]]:
    """Names of the clients of each modality."""
    found: dict[str, list[str]] = {}
    for member in members:
        found.setdefault(modality_of(member.name), []).append(member.name)
    return found
