import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
import small_networks
from keras import layers

from medtk import models
from medtk.errors import BadParameter, DataUnavailable, UnknownName
from medtk.models import networks
from medtk.models.weights import FILES

MIRROR = "mobilenet_v2_1.0_224_tonylins_notop.keras"


def small_base(*, include_top, weights, input_shape):
    """Base with the call of `keras.applications`, small."""
    assert include_top is False
    images = keras.Input(input_shape)
    x = layers.BatchNormalization(momentum=0.5, name="norm")(layers.Conv2D(4, 3, strides=4)(images))
    return keras.Model(images, layers.ReLU()(x), name="base")


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """No network of this file is a real one, and no weights lie about."""
    monkeypatch.setattr(
        networks, "NETWORKS", {name: (small_base, mode) for name, (_, mode) in networks.NETWORKS.items()}
    )
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("MEDTK_DATA", raising=False)


def put(folder, name):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"weights")
    return folder / name


def norm(model):
    return model.get_layer("base").get_layer("norm")


def fit_once(model, rate=0.1):
    images, labels = small_networks.images_and_labels(16, shape=(32, 32, 3))
    model.compile(keras.optimizers.SGD(rate), loss="sparse_categorical_crossentropy")
    before = {v.path: v.numpy() for v in model.weights}
    model.fit(images, labels, batch_size=8, verbose=0)
    return {path for path, old in before.items() if not np.array_equal(old, now(model, path))}


def now(model, path):
    return next(v.numpy() for v in model.weights if v.path == path)


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ({"network": "densenet"}, "densenet121"),
        ({"network": "MobileNet_v2"}, "mobilenetv2"),
        ({"network": "resnet50", "trainable": "heads"}, "head"),
        ({"network": "resnet50", "scaling": "networks"}, "network"),
        ({"network": "resnet50", "weights": "image_net"}, "imagenet"),
    ],
    ids=str,
)
def test_unknown_names_give_the_nearest(wrong, nearest):
    with pytest.raises((UnknownName, BadParameter), match=nearest):
        models.build(n_classes=2, **wrong)


@pytest.mark.parametrize("shape", [(31, 32, 3), (32, 16, 3), (32, 32, 1), (32, 32), (28, 28, 3)])
def test_images_that_the_bases_do_not_take(shape):
    with pytest.raises(BadParameter, match="at least 32 x 32 x 3"):
        models.build("resnet50", 2, input_shape=shape)


@pytest.mark.parametrize("classes", [2, 7])
@pytest.mark.parametrize("scaling", networks.SCALINGS)
@pytest.mark.parametrize("network", networks.NETWORKS)
def test_gives_probabilities_and_the_logits_before_them(network, scaling, classes):
    model = models.build(network, classes, scaling=scaling)
    images, _ = small_networks.images_and_labels(4, shape=(32, 32, 3))
    probabilities = np.asarray(model(images))
    with warnings.catch_warnings(action="error"):
        scores = np.asarray(models.logits(model)(images))
    assert model.name == network and probabilities.shape == scores.shape == (4, classes)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    np.testing.assert_allclose(probabilities, odds / odds.sum(axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize(("mode", "module"), [("tf", "mobilenet_v2"), ("torch", "densenet"), ("caffe", "resnet50")])
def test_network_scaling_is_what_keras_does(mode, module):
    images, _ = small_networks.images_and_labels(3)
    expected = getattr(keras.applications, module).preprocess_input(255 * images.copy())
    np.testing.assert_allclose(np.asarray(networks._Scale(mode)(images)), expected, atol=1e-3)


def test_seed_decides_the_random_weights():
    one, same, other = (models.build("resnet50", 2, seed=seed).get_weights() for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])


def test_head_trains_the_dense_layer_alone():
    model = models.build("resnet50", 3, trainable="head")
    assert [v.path for v in model.trainable_variables] == ["logits/kernel", "logits/bias"]
    assert fit_once(model) == {"logits/kernel", "logits/bias"}


def test_frozen_bn_trains_all_but_batch_normalisation():
    model = models.build("resnet50", 3, trainable="frozen_bn")
    assert not norm(model).trainable
    assert not any("norm" in v.path for v in model.trainable_variables)
    assert len(model.trainable_variables) == 4
    moved = fit_once(model)
    assert len(moved) == 4 and not any("norm" in path for path in moved)


def test_all_trains_all_and_moves_the_statistics():
    model = models.build("resnet50", 3)
    before = norm(model).moving_mean.numpy()
    assert len(fit_once(model)) == len(model.weights) == 8
    assert not np.array_equal(before, norm(model).moving_mean.numpy())


def test_trap_fit_overrides_training_false_inside_a_functional_model():
    """Why ``frozen_bn`` sets ``trainable``: the usual recipe ``base(x, training=False)`` does nothing here.

    Should this fail, Keras has changed, and the comment in `medtk.models.networks` should change with it.
    """
    base = small_base(include_top=False, weights=None, input_shape=(32, 32, 3))
    images = keras.Input((32, 32, 3))
    pooled = layers.GlobalAveragePooling2D()(base(images, training=False))
    model = keras.Model(images, layers.Dense(3, activation="softmax")(pooled))
    before = norm(model).moving_mean.numpy()
    fit_once(model)
    assert not np.array_equal(before, norm(model).moving_mean.numpy())


def test_weights_source_by_what_is_there(monkeypatch, tmp_path):
    assert models.weights_source("mobilenetv2").source == "random"
    assert models.weights_source("mobilenetv2").path is None
    monkeypatch.setenv("MEDTK_DATA", str(tmp_path / "data"))
    mirror = put(tmp_path / "data" / "weights", MIRROR)
    found = models.weights_source("mobilenetv2")
    assert (found.source, found.path) == ("mirror", mirror) and "PyTorch" in found.note
    assert models.weights_source("resnet50").source == "random"
    official = put(tmp_path / "keras" / "models", FILES["mobilenetv2"][0])
    found = models.weights_source("mobilenetv2")
    assert (found.source, found.path) == ("imagenet", official)


def test_weights_source_by_what_is_asked(monkeypatch, tmp_path):
    with pytest.raises(DataUnavailable, match="MEDTK_DATA/weights"):
        models.weights_source("mobilenetv2", "mirror")
    monkeypatch.setenv("MEDTK_DATA", str(tmp_path / "data"))
    put(tmp_path / "data" / "weights", MIRROR)
    put(tmp_path / "keras" / "models", FILES["mobilenetv2"][0])
    for wanted in ("mirror", "random", "imagenet"):
        assert models.weights_source("mobilenetv2", wanted).source == wanted
    assert models.weights_source("resnet50", "imagenet").source == "imagenet"
    with pytest.raises(DataUnavailable):
        models.weights_source("resnet50", "mirror")
    with pytest.raises(UnknownName, match="resnet50"):
        models.weights_source("resnet")


def test_a_mirror_is_loaded_with_its_weights(monkeypatch, tmp_path):
    keras.utils.set_random_seed(11)
    base = small_base(include_top=False, weights=None, input_shape=(32, 32, 3))
    (tmp_path / "data" / "weights").mkdir(parents=True)
    base.save(tmp_path / "data" / "weights" / MIRROR)
    monkeypatch.setenv("MEDTK_DATA", str(tmp_path / "data"))
    model = models.build("mobilenetv2", 2)
    for a, b in zip(base.get_weights(), model.get_layer("base").get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert norm(model).momentum == 0.999


def test_a_model_can_be_saved_and_loaded(tmp_path):
    model = models.build("resnet50", 2, scaling="network")
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    images, _ = small_networks.images_and_labels(3, shape=(32, 32, 3))
    np.testing.assert_array_equal(model(images), again(images))


def test_asking_for_weights_imports_no_tensorflow():
    code = "import sys; from medtk import models; models.weights_source('resnet50'); print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
