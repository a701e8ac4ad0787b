"""The loop over epochs that every training method of medtk shares: stored after each epoch, resumed, cached."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from tqdm import tqdm

from medtk.settings import cache_home
from medtk.training import checkpoints


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


def train_or_load(
    model: keras.Model,
    name: str,
    train_one_epoch: Callable[[int, tqdm], dict],
    *,
    epochs: int,
    steps_per_epoch: int,
    title: str,
    progress: bool = True,
) -> Fit:
    """Train a network epoch by epoch, from where the cache has it.

    The state is stored after each epoch, so that a run that was killed goes on from its last whole epoch. It gives
    the same weights, bit for bit, as one that was not killed, if an epoch depends on nothing but the state of network
    and optimizer and on the number of the epoch.

    Parameters
    ----------
    model : keras.Model
        Compiled, in its state before the first epoch. It is trained in place. The state is that of its weights and
        of its optimizer; a layer with random numbers of its own (dropout) would not be restored.
    name : str
        Of the entry in the cache: a `digest_of` everything that changes the result.
    train_one_epoch : callable
        ``train_one_epoch(epoch, bar)`` trains epoch number ``epoch`` (from 0), calls ``bar.update()`` once a step and
        returns the entry of the history, with ``loss``.
    epochs : int
        Epochs in all.
    steps_per_epoch : int
        For the bar.
    title : str
        Of the bar.
    progress : bool
        Whether to show the bar.

    Returns
    -------
    Fit
        With `model` itself.
    """
    model.optimizer.build(model.trainable_variables)
    path = cache_home() / "models" / f"{name}.npz"
    history = checkpoints.restore(path, model)
    done = len(history)
    total, initial = epochs * steps_per_epoch, done * steps_per_epoch
    with tqdm(total=total, initial=initial, unit="step", desc=title, disable=not progress, mininterval=2) as bar:
        for epoch in range(done, epochs):
            start = time.perf_counter()
            entry = train_one_epoch(epoch, bar)
            bar.set_postfix(epoch=f"{epoch + 1}/{epochs}", loss=f"{entry['loss']:.3f}")
            history = [*history, entry | {"seconds": time.perf_counter() - start}]
            checkpoints.save(path, model, history)
    return Fit(model, history, sum(entry["seconds"] for entry in history), done == epochs)


def fit_one_epoch(
    model: keras.Model, images: np.ndarray, targets: np.ndarray, *, batch_size: int, seed: int, epoch: int, bar: tqdm
) -> dict:
    """One epoch of Keras' own ``fit``, the images in `epoch_order`.

    Returns
    -------
    dict
        Loss and metrics while training.
    """
    order = epoch_order(len(images), seed, epoch)
    fitted = model.fit(
        images[order],
        targets[order],
        batch_size=batch_size,
        shuffle=False,
        verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: bar.update())],
    )
    return {name: float(values[-1]) for name, values in fitted.history.items()}


def restart(used: keras.Model, fresh: keras.Model) -> keras.Model:
    """Give a compiled network the state of another of the same form, so that its training step is compiled once.

    Tracing a step of DenseNet121 takes longer than an epoch on a small data set.

    Parameters
    ----------
    used : keras.Model
        Compiled; its weights and the state of its optimizer are overwritten.
    fresh : keras.Model
        Compiled with the same loss and kind of optimizer, and not trained yet.

    Returns
    -------
    keras.Model
        `used`.
    """
    used.set_weights(fresh.get_weights())
    for model in (used, fresh):
        model.optimizer.build(model.trainable_variables)
    for variable, start in zip(used.optimizer.variables, fresh.optimizer.variables, strict=True):
        variable.assign(start)
    return used


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """Order of `n` images in an epoch.

    It depends on seed and epoch alone, not on what ran before: a resumed run sees the same batches.
    """
    return np.random.default_rng((seed, epoch)).permutation(n)


def digest_of(parts: dict) -> str:
    """Name of a training run in the cache, from everything that changes its result, as JSON can write it."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def digest_of_arrays(*arrays: np.ndarray) -> str:
    """Digest of the bytes of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def be_deterministic() -> None:
    """Ask TensorFlow for operations that give the same bits each time; JAX does so on a processor by itself."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
