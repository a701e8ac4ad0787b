import gc
import weakref

import keras
import numpy as np
import pytest
import small_networks
from keras import layers

from medtk import privacy
from medtk.data import Split
from medtk.errors import BadParameter, MedtkError
from medtk.privacy import dp_sgd

SHAPE = (3, 3, 1)


def linear(n_classes=4, seed=0):
    """Softmax regression: the gradient of one image is x (p - onehot(y))."""
    keras.utils.set_random_seed(seed)
    images = keras.Input(SHAPE, name="image")
    scores = layers.Dense(n_classes, name="logits")(layers.Flatten()(images))
    return keras.Model(images, layers.Softmax(name="probabilities")(scores))


def frozen(dropout=0.0, seed=0):
    """Convolution, frozen batch normalisation, group normalisation and dropout."""
    keras.utils.set_random_seed(seed)
    images = keras.Input(small_networks.SHAPE, name="image")
    normalised = layers.BatchNormalization(trainable=False)
    x = layers.ReLU()(normalised(layers.Conv2D(6, 3, strides=2)(images)))
    x = layers.GroupNormalization(3)(layers.DepthwiseConv2D(2)(x))
    x = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(x))
    normalised.set_weights([np.linspace(low, high, 6) for low, high in ((0.5, 2), (-1, 1), (-1, 1), (0.2, 2))])
    return keras.Model(images, layers.Softmax()(layers.Dense(3, name="logits")(x)))


def split(n=12, n_classes=4, shape=SHAPE, seed=0):
    return Split(*small_networks.images_and_labels(n, n_classes, shape, seed))


def trained(model, data, settings, seed=0, rate=1.0):
    """Weights after an epoch of SGD with learning rate `rate`, and what the epoch said."""
    said = privacy.train_epoch(model, keras.optimizers.SGD(rate), data, settings, seed)
    return model.get_weights(), said


class Spy:
    """A split that remembers which rows were asked for."""

    def __init__(self, data):
        self.data, self.labels, self.asked = data, data.labels, []

    def __len__(self):
        return len(self.data)

    def take(self, rows):
        self.asked.append(rows)
        return self.data.take(rows)


@pytest.mark.parametrize(
    "optimizer", [lambda: keras.optimizers.SGD(0.5), lambda: keras.optimizers.Adam(0.01)], ids=["sgd", "adam"]
)
def test_without_noise_and_clipping_it_is_the_plain_step(optimizer):
    data = split(20, 3, small_networks.SHAPE)
    private, plain = frozen(), frozen()
    mine = optimizer()
    plain.compile(optimizer(), "sparse_categorical_crossentropy")
    for epoch in range(2):
        said = privacy.train_epoch(private, mine, data, privacy.PrivateSgd(np.inf, 0.0, batch_size=20), epoch)
        loss = plain.train_on_batch(data.images, data.labels)
        assert said["loss"] == pytest.approx(float(loss), abs=1e-5)
        assert (said["drawn"], said["steps"], said["clipped"], said["skipped"]) == (20, 1, 0, 0)
        plain.reset_metrics()
    for ours, theirs in zip(private.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=3e-5)


def closed_form(model, data, clip_norm):
    """Sum of the clipped gradients of softmax regression, and the norms before."""
    flat = data.images.reshape(len(data), -1).astype(float)
    error = model.predict(data.images, verbose=0) - np.eye(4)[data.labels]
    norms = np.linalg.norm(error, axis=1) * np.sqrt((flat**2).sum(axis=1) + 1)
    error = error * np.minimum(1, clip_norm / norms)[:, None]
    return flat.T @ error, error.sum(axis=0), norms


def test_each_image_is_clipped_alone():
    model, data = linear(), split(12)
    *_, norms = closed_form(model, data, 1.0)
    clip_norm = float(np.sort(norms)[3:5].mean())
    kernel, bias, _ = closed_form(model, data, clip_norm)
    before = model.get_weights()
    after, said = trained(model, data, privacy.PrivateSgd(clip_norm, 0.0, batch_size=12))
    np.testing.assert_allclose(before[0] - after[0], kernel / 12, atol=1e-6)
    np.testing.assert_allclose(before[1] - after[1], bias / 12, atol=1e-6)
    assert said["clipped"] == pytest.approx(8 / 12)


def test_noise_has_the_stated_deviation_and_is_fresh():
    clip_norm, multiplier, n = 0.5, 3.0, 12
    data, noises = split(n), []
    model, optimizer = linear(), keras.optimizers.SGD(1.0)
    start = model.get_weights()
    quiet, _ = trained(linear(), data, privacy.PrivateSgd(clip_norm, 0.0, n))
    for seed in range(60):
        model.set_weights(start)
        privacy.train_epoch(model, optimizer, data, privacy.PrivateSgd(clip_norm, multiplier, n), seed)
        noises.append([a - b for a, b in zip(model.get_weights(), quiet, strict=True)])
    kernel, bias = (np.stack([noise[i] for noise in noises]) for i in (0, 1))
    values = np.concatenate([kernel.ravel(), bias.ravel()])
    assert len(np.unique(values)) > 0.99 * len(values)
    # 2,400 values: the standard error of their deviation is 1.4 %.
    assert values.std() == pytest.approx(clip_norm * multiplier / n, rel=0.06)
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))
    assert bias.std() == pytest.approx(kernel.std(), rel=0.2)


def test_images_are_drawn_by_their_own_coins():
    data = Spy(split(50))
    model, optimizer = linear(), keras.optimizers.SGD(0.0)
    for seed in range(40):
        said = privacy.train_epoch(model, optimizer, data, privacy.PrivateSgd(1.0, 0.0, batch_size=5), seed)
        assert said["steps"] == 10 and said["drawn"] == sum(len(rows) for rows in data.asked[-10:])
    assert all(len(set(rows.tolist())) == len(rows) for rows in data.asked)
    counts = np.bincount(np.concatenate(data.asked), minlength=50)
    # Each image: 400 draws with chance 1/10. Each batch: 50 draws with chance 1/10.
    assert np.all(np.abs(counts - 40) < 4.5 * 6)
    sizes = np.array([len(rows) for rows in data.asked])
    assert sizes.mean() == pytest.approx(5, abs=0.4) and sizes.var() == pytest.approx(4.5, rel=0.3)


def test_an_empty_batch_is_a_step_with_noise_only():
    data, model, optimizer = Spy(split(4)), linear(), keras.optimizers.SGD(1.0)
    before, seed = model.get_weights(), 0
    while not any(len(rows) == 0 for rows in data.asked):
        data.asked.clear()
        model.set_weights(before)
        said = privacy.train_epoch(model, optimizer, data, privacy.PrivateSgd(1e-6, 1e6, batch_size=1), seed)
        seed += 1
    assert np.isfinite(said["loss"]) and all(np.all(np.isfinite(w)) for w in model.get_weights())
    # Four steps of noise with deviation 1, whatever was drawn.
    moved = np.concatenate([(a - b).ravel() for a, b in zip(model.get_weights(), before, strict=True)])
    assert moved.std() == pytest.approx(2.0, rel=0.35)


def test_an_image_without_finite_gradient_counts_as_zero():
    data = split(6)
    data.images[2, 0, 0, 0] = np.nan
    others = data.take([0, 1, 3, 4, 5])
    broken, said = trained(linear(), data, privacy.PrivateSgd(1.0, 0.0, 6), rate=6.0)
    clean, _ = trained(linear(), others, privacy.PrivateSgd(1.0, 0.0, 5), rate=5.0)
    assert said["skipped"] == 1 and np.isfinite(said["loss"])
    for ours, theirs in zip(broken, clean, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_the_seed_decides_noise_sampling_and_dropout():
    data = split(10, 3, small_networks.SHAPE)
    model, optimizer = frozen(dropout=0.5), keras.optimizers.SGD(0.1)
    start, found = model.get_weights(), []
    for seed in (7, 7, (7, 1)):
        model.set_weights(start)
        said = privacy.train_epoch(model, optimizer, data, privacy.PrivateSgd(1.0, 0.5, 4), seed)
        found.append((said, model.get_weights()))
    (first, a), (second, b), (_, c) = found
    assert first == second
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert not np.allclose(a[0], c[0])


def test_one_compiled_step_for_all_hospitals_settings_and_rounds():
    model, optimizer = linear(), keras.optimizers.SGD(0.1)
    for n, clip_norm in ((12, 1.0), (7, 0.5), (30, 2.0)):
        privacy.train_epoch(model, optimizer, split(n), privacy.PrivateSgd(clip_norm, 1.0, 5), n)
    step = dp_sgd._step(model, optimizer)
    assert step.experimental_get_tracing_count() == 1
    assert dp_sgd._step(model, keras.optimizers.SGD(0.1)) is not step


def test_a_dropped_network_is_freed():
    model = linear()
    trained(model, split(4), privacy.PrivateSgd(1.0, 1.0, 4))
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None


def test_moving_statistics_and_frozen_weights_stay():
    model = frozen()
    fixed = [v.numpy() for v in model.non_trainable_variables if "seed" not in v.path]
    trained(model, split(8, 3, small_networks.SHAPE), privacy.PrivateSgd(1.0, 1.0, 4))
    for before, after in zip(fixed, [v for v in model.non_trainable_variables if "seed" not in v.path], strict=True):
        np.testing.assert_array_equal(before, after.numpy())


def test_trainable_batch_normalisation_is_refused_also_inside_a_base():
    inner = small_networks.classifier()
    images = keras.Input(small_networks.SHAPE)
    outer = keras.Model(images, layers.Dense(3, name="logits")(inner(images)))
    for model in (inner, outer):
        with pytest.raises(BadParameter, match="no gradient belongs to one image alone"):
            trained(model, split(4, 3, small_networks.SHAPE), privacy.PrivateSgd())


def test_what_else_is_refused(monkeypatch):
    images = keras.Input(SHAPE)
    scores = layers.Dense(4, name="logits", kernel_regularizer="l2")(layers.Flatten()(images))
    with pytest.raises(BadParameter, match="Regularisation"):
        trained(keras.Model(images, scores), split(4), privacy.PrivateSgd())
    with pytest.raises(BadParameter, match="class ids from 0 to 3"):
        trained(linear(), split(40, 5), privacy.PrivateSgd())
    with pytest.raises(BadParameter, match="At least one image"):
        trained(linear(), split(0), privacy.PrivateSgd())
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(MedtkError, match="KERAS_BACKEND=tensorflow"):
        dp_sgd.check(linear())


@pytest.mark.parametrize(
    "wrong",
    [
        {"clip_norm": 0},
        {"clip_norm": np.nan},
        {"clip_norm": np.inf},
        {"noise_multiplier": -1},
        {"noise_multiplier": np.inf},
        {"batch_size": 0},
    ],
    ids=str,
)
def test_settings_out_of_range(wrong):
    with pytest.raises(BadParameter, match=next(iter(wrong))):
        privacy.PrivateSgd(**wrong)


def test_sampling():
    assert privacy.sampling(100, 32) == (0.32, 4)
    assert privacy.sampling(10, 32) == (1.0, 1)
