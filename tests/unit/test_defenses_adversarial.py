"""Adversarial training: by hand, on a problem that can be seen through, killed and resumed."""

import dataclasses
import shutil

import keras
import numpy as np
import pytest
import small_networks
import tensorflow as tf

from medtk import attacks, models, training
from medtk.data import Split
from medtk.defenses import adversarial
from medtk.defenses.adversarial import Spec
from medtk.defenses.steps import compiled_step
from medtk.errors import BadParameter, UnknownName
from medtk.models.gradients import cross_entropy
from medtk.settings import cache_home
from medtk.training import fitting

BASE = training.Spec("mobilenetv2", weights="random", epochs=2, batch_size=8)


@pytest.fixture(scope="module")
def dataset():
    return small_networks.dataset()


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    """Folder with the cache entry of the base."""
    with pytest.MonkeyPatch.context() as patch:
        return small_networks.trained_cache(BASE, dataset, tmp_path_factory.mktemp("trained"), patch)


@pytest.fixture(autouse=True)
def small(monkeypatch, trained):
    """Small networks, and a cache in which that one is trained already."""
    monkeypatch.setattr(fitting.models, "build", small_networks.built_for_fit)
    shutil.copytree(trained, cache_home())


def run(spec, dataset):
    return adversarial.fit_or_load(spec, dataset, progress=False)


def assert_same(one, other):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(one.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_printed_is_fgsm_once_and_then_fit(dataset):
    spec = Spec(BASE, epsilon=0.05, epochs=2, seed=3)
    model = training.fit_or_load(BASE, dataset, progress=False).model
    images, labels = dataset.train.images, dataset.train.labels
    attacked = attacks.fgsm(model, images, labels, 0.05, clip=False)
    assert attacked.max() > 1  # not clipped, as printed
    model.compile(keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy")
    for epoch in (2, 3):  # the two epochs after the base's two
        order = np.random.default_rng((3, epoch)).permutation(len(images))
        model.fit(attacked[order], labels[order], batch_size=8, shuffle=False, verbose=0)
    assert_same(run(spec, dataset).model, model)


def test_printed_with_nothing_attacked_is_longer_training(dataset):
    control = run(Spec(BASE, epochs=1, clean_share=1.0), dataset)
    model = training.fit_or_load(BASE, dataset, progress=False).model
    model.compile(keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy")
    order = training.epoch_order(20, 0, 2)
    model.fit(dataset.train.images[order], dataset.train.labels[order], batch_size=8, shuffle=False, verbose=0)
    assert_same(control.model, model)


def test_the_clean_are_the_first_of_each_batch():
    np.testing.assert_array_equal(np.flatnonzero(adversarial._clean(20, 8, 0.25)), [0, 1, 8, 9, 16])
    assert adversarial._clean(20, 8, 1.0).all() and not adversarial._clean(20, 8, 0.0).any()


@pytest.mark.parametrize("method", ["printed", "pgd", "trades"])
def test_interrupted_equals_whole_and_comes_from_the_cache(dataset, method, monkeypatch, trained):
    spec = Spec(BASE, method, epsilon=0.03, epochs=3, steps=2)
    whole = run(spec, dataset)
    assert not whole.from_cache and [sorted(e) for e in whole.history] == [["accuracy", "loss", "seconds"]] * 3
    again = run(spec, dataset)
    assert again.from_cache and again.history == whole.history
    assert_same(whole.model, again.model)

    shutil.rmtree(cache_home())
    shutil.copytree(trained, cache_home())
    save, saved = training.loop.checkpoints.save, []

    def interrupted(*given):
        if saved:  # the second epoch is trained but not stored
            raise KeyboardInterrupt
        saved.append(given)
        save(*given)

    monkeypatch.setattr(training.loop.checkpoints, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(spec, dataset)
    monkeypatch.setattr(training.loop.checkpoints, "save", save)
    resumed = run(spec, dataset)
    assert not resumed.from_cache
    assert_same(whole.model, resumed.model)
    for a, b in zip(whole.history, resumed.history, strict=True):
        assert (a["loss"], a["accuracy"]) == (b["loss"], b["accuracy"])


def test_a_damaged_entry_is_trained_again(dataset, capsys):
    spec = Spec(BASE, "fgsm", epochs=1)
    whole = run(spec, dataset)
    entry = cache_home() / "models" / f"{adversarial.key(spec, dataset)}.npz"
    entry.write_bytes(entry.read_bytes()[:-50])
    again = run(spec, dataset)
    assert not again.from_cache and entry.with_suffix(".corrupt").exists()
    assert entry.name in capsys.readouterr().err
    assert_same(whole.model, again.model)


def one_step(method, *, rate=0.0, n=6, **settings):
    """Take one step on a settled network and return it, its image batch, and what the step said."""
    model = small_networks.settled()
    model.compile(keras.optimizers.SGD(rate))
    model.optimizer.build(model.trainable_variables)
    usual = {"epsilon": 0.1, "steps": 3, "step_size": 0.05}
    step = compiled_step(model, method=method, **usual | settings)
    images, labels = small_networks.images_and_labels(n)
    return model, (images, labels), [float(x) for x in step(images, labels, np.array([1, 2], np.int32))]


def training_scores(images):
    """Scores in training mode of the network before the step."""
    return np.asarray(models.logits(small_networks.settled())(images, training=True))


def mean_loss(scores, labels):
    return keras.ops.mean(keras.ops.sparse_categorical_crossentropy(labels, scores, from_logits=True))


def test_fgsm_step_trains_on_our_fgsm_in_training_mode():
    """The loss that the step reports is that of FGSM's images made in inference mode, passed in training mode."""
    _, (images, labels), (loss, right) = one_step("fgsm")
    attacked = attacks.fgsm(small_networks.settled(), images, labels, 0.1, clip=True)
    scores = training_scores(attacked)
    np.testing.assert_allclose(loss, 6 * mean_loss(scores, labels), rtol=1e-4)
    assert right == np.sum(scores.argmax(axis=1) == labels)
    assert abs(loss - 6 * float(mean_loss(training_scores(images), labels))) > 1e-3


def test_a_step_moves_weights_and_moving_statistics_as_keras_does():
    model, (images, labels), _ = one_step("fgsm", rate=0.1)
    by_hand = small_networks.settled()
    attacked = attacks.fgsm(by_hand, images, labels, 0.1, clip=True)
    by_hand.compile(keras.optimizers.SGD(0.1), loss="sparse_categorical_crossentropy")
    by_hand.train_on_batch(attacked, labels)
    for a, b in zip(model.get_weights(), by_hand.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_examples_made_in_training_mode_follow_the_statistics_of_the_batch():
    model, (images, labels), (loss, _) = one_step("fgsm", rate=0.1, crafting="training")
    by_hand = small_networks.settled()
    scores = models.logits(by_hand)
    points = tf.Variable(images)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(cross_entropy(scores(points, training=True), labels))
    attacked = np.clip(images + 0.1 * np.sign(tape.gradient(total, points)), 0, 1)
    assert np.mean(attacked != attacks.fgsm(small_networks.settled(), images, labels, 0.1, clip=True)) > 0.01
    np.testing.assert_allclose(loss, 6 * mean_loss(training_scores(attacked), labels), rtol=1e-4)
    by_hand.set_weights(small_networks.settled().get_weights())
    by_hand.compile(keras.optimizers.SGD(0.1), loss="sparse_categorical_crossentropy")
    by_hand.train_on_batch(attacked, labels)
    for a, b in zip(model.get_weights(), by_hand.get_weights(), strict=True):  # the moving statistics moved once
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99, 1.0])
def test_share_of_clean_images(share):
    """0.99 of 6 rounds to all of them: the attack then has no image to work on."""
    _, (images, labels), (loss, _) = one_step("fgsm", clean_share=share)
    kept = round(share * 6)
    attacked = attacks.fgsm(small_networks.settled(), images, labels, 0.1, clip=True)
    mixture = np.concatenate([images[:kept], attacked[kept:]])
    np.testing.assert_allclose(loss, 6 * mean_loss(training_scores(mixture), labels), rtol=1e-4)


def test_pgd_step_is_at_least_as_strong_as_fgsm_step():
    one, many = (one_step(method, n=64, steps=20, step_size=0.02)[2][0] for method in ("fgsm", "pgd"))
    clean = one_step("pgd", n=64, epsilon=0.0)[2][0]
    assert many > 0.99 * one > clean


def test_trades_without_its_second_term_is_training_on_clean_images():
    _, (images, labels), (loss, _) = one_step("trades", beta=0.0)
    np.testing.assert_allclose(loss, 6 * mean_loss(training_scores(images), labels), rtol=1e-4)
    assert one_step("trades", beta=6.0)[2][0] > loss + 0.01


def test_steps_repeat_by_seed():
    model = small_networks.settled()
    model.compile(keras.optimizers.SGD(0.0))
    step = compiled_step(model, method="pgd", epsilon=0.1, steps=1, step_size=0.01)
    images, labels = small_networks.images_and_labels(6)
    # The learning rate is zero, but the moving statistics that the examples are made with do move.
    state = model.get_weights()
    said = []
    for seed in ([1, 2], [1, 2], [1, 3]):
        model.set_weights(state)
        said.append(float(step(images, labels, np.array(seed, np.int32))[0]))
    assert said[0] == said[1] != said[2]


def linear_dataset():
    """Two classes that one strong pixel and 63 weak ones tell apart; the weak ones turn within epsilon = 0.1."""
    random = np.random.default_rng(0)

    def split(n):
        labels = random.integers(0, 2, n)
        side = (2 * labels - 1)[:, None, None, None]
        images = 0.5 + 0.05 * side + 0.02 * random.standard_normal((n, 8, 8, 1))
        images[:, 0, 0] = 0.5 + 0.25 * side[:, 0, 0] + 0.02 * random.standard_normal((n, 1))
        return Split(images.astype(np.float32), labels.astype(np.int64))

    return dataclasses.replace(
        small_networks.dataset(), train=split(192), test=split(64), class_names=("left", "right")
    )


def linear_network(network, n_classes, *, input_shape, seed=0, **_):
    keras.utils.set_random_seed(seed)
    images = keras.Input(input_shape, name="image")
    scores = keras.layers.Dense(n_classes, name="logits")(keras.layers.Flatten()(images))
    return keras.Model(images, keras.layers.Softmax()(scores))


@pytest.mark.parametrize("method", ["fgsm", "pgd", "trades"])
def test_training_on_attacks_makes_a_linear_problem_robust(method, monkeypatch):
    """The usual fit leans on the weak pixels, which an attack turns; the attacked fit must learn the strong one."""
    monkeypatch.setattr(fitting.models, "build", linear_network)
    dataset = linear_dataset()
    base = training.Spec("mobilenetv2", weights="random", epochs=4, batch_size=32, learning_rate=0.02)
    spec = Spec(base, method, epsilon=0.1, epochs=15, steps=2, learning_rate=0.1)

    def accuracies(model):
        attacked = attacks.fgsm(model, dataset.test.images, dataset.test.labels, 0.1, clip=True)
        both = (model.predict(images, verbose=0).argmax(axis=1) for images in (dataset.test.images, attacked))
        return [float(np.mean(said == dataset.test.labels)) for said in both]

    clean, robust = accuracies(training.fit_or_load(base, dataset, progress=False).model)
    assert clean == 1.0 and robust < 0.3
    clean, robust = accuracies(run(spec, dataset).model)
    assert clean > 0.95 and robust > 0.9


def test_key_changes_with_every_field(dataset):
    spec = Spec(BASE, "fgsm")
    others = {
        "base": dataclasses.replace(BASE, seed=1),
        "method": "pgd",
        "epsilon": 0.002,
        "epochs": 6,
        "steps": 8,
        "step_size": 0.1,
        "beta": 5.0,
        "clean_share": 0.5,
        "crafting": "training",
        "learning_rate": 2e-3,
        "seed": 1,
    }
    assert set(others) == {field.name for field in dataclasses.fields(Spec)}
    keys = {adversarial.key(dataclasses.replace(spec, **{name: value}), dataset) for name, value in others.items()}
    darker = dataclasses.replace(dataset, train=Split(dataset.train.images * 0.5, dataset.train.labels))
    keys |= {adversarial.key(spec, dataset), adversarial.key(spec, darker), training.key(BASE, dataset)}
    assert len(keys) == len(others) + 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"epsilon": -0.1},
        {"epsilon": float("nan")},
        {"epochs": 0},
        {"steps": 0},
        {"step_size": 0.0},
        {"beta": -1.0},
        {"clean_share": 1.5},
        {"learning_rate": 0.0},
        {"method": "trades", "clean_share": 0.5},
        {"method": "printed", "crafting": "training"},
    ],
    ids=str,
)
def test_specs_that_make_no_sense(wrong):
    with pytest.raises(BadParameter, match=list(wrong)[-1]):
        Spec(BASE, **wrong)


def test_a_crafting_that_does_not_exist():
    with pytest.raises(UnknownName, match="did you mean training"):
        Spec(BASE, "fgsm", crafting="train")


def test_a_method_that_does_not_exist():
    with pytest.raises(UnknownName, match="did you mean trades"):
        Spec(BASE, "trade")


@pytest.mark.parametrize("method", ["fgsm", "pgd", "trades"])
def test_another_backend_is_refused_in_a_sentence(method, dataset, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(BadParameter, match=r"TensorFlow step, and Keras runs on jax here: set KERAS_BACKEND"):
        run(Spec(BASE, method), dataset)
