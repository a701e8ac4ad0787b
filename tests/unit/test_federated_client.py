"""The client step in closed form, and what is left of one call in the next: nothing."""

import dataclasses

import keras
import numpy as np
import pytest
import small_networks
from keras import layers

from medtk import federated, models
from medtk.data import Split
from medtk.data.hospitals import Share
from medtk.errors import BadParameter, MedtkError
from medtk.federated.client import _compiled
from medtk.federated.settings import Settings

SGD = Settings(optimizer="sgd", learning_rate=0.5, batch_size=64)


def plain(dropout=0.0, seed=0):
    """A network without batch normalisation."""
    keras.utils.set_random_seed(seed)
    images = keras.Input((4, 4, 1))
    x = layers.Dense(5, activation="tanh")(layers.Flatten()(images))
    x = layers.Dropout(dropout)(x) if dropout else x
    return keras.Model(images, layers.Softmax()(layers.Dense(3, name="logits")(x)))


@pytest.fixture(scope="module")
def model():
    return plain()


@pytest.fixture(scope="module")
def normed():
    return small_networks.classifier(shape=(4, 4, 1), filters=(4,))


def split(n=24, seed=0):
    return Split(*small_networks.images_and_labels(n, shape=(4, 4, 1), seed=seed))


def gradients(model, weights, images, labels):
    """Of the mean cross-entropy, by Keras' own loss and TensorFlow, weight by weight."""
    import tensorflow as tf

    model.set_weights(weights)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with tf.GradientTape() as tape:
        value = loss(labels, models.logits(model)(images))
    return [g.numpy() for g in tape.gradient(value, [v.value for v in model.trainable_variables])]


def assert_close(ours, theirs, tolerance=1e-6):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def test_one_step_of_gradient_descent(model):
    start, data = model.get_weights(), split()
    update = federated.train(model, start, data, SGD)
    slope = gradients(model, start, data.images, data.labels)
    assert_close(update.weights, [w - 0.5 * g for w, g in zip(start, slope, strict=True)])
    assert update.n == 24
    model.set_weights(start)
    found = federated.evaluate(model, start, data)
    assert update.metrics["loss"] == pytest.approx(found["loss"], abs=1e-5)
    assert update.metrics["accuracy"] == found["accuracy"]


def test_averaging_one_full_batch_step_of_equal_clients_is_the_centralised_step(model):
    start, data = model.get_weights(), split(30)
    shares = [Share(data, np.arange(k, 30, 3)) for k in range(3)]
    updates = [federated.train(model, start, share, SGD) for share in shares]
    mean = federated.fedavg([u.weights for u in updates], [u.n for u in updates])
    assert_close(mean, federated.train(model, start, data, SGD).weights)


def test_and_of_unequal_clients_when_counted_by_their_images(model):
    start, data = model.get_weights(), split(30)
    shares = [Share(data, rows) for rows in (np.arange(3), np.arange(3, 10), np.arange(10, 30))]
    updates = [federated.train(model, start, share, SGD) for share in shares]
    central = federated.train(model, start, data, SGD).weights
    assert_close(federated.fedavg([u.weights for u in updates], [3, 7, 20]), central)
    plain_mean = federated.fedavg([u.weights for u in updates], [1, 1, 1])
    assert max(np.abs(a - b).max() for a, b in zip(plain_mean, central, strict=True)) > 1e-4


def test_adam_equals_keras_fit(normed):
    """Two epochs in the same order of images, by Keras' own loop."""
    start, data = normed.get_weights(), split(20)
    settings = Settings(local_epochs=2, batch_size=8, learning_rate=0.01)
    ours = federated.train(normed, start, data, settings, seed=5)
    random = np.random.default_rng(5)
    normed.set_weights(start)
    normed.compile(keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
    for _ in range(2):
        order = random.permutation(20)
        normed.fit(data.images[order], data.labels[order], batch_size=8, shuffle=False, verbose=0)
    assert_close(ours.weights, normed.get_weights(), 1e-5)


def test_proximal_term_in_closed_form(model):
    """Two steps: the pull is zero in the first and mu (w1 - w0) in the second."""
    start, data = model.get_weights(), split()
    settings = dataclasses.replace(SGD, proximal=0.7, local_epochs=2)
    ours = federated.train(model, start, data, settings).weights
    first = gradients(model, start, data.images, data.labels)
    once = [w - 0.5 * g for w, g in zip(start, first, strict=True)]
    second = gradients(model, once, data.images, data.labels)
    pulled = [w - 0.5 * (g + 0.7 * (w - w0)) for w, g, w0 in zip(once, second, start, strict=True)]
    assert_close(ours, pulled)


def test_no_pull_is_fedavg_and_a_strong_one_keeps_the_weights(model):
    start, data = model.get_weights(), split()
    settings = Settings(optimizer="sgd", learning_rate=0.01, local_epochs=10, batch_size=8)
    moved = []
    for mu in (0.0, 1e-12, 10.0, 90.0):
        update = federated.train(model, start, data, dataclasses.replace(settings, proximal=mu))
        moved.append(federated.norm(federated.minus(update.weights, start)))
        if mu == 0:
            free = update.weights
        elif mu == 1e-12:
            assert_close(update.weights, free)
    assert moved[0] > 2 * moved[2] > 4 * moved[3] > 0


def test_nothing_is_left_of_the_call_before():
    """The optimizer's moments, the moving statistics, the dropout: as if it were the first call."""
    model = plain(dropout=0.5)
    start = model.get_weights()
    settings = Settings(batch_size=8, learning_rate=0.01)
    first = federated.train(model, start, split(), settings, seed=1)
    federated.train(model, start, split(20, seed=9), settings, seed=2)
    again = federated.train(model, start, split(), settings, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(first.weights, again.weights, strict=True))
    other = federated.train(model, start, split(), settings, seed=3)
    assert not np.array_equal(first.weights[0], other.weights[0])


def test_dropout_follows_the_seed_alone():
    """One batch of all images and no shuffling that matters: only dropout can differ."""
    model = plain(dropout=0.5)
    start, data = model.get_weights(), split(1)
    a, b, c = (federated.train(model, start, data, SGD, seed=seed).weights for seed in (1, 1, 4))
    assert np.array_equal(a[2], b[2]) and not np.array_equal(a[2], c[2])


def test_one_compilation_serves_clients_of_any_size(normed):
    start = normed.get_weights()
    settings = Settings(batch_size=8, optimizer="sgd")
    for n in (3, 8, 9, 20):
        for rate in (0.1, 0.2):
            federated.train(normed, start, split(n), dataclasses.replace(settings, learning_rate=rate))
    steps = [step for (name, *_), (_, step) in _compiled[normed].items() if name == "sgd"]
    assert len(steps) == 1 and steps[0].experimental_get_tracing_count() == 1


def test_augmentation_is_seeded(model):
    start = model.get_weights()
    settings = dataclasses.replace(SGD, augment=noisy)
    one, same, other = (federated.train(model, start, split(), settings, seed=s).weights for s in (1, 1, 2))
    assert np.array_equal(one[0], same[0]) and not np.array_equal(one[0], other[0])


def noisy(images, random):
    return images + random.normal(0, 0.1, images.shape).astype(np.float32)


def test_a_share_trains_like_the_same_images_in_memory(normed):
    data = split(30)
    share = Share(data, np.array([3, 4, 9, 20, 21, 28]))
    start, settings = normed.get_weights(), Settings(batch_size=4)
    a = federated.train(normed, start, share, settings).weights
    b = federated.train(normed, start, share.take(np.arange(6)), settings).weights
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_evaluate_is_keras_evaluate(normed):
    data = split(21)
    normed.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    loss, accuracy = normed.evaluate(data.images, data.labels, verbose=0)
    found = federated.evaluate(normed, normed.get_weights(), data, batch_size=8)
    assert found == {"loss": pytest.approx(loss, abs=1e-5), "accuracy": pytest.approx(accuracy), "n": 21}


def test_a_client_chooses_the_model_that_fits_its_images(model):
    settings = dataclasses.replace(SGD, local_epochs=30)
    data, flipped = split(), split()
    flipped = Split(flipped.images, 2 - flipped.labels)
    start = model.get_weights()
    offered = {"a": federated.train(model, start, data, settings).weights}
    offered["b"] = federated.train(model, start, flipped, settings).weights
    assert federated.choose(model, offered, data, SGD) == "a"
    assert federated.choose(model, offered, flipped, SGD) == "b"


def test_weights_of_another_network_are_refused(model):
    with pytest.raises(BadParameter, match="1 arrays, not 4"):
        federated.train(model, [np.zeros(3)], split(), SGD)
    wrong = [np.zeros((2, 2)), *model.get_weights()[1:]]
    with pytest.raises(BadParameter, match=r"array 0 has shape \(2, 2\), not \(16, 5\)"):
        federated.train(model, wrong, split(), SGD)


def test_a_backend_without_a_step_is_refused_by_name(model, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(MedtkError, match="TensorFlow or JAX, not on torch: set KERAS_BACKEND to tensorflow or jax"):
        federated.train(model, model.get_weights(), split(), SGD)


def test_a_client_without_images(model):
    with pytest.raises(BadParameter, match="without training images"):
        federated.train(model, model.get_weights(), split().take([]), SGD)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rounds": 0},
        {"local_epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"proximal": -1.0},
        {"optimizer": "adamw"},
        {"fraction": 0.0},
        {"fraction": 1.5},
        {"min_clients": -1},
        {"max_ratio": 1.0},
        {"max_delay": -1},
    ],
    ids=str,
)
def test_settings_out_of_range(wrong):
    with pytest.raises(BadParameter):
        Settings(**wrong)
