"""Supervised training of one network on one data set."""

import dataclasses
import hashlib
import json
import time
from dataclasses import dataclass

import keras
import numpy as np
from tqdm import tqdm

from medtk import models
from medtk.data import Dataset, Split
from medtk.errors import BadParameter
from medtk.settings import cache_home
from medtk.training import checkpoints

# Part of every cache key: raise it when a change to this file or to medtk.models changes what training gives.
RECIPE = 1


@dataclass(frozen=True)
class Spec:
    """Everything that decides what a training run gives, but the data.

    Attributes
    ----------
    network, weights, trainable, scaling
        See `medtk.models.build`.
    epochs : int
        Passes over the training split, at least 1.
    batch_size : int
        At least 1. The paper's 32 is the default.
    learning_rate : float
        Of Adam; Keras' default 0.001, since the paper names none.
    seed : int
        Of the weights and of the order of the images.
    """

    network: str
    weights: str = "auto"
    trainable: str = "all"
    scaling: str = "unit"
    epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self):
        if self.epochs < 1 or self.batch_size < 1 or not 0 < self.learning_rate < float("inf"):
            raise BadParameter(
                "epochs and batch_size must be at least 1 and learning_rate above 0, not "
                f"{self.epochs}, {self.batch_size} and {self.learning_rate}."
            )


@dataclass(frozen=True)
class Fit:
    """A trained network.

    Attributes
    ----------
    model : keras.Model
        Images to probabilities.
    history : list of dict
        For each epoch: loss and accuracy while training, and seconds.
    seconds : float
        Spent in training, over all sessions that it took.
    from_cache : bool
        Whether nothing was trained now.
    """

    model: keras.Model
    history: list[dict]
    seconds: float
    from_cache: bool


def fit_or_load(spec: Spec, dataset: Dataset, *, progress: bool = True) -> Fit:
    """Train a network, or load it if the same training was done before.

    The state is stored after each epoch, so that a run that was killed goes on from its last whole epoch, and
    gives the same weights, bit for bit, as one that was not.

    Parameters
    ----------
    spec : Spec
        The network and how to train it.
    dataset : Dataset
        Its training split is used.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    Fit
    """
    _be_deterministic()
    model = models.build(
        spec.network,
        dataset.n_classes,
        input_shape=dataset.image_shape,
        weights=spec.weights,
        trainable=spec.trainable,
        scaling=spec.scaling,
        seed=spec.seed,
    )
    model.compile(
        keras.optimizers.Adam(spec.learning_rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    model.optimizer.build(model.trainable_variables)
    path = cache_home() / "models" / f"{key(spec, dataset)}.npz"
    history = checkpoints.restore(path, model)
    done = len(history)
    steps = -(-len(dataset.train) // spec.batch_size)
    total, initial = spec.epochs * steps, done * steps
    with tqdm(
        total=total, initial=initial, unit="step", desc=spec.network, disable=not progress, mininterval=2
    ) as bar:
        for epoch in range(done, spec.epochs):
            history = [*history, _train_one_epoch(model, dataset.train, spec, epoch, bar)]
            checkpoints.save(path, model, history)
    return Fit(model, history, sum(entry["seconds"] for entry in history), done == spec.epochs)


def key(spec: Spec, dataset: Dataset) -> str:
    """Name of a training run in the cache: a digest of its spec, its data and the versions that compute it."""
    weights = models.weights_source(spec.network, spec.weights)
    parts = {
        "recipe": RECIPE,
        "spec": dataclasses.asdict(spec),
        "weights": [weights.source, weights.path.stat().st_size if weights.path and weights.path.is_file() else 0],
        "data": _digest(dataset.train),
        "classes": dataset.n_classes,
        "keras": [keras.__version__, keras.backend.backend()],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _train_one_epoch(model: keras.Model, train: Split, spec: Spec, epoch: int, bar: tqdm) -> dict:
    # The order depends on seed and epoch alone, not on what ran before: a resumed run sees the same batches.
    order = np.random.default_rng((spec.seed, epoch)).permutation(len(train))
    start = time.perf_counter()
    fitted = model.fit(
        train.images[order],
        train.labels[order],
        batch_size=spec.batch_size,
        shuffle=False,
        verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: bar.update())],
    )
    entry = {name: float(values[-1]) for name, values in fitted.history.items()}
    bar.set_postfix(epoch=f"{epoch + 1}/{spec.epochs}", loss=f"{entry['loss']:.3f}")
    return entry | {"seconds": time.perf_counter() - start}


def _digest(split: Split) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(split.images))
    digest.update(np.ascontiguousarray(split.labels))
    return digest.hexdigest()


def _be_deterministic() -> None:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
