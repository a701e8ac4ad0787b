"""Supervised training of one network on one data set."""

import dataclasses
from dataclasses import dataclass

import keras

from medtk import models
from medtk.data import Dataset
from medtk.data.files import checksum
from medtk.errors import BadParameter
from medtk.training import loop
from medtk.training.loop import Fit

# Part of every cache key: raise it when a change to this room or to medtk.models changes what training gives.
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


def fit_or_load(spec: Spec, dataset: Dataset, *, into: keras.Model | None = None, progress: bool = True) -> Fit:
    """Train a network, or load it if the same training was done before.

    The state is stored after each epoch, so that a run that was killed goes on from its last whole epoch, and
    gives the same weights, bit for bit, as one that was not.

    Parameters
    ----------
    spec : Spec
        The network and how to train it.
    dataset : Dataset
        Its training split is used.
    into : keras.Model, optional
        The network of an earlier call that differed in seed or learning rate alone. It is overwritten and returned,
        which spares compiling the same step again; see `medtk.training.restart`.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    Fit
    """
    loop.be_deterministic()
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
    if into is not None:
        model = loop.restart(into, model)
    images, labels = dataset.train.images, dataset.train.labels
    return loop.train_or_load(
        model,
        key(spec, dataset),
        lambda epoch, bar: loop.fit_one_epoch(
            model, images, labels, batch_size=spec.batch_size, seed=spec.seed, epoch=epoch, bar=bar
        ),
        epochs=spec.epochs,
        steps_per_epoch=-(-len(dataset.train) // spec.batch_size),
        title=spec.network,
        progress=progress,
    )


def key(spec: Spec, dataset: Dataset) -> str:
    """Name of a training run in the cache: a digest of its spec, its data and the versions that compute it."""
    weights = models.weights_source(spec.network, spec.weights)
    parts = {
        "recipe": RECIPE,
        "spec": dataclasses.asdict(spec),
        "weights": [weights.source, checksum(weights.path) if weights.path and weights.path.is_file() else 0],
        "data": loop.digest_of_arrays(dataset.train.images, dataset.train.labels),
        "classes": dataset.n_classes,
        "keras": [keras.__version__, keras.backend.backend()],
    }
    return loop.digest_of(parts)
