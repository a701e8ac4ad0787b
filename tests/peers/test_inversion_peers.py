"""Measures of rebuilt images beside scikit-image's."""

import numpy as np
import pytest

from medtk import inversion

peer = pytest.importorskip("skimage.metrics")


@pytest.mark.parametrize("shape", [(28, 28, 1), (16, 20, 3)])
def test_mse_psnr_and_ssim(shape):
    random = np.random.default_rng(0)
    originals = random.random((4, *shape))
    rebuilt = np.clip(originals + 0.2 * random.normal(size=originals.shape), 0, 1)
    how = {
        "gaussian_weights": True,
        "sigma": 1.5,
        "use_sample_covariance": False,
        "data_range": 1.0,
        "channel_axis": -1,
    }
    for measure, theirs in (
        (inversion.mse, lambda a, b: peer.mean_squared_error(a, b)),
        (inversion.psnr, lambda a, b: peer.peak_signal_noise_ratio(a, b, data_range=1.0)),
        (inversion.ssim, lambda a, b: peer.structural_similarity(a, b, **how)),
    ):
        expected = [theirs(a, b) for a, b in zip(originals, rebuilt, strict=True)]
        np.testing.assert_allclose(measure(rebuilt, originals), expected, rtol=1e-6)
