"""The moving statistics of batch normalisation, measured anew."""

import keras
import numpy as np


def statistics_refreshed(model: keras.Model, images: np.ndarray, batch_size: int = 256) -> None:
    """Replace the moving statistics of every batch normalisation by those of `images`; no weight is trained.

    Five epochs on a small set are few updates of a moving average. This passes the images through the network in
    training mode and keeps the average of the batches' statistics.

    Parameters
    ----------
    model : keras.Model
        Changed in place.
    images : ndarray of float32, shape (n, height, width, channels)
        Training images.
    batch_size : int
        Images in one pass.
    """
    layers = [inner for layer in model.layers for inner in getattr(layer, "layers", [layer])]
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        for layer in norms:
            # The moving average becomes the mean over batches, each counted by its images.
            layer.momentum = start / (start + len(batch))
        model(batch, training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
