import keras
import numpy as np
import pytest
import small_networks

from medtk import attacks
from medtk.attacks import black_box, ensemble, evolution, minimal, sparse
from medtk.attacks.common import Goal, gaps, margin, target_margin, toward
from medtk.errors import BadParameter, UnknownName
from medtk.models import gradients

SHAPE = (3, 3, 1)


def linear(n_classes=2, shape=SHAPE, seed=0):
    keras.utils.set_random_seed(seed)
    images = keras.Input(shape, name="image")
    scores = keras.layers.Dense(n_classes, name="logits")(keras.layers.Flatten()(images))
    return keras.Model(images, keras.layers.Softmax(name="probabilities")(scores))


@pytest.fixture(scope="module")
def network():
    return small_networks.settled()


@pytest.fixture(scope="module")
def batch(network):
    images, _ = small_networks.images_and_labels(12)
    return images, gradients.scores(network, images).argmax(axis=1)


@pytest.fixture(scope="module")
def affine():
    """A binary linear network, images and its own answers, and the exact gap and normal of its one border."""
    model = linear()
    images = small_networks.images_and_labels(20, 2, SHAPE)[0]
    kernel, bias = model.get_layer("logits").get_weights()
    # Through the middle of the images, so that both sides are inhabited and no border is outside the box.
    normal = kernel[:, 1] - kernel[:, 0]
    bias = np.array([0, -np.median(images.reshape(20, -1) @ normal)], np.float32)
    model.get_layer("logits").set_weights([kernel, bias])
    gap = images.reshape(20, -1) @ normal + bias[1]
    return model, images, (gap > 0).astype(int), gap, normal


def broken(model, images, labels):
    return gradients.scores(model, images).argmax(axis=1) != labels


@pytest.mark.parametrize("overshoot", [0.02, 0.2])
def test_deepfool_finds_the_distance_to_a_hyperplane(affine, overshoot):
    model, images, labels, gap, normal = affine
    moved = attacks.deepfool(model, images, labels, overshoot=overshoot, clip=False)
    expected = images - (1 + overshoot) * (gap / (normal @ normal))[:, None, None, None] * normal.reshape(SHAPE)
    np.testing.assert_allclose(moved, expected, atol=1e-5)
    assert broken(model, moved, labels).all()


def test_deepfool_goes_to_the_nearest_of_several_hyperplanes():
    model = linear(5)
    images = small_networks.images_and_labels(20, 5, SHAPE)[0]
    scores = gradients.scores(model, images)
    labels, kernel = scores.argmax(axis=1), model.get_layer("logits").get_weights()[0]
    gaps = scores - scores[np.arange(20), labels][:, None]
    normals = np.linalg.norm(kernel[:, None] - kernel[:, :, None], axis=0)[labels]
    distance = np.where(normals > 0, np.abs(gaps) / np.maximum(normals, 1e-9), np.inf)
    moved = attacks.deepfool(model, images, labels, overshoot=0.01, clip=False)
    np.testing.assert_allclose(
        np.linalg.norm((moved - images).reshape(20, -1), axis=1), 1.01 * distance.min(axis=1), rtol=1e-3
    )
    np.testing.assert_array_equal(gradients.scores(model, moved).argmax(axis=1), distance.argmin(axis=1))


def test_carlini_wagner_finds_the_distance_to_a_hyperplane(affine):
    model, images, labels, gap, normal = affine
    images = 0.25 + 0.5 * images  # away from the ends, where tanh is steep enough
    gap = images.reshape(20, -1) @ normal + model.get_layer("logits").get_weights()[1][1]
    labels = (gap > 0).astype(int)
    moved = attacks.carlini_wagner(model, images, labels, steps=300)
    distance = np.linalg.norm((moved - images).reshape(20, -1), axis=1)
    exact = np.abs(gap) / np.linalg.norm(normal)
    reachable = exact < 0.4
    assert reachable.sum() > 10 and broken(model, moved, labels)[reachable].all()
    assert np.all(distance[reachable] >= exact[reachable] - 1e-5)
    np.testing.assert_allclose(distance[reachable], exact[reachable], rtol=0.03, atol=2e-3)


def test_carlini_wagner_keeps_the_margin_that_was_asked_for(affine):
    model, images, labels, _, normal = affine
    moved = attacks.carlini_wagner(model, images, labels, steps=200, confidence=0.2)
    gap = moved.reshape(20, -1) @ normal + model.get_layer("logits").get_weights()[1][1]
    found = np.any(moved != images, axis=(1, 2, 3))
    assert found.mean() > 0.5
    assert np.all(np.where(labels == 1, -gap, gap)[found] > 0.2 - 1e-4)


def test_fab_finds_the_largest_changes_to_a_hyperplane(affine):
    """In the maximum norm the nearest point is |f| / ||w||_1 away; it overshoots by 5 % and walks back."""
    model, images, labels, gap, normal = affine
    moved = attacks.fab(model, images, labels, clip=False)
    exact = np.abs(gap) / np.abs(normal).sum()
    change = np.abs(moved - images).max(axis=(1, 2, 3))
    assert broken(model, moved, labels).all()
    assert np.all(change >= exact - 1e-6) and np.all(change <= 1.06 * exact + 1e-6)


@pytest.mark.parametrize("attack", [attacks.deepfool, attacks.fab, attacks.carlini_wagner])
def test_minimal_attacks_break_the_network_and_leave_what_is_broken(network, batch, attack):
    images, labels = batch
    labels = labels.copy()
    labels[:3] = (labels[:3] + 1) % 3
    settings = {"steps": 150} if attack is attacks.carlini_wagner else {}
    moved = attack(network, images, labels, **settings)
    np.testing.assert_array_equal(moved[:3], images[:3])
    changed = np.any(moved != images, axis=(1, 2, 3))
    assert broken(network, moved, labels)[changed].all() and changed[3:].mean() > 0.85
    assert moved.min() >= 0 and moved.max() <= 1


def test_carlini_wagner_stops_early_only_where_nothing_moves(network, batch, monkeypatch):
    """Adam overshoots and comes back: with a large c, a rise of the objective is no reason to give up."""
    images, labels = batch
    seen, real = [], minimal.loss_and_gradient
    monkeypatch.setattr(
        minimal, "loss_and_gradient", lambda *args, **kw: seen.append(len(args[1])) or real(*args, **kw)
    )
    for initial_c, steps in ((10.0, 100), (1.0, 300)):
        distance, looks = [], []
        for abort_early in (True, False):
            seen.clear()
            settings = {"initial_c": initial_c, "search_steps": 2, "steps": steps, "abort_early": abort_early}
            moved = attacks.carlini_wagner(network, images, labels, **settings)
            distance.append(np.linalg.norm((moved - images).reshape(12, -1), axis=1))
            looks.append(sum(seen))
        assert np.all(distance[1] > 0)
        np.testing.assert_allclose(*distance, rtol=0.01)
    assert looks[0] < looks[1] == 12 * 2 * 300


def test_carlini_wagner_survives_any_number_of_values_of_c(network, batch):
    """Images that do not break in so few steps: c grows to its largest value and no further."""
    images, labels = batch
    moved = attacks.carlini_wagner(network, images, labels, search_steps=45, steps=2, learning_rate=1e-4)
    assert np.isfinite(moved).all() and np.any(np.all(moved == images, axis=(1, 2, 3)))


def test_carlini_wagner_reaches_targets(network, batch):
    images, labels = batch
    targets = gradients.scores(network, images).argsort(axis=1)[:, 1]
    moved = attacks.carlini_wagner(network, images, labels, targets=targets, steps=200)
    found = np.any(moved != images, axis=(1, 2, 3))
    assert found.mean() > 0.6
    np.testing.assert_array_equal(gradients.scores(network, moved).argmax(axis=1)[found], targets[found])
    # A target is never nearer than the nearest class.
    nearest = attacks.carlini_wagner(network, images, labels, steps=200)
    far, near = (np.linalg.norm((x - images).reshape(12, -1), axis=1)[found] for x in (moved, nearest))
    assert np.all(near <= 1.05 * far)


def test_saliency_map_of_a_linear_network():
    model = linear(4)
    images, targets = small_networks.images_and_labels(6, 4, SHAPE)
    kernel = model.get_layer("logits").get_weights()[0]
    alpha = kernel[:, targets].T
    beta = kernel.sum(axis=1) - alpha
    expected = np.where((alpha > 0) & (beta < 0), -alpha * beta, 0).reshape(images.shape)
    found = attacks.saliency_map(model, images, targets, output="scores")
    np.testing.assert_allclose(found, expected, atol=1e-6)
    lower = np.where((alpha < 0) & (beta > 0), -alpha * beta, 0).reshape(images.shape)
    found = attacks.saliency_map(model, images, targets, output="scores", decrease=True)
    np.testing.assert_allclose(found, lower, atol=1e-6)
    assert expected.any() and lower.any()


def test_saliency_map_of_probabilities_is_the_square_of_one_slope():
    """The other probabilities sum to 1 minus the target's, so beta = -alpha."""
    model = linear(4)
    images, targets = small_networks.images_and_labels(6, 4, SHAPE)
    kernel = model.get_layer("logits").get_weights()[0]
    p = model.predict(images, verbose=0)
    # d p_t / dx = p_t (w_t - sum_k p_k w_k)
    slope = (p[np.arange(6), targets][:, None] * (kernel[:, targets].T - p @ kernel.T)).reshape(images.shape)
    both = {
        name: attacks.saliency_map(model, images, targets, output="probabilities", decrease=name) for name in (0, 1)
    }
    np.testing.assert_allclose(both[0], np.where(slope > 0, slope**2, 0), atol=1e-6)
    np.testing.assert_allclose(both[1], np.where(slope < 0, slope**2, 0), atol=1e-6)


def brute_force(alpha, beta, free):
    """Best saliency of any pair of free values, or None if no pair is admissible."""
    best, ids = None, np.flatnonzero(free)
    for i, p in enumerate(ids):
        for q in ids[i + 1 :]:
            a, b = float(alpha[p]) + float(alpha[q]), float(beta[p]) + float(beta[q])
            if a > 0 and b < 0 and (best is None or a * -b > best):
                best = a * -b
    return best


@pytest.mark.parametrize("coupling", [-0.95, -0.5, 0.0, 0.9])
def test_best_pairs_are_those_of_an_exhaustive_search(coupling):
    random = np.random.default_rng(3)
    alpha = random.standard_normal((30, 40)).astype(np.float32)
    beta = (-coupling * alpha + (1 - abs(coupling)) * random.standard_normal((30, 40))).astype(np.float32)
    free = random.random((30, 40)) < 0.5
    found = np.stack(sparse.best_pairs(alpha, beta, free))
    admissible = 0
    for image in range(30):
        p, q = found[:, image]
        assert p != q and free[image, [p, q]].all()
        best = brute_force(alpha[image], beta[image], free[image])
        if best is not None:
            admissible += 1
            a, b = (float(z[image, p]) + float(z[image, q]) for z in (alpha, beta))
            assert a > 0 and b < 0 and a * -b == pytest.approx(best)
    assert admissible > 20


def test_without_an_admissible_pair_the_best_difference_is_taken():
    alpha = -np.array([[4.0, 1.0, 3.0, 2.0]], np.float32)
    p, q = sparse.best_pairs(alpha, np.ones_like(alpha), np.array([[True, True, True, True]]))
    assert {int(p[0]), int(q[0])} == {1, 3}
    p, q = sparse.best_pairs(alpha, np.ones_like(alpha), np.array([[True, False, True, True]]))
    assert {int(p[0]), int(q[0])} == {2, 3}


def test_jsma_changes_the_best_pair_first():
    """One step on a linear network of two classes: the pair that an exhaustive search finds goes to 1."""
    model = linear(seed=4)
    images = np.full((1, *SHAPE), 0.5, np.float32)
    label = gradients.scores(model, images).argmax(axis=1)
    kernel = model.get_layer("logits").get_weights()[0]
    alpha, beta = kernel[:, 1 - label[0]], kernel[:, label[0]]
    raises, lowers = alpha[:, None] + alpha, -(beta[:, None] + beta)
    saliency = np.where((raises > 0) & (lowers > 0), raises * lowers, 0) * (1 - np.eye(9))
    best = np.unravel_index(saliency.argmax(), saliency.shape)
    assert saliency[best] > 0
    moved = attacks.jsma(model, images, label, gamma=2 / 9, output="scores")
    expected = images.copy().reshape(9)
    expected[list(best)] = 1
    np.testing.assert_array_equal(moved.reshape(9), expected)


def test_jsma_of_probabilities_changes_the_two_most_salient_values():
    model = linear(4, seed=4)
    images = np.full((6, *SHAPE), 0.5, np.float32)
    label = gradients.scores(model, images).argmax(axis=1)
    targets = (label + 1 + np.arange(6) % 3) % 4
    salient = attacks.saliency_map(model, images, targets).reshape(6, 9)
    moved = attacks.jsma(model, images, label, targets=targets, gamma=2 / 9).reshape(6, 9)
    for row, best in zip(moved, salient.argsort(axis=1)[:, -2:], strict=True):
        assert set(np.flatnonzero(row == 1)) == set(best) and np.all(np.delete(row, best) == 0.5)


def test_jsma_of_probabilities_goes_on_where_they_vanish():
    """A network so sure that the other probabilities are 0 in single precision still has steepest values."""
    model = linear(2, seed=4)
    model.get_layer("logits").set_weights([2000 * w for w in model.get_layer("logits").get_weights()])
    images = np.full((1, *SHAPE), 0.5, np.float32)
    label = gradients.scores(model, images).argmax(axis=1)
    sure = attacks.jsma(model, images, label, gamma=2 / 9)
    assert model.predict(images, verbose=0).min() == 0 and (sure != images).sum() == 2
    model.get_layer("logits").set_weights([w / 2000 for w in model.get_layer("logits").get_weights()])
    np.testing.assert_array_equal(sure, attacks.jsma(model, images, label, gamma=2 / 9))


@pytest.mark.parametrize("output", ["scores", "probabilities"])
@pytest.mark.parametrize("theta", [1.0, 0.3, -1.0])
def test_jsma_keeps_its_budget(network, batch, theta, output):
    images, labels = batch
    for gamma in (0.02, 0.1):
        moved = attacks.jsma(network, images, labels, theta=theta, gamma=gamma, output=output)
        assert (moved != images).sum(axis=(1, 2, 3)).max() <= gamma * images[0].size
        assert moved.min() >= 0 and moved.max() <= 1
        difference = moved - images
        assert np.all(difference >= 0) if theta > 0 else np.all(difference <= 0)
    assert broken(network, moved, labels).any()


def test_jsma_stops_when_it_has_won_and_reaches_targets(network, batch):
    images, labels = batch
    targets = gradients.scores(network, images).argsort(axis=1)[:, 1]
    moved = attacks.jsma(network, images, labels, gamma=0.5, targets=targets)
    said = gradients.scores(network, moved).argmax(axis=1)
    assert np.mean(said == targets) > 0.5
    np.testing.assert_array_equal(attacks.jsma(network, moved, labels, targets=said), moved)
    np.testing.assert_array_equal(attacks.jsma(network, images, (labels + 1) % 3), images)


def test_jsma_without_clipping_changes_each_value_once(network, batch):
    images, labels = batch
    difference = attacks.jsma(network, images, labels, theta=0.7, gamma=0.1, clip=False) - images
    changed = difference != 0
    np.testing.assert_allclose(difference[changed], 0.7, atol=1e-6)
    assert changed.any() and (images + difference).max() > 1


def test_one_pixel_changes_one_pixel(network, batch):
    images, labels = batch
    for pixels in (1, 3):
        moved = attacks.one_pixel(network, images, labels, pixels=pixels, population=30, generations=8)
        assert np.any(moved != images, axis=-1).sum(axis=(1, 2)).max() <= pixels
        assert moved.min() >= 0 and moved.max() <= 1
    assert broken(network, moved, labels).any()


def test_one_pixel_finds_the_pixel_that_matters():
    """Only the pixel at row 1, column 2 counts: the population must gather there, and darken it."""
    model = linear(shape=(4, 4, 1))
    kernel = np.zeros((16, 2), np.float32)
    kernel[6, 1] = 10
    model.get_layer("logits").set_weights([kernel, np.array([1, 0], np.float32)])
    images = np.full((2, 4, 4, 1), 0.9, np.float32)
    moved = attacks.one_pixel(model, images, np.ones(2, int), population=20, generations=30)
    changed = np.argwhere(moved != images)
    np.testing.assert_array_equal(changed, [[0, 1, 2, 0], [1, 1, 2, 0]])
    assert np.all(moved[:, 1, 2, 0] < 0.1)


def test_painted_pixels_are_inside():
    genes = np.array([[[0.999999999, 1.0, 0.25]]], np.float32)
    image = evolution.painted(np.zeros((1, 5, 7, 1), np.float32), genes)
    assert image[0, 4, 6, 0] == 0.25 and image.sum() == 0.25


def test_square_paints_squares_of_the_extremes(network, batch):
    images, labels = np.full_like(batch[0], 0.5), batch[1]
    labels = gradients.scores(network, images).argmax(axis=1)
    moved = attacks.square(network, images, labels, 0.03, queries=50)
    resisted = ~broken(network, moved, labels)
    np.testing.assert_allclose(np.abs(moved - images)[resisted], 0.03, atol=1e-6)


def test_square_never_gets_worse_with_more_queries(network, batch):
    images, labels = batch
    before = None
    for queries in (1, 200):
        scores = gradients.scores(network, attacks.square(network, images, labels, 0.05, queries=queries))
        margin = np.sort(np.where(np.arange(3) == labels[:, None], -np.inf, scores), axis=1)[:, -1]
        margin -= scores[np.arange(12), labels]
        if before is not None:
            assert np.all((margin >= before - 1e-5) | (margin > 0)) and np.any(margin > before)
        before = margin


def test_squares_shrink_on_schedule():
    sides = [black_box.square_side(q, 10_000, 0.8, 32, 32) for q in (0, 10, 11, 51, 201, 9000)]
    assert sides == [29, 29, 20, 14, 10, 1]
    assert [black_box.square_side(q, 1000, 0.8, 32, 32) for q in (1, 2)] == [29, 20]
    assert black_box.square_side(0, 100, 1.0, 4, 9) == 4


def test_square_asks_for_no_gradient(network, batch, monkeypatch):
    asked = []
    real = black_box.scores
    monkeypatch.setattr(black_box, "scores", lambda *args, **kw: asked.append(len(args[1])) or real(*args, **kw))
    monkeypatch.setattr(gradients, "loss_and_gradient", None)
    attacks.square(network, *batch, 0.001, queries=7)
    assert asked == [12] * 8  # the images, then one query each


def test_universal_perturbation_follows_the_common_gradient():
    """On a linear binary network with one label everywhere it ends in the corner that FGSM finds at once."""
    model = linear()
    images = small_networks.images_and_labels(20, 2, SHAPE)[0]
    kernel = model.get_layer("logits").get_weights()[0]
    model.get_layer("logits").set_weights([kernel, np.array([9, 0], np.float32)])
    labels = np.zeros(20, int)
    found = attacks.universal_perturbation(model, images, labels, 0.1, clip=False, epochs=1, step_size=0.1)
    np.testing.assert_allclose(found, 0.1 * np.sign(kernel[:, 1] - kernel[:, 0]).reshape(SHAPE), atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_universal_perturbation_beats_a_random_one(network, norm):
    images = small_networks.images_and_labels(60, seed=5)[0]
    labels = gradients.scores(network, images).argmax(axis=1)
    epsilon = 0.15 if norm == "linf" else 1.5
    found = attacks.universal_perturbation(network, images[:40], labels[:40], epsilon, norm=norm)
    size = np.abs(found).max() if norm == "linf" else np.linalg.norm(found)
    assert found.shape == images.shape[1:] and size <= epsilon + 1e-5
    sign = np.sign(np.random.default_rng(0).standard_normal(found.shape)).astype(np.float32)
    noise = sign * size / (1 if norm == "linf" else np.linalg.norm(sign))
    ours, random = (
        broken(network, attacks.apply_universal(images[40:], v), labels[40:]).mean() for v in (found, noise)
    )
    assert ours > random + 0.1


def test_worst_case_is_the_worst_of_its_parts(network):
    images = small_networks.images_and_labels(40, seed=7)[0]
    labels = gradients.scores(network, images).argmax(axis=1)
    labels[:4] = (labels[:4] + 1) % 3
    found = attacks.worst_case(network, images, labels, 0.03, steps=20, queries=50)
    stands = found.broken_by == ""
    assert found.robust_accuracy == stands.mean() and 0 < stands.mean() < 0.9
    np.testing.assert_array_equal(found.broken_by[:4], "clean")
    np.testing.assert_array_equal(broken(network, found.images, labels), ~stands)
    np.testing.assert_array_equal(found.images[stands], images[stands])
    assert np.abs(found.images - images).max() <= 0.03 + 2e-6
    for attack in (attacks.fgsm, attacks.bim, attacks.square):
        settings = (
            {"clip": True} if attack is attacks.fgsm else {"seed": 0, "queries": 50} if attack is attacks.square else {}
        )
        assert not broken(network, attack(network, images, labels, 0.03, **settings), labels)[stands].any()


def test_worst_case_says_which_attack_won(network, monkeypatch):
    """Each attack is given only what still stands, and is believed only if it broke the network nearby."""
    images = small_networks.images_and_labels(6)[0]
    labels = gradients.scores(network, images).argmax(axis=1)
    seen = []

    def breaking(which, far=False):
        def attack(model, x, y, **settings):
            seen.append(len(x))
            x = x.copy()
            x[:which, 0, 0, 0] += 0.5 if far else 0.05
            return x

        return attack

    def scores(model, x, **_):
        moved = np.abs(x[:, 0, 0, 0][:, None] - images[:, 0, 0, 0]).min(axis=1) > 1e-4
        own = np.array([np.abs(images[:, 1:] - image[1:]).sum(axis=(1, 2, 3)).argmin() for image in x], int)
        said = np.where(moved, (labels[own] + 1) % 3, labels[own]) if len(x) else np.zeros(0, int)
        return np.eye(3, dtype=np.float32)[said]

    monkeypatch.setattr(ensemble, "scores", scores)
    monkeypatch.setattr(ensemble, "apgd", breaking(1))
    monkeypatch.setattr(ensemble, "fab", breaking(2, far=True))
    monkeypatch.setattr(ensemble, "square", breaking(1))
    found = attacks.worst_case(network, images, labels, 0.1)
    # Two targets of three classes; fab went too far to count.
    assert list(found.broken_by) == ["apgd-ce", "apgd-t", "apgd-t", "square", "", ""]
    assert seen == [6, 5, 4, 3, 3]


@pytest.mark.parametrize(
    ("attack", "settings", "words"),
    [
        (attacks.deepfool, {"overshoot": -1}, "overshoot"),
        (attacks.deepfool, {"steps": 0}, "steps"),
        (attacks.fab, {"candidates": 0}, "candidates"),
        (attacks.carlini_wagner, {"initial_c": 0}, "initial_c"),
        (attacks.carlini_wagner, {"confidence": float("inf")}, "confidence"),
        (attacks.jsma, {"gamma": 0}, "gamma"),
        (attacks.jsma, {"theta": 0}, "theta"),
        (attacks.one_pixel, {"population": 3}, "population"),
        (attacks.one_pixel, {"pixels": 0}, "pixels"),
        (attacks.square, {"epsilon": 0.1, "queries": 0}, "queries"),
        (attacks.square, {"epsilon": 0.1, "initial_area": 0}, "initial_area"),
        (attacks.universal_perturbation, {"epsilon": -0.1}, "epsilon"),
        (attacks.worst_case, {"epsilon": -0.1}, "epsilon"),
        (attacks.worst_case, {"epsilon": 0.1, "target_classes": 0}, "target_classes"),
    ],
)
def test_settings_out_of_range(network, batch, attack, settings, words):
    with pytest.raises(BadParameter, match=words):
        attack(network, *batch, **settings)


def test_unknown_output(network, batch):
    with pytest.raises(UnknownName, match="output"):
        attacks.jsma(network, *batch, output="logit")
    with pytest.raises(UnknownName, match="output"):
        attacks.saliency_map(network, *batch, output="logit")


def test_no_images(network):
    none = np.zeros((0, *small_networks.SHAPE), np.float32), np.zeros(0, int)
    budgets = {attacks.bim: 0.1, attacks.pgd: 0.1, attacks.mi_fgsm: 0.1, attacks.apgd: 0.1, attacks.square: 0.1}
    for attack in (*budgets, attacks.deepfool, attacks.fab, attacks.carlini_wagner, attacks.jsma, attacks.one_pixel):
        budget = [budgets[attack]] if attack in budgets else []
        assert attack(network, *none, *budget).shape == none[0].shape, attack.__name__
    assert len(attacks.worst_case(network, *none, 0.1).images) == 0
    with pytest.raises(BadParameter, match="images"):
        attacks.universal_perturbation(network, *none, 0.1)


def test_several_losses_in_one_pass_are_the_losses_one_by_one(network, batch):
    images, _ = batch
    wanted = np.array([[0, 1, 2]] * 12, np.int32)
    scores, values, slopes = gradients.loss_and_gradient(network, images, wanted, loss=gaps)
    assert values.shape == (12, 2) and slopes.shape == (12, 2, *images.shape[1:])
    np.testing.assert_allclose(values, scores[:, 1:] - scores[:, :1], atol=1e-6)
    for k in (0, 1):
        _, value, slope = gradients.loss_and_gradient(network, images, wanted[:, [0, k + 1]], loss=gaps)
        np.testing.assert_allclose(value[:, 0], values[:, k], atol=1e-6)
        np.testing.assert_allclose(slope[:, 0], slopes[:, k], atol=1e-6)


@pytest.mark.parametrize("targeted", [False, True])
def test_losses_of_arrays_are_those_of_the_compiled_step(targeted):
    random = np.random.default_rng(0)
    scores, classes = random.normal(0, 30, (50, 4)).astype(np.float32), random.integers(0, 4, 50).astype(np.int32)
    goal = Goal(classes, targeted)
    for ours, compiled in ((goal.losses, goal.loss), (goal.margins, goal.margin)):
        expected = keras.ops.convert_to_numpy(compiled(scores, classes))
        np.testing.assert_allclose(ours(scores), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(goal.reached(scores), goal.margins(scores) > 0)
    assert goal.loss is (toward if targeted else gradients.cross_entropy)
    assert goal.margin is (target_margin if targeted else margin)
