"""Attacks that turn back what a client sends, and the defences beside them."""

import keras
import numpy as np
import pytest

from medtk import inversion, privacy, split_learning
from medtk.data import Split
from medtk.errors import BadParameter

SHAPE = (12, 12, 1)


def shapes(n, seed=0, size=12):
    """Images of one bright rectangle on a darker ground, and which half it is in."""
    random = np.random.default_rng(seed)
    images = np.full((n, size, size, 1), 0.1, np.float32)
    labels = random.integers(0, 2, n)
    for image, label in zip(images, labels, strict=True):
        top, height, width = random.integers(0, size - 5), *random.integers(3, 6, 2)
        left = random.integers(0, size // 2 - 3) + label * size // 2
        image[top : top + height, left : left + width] = random.uniform(0.6, 1.0)
    return images, labels.astype(np.int64)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDTK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def leaky():
    return inversion.lenet(4, SHAPE, seed=1)


@pytest.fixture(scope="module")
def sent(leaky):
    """Two images, their labels, and the gradients that a client would send."""
    images, _ = shapes(2, seed=5)
    labels = np.array([3, 1])
    return images, labels, inversion.gradient_of_each(leaky, images, labels)


def test_a_message_is_the_gradient_of_the_loss(leaky, sent):
    images, labels, messages = sent
    index, weight = (2, 1, 0, 4), leaky.trainable_variables[0]

    def loss(shift):
        values = weight.numpy()
        values[index] += shift
        weight.assign(values)
        p = leaky(images[:1]).numpy()[0, labels[0]]
        values[index] -= shift
        weight.assign(values)
        return -np.log(p)

    start = weight.numpy()
    index = tuple(int(i) for i in np.unravel_index(np.abs(messages[0][0]).argmax(), start.shape))
    assert (loss(1e-2) - loss(-1e-2)) / 2e-2 == pytest.approx(messages[0][0][index], rel=0.02)
    np.testing.assert_array_equal(weight.numpy(), start)


def test_matching_is_zero_at_the_truth_and_has_the_slope_that_it_says(leaky, sent):
    images, labels, messages = sent
    objective, random = inversion.match(leaky, messages[0]), np.random.default_rng(0)
    truth = 100 * np.eye(4)[labels[0]]
    assert objective(images[0], truth)[0] < 1e-10
    image, scores = random.random(SHAPE), random.normal(size=4)
    loss, by_image, by_label = objective(image, scores)
    assert loss > 1e-3
    for what, slope in ((0, by_image), (1, by_label)):
        direction = slope / np.linalg.norm(slope)
        ends = [objective(*((image + s * direction, scores) if what == 0 else (image, scores + s * direction)))[0]
                for s in (1e-2, -1e-2)]  # fmt: skip
        assert (ends[0] - ends[1]) / 2e-2 == pytest.approx(np.linalg.norm(slope), rel=0.05)


def test_idlg_reads_every_label_and_rebuilds_the_images(leaky, sent):
    images, labels, messages = sent
    found = inversion.idlg(leaky, messages, iterations=60)
    np.testing.assert_array_equal(found.labels, labels)
    for label, message in zip(labels, messages, strict=True):
        assert privacy.labels_present(message[-1]).tolist() == [label] == [inversion.label_of(leaky, message)]
    mean = inversion.baselines(shapes(50)[0], images)["mean"]["mse"]
    assert (inversion.mse(found.images, images) < 0.02 * mean).all()
    again = inversion.idlg(leaky, messages[:1], iterations=60)
    np.testing.assert_array_equal(again.images, found.images[:1])


def test_dlg_finds_label_and_image_together_with_restarts(leaky, sent):
    images, labels, messages = sent
    found = inversion.dlg(leaky, messages, iterations=80, restarts=2)
    mean = inversion.baselines(shapes(50)[0], images)["mean"]["mse"]
    good = inversion.mse(found.images, images) < 0.05 * mean
    assert good.any()
    np.testing.assert_array_equal(found.labels[good], labels[good])
    once = inversion.dlg(leaky, messages[:1], iterations=80)
    assert found.losses[0] <= once.losses[0]


def test_matching_refuses_what_is_no_gradient(leaky, sent):
    _, _, messages = sent
    for wrong in (messages[0][:-1], [0 * part for part in messages[0]], messages[0][::-1]):
        with pytest.raises(BadParameter):
            inversion.idlg(leaky, [wrong])
    with pytest.raises(BadParameter, match="iterations"):
        inversion.dlg(leaky, messages, iterations=0)
    assert inversion.dlg(leaky, []).images.shape == (0, *SHAPE)


def test_pruning_hurts_the_search_and_clipping_does_not(leaky, sent):
    images, _, messages = sent
    length = np.sqrt(sum(np.sum(part**2) for part in messages[0]))
    clipped = inversion.clip(messages[0], length / 4)
    pruned = inversion.prune(messages[0], 0.7)
    assert np.sqrt(sum(np.sum(part**2) for part in clipped)) == pytest.approx(length / 4, rel=1e-5)
    found = inversion.idlg(leaky, [messages[0], pruned], iterations=60)
    plain, after = inversion.mse(found.images, images[[0, 0]])
    assert after > 10 * plain
    # Whoever knows of it compares directions, or what is left.
    against = [({"scale_free": True}, clipped, 5), ({"nonzero_only": True}, inversion.prune(messages[0], 0.3), 20)]
    for known, defended, worse in against:
        rebuilt = inversion.idlg(leaky, [defended], iterations=60, **known)
        assert inversion.mse(rebuilt.images, images[:1]) < worse * plain + 1e-4


def test_measures_on_images_whose_errors_are_known():
    image = np.random.default_rng(0).random((1, 16, 16, 1))
    np.testing.assert_array_equal(inversion.errors(image, image)["mse"], 0)
    assert inversion.psnr(image, image) == 100 and inversion.ssim(image, image) == pytest.approx(1)
    half = np.full((1, 16, 16, 1), 0.5)
    assert inversion.mse(half + 0.1, half) == pytest.approx(0.01)
    assert inversion.psnr(half + 0.1, half) == pytest.approx(20)
    # Constant images: only the first factor of SSIM differs from 1.
    assert inversion.ssim(half + 0.1, half) == pytest.approx((2 * 0.5 * 0.6 + 1e-4) / (0.5**2 + 0.6**2 + 1e-4))
    assert inversion.mse(np.full((1, 16, 16, 1), 7.0), half) == pytest.approx(0.25)  # clipped to white
    with pytest.raises(BadParameter, match=r"leave \[0, 1\]"):
        inversion.mse(image, 255 * image)
    with pytest.raises(BadParameter, match="one shape"):
        inversion.mse(image[..., 0], image)
    with pytest.raises(BadParameter, match="11 pixels"):
        inversion.ssim(image[:, :10], image[:, :10])


def test_baselines_are_the_mean_and_black():
    public, originals = np.zeros((4, 12, 12, 1)), np.full((2, 12, 12, 1), 0.5)
    public[:2] = 1.0
    found = inversion.baselines(public, originals)
    np.testing.assert_allclose(found["mean"]["mse"], 0)
    np.testing.assert_allclose(found["zero"]["mse"], 0.25)


def test_defences_of_a_message():
    message = [np.array([[3.0, -1.0]], np.float32), np.array([0.5, 4.0], np.float32)]
    pruned = inversion.prune(message, 0.5)
    np.testing.assert_array_equal(pruned[0], [[3, 0]])
    np.testing.assert_array_equal(pruned[1], [0, 4])
    for same in (inversion.prune(message, 0.0), inversion.clip(message, 100.0), inversion.laplace(message, 0.0)):
        assert all(np.array_equal(a, b) for a, b in zip(same, message, strict=True))
    noisy = inversion.laplace([np.zeros(100_000)], 0.3, seed=1)[0]
    assert np.abs(noisy).mean() == pytest.approx(0.3, rel=0.02)
    assert noisy.std() == pytest.approx(0.3 * np.sqrt(2), rel=0.02)
    np.testing.assert_array_equal(noisy, inversion.laplace([np.zeros(100_000)], 0.3, seed=1)[0])
    for wrong in (lambda: inversion.prune(message, 1.0), lambda: inversion.clip(message, 0), lambda: inversion.laplace(message, -1)):  # fmt: skip  # noqa: E501
        with pytest.raises(BadParameter):
            wrong()


def test_a_decoder_beats_the_mean_image_and_is_loaded_again():
    images, _ = shapes(160)
    seen = images.reshape(160, 6, 2, 6, 2, 1).swapaxes(2, 3).reshape(160, 6, 6, 4)  # rearranged pixels hide nothing
    decoder = inversion.train_decoder(seen[:128], images[:128], epochs=25, filters=8, progress=False)
    rebuilt = inversion.decode(decoder, seen[128:])
    mean = inversion.baselines(images[:128], images[128:])["mean"]["mse"].mean()
    assert inversion.mse(rebuilt, images[128:]).mean() < 0.3 * mean
    again = inversion.train_decoder(seen[:128], images[:128], epochs=25, filters=8, progress=False)
    np.testing.assert_array_equal(inversion.decode(again, seen[128:]), rebuilt)
    assert inversion.build_decoder((10,), SHAPE).output_shape == (None, *SHAPE)
    with pytest.raises(BadParameter, match="12 x 12 pixels"):
        inversion.build_decoder((5, 5, 2), SHAPE)
    with pytest.raises(BadParameter, match="As many images"):
        inversion.train_decoder(seen, images[:3])


def test_a_generator_learns_the_public_images_and_finds_one_of_its_own_again():
    images, _ = shapes(128)
    gan = inversion.train_gan(images, epochs=40, batch_size=32, latent=8, filters=8, learning_rate=2e-3, progress=False)
    assert len(gan.history) == 40
    z = np.random.default_rng(3).standard_normal((40, 8)).astype(np.float32)
    made = gan.generator.predict(z, verbose=0)
    assert abs(made.mean() - images.mean()) < 0.15
    flat = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten()])
    wanted = made[:3]
    found = inversion.invert_by_generator(gan.generator, flat, wanted.reshape(3, -1), steps=150, restarts=3)
    other = inversion.mse(made[3:6], wanted).mean()
    assert inversion.mse(found, wanted).mean() < 0.1 * other
    with pytest.raises(BadParameter, match="multiples of 4"):
        inversion.train_gan(images[:, :10])


def test_an_attribute_is_read_off_activations_or_is_not_there():
    images, sides = shapes(120)
    seen = np.concatenate([images, images**2], axis=-1)
    p = inversion.infer_attribute(seen[:80], sides[:80], seen[80:])
    assert (p.argmax(axis=1) == sides[80:]).mean() > 0.9
    np.testing.assert_allclose(p.sum(axis=1), 1)
    coin = np.random.default_rng(0).integers(0, 2, 400)
    noise = np.random.default_rng(1).random((400, 6, 6, 2))
    p = inversion.infer_attribute(noise[:200], coin[:200], noise[200:])
    assert abs((p.argmax(axis=1) == coin[200:]).mean() - 0.5) < 0.12
    with pytest.raises(BadParameter, match="without a gap"):
        inversion.infer_attribute(seen, 2 * sides, seen)


def split_network(seed=0):
    return split_learning.build(2, SHAPE, convolutions=3, filters=6, dropout=0.25, learning_rate=5e-3, seed=seed)


def trained(defense=None, epochs=4):
    images, labels = shapes(96)
    model = split_network()
    fit = inversion.train_split(
        model, "bn_2", Split(images, labels), defense, epochs=epochs, batch_size=16, progress=False
    )
    return model, fit


def test_training_without_a_defence_learns_and_comes_from_the_cache():
    model, fit = trained()
    images, _ = shapes(64, seed=9)
    p = inversion.predict(model, "bn_2", images)
    assert fit.history[-1]["loss"] < fit.history[0]["loss"]
    np.testing.assert_allclose(p, model.predict(images, verbose=0), atol=1e-5)
    again, other = trained()
    assert other.from_cache
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_one_step_equals_the_messages_of_split_learning():
    """Without a defence the compiled step is the client's and the server's half, one after the other."""
    images, labels = shapes(16)
    model, twin = split_network(), split_network()
    inversion.train_split(model, "bn_2", Split(images, labels), epochs=1, batch_size=16, progress=False)
    client, server = split_learning.split_at(twin, "bn_2")
    split_learning.reseed(twin, 0, 0)
    from medtk.training import epoch_order

    order = epoch_order(16, 0, 0)
    activations, backward = split_learning.client_forward(client, images[order])
    backward(split_learning.server_step(server, activations, labels[order]).gradient)
    for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4)


def test_noise_is_added_to_what_the_server_sees_and_nopeek_lowers_the_correlation():
    images, _ = shapes(64, seed=9)
    plain, _ = trained()
    client, _ = split_learning.split_at(plain, "bn_2")
    quiet = inversion.observe(client, images)
    loud = inversion.observe(client, images, inversion.Defense(noise=0.5), seed=2)
    assert np.abs(loud - quiet).mean() == pytest.approx(0.5, rel=0.05)
    defended, _ = trained(inversion.Defense(nopeek=100.0), epochs=12)
    hidden = inversion.observe(split_learning.split_at(defended, "bn_2")[0], images)
    before, after = (float(inversion.distance_correlation(images, seen)) for seen in (quiet, hidden))
    assert after < before - 0.05
    _, fit = trained(inversion.Defense(noise=1.0), epochs=1)
    assert np.isfinite(fit.history[0]["loss"])
    with pytest.raises(BadParameter, match="noise and nopeek"):
        inversion.Defense(noise=-1.0)


def test_an_image_is_searched_again_only_while_its_loss_is_high_and_never_for_the_worse(leaky, sent):
    _, _, messages = sent
    once, thrice = (inversion.idlg(leaky, messages, iterations=4, restarts=n, seed=3) for n in (1, 3))
    assert (thrice.losses <= once.losses).all() and (thrice.losses < once.losses).any()
    between = float(once.losses.mean())  # one image is good enough, the other is not
    some = inversion.idlg(leaky, messages, iterations=4, restarts=3, enough=between, seed=3)
    good = once.losses <= between
    np.testing.assert_array_equal(some.losses[good], once.losses[good])
    assert good.sum() == 1 and (some.losses[~good] < once.losses[~good]).all()


def by_neighbours(seen, weights, block):
    """Pixels of each block as a linear function of the 3 x 3 places around it, one place at a time."""
    n, height, width, _ = seen.shape
    padded = np.pad(seen, ((0, 0), (1, 1), (1, 1), (0, 0)))
    images = np.zeros((n, block * height, block * width, 1), np.float32)
    for row in range(height):
        for column in range(width):
            around = padded[:, row : row + 3, column : column + 3].reshape(n, -1)
            cell = (around @ weights + 0.3).reshape(n, block, block, 1)
            images[:, block * row : block * (row + 1), block * column : block * (column + 1)] = cell
    return images


@pytest.mark.parametrize("block", [1, 2])
def test_the_ridge_recovers_a_linear_map(block):
    random = np.random.default_rng(0)
    seen, weights = random.normal(size=(20, 5, 6, 2)).astype(np.float32), 0.1 * random.normal(size=(18, block * block))
    images = by_neighbours(seen, weights, block)
    ridge = inversion.fit_ridge(seen[:15], images[:15])
    np.testing.assert_allclose(ridge.weights, weights, atol=1e-6)
    np.testing.assert_allclose(inversion.read_ridge(ridge, seen[15:]), images[15:], atol=1e-5)


@pytest.mark.parametrize("strength", [1e-4, 0.5])
def test_the_ridge_is_that_of_scikit_learn(strength, monkeypatch):
    from sklearn.linear_model import Ridge

    monkeypatch.setattr("medtk.inversion.ridge.STRENGTHS", np.array([strength]))
    random = np.random.default_rng(1)
    seen, wanted = random.normal(2.0, 1.0, (12, 3, 3, 4)), random.random((12, 6, 6, 1))
    ours = inversion.fit_ridge(seen, wanted, patch=1)
    rows = seen.reshape(-1, 4)
    penalty = strength * np.trace((rows - rows.mean(0)).T @ (rows - rows.mean(0))) / 4
    theirs = Ridge(alpha=penalty).fit(rows, split_learning.to_channels(wanted).reshape(-1, 4))
    np.testing.assert_allclose(ours.weights, theirs.coef_.T, rtol=1e-6)
    np.testing.assert_allclose(ours.offset, theirs.intercept_, rtol=1e-6)


def test_the_ridge_takes_the_penalty_that_reads_images_it_was_not_fitted_to():
    random = np.random.default_rng(2)
    seen = random.normal(size=(40, 2, 2, 8)).astype(np.float32)
    images = np.stack([seen[..., 0], random.normal(size=(40, 2, 2))], axis=-1)  # one can be read, one is chance
    ridge = inversion.fit_ridge(seen, images)
    assert ridge.strengths[0] < 1e-2 < ridge.strengths[1]
    # Activations that never change tell nothing; the answer is the mean.
    still = inversion.fit_ridge(np.ones_like(seen), images)
    np.testing.assert_allclose(
        inversion.read_ridge(still, np.ones_like(seen[:1]))[0, 0, 0], images.mean((0, 1, 2)), atol=0.3
    )


def test_the_ridge_beats_the_mean_image_and_tells_wrong_sizes():
    public, _ = shapes(60, seed=3)
    private, _ = shapes(8, seed=4)
    client = keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Conv2D(6, 3, strides=2, padding="same", activation="relu")]
    )
    ridge = inversion.fit_ridge(inversion.observe(client, public), public)
    read = inversion.read_ridge(ridge, inversion.observe(client, private))
    blind = inversion.baselines(public, private)["mean"]["mse"].mean()
    assert inversion.mse(read, private).mean() < 0.5 * blind
    seen = np.zeros((3, 5, 5, 1), np.float32)
    for images, patch in (
        (public[:3], 3),
        (np.zeros((2, 5, 5, 1)), 3),
        (np.zeros((3, 5, 5, 1)), 2),
        (np.zeros((3, 25)), 3),
    ):
        with pytest.raises(BadParameter):
            inversion.fit_ridge(seen, images, patch=patch)
