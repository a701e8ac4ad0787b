"""Networks of the robust-transfer study, and a plain one: a base, average pooling, one dense layer."""

import keras
from keras import layers, ops

from medtk.errors import BadParameter, UnknownName
from medtk.models.plain import plain_base
from medtk.models.weights import WeightsSource, weights_source

NETWORKS = {
    "densenet121": (keras.applications.DenseNet121, "torch"),
    "mobilenetv2": (keras.applications.MobileNetV2, "tf"),
    "resnet50": (keras.applications.ResNet50, "caffe"),
    "plain": (plain_base, "tf"),  # in no paper: for first looks
}
TRAINABLE = ("all", "frozen_bn", "head")
SCALINGS = ("unit", "network")


def build(
    network: str,
    n_classes: int,
    *,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    weights: str = "auto",
    trainable: str = "all",
    scaling: str = "unit",
    seed: int = 0,
) -> keras.Model:
    """Build a classifier on a convolutional base.

    Parameters
    ----------
    network : {'densenet121', 'mobilenetv2', 'resnet50', 'plain'}
        The base. ``plain`` is in no paper; see `medtk.models.plain`.
    n_classes : int
        Number of classes; two for a binary task. Softmax over two classes is the sigmoid of the difference of
        their logits, so binary and sparse categorical cross-entropy are the same loss here.
    input_shape : tuple of int
        Height, width and channels (3); at least 32 pixels a side.
    weights : {'auto', 'imagenet', 'mirror', 'random'}
        See `medtk.models.weights_source`.
    trainable : {'all', 'frozen_bn', 'head'}
        What training changes. ``all``: every layer, batch normalisation with batch statistics (Keras'
        default). ``frozen_bn``: every layer but batch normalisation, which uses its moving statistics
        throughout. ``head``: the dense layer alone.
    scaling : {'unit', 'network'}
        What the base sees: the pixels in [0, 1], as the paper says, or the range that it was trained on.
    seed : int
        Of the random weights.

    Returns
    -------
    keras.Model
        From float32 images in [0, 1], shape (n, height, width, 3), to probabilities, shape (n, n_classes).

    Raises
    ------
    UnknownName, BadParameter
        On a wrong name or a shape that the bases do not take.
    """
    for kind, value, valid in (
        ("network", network, NETWORKS),
        ("choice of trainable layers", trainable, TRAINABLE),
        ("scaling", scaling, SCALINGS),
    ):
        if value not in valid:
            raise UnknownName(kind, value, valid)
    if len(input_shape) != 3 or input_shape[-1] != 3 or min(input_shape[:2]) < 32:
        raise BadParameter(f"{network} needs images of at least 32 x 32 x 3, not {tuple(input_shape)}.")
    keras.utils.set_random_seed(seed)
    found = weights_source(network, weights)
    base = _base(network, input_shape, found)
    base.trainable = trainable != "head"
    inputs = keras.Input(input_shape, name="image")
    mode = "torch" if found.source == "mirror" else NETWORKS[network][1]
    scaled = inputs if scaling == "unit" else _Scale(mode, name="scale")(inputs)
    if trainable == "frozen_bn":
        # Not base(scaled, training=False): in a functional model fit() overrides that argument (Keras 3.15).
        for layer in base.layers:
            layer.trainable = not isinstance(layer, layers.BatchNormalization)
    features = base(scaled)
    pooled = layers.GlobalAveragePooling2D(name="pool")(features)
    scores = layers.Dense(n_classes, name="logits")(pooled)
    return keras.Model(inputs, layers.Softmax(name="probabilities")(scores), name=network)


def logits(model: keras.Model) -> keras.Model:
    """The same network without its softmax: images to scores, shape (n, n_classes), weights shared."""
    return keras.Model(model.input, model.get_layer("logits").output)


def wrapped(model: keras.Model, before: keras.layers.Layer | None = None, factor: float = 1.0) -> keras.Model:
    """The same network behind a layer that changes its images, its scores multiplied by `factor`; weights shared."""
    image = keras.Input(model.input_shape[1:], name="image")
    found = logits(model)(image if before is None else before(image))
    scores = layers.Rescaling(factor, name="logits")(found)
    return keras.Model(image, layers.Softmax(name="probabilities")(scores))


def freeze_normalisation(model: keras.Model) -> None:
    """Keep batch normalisation as it is: no gradient, moving statistics in use and unchanged also while training."""
    for layer in model._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False


def _base(network: str, input_shape: tuple[int, int, int], found: WeightsSource) -> keras.Model:
    if found.source == "mirror":
        base = keras.saving.load_model(found.path, compile=False)
        for layer in base.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.momentum = 0.999  # as in Keras' MobileNetV2, so that only the weights' origin differs
        return base
    build_base, _ = NETWORKS[network]
    return build_base(
        include_top=False, weights="imagenet" if found.source == "imagenet" else None, input_shape=input_shape
    )


@keras.saving.register_keras_serializable("medtk")
class _Scale(layers.Layer):
    """From [0, 1] to the range of Keras' ``preprocess_input`` in the given mode."""

    def __init__(self, mode: str, **kwargs):
        super().__init__(**kwargs)
        self.mode = mode

    def call(self, images):
        if self.mode == "tf":
            return images * 2.0 - 1.0
        if self.mode == "torch":
            mean, std = ops.array([0.485, 0.456, 0.406]), ops.array([0.229, 0.224, 0.225])
            return (images - mean) / std
        return ops.flip(images, axis=-1) * 255.0 - ops.array([103.939, 116.779, 123.68])
