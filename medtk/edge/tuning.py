"""One way to train and to train on, for every form of a small network; cached and resumed as all training in medtk."""

from collections.abc import Callable, Sequence

import keras

from medtk.data import Split
from medtk.training import Fit, be_deterministic, digest_of, digest_of_arrays, epoch_order, train_or_load

RECIPE = 1


def tuned(
    model: keras.Model,
    split: Split,
    *,
    title: str,
    epochs: int = 5,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    seed: int = 0,
    settings: dict | None = None,
    callbacks: Callable[[int, int], Sequence[keras.callbacks.Callback]] = lambda first_step, steps: [],
    progress: bool = True,
) -> Fit:
    """Train a network with Adam and cross-entropy from the weights that it has, or take what the cache holds.

    Parameters
    ----------
    model : keras.Model
        Images to probabilities; it is trained in place.
    split : Split
        Training images.
    title : str
        Of the bar, and part of the name in the cache.
    epochs, batch_size, learning_rate, seed
        `seed` is of the order of the images.
    settings : dict, optional
        What else changes the result (the final sparsity, say), for the cache.
    callbacks : callable
        ``callbacks(first_step, steps)`` gives what Keras calls in an epoch that starts after `first_step` of `steps`.
    progress : bool

    Returns
    -------
    Fit
    """
    be_deterministic()
    model.compile(keras.optimizers.Adam(learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    steps_per_epoch = -(-len(split) // batch_size)

    def one_epoch(epoch, bar):
        order = epoch_order(len(split), seed, epoch)
        counted = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: bar.update())
        given = callbacks(epoch * steps_per_epoch, epochs * steps_per_epoch)
        fitted = model.fit(
            split.images[order],
            split.labels[order],
            batch_size=batch_size,
            shuffle=False,
            verbose=0,
            callbacks=[*given, counted],
        )
        return {name: float(values[-1]) for name, values in fitted.history.items()}

    name = digest_of(
        {
            "recipe": RECIPE,
            "title": title,
            "epochs": epochs,
            "training": [batch_size, learning_rate, seed],
            "settings": settings or {},
            "start": digest_of_arrays(*model.get_weights()),
            "form": [layer.__class__.__name__ for layer in model.layers],
            "data": digest_of_arrays(split.images, split.labels),
            "keras": [keras.__version__, keras.backend.backend()],
        }
    )
    return train_or_load(
        model, name, one_epoch, epochs=epochs, steps_per_epoch=steps_per_epoch, title=title, progress=progress
    )
