import numpy as np
import pytest

from medtk import data


@pytest.fixture(autouse=True)
def nothing_here(tmp_path, monkeypatch):
    monkeypatch.delenv("MEDTK_DATA", raising=False)
    monkeypatch.setenv("MEDTK_CACHE", str(tmp_path))
    monkeypatch.setenv("MEDTK_OFFLINE", "1")


def stand_in(name, **options):
    with pytest.warns(UserWarning, match="synthetic"):
        return data.load(name, allow_synthetic=True, **options)


@pytest.mark.parametrize("name", data.names())
def test_every_set_has_a_stand_in_that_can_be_learned(name):
    made = stand_in(name, size=28)
    card = data.CATALOG[name]
    assert made.source == "synthetic" and made.is_synthetic and "ynthetic" in made.note
    assert made.class_names == card.class_names and made.image_shape == (28, 28, card.shape[2])
    for split in (made.train, made.val, made.test):
        assert set(split.labels) == set(range(card.n_classes))
        assert split.images.dtype == np.float32 and 0 <= split.images.min() <= split.images.max() <= 1
    # Ridge regression on pixels: nothing clever is needed to be well above chance.
    x, y = made.train.images.reshape(len(made.train), -1), np.eye(card.n_classes)[made.train.labels]
    centre = x.mean(axis=0)
    kernel = (x - centre) @ (x - centre).T
    dual = np.linalg.solve(kernel + 3 * np.eye(len(x)), y - y.mean(axis=0))
    test = made.test.images.reshape(len(made.test), -1) - centre
    answer = (test @ (x - centre).T @ dual + 1 / card.n_classes).argmax(axis=1)
    recalls = [np.mean(answer[made.test.labels == c] == c) for c in range(card.n_classes)]
    chance = 1 / card.n_classes
    assert np.mean(recalls) > chance + 0.3 * (1 - chance)


def test_shape_shares_and_default_sizes():
    breast = stand_in("breastmnist")
    assert breast.image_shape == data.CATALOG["breastmnist"].shape
    assert np.mean(breast.train.labels) == pytest.approx(data.CATALOG["breastmnist"].shares[1], abs=0.01)
    assert stand_in("pocus").image_shape == (64, 64, 1)
    assert stand_in("breastmnist", size=96, channels=3).image_shape == (96, 96, 3)


def test_same_seed_same_bytes_other_seed_other_bytes():
    one, two, other = stand_in("octmnist"), stand_in("octmnist"), stand_in("octmnist", seed=1)
    assert one.sha256 == two.sha256 != other.sha256
    np.testing.assert_array_equal(one.test.images, two.test.images)
    assert not np.array_equal(one.train.images[:80], one.val.images[:80])
