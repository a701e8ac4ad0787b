"""A search over architectures under budgets for size, computation and time, by NSGA-II or at random, with Optuna.

Quality is given by a function of the caller, which trains a candidate and asks it about validation images. What a
candidate costs is known before it is trained, so one over the budget is never trained at all.
"""

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from medtk.data import Dataset, Split, resize
from medtk.edge import journals, runtime, small
from medtk.edge.exporting import export
from medtk.edge.small import Architecture
from medtk.edge.tuning import tuned
from medtk.errors import BadParameter, UnknownName
from medtk.evaluation import metrics

SAMPLERS = ("nsga2", "random")
# Added to the seed of the random sampler. With the same one, the first generation of NSGA-II, which is drawn at random
# too, would be the rival's first candidates, and a small search would be compared with itself.
RIVAL = 1_000_003
BATCH = 64


@dataclass(frozen=True)
class Space:
    """Values that each number of an `Architecture` may take."""

    widths: tuple[int, ...] = (4, 8, 16, 32)
    depths: tuple[int, ...] = (2, 3, 4)
    kernels: tuple[int, ...] = (3, 5)
    sizes: tuple[int, ...] = (32, 64)
    separables: tuple[bool, ...] = (False, True)

    def __len__(self) -> int:
        return math.prod(len(values) for values in asdict(self).values())


@dataclass(frozen=True)
class Price:
    """What an architecture costs, known without training it.

    Attributes
    ----------
    parameters : int
    bytes : int
        Of its parameters as floats, 4 each.
    macs : int
        Multiplications for one image. They stand for time, because they are the same on every machine and in every
        run; a measured time stands beside them in the tables.
    """

    parameters: int
    bytes: int
    macs: int


@dataclass(frozen=True)
class Found:
    """One candidate of a search.

    Attributes
    ----------
    architecture : Architecture
    price : Price
    quality : float or None
        What `evaluate` gave; None where the budget forbade training.
    ms : float or None
        Measured milliseconds of one answer; None where no limit of time was set.
    """

    architecture: Architecture
    price: Price
    quality: float | None
    ms: float | None = None


def price(architecture: Architecture, n_classes: int, *, channels: int = 1) -> Price:
    """Cost of an architecture, from its numbers alone: building hundreds of networks would take minutes."""
    parameters = multiplications = 0
    taps, side, before = architecture.kernel**2, architecture.size, channels
    for number, filters in enumerate(small.filters(architecture)):
        split = architecture.separable and number > 0
        weights = taps * before + before * filters if split else taps * before * filters
        parameters += weights + filters + (before if split else 0)
        multiplications += side**2 * weights
        side, before = -(-side // 2), filters
    parameters += before * n_classes + n_classes
    return Price(parameters, 4 * parameters, multiplications + before * n_classes)


def milliseconds(architecture: Architecture, n_classes: int, *, channels: int = 1, runs: int = 30) -> float:
    """Measured time of one answer: one thread, in a process of its own, the block that was disturbed least.

    That is the time in the tables of variants, of the float file. The network is not trained: the interpreter does the
    same operations whatever the weights are.

    Parameters
    ----------
    architecture : Architecture
    n_classes, channels : int
    runs : int
        Answers in a block, see `medtk.edge.alone`.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = export(small.build(architecture, n_classes, channels=channels), Path(folder) / "candidate.tflite")
        return min(runtime.alone(file, runs=runs)["median_ms"])


def search(
    evaluate: Callable[[Architecture], float],
    space: Space | None = None,
    *,
    n_classes: int,
    max_bytes: int,
    max_macs: int,
    max_ms: float | None = None,
    latency: Callable[[Architecture], float] | None = None,
    channels: int = 1,
    n_trials: int = 20,
    population: int = 8,
    sampler: str = "nsga2",
    seed: int = 0,
    journal: Path | None = None,
    progress: bool = True,
) -> list[Found]:
    """Try architectures: quality is to rise, bytes and multiplications are to fall, and both have a limit.

    The same seed gives the same candidates in the same order, also when the search was stopped and went on. With a
    limit of time that needs a journal: another measurement may fall on the other side of the limit.

    Parameters
    ----------
    evaluate : callable
        ``evaluate(architecture)`` gives a quality in [0, 1]. It is called once for each architecture within the limits.
    space : Space, optional
    n_classes, channels : int
        Of the networks.
    max_bytes, max_macs : int
        Limits, see `Price`.
    max_ms : float, optional
        Limit of the measured time of one answer. Every candidate is measured then, once and before it is trained.
    latency : callable, optional
        ``latency(architecture)`` gives that time in milliseconds; `milliseconds` on this machine unless told.
    n_trials : int
        Candidates, repetitions and those over the limits included.
    population : int
        Candidates of a generation of NSGA-II, at least 2.
    sampler : {'nsga2', 'random'}
        ``random`` draws each candidate anew, from a seed of its own: what a search has to beat.
    seed : int
    journal : path, optional
        File in which each time and quality is kept as soon as it is known; a search with the same settings goes on from
        it.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    list of Found
        In the order of the trials.

    Raises
    ------
    UnknownName, BadParameter
        On a sampler or numbers out of range, or a journal of a search with other settings.
    CorruptFile
        If the journal cannot be read.

    References
    ----------
    Deb et al. (2002), "A fast and elitist multiobjective genetic algorithm: NSGA-II".
    """
    space = space or Space()
    if sampler not in SAMPLERS:
        raise UnknownName("sampler", sampler, SAMPLERS)
    if n_trials < 1 or population < 2 or min(max_bytes, max_macs) < 1:
        raise BadParameter(
            "a search needs 1 trial, a population of 2 and limits of 1 at least, not "
            f"{n_trials}, {population}, {max_bytes} and {max_macs}."
        )
    if max_ms is not None and not max_ms > 0:
        raise BadParameter(f"The limit of time has to be above 0 ms, not {max_ms}; leave it out for no limit.")
    settings = asdict(space) | {"n_classes": n_classes, "channels": channels, "max_bytes": max_bytes}
    settings |= {"max_macs": max_macs, "population": population, "sampler": sampler, "seed": seed}
    settings |= {} if max_ms is None else {"max_ms": max_ms}
    latency = latency or partial(milliseconds, n_classes=n_classes, channels=channels)
    known = journals.kept(journal, settings)
    study, found = _study(sampler, population, seed), []
    for _ in tqdm(range(n_trials), desc="search", unit="candidate", disable=not progress):
        trial = study.ask()
        architecture = _suggested(trial, space)
        cost = price(architecture, n_classes, channels=channels)
        over = {"bytes": cost.bytes / max_bytes - 1, "macs": cost.macs / max_macs - 1}
        if max_ms is not None:
            if architecture not in known.times:
                known.times[architecture] = float(latency(architecture))
                journals.keep(journal, settings, known)
            over["ms"] = known.times[architecture] / max_ms - 1
        within = max(over.values()) <= 0
        if within and architecture not in known.qualities:
            known.qualities[architecture] = float(evaluate(architecture))
            journals.keep(journal, settings, known)
        quality = known.qualities[architecture] if within else None
        found.append(Found(architecture, cost, quality, known.times.get(architecture)))
        for name, excess in over.items():
            trial.set_constraint(name, excess)
        study.tell(trial, (quality or 0.0, cost.bytes, cost.macs))
    return found


def front(found: Sequence[Found]) -> list[Found]:
    """Candidates within the limits that no other one beats in quality, bytes and multiplications at once.

    Returns
    -------
    list of Found
        Each once, from the cheapest to the dearest.
    """
    trained = list(dict.fromkeys(one for one in found if one.quality is not None))

    def beats(other: Found, one: Found) -> bool:
        a, b = ((-x.quality, x.price.bytes, x.price.macs) for x in (other, one))
        return all(p <= q for p, q in zip(a, b, strict=True)) and a != b

    kept = [one for one in trained if not any(beats(other, one) for other in trained)]
    return sorted(kept, key=lambda one: (one.price.macs, one.price.bytes))


def at_size(split: Split, size: int) -> Split:
    """A split with its images at another side in pixels."""
    return split if split.images.shape[1] == size else Split(resize(split.images, size), split.labels, split.groups)


def quality(architecture: Architecture, dataset: Dataset, *, epochs: int = 3, seed: int = 0) -> float:
    """Balanced accuracy on the validation images after a short training; the test images are not touched.

    Parameters
    ----------
    architecture : Architecture
    dataset : Dataset
        Its images are brought to the architecture's size.
    epochs, seed : int
        As in `medtk.edge.tuned`, which keeps the training.
    """
    channels = dataset.image_shape[-1]
    model = small.build(architecture, dataset.n_classes, channels=channels, seed=seed)
    train, val = (at_size(split, architecture.size) for split in (dataset.train, dataset.val))
    fit = tuned(model, train, title=architecture.name, epochs=epochs, seed=seed, progress=False)
    # Called as it is: compiling `predict` for each of many networks takes longer than a few hundred images.
    parts = np.array_split(val.images, -(-len(val) // BATCH))
    said = np.concatenate([np.asarray(fit.model(part)) for part in parts])
    return metrics.classification(val.labels, said)["balanced_accuracy"]


def _study(sampler: str, population: int, seed: int):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if sampler == "random":
        chosen = optuna.samplers.RandomSampler(seed=seed + RIVAL)
    else:
        chosen = optuna.samplers.NSGAIISampler(population_size=population, seed=seed)
    return optuna.create_study(sampler=chosen, directions=["maximize", "minimize", "minimize"])


def _suggested(trial, space: Space) -> Architecture:
    return Architecture(
        width=trial.suggest_categorical("width", space.widths),
        depth=trial.suggest_categorical("depth", space.depths),
        kernel=trial.suggest_categorical("kernel", space.kernels),
        size=trial.suggest_categorical("size", space.sizes),
        separable=trial.suggest_categorical("separable", space.separables),
    )
