"""Robust PCA beside TensorLy's, and beside a second algorithm for the same problem."""

import numpy as np
import pytest
from tensorly.decomposition import robust_pca as tensorly_robust_pca

from medtk.split_learning import robust_pca


def corrupted(n=60, rank=3, share=0.05, seed=0):
    """A matrix of low rank, a few of whose entries were overwritten, and the two parts."""
    random = np.random.default_rng(seed)
    low = random.normal(size=(n, rank)) @ random.normal(size=(rank, n))
    struck = random.random((n, n)) < share
    sparse = np.where(struck, random.uniform(-20, 20, (n, n)), 0.0)
    return low + sparse, low, sparse


def inexact_alm(d, lam, steps=200):
    """Inexact augmented Lagrange multipliers (Lin et al. 2010), for exact robust PCA: A + E = D."""
    y = d / max(np.linalg.norm(d, 2), np.abs(d).max() / lam)
    e, mu = np.zeros_like(d), 1.25 / np.linalg.norm(d, 2)
    for _ in range(steps):
        u, s, v = np.linalg.svd(d - e + y / mu, full_matrices=False)
        a = (u * np.maximum(s - 1 / mu, 0)) @ v
        e = d - a + y / mu
        e = np.sign(e) * np.maximum(np.abs(e) - lam / mu, 0)
        y, mu = y + mu * (d - a - e), min(1.5 * mu, 1e7)
        if np.linalg.norm(d - a - e) < 1e-9 * np.linalg.norm(d):
            break
    return a, e


def relative(found, wanted):
    return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


def test_nearly_exact_robust_pca_finds_both_parts_as_its_peers_do():
    d, low, sparse = corrupted()
    lam = 1 / np.sqrt(len(d))
    # A small mu is nearly exact robust PCA.
    ours = robust_pca(d, 1e-6 * np.linalg.norm(d, 2), steps=3000, tolerance=1e-9)
    assert relative(ours.low_rank, low) < 1e-4 and relative(ours.sparse, sparse) < 1e-4
    a, e = inexact_alm(d, lam)
    assert relative(ours.low_rank, a) < 1e-4 and relative(ours.sparse, e) < 1e-4
    # TensorLy adds up the nuclear norms of both unfoldings of a matrix, which are one: its lambda is twice ours.
    theirs, _ = tensorly_robust_pca(d, reg_E=2 * lam, n_iter_max=500, tol=1e-9, verbose=0)
    assert relative(ours.low_rank, theirs) < 1e-4
    once, _ = tensorly_robust_pca(d, reg_E=lam, n_iter_max=500, tol=1e-9, verbose=0)
    assert relative(once, low) > 1e-3


@pytest.mark.parametrize("mu", [0.05, 0.55, 3.0])
def test_at_any_mu_no_other_pair_is_better(mu):
    d, _, _ = corrupted(n=20, seed=1)
    lam = 1 / np.sqrt(20)

    def objective(a, e):
        norms = np.linalg.svd(a, compute_uv=False).sum() + lam * np.abs(e).sum()
        return mu * norms + 0.5 * ((a + e - d) ** 2).sum()

    ours = robust_pca(d, mu, steps=3000, tolerance=1e-10)
    best = objective(ours.low_rank, ours.sparse)
    random = np.random.default_rng(2)
    for size in (1e-3, 1e-1, 1.0):
        for _ in range(20):
            change = size * random.normal(size=(2, *d.shape))
            assert objective(ours.low_rank + change[0], ours.sparse + change[1]) >= best - 1e-8
    # Shrinking D alone, without a sparse part, or the other way round, is a special case and no better.
    u, s, v = np.linalg.svd(d)
    assert objective((u * np.maximum(s - mu, 0)) @ v, 0 * d) >= best
    assert objective(0 * d, np.sign(d) * np.maximum(np.abs(d) - lam * mu, 0)) >= best


def test_many_matrices_are_as_one_by_one():
    stack = np.stack([corrupted(n=16, rank=2, seed=seed)[0] for seed in range(5)])
    together = robust_pca(stack, 0.5, steps=500)
    for k, one in enumerate(stack):
        alone = robust_pca(one, 0.5, steps=500)
        np.testing.assert_allclose(together.low_rank[k], alone.low_rank, atol=1e-9)
        np.testing.assert_allclose(together.sparse[k], alone.sparse, atol=1e-9)
