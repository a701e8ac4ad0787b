"""Properties of the parts of proximal gradient split learning that are plain functions of arrays."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from medtk import split_learning as sl

SIDES = st.integers(1, 5).map(lambda half: 2 * half)
CHANNELS = st.integers(1, 3)


@st.composite
def image_batches(draw, channels=CHANNELS):
    shape = (draw(st.integers(1, 3)), draw(SIDES), draw(SIDES), draw(channels))
    return draw(arrays.arrays(np.float32, shape, elements=st.floats(0, 1, width=32)))


@given(image_batches())
def test_rearranging_is_undone_exactly_and_changes_no_value(images):
    tensors = sl.to_channels(images)
    n, height, width, channels = images.shape
    assert tensors.shape == (n, height // 2, width // 2, 4 * channels)
    np.testing.assert_array_equal(sl.to_pixels(tensors), images)
    np.testing.assert_array_equal(sl.to_channels(sl.to_pixels(tensors)), tensors)
    np.testing.assert_array_equal(np.sort(tensors, axis=None), np.sort(images, axis=None))


@given(image_batches(), st.integers(0, 2**32 - 1))
def test_an_image_and_its_map_part_as_they_were_put_together(images, seed):
    maps = np.random.default_rng(seed).normal(size=images.shape).astype(np.float32)
    attacked, channel = sl.parted(sl.with_map(images, maps))
    np.testing.assert_array_equal(attacked, images)
    np.testing.assert_allclose(channel[..., 0], sl.to_channels(maps).sum(axis=-1), rtol=1e-6)


@given(image_batches(st.just(1)), st.integers(0, 2**32 - 1))
def test_one_saturated_pixel_a_block_is_taken_off_exactly(images, seed):
    random = np.random.default_rng(seed)
    blocks = sl.to_channels(0.9 * images)
    chosen = np.arange(4) == random.integers(0, 4, blocks.shape[:3])[..., None]
    struck = chosen & (random.random(blocks.shape[:3]) < 0.5)[..., None]
    attacked = np.where(struck, np.float32(1), blocks)
    plain, after = sl.to_pixels(blocks), sl.to_pixels(attacked)
    np.testing.assert_allclose(sl.map_taken_off(sl.with_map(after, after - plain)), plain, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    arrays.arrays(np.float64, (2, 5, 7), elements=st.floats(-3, 3)),
    st.floats(0.05, 3),
)
def test_what_robust_pca_gives_meets_the_conditions_of_the_minimum(matrices, mu):
    lam = 1 / np.sqrt(7)
    low, sparse, _ = sl.robust_pca(matrices, mu, steps=4000, tolerance=1e-10)
    rest = matrices - low - sparse
    # The rest is a subgradient of both norms: its singular values are at most mu, its entries at most lambda mu ...
    assert np.linalg.norm(rest, 2, axis=(1, 2)).max() <= mu * (1 + 1e-3) + 1e-6
    assert np.abs(rest).max() <= lam * mu * (1 + 1e-3) + 1e-6
    # ... and it is in line with both parts: their products are as large as they can be.
    for one, a, e in zip(rest, low, sparse, strict=True):
        nuclear = np.linalg.svd(a, compute_uv=False).sum()
        assert abs((one * a).sum() - mu * nuclear) <= 1e-2 * mu * nuclear + 1e-5
        assert abs((one * e).sum() - lam * mu * np.abs(e).sum()) <= 1e-2 * lam * mu * np.abs(e).sum() + 1e-5


@given(arrays.arrays(np.float64, (3, 4, 6), elements=st.floats(-5, 5)), st.floats(0.01, 4))
def test_singular_values_are_shrunk_as_a_decomposition_would(matrices, by):
    for given_ in (matrices, matrices.swapaxes(-1, -2)):
        u, s, v = np.linalg.svd(given_, full_matrices=False)
        wanted = (u * np.maximum(s - by, 0)[:, None]) @ v
        np.testing.assert_allclose(sl.singular_values_shrunk(given_, np.full(3, by)), wanted, atol=1e-6)


@st.composite
def scores(draw):
    n, classes = draw(st.integers(1, 4)), draw(st.integers(2, 5))
    raw = draw(arrays.arrays(np.float64, (3, n, classes), elements=st.floats(0.01, 1)))
    return raw / raw.sum(axis=2, keepdims=True)


@given(scores())
def test_fused_scores_are_a_mean_of_the_three(found):
    weights = sl.adaptive_weights(*found)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    fused = sl.adaptive_fusion(*found)
    np.testing.assert_allclose(fused.sum(axis=1), 1)
    assert (fused >= found.min(axis=0) - 1e-12).all() and (fused <= found.max(axis=0) + 1e-12).all()
    np.testing.assert_allclose(sl.adaptive_fusion(found[0], found[0], found[0]), found[0])
