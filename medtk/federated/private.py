"""The client step under a promise: DP-SGD inside a hospital, so that no image of it stands out in what it sends."""

from weakref import WeakKeyDictionary

import keras
import numpy as np
from keras import ops

from medtk import privacy
from medtk.data import Split
from medtk.data.hospitals import Share
from medtk.errors import BadParameter
from medtk.federated.client import Update, Weights, put
from medtk.federated.settings import Settings
from medtk.models.gradients import cross_entropy

_optimizers: WeakKeyDictionary = WeakKeyDictionary()


def train_privately(
    model: keras.Model,
    weights: Weights,
    split: Split | Share,
    settings: Settings,
    seed: int | tuple[int, ...],
    *,
    private: "privacy.PrivateSgd",
) -> Update:
    """Client step with DP-SGD, called as `medtk.federated.train` is.

    Loss and accuracy while training are computed without noise, so they do not leave the hospital: the metrics of the
    update are empty. The number of images does leave it.

    Parameters
    ----------
    model : keras.Model
        As in `medtk.privacy.train_epoch`: no trainable batch normalisation. Its weights are overwritten.
    weights, split
        As in `medtk.federated.train`.
    settings : Settings
        Of them: local_epochs, learning_rate, optimizer. Its batch size is that of `private`.
    seed : int or tuple of int
        Of sampling and noise. Whoever knows it can take the noise off, so outside of experiments it must come from the
        operating system, in each round anew, and be kept nowhere.
    private : medtk.privacy.PrivateSgd
        Clipping norm, noise and batch size.

    Raises
    ------
    BadParameter
        If the settings ask for what DP-SGD here does not do, or something does not fit the network.
    """
    if settings.proximal or settings.augment is not None or settings.loss is not cross_entropy:
        raise BadParameter("DP-SGD minimises cross-entropy on the images as they are, without proximal, loss, augment.")
    put(model, weights)
    kept = _optimizers.setdefault(model, {})
    if settings.optimizer not in kept:
        kept[settings.optimizer] = keras.optimizers.get(settings.optimizer)
        kept[settings.optimizer].build(model.trainable_variables)
    optimizer = kept[settings.optimizer]
    for variable in optimizer.variables:  # nothing is left of an earlier round, or of another hospital
        variable.assign(ops.zeros_like(variable))
    optimizer.learning_rate = settings.learning_rate
    for epoch in range(settings.local_epochs):
        privacy.train_epoch(model, optimizer, split, private, (*np.atleast_1d(seed).tolist(), epoch))
    return Update(model.get_weights(), len(split), {})
