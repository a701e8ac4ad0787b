"""Losses against closed forms, students, and the defences that change the image."""

import io
import itertools
import re

import keras
import numpy as np
import pytest
import small_networks
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.special import log_softmax, softmax
from scipy.stats import entropy

from medtk import models
from medtk.defenses import inputs, losses, students
from medtk.errors import BadParameter, UnknownName

N, CLASSES = 9, 4


@pytest.fixture(scope="module")
def batch():
    random = np.random.default_rng(0)
    scores, others = random.normal(0, 3, (2, N, CLASSES)).astype(np.float32)
    return scores, others, random.integers(0, CLASSES, N)


def cross_entropy(scores, labels):
    return -log_softmax(scores.astype(float), axis=1)[np.arange(len(labels)), labels]


def gradient(loss, scores):
    """Gradient of the summed loss by the scores."""
    import tensorflow as tf

    variable = tf.Variable(scores)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(loss(variable))
    return tape.gradient(total, variable).numpy()


def test_divergence_is_that_of_scipy(batch):
    scores, others, _ = batch
    found = keras.ops.convert_to_numpy(losses.divergence(scores, others))
    np.testing.assert_allclose(found, entropy(softmax(scores, axis=1), softmax(others, axis=1), axis=1), rtol=1e-5)
    np.testing.assert_allclose(losses.divergence(scores, scores + 5), 0, atol=1e-6)
    assert not np.allclose(found, losses.divergence(others, scores))


def test_trades_loss_in_numpy(batch):
    scores, others, labels = batch
    p, q = softmax(scores.astype(float), axis=1), softmax(others.astype(float), axis=1)
    reference = cross_entropy(scores, labels) + 6 * np.sum(p * np.log(p / q), axis=1)
    np.testing.assert_allclose(losses.trades_loss(scores, others, labels, 6.0), reference, rtol=1e-5)
    np.testing.assert_allclose(
        losses.trades_loss(scores, others, labels, 0.0), cross_entropy(scores, labels), rtol=1e-5
    )


def test_trades_pulls_on_both_images(batch):
    """By the attacked scores: beta (q - p). By the clean ones: the whole derivative, not cross-entropy's alone."""
    scores, others, labels = batch
    p, q = softmax(scores, axis=1), softmax(others, axis=1)
    by_attacked = gradient(lambda v: losses.trades_loss(scores, v, labels, 2.0), others)
    np.testing.assert_allclose(by_attacked, 2 * (q - p), atol=1e-5)
    by_clean = gradient(lambda v: losses.trades_loss(v, others, labels, 2.0), scores)
    ratio = np.log(p / q)
    of_divergence = p * (ratio - np.sum(p * ratio, axis=1, keepdims=True))
    np.testing.assert_allclose(by_clean, p - np.eye(CLASSES)[labels] + 2 * of_divergence, atol=1e-4)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_distillation_pulls_by_the_difference_of_the_softmaxes(batch, temperature, alpha):
    scores, teacher, labels = batch
    found = gradient(lambda v: losses.distillation_loss(v, teacher, labels, temperature, alpha=alpha), scores)
    soft = temperature * (softmax(scores / temperature, axis=1) - softmax(teacher / temperature, axis=1))
    hard = softmax(scores, axis=1) - np.eye(CLASSES)[labels]
    np.testing.assert_allclose(found, alpha * soft + (1 - alpha) * hard, atol=2e-5)


def test_a_hot_student_matches_centred_scores(batch):
    """Hinton et al., Eq. (4): as T grows, the gradient nears the difference of the centred scores."""
    scores, teacher, labels = batch
    centred = (scores - scores.mean(1, keepdims=True) - teacher + teacher.mean(1, keepdims=True)) / CLASSES
    distances = [
        np.abs(
            gradient(lambda v, T=T: losses.distillation_loss(v, teacher, labels, T, alpha=1.0), scores) - centred
        ).max()
        for T in (1.0, 10.0, 100.0, 300.0)
    ]
    assert all(later < earlier / 2 for earlier, later in itertools.pairwise(distances))
    assert distances[-1] < 0.02 * np.abs(centred).max()


def test_a_teacher_with_a_temperature_of_its_own_is_a_teacher_with_scaled_scores(batch):
    scores, teacher, labels = batch
    alone = losses.distillation_loss(scores, teacher, labels, 20.0, 1.0, alpha=0.7)
    scaled = losses.distillation_loss(scores, 20 * teacher, labels, 20.0, alpha=0.7)
    np.testing.assert_allclose(alone, scaled, rtol=1e-4)
    # At its least, the student's scores are the teacher's times the temperature: defensive distillation.
    least = gradient(lambda v: losses.distillation_loss(v, teacher, labels, 20.0, 1.0, alpha=1.0), 20 * teacher)
    np.testing.assert_allclose(least, 0, atol=1e-4)


@pytest.mark.parametrize("size", students.SIZES)
def test_students_have_the_parameters_that_are_promised(size):
    student = students.build(size, 7)
    count = f"``{size}`` {student.count_params():,}"
    assert count in re.sub(r"\s+", " ", students.build.__doc__)
    assert models.logits(student).output_shape == (None, 7)
    answers = student.predict(np.zeros((2, 32, 32, 3), np.float32), verbose=0)
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)


def test_students_repeat_by_seed_and_take_small_grey_images():
    shape = (5, 7, 1)
    one, same, other = (students.build("medium", 2, input_shape=shape, seed=seed) for seed in (3, 3, 4))
    for a, b, c in zip(*(model.get_weights() for model in (one, same, other)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.ndim == 1 or not np.array_equal(a, c)
    assert one.predict(np.zeros((1, *shape), np.float32), verbose=0).shape == (1, 2)


def test_students_that_do_not_exist():
    with pytest.raises(UnknownName, match="did you mean small"):
        students.build("smal", 2)
    with pytest.raises(BadParameter, match="2 classes"):
        students.build("small", 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_what_pillow_reads_back(channels):
    images, _ = small_networks.images_and_labels(3, shape=(16, 24, channels))
    found = inputs.jpeg(images, 40)
    assert found.shape == images.shape and found.dtype == np.float32
    levels = np.rint(images * 255).astype(np.uint8)
    for image, ours in zip(levels, found, strict=True):
        file = io.BytesIO()
        Image.fromarray(image[..., 0] if channels == 1 else image).save(file, "JPEG", quality=40)
        reference = np.asarray(Image.open(file)).reshape(image.shape)
        np.testing.assert_array_equal(np.rint(ours * 255), reference)


def test_jpeg_keeps_more_at_higher_quality_and_wipes_out_a_little_noise():
    smooth = np.full((1, 32, 32, 1), 0.5, np.float32)
    noisy = smooth + np.random.default_rng(0).choice([-0.02, 0.02], smooth.shape).astype(np.float32)
    lost = [np.abs(inputs.jpeg(noisy, quality) - noisy).mean() for quality in (10, 50, 95)]
    assert lost == sorted(lost, reverse=True) and lost[-1] < 0.01
    assert np.abs(inputs.jpeg(noisy, 10) - smooth).mean() < 0.3 * np.abs(noisy - smooth).mean()


@settings(max_examples=50, deadline=None)
@given(bits=st.integers(1, 16), seed=st.integers(0, 99))
def test_bits_are_levels(bits, seed):
    images = np.random.default_rng(seed).uniform(-0.1, 1.1, (2, 3, 4, 1)).astype(np.float32)
    found = inputs.reduce_bits(images, bits)
    top = 2**bits - 1
    np.testing.assert_allclose(found * top, np.rint(found * top), atol=1e-2)
    assert found.min() >= 0 and found.max() <= 1
    assert np.abs(found - np.clip(images, 0, 1)).max() <= 0.5 / top + 1e-6
    np.testing.assert_array_equal(inputs.reduce_bits(found, bits), found)


def test_eight_bits_keep_a_stored_image_and_lose_half_a_grey_level():
    stored = (np.arange(256, dtype=np.float32) / np.float32(255)).reshape(1, 16, 16, 1)
    np.testing.assert_array_equal(inputs.reduce_bits(stored, 8), stored)
    np.testing.assert_array_equal(inputs.reduce_bits(stored + np.float32(0.0019), 8), stored)
    moved = inputs.reduce_bits(stored + np.float32(0.0021), 8)
    np.testing.assert_allclose((moved - stored).ravel()[:-1], 1 / 255, rtol=1e-3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: inputs.jpeg(np.zeros((1, 4, 4, 2), np.float32)),
        lambda: inputs.jpeg(np.zeros((1, 4, 4, 1), np.float32), 0),
        lambda: inputs.jpeg(np.zeros((1, 4, 4, 1), np.float32), 96),
        lambda: inputs.jpeg(np.zeros((1, 4, 4, 1), np.float32), 7.5),
        lambda: inputs.jpeg(np.zeros((1, 4, 4, 1), np.uint8)),
        lambda: inputs.jpeg(np.full((1, 4, 4, 1), 255, np.float32)),
        lambda: inputs.reduce_bits(np.zeros((4, 4, 1), np.float32)),
        lambda: inputs.reduce_bits(np.full((1, 4, 4, 1), np.nan, np.float32)),
        lambda: inputs.reduce_bits(np.full((1, 4, 4, 1), -0.51, np.float32)),
        lambda: inputs.reduce_bits(np.zeros((1, 4, 4, 1), np.float32), 0),
        lambda: inputs.reduce_bits(np.zeros((1, 4, 4, 1), np.float32), 17),
    ],
)
def test_inputs_that_make_no_sense(call):
    with pytest.raises(BadParameter):
        call()
