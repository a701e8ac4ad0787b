"""Chapter 24: where the modalities part, what is gained after that, clients that come late, and who is recognised."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import keras
import numpy as np

from medtk import federated, privacy
from medtk.data import Dataset, Split
from medtk.errors import BadParameter, UnknownName
from medtk.federated.aggregation import Weights
from medtk.lab import covid
from medtk.lab.covid_clients import clusters_of
from medtk.lab.covid_made import Made
from medtk.lab.covid_spec import COLUMNS, PAPER, SETTING, TITLES, Spec, deviations
from medtk.lab.session import Run
from medtk.lab.transfer import unusual
from medtk.reproduction import records
from medtk.reproduction.rules_clustered_covid_rounds import best_round, smoothed

LATE, MEMBERS = "late", "members"  # experiments
# How a server may treat a client that needs longer than the others.
TREATMENTS = {
    "wait": "wait for the slow client in every round",
    "drop": "go on without it",
    "late": "take each update when it comes, old or not",
    "buffered": "buffer of two, old updates count less",
}


@dataclass(frozen=True)
class Late:
    """A run with one slow client.

    Attributes
    ----------
    treatment : str
        A key of `TREATMENTS`.
    slow : str
        Name of the client; empty for the last one with ultrasound.
    delay : int
        Rounds of the others that it needs for one of its own, 2 or more.
    """

    treatment: str = "buffered"
    slow: str = ""
    delay: int = 3

    def __post_init__(self):
        if self.treatment not in TREATMENTS:
            raise UnknownName("treatment of a slow client", self.treatment, TREATMENTS)
        if self.delay < 2:
            raise BadParameter(f"delay must be 2 rounds or more, not {self.delay}: a client that needs 1 is not slow.")

    def client(self, spec: Spec) -> str:
        """Name of the slow client; `UnknownName` if the run has no such client."""
        names = [f"{modality}_{k + 1}" for modality in TITLES for k in range(spec.clients)]
        if self.slow and self.slow not in names:
            raise UnknownName("client", self.slow, names)
        return self.slow or names[-1]


def late_run(
    spec: Spec,
    model: keras.Model,
    images: Mapping[str, Dataset],
    late: Late,
    *,
    keep: bool = True,
    progress: bool = True,
) -> Made:
    """Train with a slow client for as long as the others need for ``spec.rounds`` rounds.

    However the server treats it, each update counts by its images as in FedAvg: an own weight for single updates would
    favour who has few images, and nobody could tell that from what lateness does.

    Parameters
    ----------
    spec : Spec
        Its way is not looked at: one model for all.
    model : keras.Model
        Of `covid.network`; its weights are the start, and are in it again at the end.
    images : mapping
        Of `covid.load`.
    late : Late
        Where the server waits, a round takes `delay` times as long, so there are fewer of them.
    keep, progress : bool
        As in `medtk.federated.run`.
    """
    members = covid.shared_out(images, spec)
    settings = covid.settings(spec)
    slow = late.client(spec)
    # A client that needs one round is not late at all.
    strategy, delays = federated.average, partial(federated.delays, late={slow: late.delay - 1})
    if late.treatment == "wait":
        settings, delays = replace(settings, rounds=max(1, spec.rounds // late.delay)), None
    elif late.treatment == "drop":
        if spec.clients == 1:
            raise BadParameter(f"without {slow} nobody has its modality; take 2 clients of each or more to drop one.")
        members = [member for member in members if member.name != slow]
        delays = None
    else:
        settings = replace(settings, max_delay=late.delay - 1, min_clients=0)
        size, exponent = (1, 0.0) if late.treatment == "late" else (2, 0.5)
        strategy = partial(
            federated.buffered,
            buffer_size=size,
            age_exponent=exponent,
            trainable=tuple(federated.trainable(model)),
            images=sum(len(member.train) for member in members),
        )
    result = federated.run(
        model,
        members,
        settings,
        strategy=strategy,
        delays=delays,
        evaluate_on={modality: dataset.test for modality, dataset in images.items()},
        validate=False,
        keep=keep,
        progress=progress,
    )
    return Made(result, clusters_of(members))


def answers(model: keras.Model, images: Mapping[str, Dataset], made: Made) -> dict[str, np.ndarray]:
    """Probabilities for the test images by modality, each answered by a client of its own modality."""
    return {modality: found["clean"] for modality, found in covid.conditions(model, images, made).items()}


def losses(model: keras.Model, weights: Weights, split: Split) -> np.ndarray:
    """Cross-entropy of each image, shape (n,); the model's weights are overwritten."""
    federated.put(model, weights)
    return -privacy.loss_score(split.labels, federated.predict(model, split))


def members_and_others(
    model: keras.Model, images: Mapping[str, Dataset], made: Made
) -> dict[str, dict[str, np.ndarray]]:
    """Losses of training images (``members``) and of test images (``others``) under the models of their modality."""
    before, found = model.get_weights(), {}
    for modality, dataset in images.items():
        weights = made.networks()[made.model_of(made.clusters[modality][0])]
        found[modality] = {
            "members": losses(model, weights, dataset.train),
            "others": losses(model, weights, dataset.test),
        }
    federated.put(model, before)
    return found


def late_name(spec: Spec, late: Late, modality: str) -> str:
    """File name of a record of `late_run`."""
    return f"{late.treatment}{late.delay}-{late.client(spec)}-{_setting(spec)}-{modality}-s{spec.seed}"


def members_name(spec: Spec, modality: str) -> str:
    """File name of a record of `members_and_others`."""
    return f"{spec.way}-{_setting(spec)}-{modality}-s{spec.seed}"


def _setting(spec: Spec) -> str:
    """Part of a file name: what decides a run of this chapter, named where it is not usual here."""
    weights = "" if spec.weights == "random" else f"-{spec.weights}"
    changed = unusual(spec, Spec(learning_rate=1e-3), ("clients", "batch_size", "learning_rate"))
    length = f"rounds{spec.rounds}x{spec.local_epochs}"
    return f"{spec.network}{weights}-{spec.size}px-{spec.split}-{length}{changed}"


def late_recorded(
    run: Run, images: Mapping[str, Dataset], spec: Spec, model: keras.Model, late: Late
) -> dict[str, dict]:
    """Run `late_run` and write one record a modality, with the curve of its test images."""
    made = late_run(spec, model, images, late)
    tested = answers(model, images, made)
    ticks = late.delay if late.treatment == "wait" else 1  # how long a round of this run took
    found = {}
    for modality, dataset in images.items():
        curves = {what: made.curve(modality, what) for what in ("accuracy", "loss")}
        curves["tick"] = [ticks * (k + 1) for k in range(len(curves["loss"]))]
        found[modality] = _write(
            run, dataset, spec, modality, made,
            experiment=LATE, name=late_name(spec, late, modality),
            parameters=asdict(late) | {"slow": late.client(spec)},
            predictions={"clean": tested[modality]}, measurements={"rounds": curves},
        )  # fmt: skip
    return found


def members_recorded(run: Run, images: Mapping[str, Dataset], spec: Spec, model: keras.Model) -> dict[str, dict]:
    """Train as `spec` says and write the losses of members and others, one record a modality."""
    made = covid.trained(spec, model, images)
    tested, kept = answers(model, images, made), members_and_others(model, images, made)
    found = {}
    for modality, dataset in images.items():
        found[modality] = _write(
            run, dataset, spec, modality, made,
            experiment=MEMBERS, name=members_name(spec, modality), parameters={},
            predictions={"clean": tested[modality]},
            measurements={name: {"loss": values} for name, values in kept[modality].items()},
        )  # fmt: skip
    return found


def _write(run: Run, dataset: Dataset, spec: Spec, modality: str, made: Made, *, parameters: dict, **fields) -> dict:
    settings = {name: value for name, value in asdict(spec).items() if name != "seed"}
    run = replace(run, deviations=[*run.deviations, *deviations(spec)])  # the list of what was written stays shared
    return run.record(
        replace(dataset, test=Split(None, dataset.test.labels)),
        spec.network,
        weights=spec.weights,
        paper=PAPER,
        cells=[],
        parameters={"dataset": dataset.name, "modality": modality, **settings, **parameters},
        seconds=made.seconds,
        **fields,
    )


def parting(notes: Mapping[str, Sequence[float]]) -> dict[str, int | None]:
    """Round in which each rule finds that the modalities part; None where it does not.

    Parameters
    ----------
    notes : mapping
        ``distance`` and ``cosine``, one value a round.
    """
    bend = federated.bend(notes["distance"])
    return {
        "they pull against each other": federated.conflict(notes),
        "the distance grows faster": federated.drift(notes),
        "the distance bends": bend.round if bend else None,
    }


def after(loss: Sequence[float], round_number: int) -> dict[str, float]:
    """What training past a round brought: smoothed test loss there, its lowest value later, and at the end."""
    values = smoothed(loss)
    at = min(round_number, len(values)) - 1
    return {"there": float(values[at]), "best later": float(values[at:].min()), "at the end": float(values[-1])}


def of_run(home, *, way: str, split: str, modality: str = "xray") -> list[dict]:
    """Recorded runs of the experiment of `medtk.lab.covid` of one way and split, the longest first."""
    found = [r for r in records.read_all(home) if (r["paper"], r["experiment"]) == (PAPER, covid.EXPERIMENT)]
    wanted = {"way": way, "split": split, "modality": modality}
    mine = [r for r in found if all(r["parameters"].get(name) == value for name, value in wanted.items())]
    return sorted(mine, key=lambda r: (-r["parameters"]["rounds"], r["seed"], r["id"]))


def together(home, split: str) -> list[tuple[dict, dict[tuple[str, str], dict]]]:
    """Recorded runs of all three set-ups with the same settings, seed and split, the longest first.

    Returns
    -------
    list of (record, stored)
        One record of each run, for its settings, and the arrays of all its records by way and modality.
    """
    found = []
    for record in of_run(home, way="specialised", split=split):
        stored = {}
        for way in COLUMNS:
            for modality in TITLES:
                for other in of_run(home, way=way, split=split, modality=modality):
                    if _same(record, other) and record["seed"] == other["seed"]:
                        stored[way, modality] = records.load_predictions(other, home)
        if len(stored) == len(COLUMNS) * len(TITLES) and "rounds/distance" in stored["specialised", "xray"]:
            found.append((record, stored))
    return found


def _same(record: dict, other: dict) -> bool:
    same = all(record["parameters"][name] == other["parameters"][name] for name in SETTING)
    return same and record["backend"] == other["backend"]


__all__ = ["TREATMENTS", "Late", "after", "answers", "best_round", "late_recorded", "late_run", "members_and_others",
           "members_recorded", "parting", "smoothed", "together"]  # fmt: skip
