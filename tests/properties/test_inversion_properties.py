"""Distance correlation against its definition, and what must not change it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtk import inversion

SEEDS = st.integers(0, 10_000)


def by_definition(a, b):
    """Székely, Rizzo and Bakirov's sample statistic, term by term."""
    n = len(a)
    tables = []
    for rows in (a.reshape(n, -1).astype(np.float64), b.reshape(n, -1).astype(np.float64)):
        d = np.array([[np.linalg.norm(one - other) for other in rows] for one in rows])
        tables.append(
            np.array([[d[i, j] - d[i].mean() - d[:, j].mean() + d.mean() for j in range(n)] for i in range(n)])
        )
    common, own_a, own_b = (np.mean(x * y) for x, y in ((tables[0], tables[1]), *((t, t) for t in tables)))
    return 0.0 if own_a * own_b == 0 else float(np.sqrt(max(common, 0) / np.sqrt(own_a * own_b)))


def rows(seed, n=9, shape=(4,)):
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)


def correlation(a, b):
    return float(inversion.distance_correlation(a, b))


@settings(max_examples=12, deadline=None)
@given(seed=SEEDS, n=st.integers(3, 9), width=st.integers(1, 5))
def test_it_is_the_definition(seed, n, width):
    a, b = rows(seed, n, (width, 2)), rows(seed + 1, n, (3,)) + rows(seed, n, (3,))
    assert correlation(a, b) == pytest.approx(by_definition(a, b), abs=2e-3)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, scale=st.floats(0.1, 20), shift=st.floats(-3, 3))
def test_moved_scaled_turned_and_mirrored_copies_tell_everything(seed, scale, shift):
    a = rows(seed)
    turn, _ = np.linalg.qr(np.random.default_rng(seed + 7).normal(size=(4, 4)))
    assert correlation(a, scale * a @ turn.astype(np.float32) + shift) == pytest.approx(1, abs=2e-3)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_order_of_rows_and_of_arguments_does_not_matter(seed):
    a, b = rows(seed), rows(seed + 1, shape=(2, 2)) + rows(seed, shape=(2, 2))
    order = np.random.default_rng(seed).permutation(len(a))
    found = correlation(a, b)
    assert 0 <= found <= 1 + 1e-5
    assert correlation(b, a) == pytest.approx(found, abs=1e-4)
    assert correlation(a[order], b[order]) == pytest.approx(found, abs=1e-4)


def test_closed_forms():
    line = np.arange(6, dtype=np.float32)[:, None]
    assert correlation(line, 3 - 2 * line) == pytest.approx(1, abs=1e-4)
    assert correlation(line, np.ones((6, 2), np.float32)) == 0
    # Two values each, evenly crossed: the sample is exactly independent.
    a, b = np.array([[0], [0], [1], [1]], np.float32), np.array([[0], [1], [0], [1]], np.float32)
    assert correlation(a, b) == pytest.approx(0, abs=1e-4)
    # y = x² on -1, 0, 1: Pearson's correlation is 0, the distances still say something.
    x = np.array([[-1], [0], [1]], np.float32)
    assert np.corrcoef(x.ravel(), x.ravel() ** 2)[0, 1] == pytest.approx(0)
    assert correlation(x, x**2) == pytest.approx(by_definition(x, x**2), abs=1e-4)
    assert correlation(x, x**2) > 0.4


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, share=st.floats(0, 0.99))
def test_pruning_keeps_the_largest_values_as_they_were(seed, share):
    message = [rows(seed, 5, (3,)), rows(seed + 1, 7, ())]
    kept = inversion.prune(message, share)
    before, after = (np.concatenate([part.ravel() for part in one]) for one in (message, kept))
    gone = after == 0
    assert gone.sum() == int(share * len(before))
    np.testing.assert_array_equal(after[~gone], before[~gone])
    assert not gone.any() or gone.all() or np.abs(before[gone]).max() <= np.abs(before[~gone]).min()


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, norm=st.floats(0.01, 100))
def test_clipping_never_lengthens_and_never_turns(seed, norm):
    message = [rows(seed, 5, (3,)), rows(seed + 1, 7, ())]
    before, after = (np.concatenate([part.ravel() for part in one]) for one in (message, inversion.clip(message, norm)))
    assert np.linalg.norm(after) <= min(norm, np.linalg.norm(before)) * (1 + 1e-5)
    assert before @ after == pytest.approx(np.linalg.norm(before) * np.linalg.norm(after), rel=1e-4)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, size=st.integers(11, 16))
def test_measures_are_symmetric_where_they_should_be(seed, size):
    random = np.random.default_rng(seed)
    a, b = random.random((2, 3, size, size, 1))
    for measure in (inversion.mse, inversion.psnr, inversion.ssim):
        np.testing.assert_allclose(measure(a, b), measure(b, a))
    assert (np.abs(inversion.ssim(a, b)) <= 1).all()
