"""The experiment of chapter 53: hospitals train under a promise of privacy; what it costs and what still leaks."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial

import keras
import numpy as np
from keras import layers

from medtk import federated, privacy
from medtk.data import Dataset, Split
from medtk.data.hospitals import Hospital, Hospitals, Share
from medtk.data.hospitals import split as share_out
from medtk.errors import BadParameter, UnknownName
from medtk.lab.session import Run
from medtk.lab.transfer import unusual

LEVELS = ("none", "record", "client")
# Plain training is Adam on small batches. DP-SGD is SGD, and larger samples drown less in their noise.
USUAL = {
    "none": {"batch_size": 16, "learning_rate": 2e-3},
    "record": {"batch_size": 64, "learning_rate": 0.5, "optimizer": "sgd"},
    "client": {"batch_size": 16, "learning_rate": 2e-3},
}
DEVIATIONS = (
    "a small network without batch normalisation instead of EfficientNetV2-S, since DP-SGD needs the gradient of "
    "each image by itself",
    "images of 28 pixels in grey instead of 100 in colour",
    "half of each hospital's images set aside as non-members",
)
# Updates of the plain runs are 1.3 to 1.9 long; gradients of single images at the start of DP-SGD are longer than 1.
CLIP_NORMS = {"none": 1.0, "record": 1.0, "client": 1.5}


@dataclass(frozen=True)
class Spec:
    """What is promised, to whom, and how the hospitals train.

    Attributes
    ----------
    level : {'none', 'record', 'client'}
        ``none``: plain federated averaging. ``record``: each hospital trains with DP-SGD, which hides each image.
        ``client``: the server clips and noises the mean of the updates, which hides each hospital.
    epsilon : float
        Promised over all rounds, above 0. Infinite for ``none``, and for a control: its training without the noise.
    delta : float
        In (0, 1), far below 1 over the number of images.
    clip_norm : float
        Longest gradient of an image, or longest update of a hospital, that counts in full; above 0.
    partition : str
        How the hospitals differ, see `medtk.data.hospitals.split`.
    val_fraction : float
        Part of each hospital's images that it does not train on: they are the attack's non-members.
    settings : medtk.federated.Settings
        Rounds, batch size, learning rate, optimizer, seed.
    """

    level: str = "none"
    epsilon: float = math.inf
    delta: float = 1e-4
    clip_norm: float = 1.0
    partition: str = "iid"
    val_fraction: float = 0.5
    settings: federated.Settings = field(default_factory=federated.Settings)

    def __post_init__(self):
        if self.level not in LEVELS:
            raise UnknownName("level of privacy", self.level, LEVELS)
        if self.level == "none" and not math.isinf(self.epsilon):
            raise BadParameter(f"epsilon must be infinite for 'none', not {self.epsilon}.")


def network(input_shape: tuple[int, int, int], n_classes: int, seed: int = 0) -> keras.Model:
    """Three convolutions with group normalisation: no image of a batch changes what another one gives.

    Parameters
    ----------
    input_shape : tuple of int
        Height, width and channels.
    n_classes : int
    seed : int
        Of the random weights.
    """
    keras.utils.set_random_seed(seed)
    images = keras.Input(input_shape, name="image")
    x = images
    for width in (16, 32, 32):
        x = layers.Conv2D(width, 3, strides=2, padding="same")(x)
        x = layers.ReLU()(layers.GroupNormalization(8)(x))
    scores = layers.Dense(n_classes, name="logits")(layers.Flatten()(x))
    return keras.Model(images, layers.Softmax(name="probabilities")(scores), name="small")


def hospitals(dataset: Dataset, spec: Spec, n: int = 3) -> Hospitals:
    """The data set shared out among `n` hospitals, always in the same way for the same seed."""
    return share_out(dataset, spec.partition, n, val_fraction=spec.val_fraction, seed=spec.settings.seed)


def noise_multipliers(members: Sequence[Hospital], spec: Spec) -> dict[str, float]:
    """Noise that each hospital needs for the promise, by name; the same for all where the server adds it.

    A small hospital draws each of its images more often, so it needs more noise for the same epsilon.
    """
    if math.isinf(spec.epsilon):
        return {member.name: 0.0 for member in members}
    releases, settings = {}, spec.settings
    for member in members:
        rate, steps = privacy.sampling(len(member.train), settings.batch_size)
        per_round = (1.0, 1) if spec.level == "client" else (rate, steps * settings.local_epochs)
        releases[member.name] = per_round[0], per_round[1] * settings.rounds
    # Hospitals of one size need the same, which takes a second to find.
    needed = {each: privacy.noise_for(spec.epsilon, *each, spec.delta) for each in set(releases.values())}
    return {name: needed[each] for name, each in releases.items()}


def average_privately(
    server: federated.Server,
    received: Sequence[federated.Received],
    sizes: Mapping[str, int],
    clip_norm: float,
    noise_multiplier: float,
    seed: int,
) -> federated.Server:
    """Strategy of the server: the mean of the clipped updates plus noise, new in each round.

    `sizes` holds the images of every hospital. One that sent nothing counts as unchanged: were its share given to the
    others, a hospital could move the mean by more than the noise is made for.
    """
    number, old = server.memory.get("round", 0) + 1, server.models["global"]
    sent = {update.client: update.weights for update in received}
    new = privacy.private_round(
        old,
        [sent.get(name, old) for name in sizes],
        list(sizes.values()),
        clip_norm=clip_norm,
        noise_multiplier=noise_multiplier,
        seed=(seed, number),
    )
    return replace(server, models={"global": new}, memory={"round": number}, notes={})


def train(
    model: keras.Model, shared: Hospitals, spec: Spec, *, progress: bool = True, keep: bool = True
) -> federated.Result:
    """Train as promised; the weights of `model` are the start and, afterwards, the result.

    Parameters
    ----------
    model : keras.Model
        From `network`.
    shared : Hospitals
    spec : Spec
    progress, keep : bool
        As in `medtk.federated.run`.
    """
    noise = noise_multipliers(shared.members, spec)
    steps, strategy, settings = {}, federated.average, spec.settings
    if spec.level == "record":
        steps = {
            name: partial(
                federated.train_privately, private=privacy.PrivateSgd(spec.clip_norm, z, spec.settings.batch_size)
            )
            for name, z in noise.items()
        }
    elif spec.level == "client":
        # Whoever is refused for its length beside the others' is refused for what they sent: no noise covers that.
        settings = replace(settings, max_ratio=None)
        strategy = partial(
            average_privately,
            sizes={member.name: len(member.train) for member in shared.members},
            clip_norm=spec.clip_norm,
            noise_multiplier=max(noise.values()),
            seed=spec.settings.seed,
        )
    result = federated.run(
        model,
        shared.members,
        settings,
        strategy=strategy,
        steps=steps,
        evaluate_on={"test": shared.test},
        validate=False,  # counted without noise, on images that the promise does not cover
        keep=keep,
        progress=progress,
    )
    model.set_weights(result.weights())
    return result


def answers(model: keras.Model, splits: Sequence[Split | Share]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of several splits, one after the other."""
    labels = np.concatenate([split.labels for split in splits])
    return labels, np.concatenate([federated.predict(model, split) for split in splits])


def experiment(run: Run, dataset: Dataset, spec: Spec, *, progress: bool = True) -> tuple[federated.Result, dict]:
    """Train as promised, attack the result, and record both.

    The record holds the answers to the test images (``global``). Of each image that a hospital trained on
    (``members``) or set aside (``others``), and of each test image (``test``), it holds the loss, which the attack
    reads, and whether the answer was right.

    Parameters
    ----------
    run : Run
        Writes the record.
    dataset : Dataset
    spec : Spec
    progress : bool
        Whether to show a bar.

    Returns
    -------
    result : medtk.federated.Result
    record : dict
    """
    shared = hospitals(dataset, spec)
    model = network(dataset.image_shape, dataset.n_classes, spec.settings.seed)
    began = time.perf_counter()
    result = train(model, shared, spec, progress=progress)
    seconds = sum(entry["seconds"] for entry in result.history) if result.from_cache else time.perf_counter() - began
    read = {
        "members": [member.train for member in shared.members],
        "others": [member.val for member in shared.members],
        "test": [dataset.test],
    }
    measured = {}
    for name, splits in read.items():
        labels, probabilities = answers(model, splits)
        measured[name] = {
            "loss": -privacy.loss_score(labels, probabilities),
            "accuracy": probabilities.argmax(axis=1) == labels,
        }
    record = run.record(
        dataset,
        "plain",  # like this network it starts from random values
        weights="random",
        experiment="privacy",
        paper="hospital",
        name=record_name(dataset.name, spec),
        cells=[],
        parameters=parameters(dataset, shared, spec),
        predictions={"global": probabilities},
        measurements=measured,
        seconds=seconds,
    )
    return result, record


def parameters(dataset: Dataset, shared: Hospitals, spec: Spec) -> dict:
    """Settings of a run, for its record."""
    settings = asdict(spec.settings)
    kept = ("rounds", "local_epochs", "batch_size", "learning_rate", "optimizer")
    return {
        "dataset": dataset.name,
        "network": "small",
        "level": spec.level,
        "epsilon": None if math.isinf(spec.epsilon) else spec.epsilon,
        "delta": spec.delta,
        "clip_norm": spec.clip_norm,
        "noise_multipliers": noise_multipliers(shared.members, spec),
        "partition": spec.partition,
        "val_fraction": spec.val_fraction,
        "members": {member.name: len(member.train) for member in shared.members},
        **{name: settings[name] for name in kept},
    }


def record_name(dataset: str, spec: Spec) -> str:
    """File name of the record of a run; settings that are not the usual ones are named in it."""
    epsilon = f"-epsilon{spec.epsilon:g}"
    if math.isinf(spec.epsilon):
        epsilon = "" if spec.level == "none" else "-no-noise"
    usual = usual_spec(spec.level, spec.epsilon)
    changed = unusual(spec, usual, ("delta", "clip_norm", "val_fraction"))
    changed += unusual(spec.settings, usual.settings, ("rounds", "local_epochs", "batch_size", "learning_rate"))
    return f"{dataset}-{spec.partition}-{spec.level}{epsilon}{changed}-s{spec.settings.seed}"


def usual_spec(level: str, epsilon: float = math.inf, seed: int = 0) -> Spec:
    """Settings of the recorded runs: the paper's 15 rounds of one epoch."""
    return Spec(level, epsilon, clip_norm=CLIP_NORMS[level], settings=federated.Settings(**USUAL[level], seed=seed))
