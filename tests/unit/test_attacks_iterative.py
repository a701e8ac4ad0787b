import keras
import numpy as np
import pytest
import small_networks

from medtk import attacks
from medtk.attacks import auto_pgd, iterative
from medtk.errors import BadParameter, MedtkError, UnknownName
from medtk.models import gradients


@pytest.fixture(scope="module")
def network():
    return small_networks.settled()


@pytest.fixture(scope="module")
def batch(network):
    images, _ = small_networks.images_and_labels(13)
    return images, gradients.scores(network, images).argmax(axis=1)


def linear(n_classes=2, shape=(3, 3, 1), seed=0):
    keras.utils.set_random_seed(seed)
    images = keras.Input(shape, name="image")
    scores = keras.layers.Dense(n_classes, name="logits")(keras.layers.Flatten()(images))
    return keras.Model(images, keras.layers.Softmax(name="probabilities")(scores))


def losses(network, images, labels):
    """Cross-entropy of each image."""
    scores = gradients.scores(network, images).astype(float)
    return np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(labels)), labels]


def test_l2_goes_along_the_gradient_of_a_linear_network():
    """With two classes the gradient's direction is the same everywhere, so each run ends on the ball along it."""
    model = linear()
    images, labels = small_networks.images_and_labels(9, 2, (3, 3, 1))
    kernel, _ = model.get_layer("logits").get_weights()
    normal = (kernel[:, 1] - kernel[:, 0]) / np.linalg.norm(kernel[:, 1] - kernel[:, 0])
    expected = images + 0.3 * np.where(labels == 0, 1, -1)[:, None, None, None] * normal.reshape(3, 3, 1)
    for random_start in (False, True):
        moved = attacks.pgd(
            model, images, labels, 0.3, norm="l2", steps=100, step_size=0.03, random_start=random_start, clip=False
        )
        np.testing.assert_allclose(moved, expected, atol=2e-3)


def test_linf_reaches_the_corner_of_a_linear_network():
    model = linear()
    images, labels = small_networks.images_and_labels(9, 2, (3, 3, 1))
    corner = attacks.fgsm(model, images, labels, 0.1, clip=True)
    np.testing.assert_allclose(attacks.bim(model, images, labels, 0.1), corner, atol=1e-6)
    np.testing.assert_allclose(attacks.pgd(model, images, labels, 0.1), corner, atol=1e-6)
    np.testing.assert_allclose(attacks.mi_fgsm(model, images, labels, 0.1), corner, atol=1e-6)


def test_momentum_keeps_a_direction_that_one_gradient_leaves(monkeypatch, network, batch):
    """Gradients of sizes 4, 1, 1 in ever other pixels: with decay 1 all pixels go on, with decay 0 only the last."""
    turn = iter(range(6))

    def one_pixel_gradient(model, points, wanted, **_):
        gradient = np.zeros_like(points)
        gradient[:, next(turn) % 3, 0, 0] = 4.0
        return None, None, gradient

    monkeypatch.setattr(iterative, "loss_and_gradient", one_pixel_gradient)
    images, labels = np.full((13, *small_networks.SHAPE), 0.5, np.float32), batch[1]
    steps = {"steps": 3, "step_size": 0.01}
    remembers = attacks.mi_fgsm(network, images, labels, 0.1, decay=1, **steps) - images
    forgets = attacks.mi_fgsm(network, images, labels, 0.1, decay=0, **steps) - images
    np.testing.assert_allclose(remembers[:, :3, 0, 0], [[0.03, 0.02, 0.01]] * 13, atol=1e-6)
    np.testing.assert_allclose(forgets[:, :3, 0, 0], 0.01, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("epsilon", [0.005, 0.05])
def test_pgd_is_never_weaker_than_one_step(network, batch, norm, epsilon):
    images, labels = batch
    size = epsilon * (1 if norm == "linf" else images[0].size ** 0.5)
    direction = gradients.loss_gradient(network, images, labels)
    one_step = np.clip(images + size * iterative.uphill(direction, norm), 0, 1)
    # Too few and too small steps to get anywhere: what is left is the one-step point.
    weak = attacks.pgd(network, images, labels, size, norm=norm, steps=1, step_size=0, random_start=False)
    np.testing.assert_allclose(losses(network, weak, labels), losses(network, one_step, labels), atol=1e-5)
    strong = attacks.pgd(network, images, labels, size, norm=norm, steps=10)
    broken_once, broken = (gradients.scores(network, x).argmax(axis=1) != labels for x in (one_step, strong))
    assert np.all(broken >= broken_once)
    alike = broken == broken_once
    assert np.all(losses(network, strong, labels)[alike] >= losses(network, one_step, labels)[alike] - 1e-5)


def test_more_restarts_are_never_weaker(network, batch):
    images, labels = batch
    few, many = (attacks.pgd(network, images, labels, 0.05, steps=3, restarts=k) for k in (1, 4))
    broken_few, broken_many = (gradients.scores(network, x).argmax(axis=1) != labels for x in (few, many))
    assert np.all(broken_many >= broken_few)
    alike = broken_few == broken_many
    assert np.all(losses(network, many, labels)[alike] >= losses(network, few, labels)[alike] - 1e-5)
    assert np.any(losses(network, many, labels) > losses(network, few, labels))


def test_targets_are_approached(network, batch):
    images, labels = batch
    targets = (labels + 1) % 3
    before = losses(network, images, targets)
    for attack in (attacks.fgsm, attacks.bim, attacks.pgd, attacks.mi_fgsm):
        after = losses(network, attack(network, images, labels, 0.004, targets=targets), targets)
        assert np.all(after < before), attack.__name__


def test_targeted_fgsm_steps_down_the_targets_loss(network, batch):
    images, labels = batch
    targets = (labels + 1) % 3
    expected = images - 0.01 * np.sign(gradients.loss_gradient(network, images, targets))
    np.testing.assert_allclose(
        attacks.fgsm(network, images, labels, 0.01, targets=targets, clip=False), expected, atol=1e-7
    )


def test_epsilon_zero_changes_nothing(network, batch):
    for attack in (attacks.bim, attacks.pgd, attacks.mi_fgsm, attacks.apgd):
        np.testing.assert_array_equal(attack(network, *batch, 0), batch[0], attack.__name__)
    np.testing.assert_array_equal(attacks.square(network, *batch, 0, queries=20), batch[0])


def test_random_starts_fill_the_ball():
    images = np.full((4000, 2, 2, 1), 0.5, np.float32)
    random = np.random.default_rng(0)
    inside = np.linalg.norm((iterative.random_point(images, 2.0, "l2", random) - images).reshape(4000, 4), axis=1)
    assert inside.max() <= 2 + 1e-5
    # In four dimensions the share of the ball within radius r is (r / 2) ** 4.
    assert abs(np.mean(inside < 1.5) - 0.75**4) < 0.03
    square = iterative.random_point(images, 2.0, "linf", random) - images
    assert abs(np.mean(np.abs(square) < 1) - 0.5) < 0.03 and np.abs(square).max() <= 2


def test_apgd_looks_at_its_step_ever_more_often():
    looks = auto_pgd.checkpoints(100)
    assert looks[:4] == [22, 41, 57, 70] and np.all(np.diff(looks) > 0) and looks[-1] >= 100


def test_apgd_halves_its_step_where_it_swings(monkeypatch, network):
    """A loss that never rises: at the first look (22 of 100 steps) the step halves, and the search goes back."""
    images = np.full((1, *small_networks.SHAPE), 0.5, np.float32)
    label = gradients.scores(network, images).argmax(axis=1)
    seen, sign = [], [1.0]

    def swinging(model, points, wanted, **_):
        seen.append(points.copy())
        sign[0] = -sign[0]
        scores = np.full((len(points), 3), -1.0, np.float32)
        scores[:, label[0]] = 1
        return scores, np.full(len(points), -float(len(seen)), np.float32), np.full_like(points, sign[0])

    monkeypatch.setattr(auto_pgd, "loss_and_gradient", swinging)
    attacks.apgd(network, images, label, 0.1, steps=100, seed=1)
    start, first = seen[1], seen[2]  # seen[0] is the image itself
    np.testing.assert_allclose(first, np.clip(start + 0.2, 0.4, 0.6), atol=1e-6)
    # After the look the search stands at the best point, the start, and goes on with half the step, and momentum.
    moved = np.clip(start + 0.1, 0.4, 0.6)
    again = np.clip(start + 0.75 * (moved - start) + 0.25 * (start - seen[22]), 0.4, 0.6)
    np.testing.assert_allclose(seen[24], again, atol=1e-6)


@pytest.mark.parametrize("loss", ["cross_entropy", "margin"])
def test_apgd_is_not_weaker_than_pgd_on_a_small_network(network, loss):
    images, _ = small_networks.images_and_labels(60, seed=3)
    labels = gradients.scores(network, images).argmax(axis=1)
    accuracy = [
        np.mean(gradients.scores(network, x).argmax(axis=1) == labels)
        for x in (
            attacks.pgd(network, images, labels, 0.03, steps=50),
            attacks.apgd(network, images, labels, 0.03, steps=50, loss=loss),
        )
    ]
    assert accuracy[1] <= accuracy[0] + 0.02


def test_targeted_dlr_is_blind_to_scale_from_four_classes():
    scores = np.array([[3.0, 1.0, 0.0, -2.0, -3.0]], np.float32)
    wanted = np.array([[0, 3]], np.int32)
    (once,) = keras.ops.convert_to_numpy(auto_pgd.targeted_dlr(scores, wanted))
    (large,) = keras.ops.convert_to_numpy(auto_pgd.targeted_dlr(100 * scores, wanted))
    assert once == pytest.approx(-5 / (3 - (0 - 2) / 2)) and large == pytest.approx(once)
    (few,) = keras.ops.convert_to_numpy(auto_pgd.targeted_dlr(scores[:, :3], np.array([[0, 2]], np.int32)))
    assert few == -3


def test_apgd_leaves_misclassified_images_alone(network, batch):
    images, labels = batch
    wrong = (labels + 1) % 3
    np.testing.assert_array_equal(attacks.apgd(network, images, wrong, 0.1), images)


@pytest.mark.parametrize(
    ("attack", "settings", "words"),
    [
        (attacks.pgd, {"epsilon": -1}, "epsilon"),
        (attacks.pgd, {"epsilon": float("nan")}, "epsilon"),
        (attacks.pgd, {"epsilon": 0.1, "steps": 0}, "steps"),
        (attacks.pgd, {"epsilon": 0.1, "restarts": 0}, "restarts"),
        (attacks.pgd, {"epsilon": 0.1, "step_size": -1}, "step_size"),
        (attacks.mi_fgsm, {"epsilon": 0.1, "decay": -1}, "decay"),
        (attacks.apgd, {"epsilon": 0.1, "loss": "targeted_dlr"}, "targets="),
        (attacks.apgd, {"epsilon": 0.1, "targets": [0] * 13}, "targets="),
        (attacks.pgd, {"epsilon": 0.1, "targets": [9] * 13}, "targets must be 13 class ids"),
    ],
)
def test_settings_out_of_range(network, batch, attack, settings, words):
    with pytest.raises(BadParameter, match=words):
        attack(network, *batch, **settings)


def test_unknown_names(network, batch):
    with pytest.raises(UnknownName, match="norm"):
        attacks.pgd(network, *batch, 0.1, norm="l7")
    with pytest.raises(UnknownName, match="loss"):
        attacks.apgd(network, *batch, 0.1, loss="hinge")


def test_scores_that_are_not_numbers_are_refused():
    model = small_networks.settled()
    images, labels = small_networks.images_and_labels(5)
    layer = model.get_layer("logits")
    layer.set_weights([np.full_like(w, np.nan) for w in layer.get_weights()])
    calls = {
        attacks.fgsm: (0.1,), attacks.bim: (0.1,), attacks.pgd: (0.1,), attacks.mi_fgsm: (0.1,), attacks.apgd: (0.1,),
        attacks.deepfool: (), attacks.fab: (), attacks.carlini_wagner: (), attacks.jsma: (), attacks.one_pixel: (),
        attacks.square: (0.1,), attacks.universal_perturbation: (0.1,), attacks.worst_case: (0.1,),
    }  # fmt: skip
    for attack, budget in calls.items():
        with pytest.raises(MedtkError, match="not finite"):
            attack(model, images, labels, *budget)


def test_a_network_that_says_the_same_to_all_images_is_survived():
    """Every gradient is zero: no NaN, no endless loop, and an attack that cannot win says so by its result."""
    model = small_networks.classifier()
    layer = model.get_layer("logits")
    layer.set_weights([np.zeros_like(layer.get_weights()[0]), np.array([1, 0, 0], np.float32)])
    images, labels = small_networks.images_and_labels(5)[0], np.zeros(5, int)
    few = {"steps": 3}
    for attacked in (
        attacks.pgd(model, images, labels, 0.1, **few),
        attacks.pgd(model, images, labels, 0.1, norm="l2", **few),
        attacks.mi_fgsm(model, images, labels, 0.1, **few),
        attacks.apgd(model, images, labels, 0.1, **few),
        attacks.jsma(model, images, labels),
        attacks.one_pixel(model, images, labels, population=5, generations=2),
        attacks.square(model, images, labels, 0.1, queries=5),
        attacks.universal_perturbation(model, images, labels, 0.1)[None],
    ):
        assert np.isfinite(attacked).all()
    for attacked in (
        attacks.deepfool(model, images, labels),
        attacks.fab(model, images, labels),
        attacks.carlini_wagner(model, images, labels, steps=3),
    ):
        np.testing.assert_array_equal(attacked, images)
    assert attacks.worst_case(model, images, labels, 0.1, queries=5, **few).robust_accuracy == 1
