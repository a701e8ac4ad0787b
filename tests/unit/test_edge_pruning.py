"""Weights and filters removed: a schedule in closed form, packing without loss, a smaller network that is the same."""

import keras
import numpy as np
import pytest
import small_networks
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from keras import layers

from medtk import edge
from medtk.data import Split
from medtk.errors import BadParameter, CorruptFile

FLOATS = st.floats(-1e6, 1e6, width=32)
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)


def test_schedule_in_closed_form():
    found = [edge.sparsity_at(t, begin=100, end=300, final=0.8, initial=0.2) for t in (0, 100, 200, 300, 900)]
    assert found == pytest.approx([0.2, 0.2, 0.8 - 0.6 / 8, 0.8, 0.8])
    rising = [edge.sparsity_at(t, begin=0, end=50, final=0.9) for t in range(60)]
    steps = np.diff(rising)
    assert np.all(steps >= 0) and np.all(np.diff(steps) <= 1e-12)  # fast at first
    with pytest.raises(BadParameter):
        edge.sparsity_at(0, begin=5, end=5, final=0.5)
    with pytest.raises(BadParameter):
        edge.sparsity_at(0, begin=0, end=5, final=1.0)


@given(arrays.arrays(np.float32, SHAPES, elements=FLOATS), st.floats(0, 0.99))
@settings(max_examples=50, deadline=None)
def test_a_mask_keeps_the_largest_and_as_many_as_asked_for(kernel, share):
    kept = edge.mask(kernel, share)
    gone = np.abs(kernel[kept == 0])
    assert gone.size == round(share * kernel.size)
    assert gone.size in (0, kernel.size) or gone.max() <= np.abs(kernel[kept == 1]).min()


@given(st.lists(arrays.arrays(np.float32, SHAPES, elements=FLOATS), max_size=4))
@settings(max_examples=50, deadline=None)
def test_packing_in_32_bits_loses_nothing(given_arrays):
    found = edge.unpack(edge.pack(given_arrays))
    assert len(found) == len(given_arrays)
    for one, other in zip(found, given_arrays, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


@given(arrays.arrays(np.float32, (3, 4, 5), elements=st.floats(-10, 10, width=32)))
@settings(max_examples=30, deadline=None)
def test_packing_in_8_bits_errs_by_half_a_step_and_the_second_time_by_nothing(kernel):
    (once,) = edge.unpack(edge.pack([kernel], bits=8))
    step = np.abs(kernel).max(axis=(0, 1)) / 127
    assert np.all(np.abs(once - kernel) <= step / 2 * (1 + 1e-4) + 1e-12)
    (twice,) = edge.unpack(edge.pack([once], bits=8))
    np.testing.assert_allclose(twice, once, rtol=1e-5, atol=1e-12)


def test_zeros_make_the_packed_file_smaller_and_the_ordinary_one_not():
    random = np.random.default_rng(0)
    kernel = random.standard_normal((3, 3, 64, 64)).astype(np.float32)
    sparse = kernel * edge.mask(kernel, 0.9)
    dense_bytes, sparse_bytes = len(edge.pack([kernel])), len(edge.pack([sparse]))
    # A tenth of the values, and one bit a value to say where they are.
    assert sparse_bytes < 0.15 * dense_bytes
    assert sparse_bytes > kernel.size * (0.1 * 4 * 0.8)
    assert sparse.astype(np.float32).nbytes == kernel.nbytes
    with pytest.raises(CorruptFile, match="packed"):
        edge.unpack(edge.pack([kernel])[:-10])
    with pytest.raises(BadParameter, match="bits"):
        edge.pack([kernel], bits=4)


def network(seed=0):
    """Chains of every kind: through pooling, through a convolution by depth, past an addition, to a dense layer."""
    keras.utils.set_random_seed(seed)
    images = keras.Input((16, 16, 3), name="image")
    x = layers.MaxPooling2D()(layers.Conv2D(12, 3, padding="same", activation="relu", name="first")(images))
    trunk = layers.Conv2D(10, 3, padding="same", name="second")(x)
    y = layers.ReLU()(layers.BatchNormalization(name="norm")(layers.Conv2D(24, 1, use_bias=False, name="wide")(trunk)))
    y = layers.DepthwiseConv2D(3, padding="same", name="by_depth")(y)
    y = layers.ReLU()(layers.BatchNormalization(name="norm2")(y))
    y = layers.Add()([trunk, layers.Conv2D(10, 1, name="narrow")(y)])
    y = layers.GlobalAveragePooling2D()(layers.Conv2D(40, 3, name="last")(y))
    model = keras.Model(images, layers.Softmax()(layers.Dense(3, name="logits")(y)))
    random = np.random.default_rng(seed)
    for layer in model.layers:
        if layer.weights:
            values = [random.uniform(0.1, 1, w.shape) / np.sqrt(w.size / w.shape[-1]) for w in layer.get_weights()]
            signs = [1 if "norm" in layer.name else random.choice([-1, 1], v.shape) for v in values]
            layer.set_weights([sign * value for sign, value in zip(signs, values, strict=True)])
    return model


def test_chains_end_where_channels_mix_and_spare_what_is_added():
    found = {chain.maker: (chain.between, chain.user) for chain in edge.chains(network())}
    assert found == {
        "first": ((), "second"),
        "wide": (("norm", "by_depth", "norm2"), "narrow"),
        "last": ((), "logits"),
    }


@pytest.mark.parametrize("keep", [0.75, 0.3, 0.01])
def test_the_smaller_network_answers_as_the_masked_one(keep):
    model, images = network(), np.random.default_rng(1).random((5, 16, 16, 3), np.float32)
    kept = edge.strongest(model, keep)
    small, large = edge.without_filters(model, kept), edge.masked(model, kept)
    np.testing.assert_allclose(small(images), large(images), rtol=1e-4, atol=1e-5)
    assert np.abs(np.array(large(images)) - np.array(model(images))).max() > 1e-4
    assert small.get_layer("wide").filters == max(round(keep * 24), 1)
    assert small.count_params() < model.count_params() == large.count_params()
    assert edge.macs(small) < edge.macs(model)


def test_mobilenet_without_half_of_its_inner_filters():
    model = edge.build("mobilenetv2_035", 2, input_shape=(32, 32, 3), weights="random")
    small = edge.without_filters(model, edge.strongest(model, 0.5))
    # The first convolution, 16 that widen a block, the last, and two that narrow a block and are added to nothing.
    assert len(edge.chains(model)) == 20
    assert small.count_params() < 0.62 * model.count_params()
    assert edge.macs(small) < 0.6 * edge.macs(model)


def test_the_filters_that_stay_are_the_strong_ones():
    model = network()
    kernel, bias = model.get_layer("first").get_weights()
    kernel[..., [3, 7]] *= 100
    model.get_layer("first").set_weights([kernel, bias])
    kept = next(numbers for chain, numbers in edge.strongest(model, 2 / 12).items() if chain.maker == "first")
    assert kept.tolist() == [3, 7]
    with pytest.raises(BadParameter, match="keep"):
        edge.strongest(model, 0)


def wide_classifier():
    return small_networks.classifier(3, filters=(16, 32), seed=0)


def test_training_with_a_pruner_ends_at_the_share_and_the_zeros_stay(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTK_CACHE", str(tmp_path))
    split = Split(*small_networks.images_and_labels(64, seed=1))

    def run(epochs):
        return edge.tuned(
            wide_classifier(), split, title="sparse", epochs=epochs, batch_size=8, progress=False,
            settings={"to": 0.7, "of": 3}, callbacks=lambda first, steps: [
                edge.Pruner(0.7, steps=3 * 8, first_step=first, every=4)],
        )  # fmt: skip

    fit = run(3)
    (layer,) = edge.prunable(fit.model)
    assert np.mean(np.array(layer.kernel) == 0) == pytest.approx(0.7, abs=1 / layer.kernel.shape.num_elements())
    assert 0 < edge.sparsity(fit.model) < 0.7
    assert not np.any(np.array(fit.model.get_layer("logits").kernel) == 0)
    assert run(3).from_cache


def test_a_stopped_run_gives_the_same_weights(tmp_path, monkeypatch):
    split = Split(*small_networks.images_and_labels(64, seed=1))

    def run(home, stop_after=None):
        monkeypatch.setenv("MEDTK_CACHE", str(home))
        seen = []

        def callbacks(first, steps):
            seen.append(first)
            if len(seen) == stop_after:
                raise KeyboardInterrupt
            return [edge.Pruner(0.7, steps=steps, first_step=first, every=5)]

        return edge.tuned(
            wide_classifier(), split, title="t", epochs=3, batch_size=8, callbacks=callbacks, progress=False
        )

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a", stop_after=3)
    resumed, whole = run(tmp_path / "a"), run(tmp_path / "b")
    assert not resumed.from_cache
    for one, other in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
