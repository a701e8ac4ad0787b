"""The focal loss beside Keras' own, a closed form, and finite differences."""

from functools import partial

import keras
import numpy as np
import pytest
from keras import ops

from medtk.errors import BadParameter
from medtk.training import focal_loss


def drawn(n=40, classes=2, seed=0, spread=3.0):
    random = np.random.default_rng(seed)
    return (spread * random.normal(size=(n, classes))).astype(np.float32), random.integers(0, classes, n)


def softmax(scores):
    e = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def ours(scores, labels, **options):
    return ops.convert_to_numpy(focal_loss(ops.convert_to_tensor(scores), ops.convert_to_tensor(labels), **options))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("alpha", [None, 0.25, 0.8])
def test_binary_closed_form_and_keras(alpha, gamma):
    scores, labels = drawn()
    p = softmax(scores)[np.arange(len(labels)), labels]
    weight = 1 if alpha is None else np.where(labels == 1, alpha, 1 - alpha)
    found = ours(scores, labels, alpha=alpha, gamma=gamma)
    np.testing.assert_allclose(found, -weight * (1 - p) ** gamma * np.log(p), rtol=2e-4, atol=1e-7)
    peer = keras.losses.BinaryFocalCrossentropy(
        apply_class_balancing=alpha is not None, alpha=alpha or 0.25, gamma=gamma, from_logits=True, reduction=None
    )
    theirs = peer(labels[:, None].astype(np.float32), (scores[:, 1] - scores[:, 0])[:, None])
    np.testing.assert_allclose(found, ops.convert_to_numpy(theirs), rtol=2e-3, atol=2e-6)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_several_classes_and_keras(gamma):
    scores, labels = drawn(classes=4, spread=2.0)
    weights = [0.1, 0.2, 0.3, 0.4]
    peer = keras.losses.CategoricalFocalCrossentropy(alpha=weights, gamma=gamma, from_logits=True, reduction=None)
    theirs = ops.convert_to_numpy(peer(np.eye(4, dtype=np.float32)[labels], scores))
    np.testing.assert_allclose(ours(scores, labels, alpha=weights, gamma=gamma), theirs, rtol=2e-3, atol=2e-6)


def test_without_focus_it_is_cross_entropy():
    scores, labels = drawn(classes=3)
    plain = keras.ops.sparse_categorical_crossentropy(labels, scores, from_logits=True)
    np.testing.assert_allclose(ours(scores, labels, alpha=None, gamma=0), ops.convert_to_numpy(plain), rtol=1e-5)


def gradient(scores, labels, **options):
    import tensorflow as tf

    x = tf.Variable(scores)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(focal_loss(x, tf.constant(labels), **options))
    return tape.gradient(total, x).numpy()


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_gradient_by_finite_differences(gamma):
    scores, labels = drawn(n=12, spread=1.5)

    def closed(s):
        p = softmax(s)[np.arange(len(labels)), labels]
        return -np.where(labels == 1, 0.25, 0.75) * (1 - p) ** gamma * np.log(p)

    wanted, step = np.zeros(scores.shape), 1e-5
    for c in range(2):
        shift = np.zeros(2)
        shift[c] = step
        wanted[:, c] = (closed(scores + shift) - closed(scores - shift)) / (2 * step)
    np.testing.assert_allclose(gradient(scores, labels, gamma=gamma), wanted, rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_sure_and_badly_wrong_answers_stay_finite(gamma):
    scores, labels = np.array([[80.0, -80.0], [-80.0, 80.0]], np.float32), np.array([0, 0])
    found = ours(scores, labels, gamma=gamma)
    assert np.isfinite(found).all() and found[0] < 1e-6 and found[1] == pytest.approx(0.75 * 160, rel=1e-3)
    assert np.isfinite(gradient(scores, labels, gamma=gamma)).all()


def test_what_cannot_be_is_refused():
    scores, labels = drawn(classes=3)
    for options in ({"alpha": 0.25}, {"alpha": [0.5, 0.5]}, {"alpha": None, "gamma": -1}, {"alpha": [1, 1, -1]}):
        with pytest.raises(BadParameter):
            ours(scores, labels, **options)
    two, ids = drawn()
    with pytest.raises(BadParameter):
        ours(two, ids, alpha=1.5)


def test_it_serves_as_the_loss_of_a_client():
    loss = partial(focal_loss, alpha=None, gamma=1.0)
    scores, labels = drawn()
    assert ops.convert_to_numpy(loss(ops.convert_to_tensor(scores), ops.convert_to_tensor(labels))).shape == (40,)
