"""Small networks searched for, federated, transferred and limited: the experiments of paper 4 around the network.

Each makes one record that holds the answers of every network compared in it, on the same test images.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras
import numpy as np

from medtk import edge, training
from medtk.data import Dataset
from medtk.edge import device, search, small
from medtk.edge.small import Architecture
from medtk.errors import MedtkError
from medtk.lab import hospital
from medtk.lab.edge_lessons import answers, cost, record
from medtk.lab.hospital_spec import Spec as FederatedSpec
from medtk.lab.session import Run
from medtk.settings import cache_home


@dataclass(frozen=True)
class Budget:
    """Limits and effort of a search; see `medtk.edge.search.search`."""

    max_bytes: int = 100_000
    max_macs: int = 5_000_000
    max_ms: float | None = None
    n_trials: int = 24
    population: int = 8
    search_epochs: int = 2
    epochs: int = 10
    seed: int = 0

    def settings(self) -> dict:
        """Its numbers by name; without the limit of time where there is none, as in records older than that limit."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def searched(
    dataset: Dataset, budget: Budget, space: search.Space, *, sampler: str = "nsga2", progress: bool = True
) -> list[search.Found]:
    """Candidates of a search on a data set, kept in the cache one by one."""
    parts = budget.settings() | asdict(space) | {"sampler": sampler, "recipe": 1}
    parts["data"] = training.digest_of_arrays(dataset.train.images, dataset.val.images)
    parts = {name: value for name, value in parts.items() if name not in ("n_trials", "epochs")}
    return search.search(
        lambda one: search.quality(one, dataset, epochs=budget.search_epochs, seed=budget.seed),
        space,
        n_classes=dataset.n_classes,
        channels=dataset.image_shape[-1],
        max_bytes=budget.max_bytes,
        max_macs=budget.max_macs,
        max_ms=budget.max_ms,
        n_trials=budget.n_trials,
        population=budget.population,
        sampler=sampler,
        seed=budget.seed,
        journal=cache_home() / "searches" / f"{training.digest_of(parts)}.json",
        progress=progress,
    )


def best(found: Sequence[search.Found]) -> search.Found:
    """Candidate with the highest quality, the cheaper one of equals.

    Raises
    ------
    MedtkError
        If none was within the limits.
    """
    front = search.front(found)
    if not front:
        times = [one.ms for one in found if one.ms is not None]
        quickest = f" The quickest that was tried took {min(times):.3g} ms." if times else ""
        more = "bytes, multiplications or milliseconds" if times else "bytes or multiplications"
        raise MedtkError(f"No candidate was within the limits: allow more {more}, or more trials.{quickest}")
    return max(front, key=lambda one: (one.quality, -one.price.macs))


def grown(architecture: Architecture, dataset: Dataset, *, epochs: int, seed: int = 0, progress: bool = True):
    """An architecture trained from the start on a data set (`medtk.training.Fit`), and its test images."""
    model = small.build(architecture, dataset.n_classes, channels=dataset.image_shape[-1], seed=seed)
    train, test = (search.at_size(s, architecture.size) for s in (dataset.train, dataset.test))
    fit = edge.tuned(model, train, title=architecture.name, epochs=epochs, seed=seed, progress=progress)
    return fit, test


def by_hand(dataset: Dataset) -> Architecture:
    """What somebody would write down without a search: three convolutions of 3 x 3, 16 filters first, full images."""
    return Architecture(size=dataset.image_shape[0])


def search_record(
    run: Run,
    dataset: Dataset,
    budget: Budget,
    found: Mapping[str, Sequence[search.Found]],
    *,
    name: str,
    runs: int = 30,
    progress: bool = True,
) -> dict:
    """Train the best candidate of each search and the network made by hand, and write their record.

    Parameters
    ----------
    found : dict
        By sampler, from `searched`. ``clean`` is the best of ``nsga2``.
    """
    chosen = {sampler: best(candidates).architecture for sampler, candidates in found.items()}
    chosen["by_hand"] = by_hand(dataset)
    predictions, measured, seconds = {}, {}, 0.0
    with tempfile.TemporaryDirectory() as home:
        for which, architecture in chosen.items():
            fit, test = grown(architecture, dataset, epochs=budget.epochs, seed=budget.seed, progress=progress)
            predictions["clean" if which == "nsga2" else which] = answers(fit.model, test.images)
            file = edge.export(fit.model, Path(home) / f"{which}.tflite")
            measured[f"cost-{which}"] = cost(file, fit.model, runs=runs)
            seconds += fit.seconds
    for sampler, candidates in found.items():
        trained = [one for one in candidates if one.quality is not None]
        measured[f"trials-{sampler}"] = {"quality": [one.quality for one in trained]} | {
            what: [getattr(one.price, what) for one in trained] for what in ("bytes", "macs")
        }
        if budget.max_ms is not None:  # every candidate, those over the limits too
            measured[f"timed-{sampler}"] = {
                "ms": [one.ms for one in candidates],
                "macs": [one.price.macs for one in candidates],
                "trained": [one.quality is not None for one in candidates],
            }
    parameters = budget.settings() | {f"chosen_{which}": one.name for which, one in chosen.items()}
    return record(run, dataset, "search", name, parameters, predictions, measured, seconds)


def federated(
    run: Run, dataset: Dataset, architecture: Architecture, spec: FederatedSpec, *, name: str, progress: bool = True
) -> tuple[keras.Model, dict]:
    """Train a small network over hospitals, alone and in one place with the engine of paper 5; write the record.

    Returned are the averaged network and the record.

    ``clean`` is the averaged network, ``local`` answers each hospital's images by its own network, ``centralised`` has
    seen everybody's.
    """
    members = hospital.shared_out(dataset, spec).members
    model = small.build(architecture, dataset.n_classes, channels=dataset.image_shape[-1], seed=spec.seed)
    predictions, measured, seconds = {}, {}, 0.0
    for way in ("fedavg", "centralised", "local"):
        made = hospital.trained(replace(spec, way=way), model, members, progress=progress)
        predictions["clean" if way == "fedavg" else way] = hospital.answers(model, members, made.networks)
        seconds += made.seconds
        if way == "fedavg":
            averaged = made.networks[members[0].name]
            rows = [row for history in made.histories for entry in history for row in entry["clients"]]
            sent = sum(row["bytes_up"] + row["bytes_down"] for row in rows)
            measured["traffic"] = {"megabytes": [sent / 1e6], "parameters": [model.count_params()]}
    counts = [np.bincount(member.train.labels, minlength=dataset.n_classes) for member in members]
    measured |= {f"training-{m.name}": {"images": c} for m, c in zip(members, counts, strict=True)}
    fields = ("partition", "dirichlet_alpha", "hospitals", "rounds", "local_epochs", "learning_rate")
    parameters = asdict(architecture) | {field: getattr(spec, field) for field in fields}
    model.set_weights(averaged)
    return model, record(run, dataset, "federated", name, parameters, predictions, measured, seconds)


def transferred(
    run: Run,
    source: Dataset,
    target: Dataset,
    architecture: Architecture,
    *,
    name: str,
    epochs: int = 10,
    seed: int = 0,
    progress: bool = True,
) -> dict:
    """Take a small network from one data set to another; write the record.

    ``clean``: all layers start from the source's and train on the target. ``head``: only the last one trains.
    ``scratch``: nothing is taken over.
    """
    first, _ = grown(architecture, source, epochs=epochs, seed=seed, progress=progress)
    train, test = (search.at_size(s, architecture.size) for s in (target.train, target.test))
    predictions, seconds = {}, first.seconds
    for way in ("clean", "head", "scratch"):
        model = small.build(architecture, target.n_classes, channels=target.image_shape[-1], seed=seed)
        for layer in model.layers:
            if way != "scratch" and layer.weights and layer.name != "logits":
                layer.set_weights(first.model.get_layer(layer.name).get_weights())
                layer.trainable = way != "head"
        fit = edge.tuned(model, train, title=f"{target.name} {way}", epochs=epochs, seed=seed, progress=progress)
        predictions[way] = answers(fit.model, test.images)
        seconds += fit.seconds
    parameters = asdict(architecture) | {"from": source.name, "epochs": epochs, "n_source": len(source.train)}
    return record(run, target, "transfer", name, parameters, predictions, {}, seconds)


def limited(files: Mapping[str, Path], stand_ins: Sequence[str], *, runs: int = 30) -> dict[str, dict]:
    """Time networks under each stand-in; one that cannot run there has ``runs`` 0 and no time.

    Each gets as many threads as it has cores.

    Returns
    -------
    dict
        As a record's measurements, under ``NETWORK-STAND_IN``.
    """
    found, every = {}, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for (name, file), stand_in in ((item, s) for item in files.items() for s in stand_ins):
        threads = device.STAND_INS[stand_in].cores or every
        try:
            times = device.measured(file, stand_in, threads=threads, runs=runs)
        except MedtkError as error:
            print(error, flush=True)
            found[f"{name}-{stand_in}"] = {"runs": [0]}
        else:
            kept = {what: np.atleast_1d(times[what]) for what in ("median_ms", "p95_ms", "cold_ms", "peak_mb")}
            found[f"{name}-{stand_in}"] = kept | {"runs": [1], "threads": [threads], "bytes": [file.stat().st_size]}
    return found
