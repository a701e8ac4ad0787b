"""Networks made for small devices, by name, each as one flat chain of layers that can be cut and quantised."""

import keras
from keras import layers

from medtk.defenses import students
from medtk.edge.shuffle import shufflenet
from medtk.errors import BadParameter, UnknownName
from medtk.models.weights import WeightsSource, weights_source

# Factor and offset that take [0, 1] to what a base expects: -1 to 1, or the channels' mean and deviation of ImageNet.
SYMMETRIC = (2.0, -1.0)
STANDARD = ([1 / 0.229, 1 / 0.224, 1 / 0.225], [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])


def _mobilenetv2(alpha: float):
    def build_base(input_shape, weights):
        return keras.applications.MobileNetV2(alpha=alpha, include_top=False, weights=weights, input_shape=input_shape)

    return build_base


def _mobilenetv3small(input_shape, weights):
    return keras.applications.MobileNetV3Small(
        include_top=False, include_preprocessing=False, weights=weights, input_shape=input_shape
    )


# What makes the base of a network: ``make(input_shape, weights)``, weights being None or 'imagenet'.
BASES = {
    "mobilenetv2": _mobilenetv2(1.0),
    "mobilenetv2_035": _mobilenetv2(0.35),
    "mobilenetv3small": _mobilenetv3small,
    "shufflenetv2": lambda input_shape, weights: shufflenet(input_shape, 1.0),
    "shufflenetv2_050": lambda input_shape, weights: shufflenet(input_shape, 0.5),
}
NETWORKS = (*BASES, *students.SIZES)


def build(
    network: str,
    n_classes: int,
    *,
    input_shape: tuple[int, int, int] = (100, 100, 3),
    weights: str = "auto",
    seed: int = 0,
) -> keras.Model:
    """Build a classifier for a device: a base, average pooling, one dense layer, softmax.

    Batch normalisation has momentum 0.9: with Keras' 0.999 for MobileNetV2 the statistics that a network uses once it
    is trained are not settled after the few hundred steps of a small data set.

    Parameters
    ----------
    network : str
        One of `NETWORKS`: MobileNetV2 of width 1 and 0.35, MobileNetV3-Small, ShuffleNetV2 of width 1 and 0.5, and the
        students of `medtk.defenses.students`.
    n_classes : int
    input_shape : tuple of int
        Height, width and channels (3); at least 32 pixels a side.
    weights : {'auto', 'imagenet', 'mirror', 'random'}
        See `medtk.models.weights_source`.
    seed : int
        Of the random weights.

    Returns
    -------
    keras.Model
        From float32 images in [0, 1], shape (n, height, width, 3), to probabilities, with a layer ``logits``. No layer
        of it is a network.

    Raises
    ------
    UnknownName, BadParameter
    """
    if network not in NETWORKS:
        raise UnknownName("network for devices", network, NETWORKS)
    if len(input_shape) != 3 or input_shape[-1] != 3 or min(input_shape[:2]) < 32 or n_classes < 2:
        raise BadParameter(
            f"{network} needs images of at least 32 x 32 x 3 and 2 classes, not {tuple(input_shape)} and {n_classes}."
        )
    if network in students.SIZES:
        return students.build(network, n_classes, input_shape=input_shape, seed=seed)
    keras.utils.set_random_seed(seed)
    found = weights_source(network, weights)
    base = _with_weights(network, input_shape, found)
    inputs = keras.Input(input_shape, name="image")
    scale, offset = STANDARD if found.source == "mirror" and network == "mobilenetv2" else SYMMETRIC
    features = _called_flat(base, inputs, layers.Rescaling(scale, offset, name="range"))
    pooled = layers.GlobalAveragePooling2D(name="pool")(features)
    scores = layers.Dense(n_classes, name="logits")(pooled)
    return keras.Model(inputs, layers.Softmax(name="probabilities")(scores), name=network)


def _with_weights(network: str, input_shape: tuple[int, int, int], found: WeightsSource) -> keras.Model:
    if found.source == "mirror" and found.path.suffix == ".keras":
        return keras.saving.load_model(found.path, compile=False)
    base = BASES[network](input_shape, "imagenet" if found.source == "imagenet" else None)
    if found.source == "mirror":
        base.load_weights(found.path)
    return base


def _called_flat(base: keras.Model, inputs, first: keras.Layer):
    """Features of a base whose layers are called one by one on ``first(inputs)``, weights included."""
    ranged = first(inputs)

    def renewed(layer):
        config = layer.get_config()
        if isinstance(layer, layers.BatchNormalization):
            config["momentum"] = 0.9
        return layer.__class__.from_config(config)

    def called(layer, *arguments, **options):
        return layer(*[ranged if value is inputs else value for value in arguments], **options)

    flat = keras.models.clone_model(base, input_tensors=inputs, clone_function=renewed, call_function=called)
    flat.set_weights(base.get_weights())
    return flat.output
