"""The experiment of paper 5: one network for several hospitals, trained together, alone, or in one place."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import keras
import numpy as np

from medtk import federated, models
from medtk.data import CATALOG, Dataset, Split, hospitals
from medtk.data.hospitals import Hospital, Hospitals, Share
from medtk.federated.aggregation import Weights
from medtk.lab.hospital_spec import EXPERIMENT, LAYERS, PAPER, Spec, as_printed, cells, deviations, record_name
from medtk.lab.session import Run

RULES = {"median": federated.median, "trimmed_mean": federated.trimmed_mean, "krum": federated.krum}
KEPT = {"fedbn": "local", "silobn": "local_statistics"}
PROXIMAL = 0.01  # of fedprox: the middle of the values that its authors tried


@dataclass(frozen=True, eq=False)
class Trained:
    """What a run gave.

    Attributes
    ----------
    networks : dict of str to list of ndarray
        For each hospital, the weights that it uses in the end.
    histories : list of list of dict
        Of `medtk.federated.Result`: one, or one a hospital that trained alone.
    """

    networks: dict[str, Weights]
    histories: list[list[dict]]

    @property
    def seconds(self) -> float:
        """Of all rounds, also of those that were made earlier."""
        return sum(entry["seconds"] for history in self.histories for entry in history)

    def curve(self, hospital: str, metric: str = "accuracy") -> list[float]:
        """A hospital's own test images, answered after each round by the network that it then had."""
        rows = [row for history in self.histories for row in federated.rows(history, "evaluation")]
        return [row[metric] for row in rows if row["on"] == hospital and row["client"] in ("", hospital)]


def shared_out(dataset: Dataset, spec: Spec) -> Hospitals:
    """Hospitals of a run, see `medtk.data.hospitals.split`."""
    return hospitals.split(
        dataset, spec.partition, spec.hospitals, dirichlet_alpha=spec.dirichlet_alpha, seed=spec.seed
    )


def network(spec: Spec, into: keras.Model | None = None) -> keras.Model:
    """Network of a run with its starting weights; `into` is one of the same form, to be overwritten.

    A network that is used again need not be compiled again.
    """
    shape = (spec.size, spec.size, 3)
    built = models.build_hospital(spec.network, input_shape=shape, weights=spec.weights, seed=spec.seed)
    if into is None:
        return built
    into.set_weights(built.get_weights())
    return into


def pooled(members: Sequence[Hospital], name: str = "all") -> Hospital:
    """One hospital that holds the training images of all: what nobody may build, as a yardstick."""
    parts = [member.train for member in members]
    if all(isinstance(part, Share) and part.look is None and part.whole is parts[0].whole for part in parts):
        return Hospital(name, Share(parts[0].whole, np.concatenate([part.index for part in parts])))
    taken = [part.take(np.arange(len(part))) for part in parts]
    images, labels = (np.concatenate([getattr(part, what) for part in taken]) for what in ("images", "labels"))
    return Hospital(name, Split(images, labels))


def settings(spec: Spec) -> federated.Settings:
    """Settings of the engine for a run."""
    fields = ("rounds", "local_epochs", "batch_size", "learning_rate", "seed")
    proximal = PROXIMAL if spec.way == "fedprox" else 0.0
    return federated.Settings(proximal=proximal, **{name: getattr(spec, name) for name in fields})


def trained(spec: Spec, model: keras.Model, members: Sequence[Hospital], *, progress: bool = True) -> Trained:
    """Train, or go on where a stopped run ended, or take what the cache holds.

    Parameters
    ----------
    spec : Spec
        Its partition has been made already: `members` are what counts.
    model : keras.Model
        Of `network`; its weights are the start, and are in it again at the end.
    members : sequence of Hospital
        With a test part each; the networks are evaluated on it after each round.
    progress : bool
        Whether to show a bar.
    """
    strategy = partial(federated.average, rule=RULES.get(spec.way, federated.fedavg))
    if spec.way == "fedadam":
        strategy = partial(federated.fedadam, trainable=federated.trainable(model))
    options = {"strategy": strategy, "mask": federated.shared(model, KEPT.get(spec.way, "average"))}
    options |= {"validate": False, "progress": progress}
    found, histories = {}, []
    teams = {"local": [[member] for member in members], "centralised": [[pooled(members)]]}
    for team in teams.get(spec.way, [members]):
        served = team if spec.way == "local" else members
        tests = {member.name: member.test for member in served}
        result = federated.run(model, team, settings(spec), evaluate_on=tests, **options)
        found |= {member.name: result.weights(owner=member.name) for member in served}
        histories.append(result.history)
    return Trained(found, histories)


def answers(model: keras.Model, members: Sequence[Hospital], networks: Mapping[str, Weights]) -> np.ndarray:
    """Probabilities for the whole test set, shape (n, classes): each image by the network of its own hospital.

    Parameters
    ----------
    model : keras.Model
        Its weights are the same afterwards.
    members : sequence of Hospital
        Their test parts are shares of one split, as `medtk.data.hospitals.split` makes them.
    networks : dict
        Weights by hospital.
    """
    before = model.get_weights()
    found = np.zeros((sum(len(member.test) for member in members), model.output_shape[-1]), np.float32)
    for member in members:
        federated.put(model, networks[member.name])
        found[member.test.index] = federated.predict(model, member.test)
    federated.put(model, before)
    return found


def conditions(spec: Spec, model: keras.Model, members: Sequence[Hospital], run: Trained) -> dict[str, np.ndarray]:
    """Probabilities for the whole test set by condition.

    ``clean``: each image answered by its own hospital's network, which is the same for all where everything is shared.
    ``reestimated``: the same with normalisation statistics measured again (`medtk.federated.reestimated`). Where
    hospitals have networks of their own, there is instead the network of each on all images, under its name.
    """
    found = {"clean": answers(model, members, run.networks)}
    names = [member.name for member in members]
    if spec.way == "local" or spec.way in KEPT:
        return found | {n: answers(model, members, dict.fromkeys(names, run.networks[n])) for n in names}
    before = model.get_weights()
    again = federated.reestimated(model, run.networks[names[0]], members)
    federated.put(model, before)
    return found | {"reestimated": answers(model, members, dict.fromkeys(names, again))}


def recorded(
    run: Run,
    dataset: Dataset,
    spec: Spec,
    model: keras.Model,
    *,
    members: Sequence[Hospital] | None = None,
    progress: bool = True,
) -> tuple[Trained, dict[str, dict]]:
    """Train (or load), answer the test images, and write one record of all of them and one of each hospital's.

    Parameters
    ----------
    run : Run
        Writes the records.
    dataset : Dataset
        Of the size of `spec`.
    spec : Spec
        Its seed should be the run's.
    model : keras.Model
        Of `network`.
    members : sequence of Hospital, optional
        Whose test parts are shares of the data set's; those of `shared_out`, unless told.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    trained : Trained
    records : dict
        Under ``1``, ``2`` and so on those of the hospitals; under ``all`` the one of the whole test set, written last.
    """
    members = shared_out(dataset, spec).members if members is None else members
    made = trained(spec, model, members, progress=progress)
    predictions = conditions(spec, model, members, made)
    owned = {str(k + 1): member.test.index for k, member in enumerate(members)}
    named = {} if dataset.name in CATALOG else {str(k + 1): member.name for k, member in enumerate(members)}
    last = [row for history in made.histories for row in history[-1]["clients"] if row["loss"] is not None]
    common = {"experiment": EXPERIMENT, "paper": PAPER, "weights": spec.weights, "seconds": made.seconds}
    common["while_training"] = {what: float(np.mean([row[what] for row in last])) for what in ("accuracy", "loss")}
    run = replace(run, deviations=[*run.deviations, *deviations(spec)])  # the list of what was written stays shared
    found = {}
    for which, rows in {**owned, "all": np.arange(len(dataset.test))}.items():
        labels = Split(None, dataset.test.labels[rows])  # a record needs no images
        found[which] = run.record(
            replace(dataset, test=labels),
            spec.network,
            name=record_name(spec, which),
            cells=cells(dataset, spec, which),
            parameters=_parameters(dataset, spec, which, len(rows))
            | ({"name": named[which]} if which in named else {}),
            predictions={
                name: p[rows] for name, p in predictions.items() if which == "all" or name in ("clean", "reestimated")
            },
            measurements=measured(spec, model, members, made) if which == "all" else None,
            **common,
        )
    return made, found


def layer_counts(model: keras.Model) -> dict[str, int]:
    """Parameters of the layers of Fig. 1, by the names that it prints; the network is that of the study."""
    return {row: model.get_layer(name).count_params() for row, name in LAYERS.items()}


def measured(spec: Spec, model: keras.Model, members: Sequence[Hospital], made: Trained) -> dict[str, dict]:
    """Curves, seconds and traffic by round, training images by class, parameters by layer: no predictions."""
    found = {f"rounds-{m.name}": {what: made.curve(m.name, what) for what in ("accuracy", "loss")} for m in members}
    for member in members:
        found[f"training-{member.name}"] = {"images": np.bincount(member.train.labels, minlength=2)}
    rounds = [entry for history in made.histories for entry in history]
    sent = [sum(row["bytes_up"] + row["bytes_down"] for row in entry["clients"]) / 1e6 for entry in rounds]
    found["rounds"] = {"seconds": [entry["seconds"] for entry in rounds]}
    if spec.way not in ("local", "centralised"):  # nothing crosses the line where nobody is on the other end
        found["rounds"]["megabytes"] = sent
    if as_printed(spec):
        found |= {row: {"parameters": [count]} for row, count in layer_counts(model).items()}
    return found


def _parameters(dataset: Dataset, spec: Spec, which: str, n_test: int) -> dict:
    # Of the set as a whole: what a hospital gets depends on the seed, and runs that differ in it belong together.
    sizes = {"n_train": len(dataset.train) + len(dataset.val), "n_test": n_test}
    fields = {name: value for name, value in asdict(spec).items() if name != "seed"}
    return {"dataset": dataset.name, "hospital": which, **fields, **sizes}
