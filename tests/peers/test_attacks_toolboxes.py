"""The attacks beside ART's and Foolbox's, at the same network, images, budget, steps and step size."""

import functools

import keras
import numpy as np
import pytest
import small_networks

from medtk import attacks, models
from medtk.models import gradients

N, SHAPE, CLASSES = 60, (16, 16, 1), 3
EPSILON = 0.06
# What a share of 60 images may differ by chance: three standard errors at one half.
CHANCE = 3 * 0.5 / N**0.5


def drawn(n, seed):
    """Grey images with noise and a bright bar: level, upright or both, by class."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, n)
    images = random.uniform(0.1, 0.6, (n, *SHAPE)).astype(np.float32)
    for image, label, (row, column) in zip(images, labels, random.integers(3, 13, (n, 2)), strict=True):
        if label in (0, 2):
            image[row] += 0.2
        if label in (1, 2):
            image[:, column] += 0.2
    return images, labels


@pytest.fixture(scope="module")
def network():
    """A small network, trained for some seconds."""
    model = small_networks.classifier(CLASSES, shape=SHAPE, filters=(12, 24))
    model.compile(keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    images, labels = drawn(1500, 0)
    model.fit(images, labels, epochs=12, batch_size=64, verbose=0)
    assert model.evaluate(*drawn(300, 2), verbose=0)[1] > 0.8
    return model


@pytest.fixture(scope="module")
def batch(network):
    """Test images that the network gets right."""
    images, labels = drawn(200, 1)
    right = gradients.scores(network, images).argmax(axis=1) == labels
    return images[right][:N], labels[right][:N]


def for_art(model, **settings):
    estimators = pytest.importorskip("art.estimators.classification", reason="adversarial-robustness-toolbox is absent")
    about = {"nb_classes": CLASSES, "input_shape": SHAPE, "clip_values": (0.0, 1.0)}
    return estimators.TensorFlowV2Classifier(model, **about, **settings)


@pytest.fixture(scope="module")
def art(network):
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return for_art(models.logits(network), loss_object=crossentropy)


@pytest.fixture(scope="module")
def foolbox_run(network, batch):
    foolbox = pytest.importorskip("foolbox", reason="foolbox is absent")
    import tensorflow as tf

    wrapped = foolbox.TensorFlowModel(models.logits(network), bounds=(0.0, 1.0))
    images, labels = (tf.convert_to_tensor(array) for array in batch)

    def run(name, epsilon=None, n=N, targets=None, **settings):
        attack = getattr(foolbox.attacks, name)(**settings)
        goal = labels[:n] if targets is None else foolbox.TargetedMisclassification(tf.convert_to_tensor(targets))
        return attack(wrapped, images[:n], goal, epsilons=epsilon)[1].numpy()

    return run


def success(network, attacked, labels):
    return np.mean(gradients.scores(network, attacked).argmax(axis=1) != labels)


def mean_l2(attacked, images, network, labels):
    """Mean distance over the images that were turned."""
    turned = gradients.scores(network, attacked).argmax(axis=1) != labels
    return np.linalg.norm((attacked - images)[turned].reshape(turned.sum(), -1), axis=1).mean()


def loss(network, images, labels):
    return gradients.loss_and_gradient(network, images, labels.astype(np.int32))[1].mean()


# Linf radius 0.06, 10 steps of 0.015, start at the image; and the L2 ball of radius 0.6, steps of 0.15.
ITERATIVE = {
    "bim": (functools.partial(attacks.bim, epsilon=EPSILON, steps=10, step_size=0.015), EPSILON, np.inf),
    "pgd-l2": (
        functools.partial(attacks.pgd, epsilon=0.6, norm="l2", steps=10, step_size=0.15, random_start=False), 0.6, 2,
    ),
}  # fmt: skip


def assert_as_far(network, ours, theirs, labels, targets):
    """At least as many images are turned, or as few miss their target, and the loss moved as far, to 2 %."""
    if targets is None:
        assert success(network, ours, labels) >= success(network, theirs, labels) > 0.3
        assert loss(network, ours, labels) >= 0.98 * loss(network, theirs, labels)
    else:
        assert 1 > success(network, theirs, targets) >= success(network, ours, targets)
        assert loss(network, ours, targets) <= 1.02 * loss(network, theirs, targets)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("name", ITERATIVE)
def test_iterative_against_art(network, batch, art, name, targeted):
    from art.attacks.evasion import ProjectedGradientDescent

    images, labels = batch
    ours, epsilon, norm = ITERATIVE[name]
    step = 0.015 if norm == np.inf else 0.15
    targets = (labels + 1) % CLASSES if targeted else None
    settings = {"max_iter": 10, "batch_size": N, "verbose": False, "targeted": targeted}
    theirs = ProjectedGradientDescent(art, norm, epsilon, step, **settings).generate(
        images, targets if targeted else labels
    )
    assert_as_far(network, ours(network, images, labels, targets=targets), theirs, labels, targets)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("name", ITERATIVE)
def test_iterative_against_foolbox(network, batch, foolbox_run, name, targeted):
    images, labels = batch
    ours, epsilon, norm = ITERATIVE[name]
    attack, step = ("LinfPGD", 0.015) if norm == np.inf else ("L2PGD", 0.15)
    targets = (labels + 1) % CLASSES if targeted else None
    theirs = foolbox_run(attack, epsilon, targets=targets, steps=10, abs_stepsize=step, random_start=False)
    assert_as_far(network, ours(network, images, labels, targets=targets), theirs, labels, targets)


def test_momentum_against_foolbox(network, batch, foolbox_run):
    """10 steps of 0.006, decay 1. Foolbox does not scale the gradients; ART has switched its own off for TensorFlow."""
    images, labels = batch
    ours = attacks.mi_fgsm(network, images, labels, EPSILON, steps=10, step_size=0.006)
    theirs = foolbox_run("LinfMomentumIterativeFastGradientMethod", EPSILON, steps=10, abs_stepsize=0.006, momentum=1.0)
    assert success(network, ours, labels) >= success(network, theirs, labels) - 0.03
    assert loss(network, ours, labels) >= 0.97 * loss(network, theirs, labels)


def test_random_starts_against_both(network, batch, art, foolbox_run):
    """10 steps of 0.015 from one random start; the starts differ, so the shares may, by chance."""
    from art.attacks.evasion import ProjectedGradientDescent

    images, labels = batch
    ours = attacks.pgd(network, images, labels, EPSILON, steps=10, step_size=0.015)
    theirs = ProjectedGradientDescent(
        art, np.inf, EPSILON, 0.015, max_iter=10, num_random_init=1, batch_size=N, verbose=False
    ).generate(images, labels)
    fools = foolbox_run("LinfPGD", EPSILON, steps=10, abs_stepsize=0.015)
    assert success(network, ours, labels) >= max(success(network, x, labels) for x in (theirs, fools)) - CHANCE / 2
    assert loss(network, ours, labels) >= 0.95 * max(loss(network, x, labels) for x in (theirs, fools))


def test_deepfool_against_foolbox(network, batch, foolbox_run):
    """At most 50 steps, overshoot 0.02, all classes."""
    images, labels = batch
    ours = attacks.deepfool(network, images, labels)
    theirs = foolbox_run("L2DeepFoolAttack", steps=50, overshoot=0.02)
    assert success(network, ours, labels) >= success(network, theirs, labels) > 0.9
    assert mean_l2(ours, images, network, labels) <= 1.01 * mean_l2(theirs, images, network, labels)


def test_deepfool_against_art(network, batch, art):
    """At most 20 steps, overshoot 0.02, all classes; 8 images, since ART is slow."""
    from art.attacks.evasion import DeepFool

    images, labels = batch[0][:8], batch[1][:8]
    ours = attacks.deepfool(network, images, labels, steps=20)
    theirs = DeepFool(art, max_iter=20, epsilon=0.02, nb_grads=CLASSES, batch_size=8, verbose=False).generate(images)
    assert success(network, ours, labels) >= success(network, theirs, labels)
    assert mean_l2(ours, images, network, labels) <= 1.03 * mean_l2(theirs, images, network, labels)


def test_carlini_wagner_against_foolbox(network, batch, foolbox_run):
    """4 values of c from 0.1, 40 steps of Adam at rate 0.01, 20 images."""
    images, labels = batch[0][:20], batch[1][:20]
    common = {"steps": 40, "confidence": 0}
    ours = attacks.carlini_wagner(network, images, labels, search_steps=4, initial_c=0.1, **common)
    fools = foolbox_run(
        "L2CarliniWagnerAttack", n=20, binary_search_steps=4, initial_const=0.1, stepsize=0.01, **common
    )
    assert success(network, ours, labels) >= success(network, fools, labels) > 0.9
    assert mean_l2(ours, images, network, labels) <= 1.02 * mean_l2(fools, images, network, labels)


def test_carlini_wagner_against_art(network, batch, art):
    """4 values of c from 1, 30 steps for each, 4 images; each of ART's steps is a line search, and costs several."""
    from art.attacks.evasion import CarliniL2Method

    images, labels = batch[0][:4], batch[1][:4]
    ours = attacks.carlini_wagner(network, images, labels, search_steps=4, initial_c=1.0, steps=30)
    settings = {"binary_search_steps": 4, "initial_const": 1.0, "max_iter": 30, "learning_rate": 0.01}
    theirs = CarliniL2Method(art, **settings, batch_size=4, verbose=False).generate(images, np.eye(3)[labels])
    assert success(network, ours, labels) >= success(network, theirs, labels) > 0
    assert mean_l2(ours, images, network, labels) <= mean_l2(theirs, images, network, labels)


@pytest.mark.parametrize(("theta", "gamma"), [(1.0, 0.06), (0.4, 0.08)])
def test_jsma_against_art(network, batch, theta, gamma):
    """Towards the next class, at most a share gamma of the values, by the slopes of probabilities: the same images.

    ART on the logits takes the two steepest without the other classes: another attack, with one image in ten the same.
    """
    probabilities = for_art(network)
    from art.attacks.evasion import SaliencyMapMethod

    images, labels = batch
    targets = (labels + 1) % CLASSES
    ours = attacks.jsma(network, images, labels, targets=targets, theta=theta, gamma=gamma)
    # ART stops after the budget is passed: one pair less.
    theirs = SaliencyMapMethod(probabilities, theta, gamma - 2 / 256, batch_size=N, verbose=False).generate(
        images, np.eye(3)[targets]
    )
    # All of them, but where two slopes are equal but for rounding either may come first.
    assert (ours == theirs).all(axis=(1, 2, 3)).mean() >= 0.9
    reached, others = (gradients.scores(network, x).argmax(axis=1) == targets for x in (ours, theirs))
    assert reached.mean() >= others.mean() > 0.3


def test_square_against_art(network, batch, art):
    """200 queries, first squares of 0.8 of the image."""
    from art.attacks.evasion import SquareAttack

    images, labels = batch
    ours = attacks.square(network, images, labels, EPSILON, queries=200)
    np.random.seed(0)
    theirs = SquareAttack(art, np.inf, max_iter=200, eps=EPSILON, p_init=0.8, batch_size=N, verbose=False).generate(
        images, labels
    )
    assert success(network, ours, labels) >= success(network, theirs, labels) - CHANCE / 2
    assert success(network, ours, labels) > 0.2


def test_one_pixel_against_art(network, batch, art):
    """Eight images, five pixels; ART's differential evolution: as many images seen as ours, or more."""
    from art.attacks.evasion import PixelAttack

    images, labels = batch[0][:8], batch[1][:8]
    ours = attacks.one_pixel(network, images, labels, pixels=5, population=100, generations=10)
    np.random.seed(0)
    theirs = PixelAttack(art, th=5, es=1, max_iter=10).generate(images, np.eye(3)[labels])
    # Both draw at random, so ours may miss one image of the eight that theirs finds; an attack that does nothing fails.
    assert success(network, ours, labels) >= success(network, theirs, labels) - 1 / 8
    assert success(network, ours, labels) > 1 / 8


def test_universal_against_art(network, batch, art):
    """Linf 0.15, at most two passes over 8 images for ART, which adds up DeepFool's steps image by image."""
    from art.attacks.evasion import UniversalPerturbation

    images, labels = batch[0][:8], batch[1][:8]
    v = attacks.universal_perturbation(network, images, labels, 0.15, epochs=20)
    ours = attacks.apply_universal(images, v)
    np.random.seed(0)
    settings = {"attacker": "deepfool", "attacker_params": {"max_iter": 3, "verbose": False}, "delta": 0.1}
    attack = UniversalPerturbation(art, **settings, max_iter=2, eps=0.15, norm=np.inf, batch_size=8, verbose=False)
    theirs = attack.generate(images, np.eye(3)[labels])
    assert np.abs(theirs - images).max() <= 0.15 + 1e-5
    assert success(network, ours, labels) >= success(network, theirs, labels)
    assert success(network, ours, labels) > 0.1


@pytest.mark.parametrize("epsilon", [0.005, 0.015])
def test_apgd_against_arts_auto_pgd(network, batch, art, epsilon):
    """20 steps on the cross-entropy from one random start; the starts differ, so the shares may, by chance."""
    from art.attacks.evasion import AutoProjectedGradientDescent

    images, labels = batch
    ours = attacks.apgd(network, images, labels, epsilon, steps=20)
    np.random.seed(0)
    settings = {"eps": epsilon, "eps_step": 2 * epsilon, "max_iter": 20, "nb_random_init": 1, "batch_size": N}
    theirs = AutoProjectedGradientDescent(art, np.inf, **settings, verbose=False).generate(images, labels)
    assert np.abs(ours - images).max() <= epsilon + 1e-6 and np.abs(theirs - images).max() <= epsilon + 1e-6
    assert success(network, ours, labels) >= success(network, theirs, labels) - CHANCE / 4
    # Ours leaves an image alone once it is turned; where neither turned it, the loss tells who climbed higher.
    left = np.all([gradients.scores(network, x).argmax(axis=1) == labels for x in (ours, theirs)], axis=0)
    assert 3 < left.sum() < N
    assert loss(network, ours[left], labels[left]) >= 0.98 * loss(network, theirs[left], labels[left])


def test_worst_case_against_arts_auto_pgd(network, batch, art):
    """The ensemble at 20 steps leaves no image standing that ART's Auto-PGD (20 steps, cross-entropy) breaks."""
    from art.attacks.evasion import AutoProjectedGradientDescent

    images, labels = batch[0][:30], batch[1][:30]
    epsilon = 0.02
    ours = attacks.worst_case(network, images, labels, epsilon, steps=20, queries=100)
    np.random.seed(0)
    settings = {"eps": epsilon, "eps_step": 2 * epsilon, "max_iter": 20, "nb_random_init": 1, "batch_size": 30}
    theirs = AutoProjectedGradientDescent(art, np.inf, **settings, verbose=False).generate(images, labels)
    assert np.abs(theirs - images).max() <= epsilon + 1e-6
    broken = gradients.scores(network, theirs).argmax(axis=1) != labels
    assert 0.1 < broken.mean() < 0.95
    assert not (broken & (ours.broken_by == "")).any()
