"""The recorded runs stand on these files; where a machine does not have them there is nothing to check."""

import numpy as np
import pytest

from medtk import data

SMALL = [
    "breastmnist",
    "breastmnist_64",
    "pneumoniamnist",
    "dermamnist",
    "oct_subset",
    "oct_cnv_normal",
    "mias",
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTK_CACHE", str(tmp_path))
    monkeypatch.setenv("MEDTK_OFFLINE", "1")


def need(name):
    status = data.find(name)
    if status.source == "missing":
        pytest.skip(f"{name} is not on this machine. {status.note}")
    return status


@pytest.mark.parametrize("name", SMALL)
def test_counts_shares_and_checksums(name):
    status = need(name)
    assert data.verify(name) == status
    loaded, card = data.load(name), data.CATALOG[name]
    assert loaded.source == status.source
    assert len(loaded.test) == card.counts["test"]
    assert len(loaded.train_and_val) == card.counts["train"] + card.counts["val"]
    shares = np.bincount(loaded.train_and_val.labels) / len(loaded.train_and_val)
    np.testing.assert_allclose(shares, card.shares, atol=0.01)


def test_lesions_that_leak_in_the_published_dermamnist_split():
    need("dermamnist")
    derma = data.load("dermamnist")
    if derma.train.groups is None:
        pytest.skip("dermamnist_order.csv with the lesion of each picture is not on this machine.")
    shared = set(derma.train.groups) & set(derma.test.groups)
    assert len(shared) == 641
    assert np.isin(derma.test.groups, list(shared)).sum() == 693
