"""Where a network's starting weights come from: ImageNet as Keras publishes it, a mirror, or random values.

This file imports no Keras, so that ``medtk doctor`` can ask without waiting for TensorFlow.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from medtk.errors import BadParameter, DataUnavailable, UnknownName
from medtk.settings import data_home

# File in the Keras cache that holds the official weights, and file of a mirror under $MEDTK_DATA/weights.
FILES = {
    "densenet121": ("densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5", None),
    "mobilenetv2": (
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        "mobilenet_v2_1.0_224_tonylins_notop.keras",
    ),
    "efficientnetv2s": ("efficientnetv2-s_notop.h5", None),
    "mobilenetv2_035": (
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5",
        "mobilenet_v2_0.35_224_imagenet_notop_rebuilt.h5",
    ),
    "small": (None, None),  # nobody has trained it on ImageNet
    "small_groups": (None, None),
    "seven_convolutions": (None, None),
    "small_bn": (None, None),
    "plain": (None, None),
    "tiny": (None, None),
    "medium": (None, None),
    "shufflenetv2": (None, None),
    "shufflenetv2_050": (None, None),
    "mobilenetv3small": ("weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5", None),
    "vgg16": ("vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", "vgg16_imagenet_notop_fp16.h5"),
    "resnet50": ("resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5", None),
}
# Networks that their own study starts from random values.
FROM_SCRATCH = ("seven_convolutions",)
# What is known of a mirror; of the others, that its bytes are not the official ones.
NOTES = {
    "mobilenetv2": "ImageNet weights converted from PyTorch: not Keras' own file, and with PyTorch's padding.",
    "vgg16": "Keras' ImageNet weights, kept in half precision in a mirror's file.",
}
CHOICES = ("auto", "imagenet", "mirror", "random")


@dataclass(frozen=True)
class WeightsSource:
    """Starting weights that were found.

    Attributes
    ----------
    source : {'imagenet', 'mirror', 'random'}
        ``imagenet``: Keras' own file. ``mirror``: ImageNet weights in other bytes. ``random``: none.
    path : Path or None
        File of the weights.
    note : str
        One sentence for the record.
    """

    source: str
    path: Path | None = None
    note: str = ""


def weights_source(network: str, weights: str = "auto") -> WeightsSource:
    """Find the starting weights of a network without downloading anything.

    Parameters
    ----------
    network : str
        A key of `FILES`.
    weights : {'auto', 'imagenet', 'mirror', 'random'}
        ``auto`` takes the official file if Keras has it in its cache, else a mirror in
        ``$MEDTK_DATA/weights``, else random values. ``imagenet`` lets Keras download the official file when it
        is asked for.

    Returns
    -------
    WeightsSource

    Raises
    ------
    UnknownName
        If there is no such network.
    BadParameter
        If `weights` is not one of the four words.
    DataUnavailable
        If a mirror is asked for and there is none.
    """
    if weights not in CHOICES:
        raise BadParameter(f"weights must be one of {', '.join(CHOICES)}, not {weights!r}.")
    if network not in FILES:
        raise UnknownName("network", network, FILES)
    official_name, mirror_name = FILES[network]
    if official_name is None and weights in ("imagenet", "mirror"):
        raise DataUnavailable(f"There are no ImageNet weights of the network {network!r}; use weights='random'.")
    keras_home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    official = keras_home / "models" / (official_name or "")
    home = data_home()
    mirror = home / "weights" / mirror_name if home and mirror_name else None
    if weights == "imagenet" or (weights == "auto" and official.is_file()):
        return WeightsSource("imagenet", official, "ImageNet weights as Keras publishes them.")
    if weights != "random" and mirror and mirror.is_file():
        return WeightsSource("mirror", mirror, NOTES.get(network, "ImageNet weights from a mirror's file."))
    if weights == "mirror":
        raise DataUnavailable(
            f"No mirror of the {network} weights in $MEDTK_DATA/weights; use weights='imagenet' or 'random'."
        )
    return WeightsSource("random", None, "Random starting weights: nothing is transferred from ImageNet.")
