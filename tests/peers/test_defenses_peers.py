"""Defences beside ART's trainers, Keras' own distillation, and loops written out."""

import keras
import numpy as np
import pytest
import small_networks

from medtk import models
from medtk.defenses import losses
from medtk.defenses.steps import compiled_step
from medtk.models.gradients import cross_entropy, loss_and_gradient, scores

EPSILON, STEPS, STEP_SIZE, RATE = 0.1, 4, 0.04, 0.05
ROUNDS = 3


@pytest.fixture
def batch():
    return small_networks.images_and_labels(16)


def trained_by_medtk(batch, method, rounds=ROUNDS, **settings):
    """Weights and losses after some steps on the same batch."""
    model = small_networks.settled()
    model.compile(keras.optimizers.SGD(RATE))
    model.optimizer.build(model.trainable_variables)
    step = compiled_step(model, method=method, epsilon=EPSILON, steps=STEPS, step_size=STEP_SIZE, **settings)
    said = [float(step(*batch, np.array([7, number], np.int32))[0]) for number in range(rounds)]
    return model.get_weights(), said


def test_fgsm_training_equals_arts_trainer(batch):
    estimators = pytest.importorskip("art.estimators.classification", reason="adversarial-robustness-toolbox is absent")
    import tensorflow as tf
    from art.attacks.evasion import FastGradientMethod
    from art.defences.trainer import AdversarialTrainer

    images, labels = batch
    model = small_networks.settled()
    network, optimizer = models.logits(model), keras.optimizers.SGD(RATE)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def train_step(found, x, y):
        with tf.GradientTape() as tape:
            value = loss(y, found(x, training=True))
        optimizer.apply(tape.gradient(value, found.trainable_variables), found.trainable_variables)

    wrapped = estimators.TensorFlowV2Classifier(
        network,
        nb_classes=3,
        input_shape=small_networks.SHAPE,
        loss_object=loss,
        train_step=train_step,
        clip_values=(0, 1),
    )
    attack = FastGradientMethod(wrapped, eps=EPSILON, eps_step=EPSILON, batch_size=16)
    # One batch holds all images, so that the order in which ART shuffles them does not matter.
    AdversarialTrainer(wrapped, attack, ratio=1.0).fit(images, np.eye(3)[labels], batch_size=16, nb_epochs=ROUNDS)
    ours, _ = trained_by_medtk(batch, "fgsm")
    for a, b in zip(ours, model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
    assert max(np.abs(a - b).max() for a, b in zip(ours, small_networks.settled().get_weights(), strict=True)) > 0.01


def away_from(found, clean):
    """Divergence of the scores that were found from those of the clean images."""
    return losses.divergence(clean, found)


def walk(model, images, wanted, loss, start):
    """The inner loop of Madry et al. and of TRADES, in NumPy."""
    points = start
    for _ in range(STEPS):
        points = points + np.float32(STEP_SIZE) * np.sign(loss_and_gradient(model, points, wanted, loss=loss)[2])
        points = np.clip(np.clip(points, images - np.float32(EPSILON), images + np.float32(EPSILON)), 0, 1)
    return points


def test_pgd_training_equals_a_loop_written_out(batch):
    import tensorflow as tf

    images, labels = batch
    model = small_networks.settled()
    model.compile(keras.optimizers.SGD(RATE), loss="sparse_categorical_crossentropy")
    said = []
    for number in range(ROUNDS):
        noise = tf.random.stateless_uniform(images.shape, [7, number], -EPSILON, EPSILON).numpy()
        attacked = walk(model, images, labels, cross_entropy, np.clip(images + noise, 0, 1))
        said.append(16 * float(model.train_on_batch(attacked, labels)))
    ours, ours_said = trained_by_medtk(batch, "pgd")
    np.testing.assert_allclose(ours_said, said, rtol=1e-3)
    for a, b in zip(ours, model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)


def test_trades_equals_a_loop_written_out(batch):
    """One round: close to the image TRADES' gradient is so small that rounding turns some of its signs."""
    import tensorflow as tf

    images, labels = batch
    model = small_networks.settled()
    network, optimizer = models.logits(model), keras.optimizers.SGD(RATE)
    start = images + 0.001 * tf.random.stateless_normal(images.shape, [7, 0]).numpy()
    points = walk(model, images, scores(model, images), away_from, start)
    with tf.GradientTape() as tape:
        p, q = (tf.nn.softmax(network(x, training=True)) for x in (images, points))
        right = tf.gather(p, labels, batch_dims=1)
        value = tf.reduce_mean(-tf.math.log(right) + 6 * tf.reduce_sum(p * tf.math.log(p / q), axis=1))
    optimizer.apply(tape.gradient(value, network.trainable_variables), network.trainable_variables)
    ours, (said,) = trained_by_medtk(batch, "trades", rounds=1, beta=6.0)
    np.testing.assert_allclose(said, 16 * float(value), rtol=1e-3)
    for a, b in zip(ours, model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)
    plain, _ = trained_by_medtk(batch, "trades", rounds=1, beta=0.0)
    assert max(np.abs(a - b).max() for a, b in zip(ours, plain, strict=True)) > 0.01


@pytest.mark.parametrize("temperature", [1.0, 3.0, 20.0])
def test_distillation_loss_equals_keras(temperature):
    random = np.random.default_rng(0)
    student, teacher = random.normal(0, 2, (2, 30, 5)).astype(np.float32)
    labels = random.integers(0, 5, 30)
    # An object, not Keras' default "kl_divergence": Keras 3.15.1 applies that name to the scores, with no softmax.
    distillation = keras.distillation.LogitsDistillation(temperature, keras.losses.KLDivergence())
    theirs = distillation.compute_loss(teacher, student)
    ours = losses.distillation_loss(student, teacher, labels, temperature, alpha=1.0)
    np.testing.assert_allclose(np.mean(ours), float(theirs), rtol=1e-3)


def test_the_walk_goes_somewhere(batch):
    """The loops above compare like with like only if the attack does move."""
    images, labels = batch
    model = small_networks.settled()
    points = walk(model, images, labels, cross_entropy, images)
    assert np.abs(points - images).max() > 0.9 * EPSILON
    before, after = (loss_and_gradient(model, x, labels)[1].mean() for x in (images, points))
    assert after > before + 0.01
