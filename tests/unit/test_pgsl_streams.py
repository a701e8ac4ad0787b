"""The server of proximal gradient split learning: fusion, three streams, and whose gradient goes back."""

import keras
import numpy as np
import pytest
from small_networks import images_and_labels

from medtk import split_learning as sl
from medtk.data import Split
from medtk.errors import BadParameter

FEATURES = (4, 4, 4)


def server(seed=0, **settings):
    return sl.build_server(3, FEATURES, **{"first": 3, "convolutions": 3, "dropout": 0.0, "seed": seed, **settings})


def features(n=6, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, *FEATURES)).astype(np.float32), random.integers(0, 3, n)


def test_conv_sum_by_hand():
    first, second = keras.Input((2, 2, 3)), keras.Input((2, 2, 3))
    model = keras.Model([first, second], sl.conv_sum(first, second, filters=3))
    u, v = np.random.default_rng(0).random((2, 5, 2, 2, 3), np.float32)
    kernel, bias = (np.array(w) for w in model.get_layer("fusion").get_weights())
    bias = bias + np.array([1, 2, 3], np.float32)
    model.get_layer("fusion").set_weights([kernel, bias])
    wanted = np.concatenate([u, v], axis=-1) @ kernel[0, 0] + bias + u
    np.testing.assert_allclose(model.predict([u, v], verbose=0), wanted, atol=1e-5)


def test_only_the_fused_stream_speaks_to_the_client():
    f, labels = features()
    recovered = sl.recover(f, 0.55)
    one = server()
    for layer in one.layers:  # normalisation by the batch would make the slopes below depend on the step
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    kept = one.get_weights()
    gradient = sl.pgsl_step(one, f, labels).gradient
    one.set_weights(kept)

    def loss(sent, name):
        p = np.asarray(one([sent, recovered], training=False)[sl.STREAMS.index(name)], np.float64)
        return -np.log(p[np.arange(len(labels)), labels]).mean()

    random = np.random.default_rng(1)
    direction = random.normal(size=f.shape).astype(np.float32)
    slopes = {name: (loss(f + 1e-3 * direction, name) - loss(f - 1e-3 * direction, name)) / 2e-3 for name in sl.STREAMS}
    ours = (gradient * direction).sum()
    assert ours == pytest.approx(slopes["fused"], rel=0.05, abs=1e-4)
    assert abs(slopes["attacked"]) > 1e-3 and ours != pytest.approx(slopes["fused"] + slopes["attacked"], rel=0.05)


def test_all_three_streams_learn_and_the_client_too():
    images, labels = images_and_labels(24)
    tensors = sl.with_map(images[..., :1], 0.1 * images[..., 1:2])
    whole = sl.build(3, tensors.shape[1:], convolutions=2, filters=4)
    client = keras.Model(whole.input, whole.get_layer("bn_2").output)
    sl.compiled(client).optimizer.build(client.trainable_variables)
    one = server()
    before = [np.array(v) for v in (*client.trainable_variables, *one.trainable_variables)]
    clients = [sl.LocalClient("a", client, Split(tensors, labels))]
    first = sl.run_epoch(clients, one, epoch=0, batch_size=8, step=sl.pgsl_step)
    for epoch in range(1, 12):
        last = sl.run_epoch(clients, one, epoch=epoch, batch_size=8, step=sl.pgsl_step)
    moved = [np.abs(np.array(v) - w).max() for v, w in
             zip((*client.trainable_variables, *one.trainable_variables), before, strict=True)]  # fmt: skip
    assert min(moved) > 1e-5
    assert last["loss"] < first["loss"]
    found = sl.stream_answers(client, one, tensors, batch_size=10)
    assert list(found) == [*sl.STREAMS, "pgsl"]
    np.testing.assert_allclose(found["pgsl"].sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(found["pgsl"], sl.adaptive_fusion(*(found[name] for name in sl.STREAMS)), atol=1e-6)


def test_weights_of_the_streams_by_hand():
    r, f, a = (np.array([row]) for row in ([0.8, 0.2], [0.4, 0.6], [0.5, 0.5]))
    parts = np.array([0.5 * 0.8, 0.3 * 0.6, 0.2 * 0.5])
    gamma, rho, rest = parts / parts.sum()
    np.testing.assert_allclose(sl.adaptive_weights(r, f, a), [[gamma, rho, rest]])
    np.testing.assert_allclose(sl.adaptive_fusion(r, f, a), gamma * r + rho * f + rest * a)
    # Streams that are equally sure keep their fixed weights.
    np.testing.assert_allclose(sl.adaptive_weights(r, r, r[:, ::-1]), [[0.5, 0.3, 0.2]])
    with pytest.raises(BadParameter, match="above 0"):
        sl.adaptive_weights(r, f, a, (0.5, 0.5, 0.0))


def test_what_makes_no_sense_is_refused():
    images = np.zeros((1, 3, 4, 1), np.float32)
    with pytest.raises(BadParameter, match="multiples of 2"):
        sl.to_channels(images)
    with pytest.raises(BadParameter, match="multiple"):
        sl.to_pixels(np.zeros((1, 2, 2, 5)))
    with pytest.raises(BadParameter, match="map of its shape"):
        sl.with_map(np.zeros((1, 2, 2, 1)), np.zeros((1, 2, 2, 3)))
    with pytest.raises(BadParameter, match="grey"):
        sl.map_taken_off(np.zeros((1, 2, 2, 13)))
    with pytest.raises(BadParameter, match="mu"):
        sl.robust_pca(np.eye(3), 0.0)
    with pytest.raises(BadParameter, match="finite"):
        sl.robust_pca(np.full((2, 2), np.nan), 1.0)


def large_features():
    """Features of a few kinds with dots on them, of unit variance: the size is that of a trained network's."""
    random = np.random.default_rng(0)
    large = random.normal(size=(3, 784, 3)) @ random.normal(size=(3, 16))
    large += 3 * (random.random(large.shape) < 0.1) * random.normal(size=large.shape)
    return sl.to_channels((large / large.std()).reshape(3, 28, 28, 16).astype(np.float32))


def apart(one, other):
    return np.linalg.norm(one - other) / np.linalg.norm(other)


def test_mu_is_reached_and_more_steps_change_little():
    f = large_features()
    assert np.linalg.norm(f[0]) > 100
    early = {mu: sl.recover(f, mu) for mu in (0.05, 0.55, 0.95)}
    for (mu, found), left in zip(early.items(), (0.15, 0.05, 0.03), strict=True):
        done = sl.recovered_features(f, mu, steps=1000, tolerance=1e-7)
        assert apart(found, done) < left < 0.4 < apart(done, f)
    assert apart(early[0.05], early[0.55]) > 1e-3 and apart(early[0.55], early[0.95]) > 1e-3
    # A fixed pace stops above mu: then mu has no effect at all.
    slow = {mu: sl.recovered_features(f, mu, steps=20, continuation=0.8) for mu in (0.05, 0.55)}
    np.testing.assert_array_equal(slow[0.05], slow[0.55])


def test_recovered_features_do_not_depend_on_the_rest_of_the_batch():
    f = large_features() * np.array([1, 3, 0.001], np.float32)[:, None, None, None]
    np.testing.assert_allclose(sl.recover(f, 0.55)[:1], sl.recover(f[:1], 0.55), atol=1e-4)
    assert not sl.recover(f, 0.55)[2].any()  # smaller than mu: shrunk away


def test_a_descent_longer_than_the_steps_is_refused():
    with pytest.raises(BadParameter, match="descent"):
        sl.robust_pca(np.eye(3), 0.1, steps=10, descent=11)
