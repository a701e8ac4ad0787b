import keras
import numpy as np
import pytest
import small_networks
import tensorflow as tf
from keras import layers

from medtk import privacy
from medtk.errors import BadParameter


def network(hidden=True, seed=0):
    keras.utils.set_random_seed(seed)
    images = keras.Input(small_networks.SHAPE, name="image")
    x = layers.Flatten()(images)
    if hidden:
        x = layers.Dense(7, activation="relu", name="hidden")(x)
    return keras.Model(images, layers.Dense(3, name="logits")(x))


def gradient(model, images, labels):
    with tf.GradientTape() as tape:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels.astype(np.int32), model(images))
        loss = tf.reduce_mean(losses)
    return [g.numpy() for g in tape.gradient(loss, [w.value for w in model.trainable_variables])]


@pytest.mark.parametrize("hidden", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_one_image_is_read_off_the_first_layer(hidden, seed):
    model = network(hidden, seed)
    images, labels = small_networks.images_and_labels(1, seed=seed)
    found = privacy.dense_input(*gradient(model, images, labels)[:2])
    np.testing.assert_allclose(found, images.ravel(), atol=1e-4)


def test_features_are_read_off_the_last_layer():
    model = network()
    images, labels = small_networks.images_and_labels(1)
    features = keras.Model(model.input, model.get_layer("hidden").output)(images).numpy()[0]
    np.testing.assert_allclose(privacy.dense_input(*gradient(model, images, labels)[2:]), features, atol=1e-5)


def test_one_step_of_sgd_is_as_good_as_its_gradient():
    model = network()
    images, labels = small_networks.images_and_labels(1)
    expected = gradient(model, images, labels)
    before = model.get_weights()
    after = [w - 0.1 * g for w, g in zip(before, expected, strict=True)]
    found = privacy.gradient_of_update(before, after, 0.1)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-5)
    np.testing.assert_allclose(privacy.dense_input(*found[:2]), images.ravel(), atol=1e-3)
    with pytest.raises(BadParameter, match="learning_rate"):
        privacy.gradient_of_update(before, after, 0)


def test_a_batch_gives_a_mixture_and_not_an_image():
    model = network(hidden=False)
    images, labels = small_networks.images_and_labels(6)
    found = privacy.dense_input(*gradient(model, images, labels))
    flat = images.reshape(6, -1)
    assert np.abs(flat - found).max(axis=1).min() > 0.05
    # Still in the span of the batch: six coefficients explain it.
    coefficients, *_ = np.linalg.lstsq(flat.T.astype(float), found, rcond=None)
    np.testing.assert_allclose(flat.T @ coefficients, found, atol=1e-4)


def test_the_sign_of_the_last_bias_tells_the_label():
    model = network()
    images, _ = small_networks.images_and_labels(6)
    for i in range(6):
        for label in range(3):
            bias = gradient(model, images[i : i + 1], np.array([label]))[3]
            assert privacy.labels_present(bias).tolist() == [label]


def test_labels_of_a_batch_are_counted():
    model = network()
    images, labels = small_networks.images_and_labels(16)
    bias = gradient(model, images, labels)[3]
    probabilities = tf.nn.softmax(model(images)).numpy().mean(axis=0)
    true = np.bincount(labels, minlength=3)
    assert set(privacy.labels_present(bias)) <= set(labels.tolist())
    np.testing.assert_allclose(privacy.label_counts(bias, probabilities, 16), true, atol=1e-4)
    only_two = gradient(model, images, np.where(labels == 1, 2, labels))[3]
    assert 1 not in privacy.labels_present(only_two) and len(privacy.labels_present(only_two)) > 0


def test_what_says_nothing_is_refused():
    with pytest.raises(BadParameter, match="No unit"):
        privacy.dense_input(np.zeros((4, 2)), np.zeros(2))
    with pytest.raises(BadParameter, match="shapes"):
        privacy.dense_input(np.zeros((4, 2)), np.zeros(3))
    with pytest.raises(BadParameter, match="One gradient"):
        privacy.label_counts(np.zeros(3), np.zeros(2), 4)
