"""Which arrays are shared and which stay in the hospital, and what becomes of batch normalisation."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

import keras
import numpy as np

from medtk import training
from medtk.data.hospitals import Hospital
from medtk.errors import BadParameter, UnknownName
from medtk.federated.client import Weights, put

BATCHNORM = ("average", "local", "local_statistics")


def shared(model: keras.Model, batchnorm: str = "average", local: Sequence[str] = ()) -> list[bool]:
    """For each array of ``model.get_weights()``, whether it goes to the server.

    Parameters
    ----------
    model : keras.Model
    batchnorm : {'average', 'local', 'local_statistics'}
        ``average``: everything is shared, moving statistics too. ``local``: each client keeps its batch normalisation
        (X. Li et al., "FedBN", ICLR 2021). ``local_statistics``: scale and offset are shared, moving statistics kept
        (M. Andreux et al., "Siloed federated learning", 2020, "SiloBN").
    local : sequence of str
        Patterns of variable paths that stay as well, such as ``logits/*`` for a local head.

    Raises
    ------
    UnknownName, BadParameter
        If there is no such choice, a pattern fits nothing, or nothing would be shared.
    """
    if batchnorm not in BATCHNORM:
        raise UnknownName("handling of batch normalisation", batchnorm, BATCHNORM)
    paths = [variable.path for variable in model.weights]
    unused = [pattern for pattern in local if not any(fnmatchcase(path, pattern) for path in paths)]
    if unused:
        raise BadParameter(f"{', '.join(unused)} fits no variable; they are named like {paths[0]} and {paths[-1]}.")
    kept = {"average": set(), "local": _normalisation(model), "local_statistics": _statistics(model)}[batchnorm]
    mask = [
        id(variable) not in kept and not any(fnmatchcase(variable.path, pattern) for pattern in local)
        for variable in model.weights
    ]
    if not any(mask):
        raise BadParameter("nothing would be shared: every array of the network is to stay with the clients.")
    return mask


def trainable(model: keras.Model, mask: Sequence[bool] | None = None) -> list[bool]:
    """For each shared array, whether training moves it by gradients (moving statistics: no)."""
    trained = {id(variable) for variable in model.trainable_variables}
    mask = [True] * len(model.weights) if mask is None else mask
    return [id(variable) in trained for variable, yes in zip(model.weights, mask, strict=True) if yes]


def part(weights: Weights, mask: Sequence[bool]) -> tuple[Weights, Weights]:
    """Shared arrays and private arrays."""
    return (
        [array for array, yes in zip(weights, mask, strict=True) if yes],
        [array for array, yes in zip(weights, mask, strict=True) if not yes],
    )


def join(public: Weights, private: Weights, mask: Sequence[bool]) -> Weights:
    """All arrays of the network again, from both parts."""
    public, private = iter(public), iter(private)
    return [next(public) if yes else next(private) for yes in mask]


def reestimated(model: keras.Model, weights: Weights, clients: Sequence[Hospital], batch_size: int = 256) -> Weights:
    """Weights whose moving statistics are measured again with the aggregated network, by one more exchange.

    Averaged statistics belong to the clients' own networks, not to the mean of them. Here each client passes its
    training images through the given network without training and sends its moving means and variances; the
    server pools them: the mean of the means, and the mean of the variances plus the variance of the means.

    Parameters
    ----------
    model : keras.Model
        Its weights are overwritten.
    weights : list of ndarray
        After aggregation.
    clients : sequence of Hospital
        Their training images are used, one client's in memory at a time.
    batch_size : int
        Images a pass.
    """
    sizes = np.array([len(client.train) for client in clients], np.float64)
    shares, measured = sizes / sizes.sum(), []
    for client in clients:
        put(model, weights)
        training.statistics_refreshed(model, client.train.take(np.arange(len(client.train))).images, batch_size)
        measured.append(model.get_weights())
    position = {id(variable): i for i, variable in enumerate(model.weights)}
    new = list(weights)
    for layer in _layers(model):
        m, v = position[id(layer.moving_mean)], position[id(layer.moving_variance)]
        means = np.stack([found[m] for found in measured]).astype(np.float64)
        mean = shares @ means
        variance = shares @ np.stack([found[v] for found in measured]) + shares @ (means - mean) ** 2
        new[m], new[v] = mean.astype(new[m].dtype), variance.astype(new[v].dtype)
    return new


def _layers(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Every batch normalisation, also of networks inside the network."""
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += _layers(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            found.append(layer)
    return found


def _normalisation(model: keras.Model) -> set[int]:
    return {id(variable) for layer in _layers(model) for variable in layer.weights}


def _statistics(model: keras.Model) -> set[int]:
    return {id(v) for layer in _layers(model) for v in (layer.moving_mean, layer.moving_variance)}
