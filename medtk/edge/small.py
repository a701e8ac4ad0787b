"""A family of small networks: one line of convolutions, described by five numbers, so that a search can vary them."""

from dataclasses import dataclass

import keras
from keras import layers

from medtk.errors import BadParameter

WIDEST = 128


@dataclass(frozen=True)
class Architecture:
    """One network of the family.

    Attributes
    ----------
    width : int
        Filters of the first convolution, 1 to 128; each later one has twice as many as the one before, 128 at most.
    depth : int
        Convolutions, 1 to 6, each followed by max pooling of 2 x 2.
    kernel : int
        Side of the convolutions: 1, 3, 5 or 7.
    size : int
        Side of the images in pixels, at least 8.
    separable : bool
        Whether every convolution but the first is split into one of each channel alone and one of 1 x 1, as in
        MobileNet (Howard et al. 2017, section 3.1).
    """

    width: int = 16
    depth: int = 3
    kernel: int = 3
    size: int = 64
    separable: bool = False

    def __post_init__(self):
        good = 1 <= self.width <= WIDEST and 1 <= self.depth <= 6 and self.kernel in (1, 3, 5, 7) and self.size >= 8
        if not good:
            raise BadParameter(
                "an architecture needs a width of 1 to 128, a depth of 1 to 6, a kernel of 1, 3, 5 or 7 and 8 or more "
                f"pixels, not {self.width}, {self.depth}, {self.kernel} and {self.size}."
            )

    @property
    def name(self) -> str:
        """Short name, part of the names of records."""
        return f"w{self.width}d{self.depth}k{self.kernel}{'s' if self.separable else ''}-{self.size}px"


def filters(architecture: Architecture) -> list[int]:
    """Filters of each convolution."""
    return [min(WIDEST, architecture.width * 2**number) for number in range(architecture.depth)]


def build(architecture: Architecture, n_classes: int, *, channels: int = 1, seed: int = 0) -> keras.Model:
    """Build a network of the family.

    There is no batch normalisation: the networks are shallow enough to learn without, nothing has to be folded before
    they are exported, and averaging them over hospitals averages nothing but what was learnt.

    Parameters
    ----------
    architecture : Architecture
    n_classes : int
        At least 2.
    channels : int
        1 for grey images, 3 for colour.
    seed : int
        Of the random weights.

    Returns
    -------
    keras.Model
        Images in [0, 1], shape (n, size, size, channels), to probabilities, with a layer ``logits``.
    """
    if n_classes < 2 or channels not in (1, 3):
        raise BadParameter(f"a network needs 2 classes or more and 1 or 3 channels, not {n_classes} and {channels}.")
    keras.utils.set_random_seed(seed)
    images = keras.Input((architecture.size, architecture.size, channels), name="image")
    x, options = images, {"padding": "same", "kernel_initializer": "he_normal"}
    for number, width in enumerate(filters(architecture), start=1):
        kernel = architecture.kernel
        if architecture.separable and number > 1:
            x = layers.DepthwiseConv2D(
                kernel, padding="same", depthwise_initializer="he_normal", name=f"depthwise{number}"
            )(x)
            kernel = 1
        x = layers.Conv2D(width, kernel, activation="relu", name=f"conv{number}", **options)(x)
        x = layers.MaxPooling2D(2, padding="same", name=f"pool{number}")(x)
    pooled = layers.GlobalAveragePooling2D(name="pool")(x)
    scores = layers.Dense(n_classes, name="logits")(pooled)
    name = architecture.name.replace("-", "_")
    return keras.Model(images, layers.Softmax(name="probabilities")(scores), name=name)
