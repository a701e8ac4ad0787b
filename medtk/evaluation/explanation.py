"""Where in an image a network's evidence lies: two kinds of maps, and how much of a map is near the edge."""

from weakref import WeakKeyDictionary

import keras
import numpy as np
from keras import layers, ops

from medtk.data import resize
from medtk.errors import BadParameter
from medtk.models import gradients

_parts: WeakKeyDictionary = WeakKeyDictionary()


def grad_cam(model: keras.Model, images: np.ndarray, classes: np.ndarray, *, batch_size: int = 64) -> np.ndarray:
    """Grad-CAM: which places of the last feature maps speak for a class.

    Each feature map counts by the mean of the gradient of the class's score over it, and what speaks against the
    class is cut off.

    Parameters
    ----------
    model : keras.Model
        A classifier whose feature maps go into a pooling or flattening layer, with a layer ``logits``.
    images : ndarray of float32, shape (n, height, width, channels)
        In [0, 1].
    classes : ndarray of int, shape (n,)
        Class to explain in each image.
    batch_size : int
        Images a pass.

    Returns
    -------
    ndarray of float32, shape (n, height, width)
        0 or more, enlarged from the size of the feature maps; its unit is that of the scores.

    Raises
    ------
    BadParameter
        If the network has no such layer, or the classes do not fit.

    References
    ----------
    R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra, "Grad-CAM: visual explanations from deep
    networks via gradient-based localization", ICCV 2017, Eqs. 1 and 2.
    """
    classes = gradients.class_ids(model, images, classes, "classes")
    below, above = _split(model)
    maps = []
    for start in range(0, len(images), batch_size):
        rows = slice(start, start + batch_size)
        features = ops.convert_to_numpy(below(ops.convert_to_tensor(images[rows]), training=False))
        _, _, slopes = gradients.loss_and_gradient(above, features, classes[rows], loss=_score, batch_size=batch_size)
        maps.append(np.maximum(np.einsum("nhwc,nc->nhw", features, slopes.mean(axis=(1, 2))), 0))
    found = np.concatenate(maps) if maps else np.zeros((0, 1, 1), np.float32)
    return _enlarged(found, images.shape[1:3])


def occlusion(
    model: keras.Model,
    images: np.ndarray,
    classes: np.ndarray,
    *,
    window: int = 8,
    stride: int = 4,
    fill: float | None = None,
    batch_size: int = 256,
) -> np.ndarray:
    """Occlusion: how much a class loses when a square of the image is covered.

    The score that falls is the class's score less the mean of the others', so that nothing saturates. A pixel gets the
    mean over all squares that covered it. Unlike a gradient this asks the network about images that it really gets.

    Parameters
    ----------
    model : keras.Model
        A classifier with a layer ``logits``.
    images : ndarray of float32, shape (n, height, width, channels)
        In [0, 1].
    classes : ndarray of int, shape (n,)
        Class to explain in each image.
    window, stride : int
        Side of the square and step between squares, in pixels; a last square is put at the far edges if it is needed.
    fill : float, optional
        Grey of the square; left out, each image's own mean.
    batch_size : int
        Images a pass.

    Returns
    -------
    ndarray of float32, shape (n, height, width)
        Positive where covering takes evidence away.

    Raises
    ------
    BadParameter
        If the square does not fit into the image, or the classes do not fit.

    References
    ----------
    M. D. Zeiler, R. Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, section 4.2.
    """
    classes = gradients.class_ids(model, images, classes, "classes")
    n, height, width = images.shape[:3]
    if not (1 <= window <= min(height, width) and 1 <= stride <= window):
        raise BadParameter(
            f"window must lie in 1 to {min(height, width)} and stride in 1 to window, not {window} and {stride}."
        )
    cover = images.mean(axis=(1, 2, 3)) if fill is None else np.full(n, fill)
    before = _lead(gradients.scores(model, images, batch_size=batch_size), classes)
    total, covered = np.zeros((n, height, width)), np.zeros((height, width))
    for top in _places(height, window, stride):
        for left in _places(width, window, stride):
            square = np.s_[top : top + window, left : left + window]
            changed = images.copy()
            changed[:, *square] = cover[:, None, None, None]
            lost = before - _lead(gradients.scores(model, changed, batch_size=batch_size), classes)
            total[:, *square] += lost[:, None, None]
            covered[square] += 1
    return (total / covered).astype(np.float32)


def at_the_edge(maps: np.ndarray, margin: float = 0.15) -> np.ndarray:
    """Part of each map's positive values that lies in a frame along the edges.

    Evidence spread evenly has the part 1 - (1 - 2 margin)^2, 0.51 for the default: compare with that.

    Parameters
    ----------
    maps : ndarray, shape (n, height, width)
    margin : float
        Width of the frame as a part of the side, above 0 to below 0.5; rounded to pixels.

    Returns
    -------
    ndarray of float, shape (n,)
        0 to 1; NaN for a map without positive values.
    """
    inner = ~frame(maps.shape[1:], margin)
    positive = np.maximum(np.asarray(maps, np.float64), 0)
    whole = positive.sum(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        return 1 - np.where(whole > 0, positive[:, inner].sum(axis=1), np.nan) / whole


def frame(shape: tuple[int, int], margin: float = 0.15) -> np.ndarray:
    """Which pixels lie in a frame along the edges: bool of the given height and width."""
    if not 0 < margin < 0.5:
        raise BadParameter(f"margin must lie between 0 and 0.5, not {margin}.")
    mask = np.ones(shape, bool)
    down, right = (max(1, round(margin * side)) for side in shape)
    mask[down : shape[0] - down, right : shape[1] - right] = False
    return mask


def _score(scores, classes):
    """Score of the class itself: what Grad-CAM takes the gradient of."""
    return ops.take_along_axis(scores, ops.expand_dims(classes, 1), axis=1)[:, 0]


def _lead(scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
    own = scores[np.arange(len(scores)), classes]
    return own - (scores.sum(axis=1) - own) / (scores.shape[1] - 1)


def _places(side: int, window: int, stride: int) -> list[int]:
    return sorted({*range(0, side - window + 1, stride), side - window})


def _enlarged(maps: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if shape[0] != shape[1]:
        raise BadParameter(f"maps are drawn for square images, not for {shape[0]} x {shape[1]}.")
    return resize(maps[..., None], shape[0])[..., 0]


def _split(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """The network up to the last feature maps, and from there to the scores; weights shared, made once a network."""
    if model not in _parts:
        inner = [layer for layer in model.layers if not isinstance(layer, layers.InputLayer)]
        narrow = [layer for layer in inner if _is_map(layer.input) and not _is_map(layer.output)]
        if len(narrow) != 1:
            raise BadParameter(
                "the network has no one layer that takes feature maps and gives none: no place for a map."
            )
        maps = narrow[0].input
        head = keras.Model(maps, model.get_layer("logits").output)
        features = keras.Input(maps.shape[1:])
        # A layer of its own for the scores: `logits` of the head still belongs to the whole network.
        scores = layers.Activation("linear", name="logits")(head(features))
        _parts[model] = keras.Model(model.input, maps), keras.Model(features, scores)
    return _parts[model]


def _is_map(tensor) -> bool:
    return not isinstance(tensor, list) and len(tensor.shape) == 4
