"""Adversarial training: further training of a network on images that were attacked."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from medtk import attacks, training
from medtk.data import Dataset, Split
from medtk.errors import BadParameter, UnknownName

METHODS = ("printed", "fgsm", "pgd", "trades")
CRAFTING = ("inference", "training")
# Part of every cache key: raise it when a change here or in medtk.defenses.steps changes what training gives.
RECIPE = 1


@dataclass(frozen=True)
class Spec:
    """Everything that decides what adversarial training gives, but the data.

    Attributes
    ----------
    base : medtk.training.Spec
        The network, trained as usual, that is trained further. Its batch size is kept.
    method : {'printed', 'fgsm', 'pgd', 'trades'}
        ``printed``: what the robust-transfer paper describes (section III-C). FGSM examples of the training images are
        made once, with the trained network and without clipping, and the network is fitted to them.
        ``fgsm``, ``pgd``: new examples for each batch, against the network as it is then, clipped to [0, 1]; one
        step of `epsilon` from the image, or `steps` steps from a random start (Madry et al. 2018).
        ``trades``: examples on which the network contradicts itself, and a loss that weighs that against being right
        (Zhang et al. 2019).
    epsilon : float
        Largest change of a pixel, 0 or more. The paper's 0.001 is the default.
    epochs : int
        Further passes over the training split, at least 1.
    steps : int
        Steps of ``pgd`` and ``trades``; 7 as Madry et al. took for photographs.
    step_size : float, optional
        Of each of these; 2.5 `epsilon` / `steps` unless given, so that the far side of the ball is in reach.
    beta : float
        Weight of the second term of ``trades``.
    clean_share : float
        Share of each batch that is left clean, 0 to 1. With 1 this is plain further training: the control that
        tells what the attack adds to the extra epochs. ``trades`` sees every image both ways and takes only 0.
    crafting : {'inference', 'training'}
        Mode of the network while examples are made for a batch. ``inference`` attacks the network that will be used,
        its batch normalisation by moving statistics; ``training`` the one that is being trained, by the statistics of
        the batch. The two differ much while the moving statistics are not settled. ``printed`` takes only
        ``inference``.
    learning_rate : float
        Of a new Adam.
    seed : int
        Of the order of the images and the random starts. With the seed of `base` the order goes on as if `base` had
        been trained longer.
    """

    base: training.Spec
    method: str = "printed"
    epsilon: float = 0.001
    epochs: int = 5
    steps: int = 7
    step_size: float | None = None
    beta: float = 6.0
    clean_share: float = 0.0
    crafting: str = "inference"
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self):
        if self.method not in METHODS:
            raise UnknownName("adversarial training", self.method, METHODS)
        if self.crafting not in CRAFTING:
            raise UnknownName("crafting", self.crafting, CRAFTING)
        infinity = float("inf")
        for name, holds, range_ in (
            ("epsilon", 0 <= self.epsilon < infinity, "a finite number, 0 or more"),
            ("epochs", self.epochs >= 1, "at least 1"),
            ("steps", self.steps >= 1, "at least 1"),
            ("step_size", self.step_size is None or 0 < self.step_size < infinity, "above 0, or None"),
            ("beta", 0 <= self.beta < infinity, "a finite number, 0 or more"),
            ("clean_share", 0 <= self.clean_share <= 1, "from 0 to 1"),
            ("learning_rate", 0 < self.learning_rate < infinity, "above 0"),
        ):
            if not holds:
                raise BadParameter(f"{name} of adversarial training must be {range_}, not {getattr(self, name)}.")
        if self.method == "trades" and self.clean_share:
            raise BadParameter("trades sees every image clean and attacked; its clean_share must be 0.")
        if self.method == "printed" and self.crafting != "inference":
            raise BadParameter("printed makes its examples once, before training; its crafting must be 'inference'.")


def fit_or_load(
    spec: Spec, dataset: Dataset, *, into: keras.Model | None = None, progress: bool = True
) -> training.Fit:
    """Train a network further on attacked images, or load the result.

    Batch normalisation: examples are made in the mode that `spec.crafting` names, and making them leaves the moving
    statistics alone; the update is in training mode, as far as `spec.base` trains these layers. ``trades`` passes
    clean and attacked images apart, each normalised by its own statistics; in the other methods a batch is one pass.

    The examples follow the true labels. A one-step attack can leak these into the image, so that accuracy on FGSM
    images rises above that on clean ones (Kurakin et al. 2017): judge with a stronger attack.

    Parameters
    ----------
    spec : Spec
        What to do. Its base is trained first, unless it is in the cache.
    dataset : Dataset
        Its training split is used.
    into : keras.Model, optional
        The network of an earlier call of the same form, to be overwritten; see `medtk.training.fit_or_load`.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    Fit
        `history`, `seconds` and `from_cache` are those of the further training alone; loss and accuracy are on the
        images that it saw.

    Raises
    ------
    BadParameter
        For any method but ``printed`` if Keras does not run on TensorFlow.
    """
    if spec.method != "printed" and keras.backend.backend() != "tensorflow":
        raise BadParameter(
            f"Adversarial training by {spec.method!r} is a compiled TensorFlow step, and Keras runs on "
            f"{keras.backend.backend()} here: set KERAS_BACKEND=tensorflow, or use method 'printed'."
        )
    model = training.fit_or_load(spec.base, dataset, progress=progress).model
    model.compile(
        keras.optimizers.Adam(spec.learning_rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    if into is not None:
        model = training.restart(into, model)
    make = _fitting_to_fixed_examples if spec.method == "printed" else _fitting_to_new_examples
    return training.train_or_load(
        model,
        key(spec, dataset),
        make(model, dataset.train, spec),
        epochs=spec.epochs,
        steps_per_epoch=-(-len(dataset.train) // spec.base.batch_size),
        title=f"{spec.base.network} {spec.method}",
        progress=progress,
    )


def key(spec: Spec, dataset: Dataset) -> str:
    """Name of an adversarial training in the cache; it contains the name of its base."""
    parts = {
        "defence": "adversarial",
        "recipe": RECIPE,
        "spec": dataclasses.asdict(spec),
        "base": training.key(spec.base, dataset),
    }
    return training.digest_of(parts)


def _fitting_to_fixed_examples(model: keras.Model, train: Split, spec: Spec) -> Callable:
    trained = model.get_weights()

    @functools.cache
    def examples():
        # A resumed run holds later weights by now; the examples are those of the network before any of this.
        later = model.get_weights()
        model.set_weights(trained)
        attacked = attacks.fgsm(model, train.images, train.labels, spec.epsilon, clip=False)
        model.set_weights(later)
        return attacked

    def train_one_epoch(epoch, bar):
        epoch += spec.base.epochs
        order = training.epoch_order(len(train), spec.seed, epoch)
        images = examples()
        if spec.clean_share:
            clean = order[_clean(len(train), spec.base.batch_size, spec.clean_share)]
            images = images.copy()
            images[clean] = train.images[clean]
        return training.fit_one_epoch(
            model, images, train.labels, batch_size=spec.base.batch_size, seed=spec.seed, epoch=epoch, bar=bar
        )

    return train_one_epoch


def _clean(n: int, batch_size: int, share: float) -> np.ndarray:
    """Places, in the order of an epoch, of the images left clean: the first of each batch."""
    sizes = np.minimum(batch_size, n - np.arange(0, n, batch_size))
    return np.concatenate([np.arange(size) < np.round(share * size) for size in sizes])


def _fitting_to_new_examples(model: keras.Model, train: Split, spec: Spec) -> Callable:
    from medtk.defenses.steps import compiled_step

    step = compiled_step(
        model,
        method=spec.method,
        epsilon=spec.epsilon,
        steps=spec.steps,
        step_size=2.5 * spec.epsilon / spec.steps if spec.step_size is None else spec.step_size,
        beta=spec.beta,
        clean_share=spec.clean_share,
        crafting=spec.crafting,
    )
    size = spec.base.batch_size

    def train_one_epoch(epoch, bar):
        epoch += spec.base.epochs
        order = training.epoch_order(len(train), spec.seed, epoch)
        losses, right = 0.0, 0.0
        for number, start in enumerate(range(0, len(order), size)):
            rows = order[start : start + size]
            # Random starts that depend on these three numbers alone: a resumed run draws the same.
            stream = np.random.SeedSequence((spec.seed, epoch, number)).generate_state(2).astype(np.int32)
            loss, correct = step(train.images[rows], train.labels[rows], stream)
            losses, right = losses + float(loss), right + float(correct)
            bar.update()
        return {"accuracy": right / len(train), "loss": losses / len(train)}

    return train_one_epoch
