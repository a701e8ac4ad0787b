"""Loading from files that the test writes itself: no data folder and no network needed."""

import dataclasses
import hashlib

import numpy as np
import pytest
from PIL import Image

from medtk import data
from medtk.errors import BadParameter, DataUnavailable


@pytest.fixture(autouse=True)
def homes(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTK_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MEDTK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MEDTK_OFFLINE", "1")
    return tmp_path


def put_npz(path, shape=(28, 28), classes=2, seed=0):
    """Write a tiny file with MedMNIST's keys and return its MD5."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for split, n in (("train", 20), ("val", 6), ("test", 8)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, *shape)).astype(np.uint8)
        arrays[f"{split}_labels"] = (np.arange(n) % classes).astype(np.uint8)[:, None]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return hashlib.md5(path.read_bytes()).hexdigest()


def expect(monkeypatch, name, **checksums):
    """Make the card of `name` expect the given checksums, path by path, and nothing elsewhere."""
    card = data.CATALOG[name]
    places = tuple(dataclasses.replace(place, md5=checksums.get(place.source, ""), sha256="") for place in card.places)
    monkeypatch.setitem(data.CATALOG, name, dataclasses.replace(card, places=places))


def test_official_file(homes, monkeypatch):
    path = homes / "data/medmnist/breastmnist.npz"
    expect(monkeypatch, "breastmnist", official=put_npz(path))
    loaded = data.load("breastmnist")
    assert loaded.source == "official" and loaded.note == "" and not loaded.is_synthetic
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (len(loaded.train), len(loaded.val), len(loaded.test)) == (20, 6, 8)
    assert loaded.image_shape == (28, 28, 1) and loaded.n_classes == 2
    assert loaded.train.images.dtype == np.float32 and loaded.train.labels.dtype == np.int64
    assert loaded.train.images.min() >= 0 and loaded.train.images.max() <= 1
    with np.load(path) as stored:
        np.testing.assert_allclose(loaded.train.images[..., 0] * 255, stored["train_images"], rtol=1e-6)
    assert data.load("breastmnist", size=10, channels=3).image_shape == (10, 10, 3)
    assert data.find("breastmnist") == data.verify("breastmnist") == data.Status("breastmnist", "official", path, "")
    assert data.fetch("breastmnist") == path


def test_a_broken_size_or_channel_is_said_before_any_file_is_read(monkeypatch):
    with pytest.raises(BadParameter, match="size"):
        data.load("breastmnist", size=-1)
    with pytest.raises(BadParameter, match="channels"):
        data.load("dermamnist", channels=1)


def test_official_in_cache_before_substitute_in_data_home(homes, monkeypatch):
    put_npz(homes / "data/oct/oct_kermany_subset.npz", classes=4)
    official = homes / "cache/data/medmnist/octmnist.npz"
    expect(monkeypatch, "octmnist", official=put_npz(official, classes=4, seed=1))
    assert data.find("octmnist").path == official
    official.unlink()
    loaded = data.load("octmnist")
    assert loaded.source == "substitute" and "Not OCTMNIST" in loaded.note


def test_data_home_before_cache(homes, monkeypatch):
    md5 = put_npz(homes / "data/medmnist/breastmnist.npz")
    put_npz(homes / "cache/data/medmnist/breastmnist.npz", seed=1)
    expect(monkeypatch, "breastmnist", official=md5)
    assert data.load("breastmnist").source == "official"


def test_lesion_ids_become_groups_and_must_fit(homes, monkeypatch):
    expect(monkeypatch, "dermamnist")
    put_npz(homes / "data/medmnist/substitutes/dermamnist_rebuilt.npz", (28, 28, 3), 7)
    assert data.load("dermamnist").train.groups is None
    lines = ["split,index,label,lesion_id"]
    for split, n in (("test", 8), ("val", 6), ("train", 20)):
        lines += [f"{split},{i},{i % 7},{split}-{i // 2}" for i in reversed(range(n))]
    (homes / "data/medmnist/substitutes/dermamnist_order.csv").write_text("\n".join(lines))
    assert data.load("dermamnist").train.groups[:4].tolist() == ["train-0", "train-0", "train-1", "train-1"]


def test_mnist_tells_official_from_mirror_by_checksum(homes, monkeypatch):
    path = homes / "data/mnist/mnist.npz"
    path.parent.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (200, 28, 28)).astype(np.uint8)
    labels = (np.arange(200) % 10).astype(np.uint8)
    np.savez(path, x_train=images, y_train=labels, x_test=images[:30], y_test=labels[:30])
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    card = data.CATALOG["mnist"]
    for position, source in ((0, "official"), (1, "mirror")):
        places = list(card.places)
        places[position] = dataclasses.replace(places[position], sha256=sha256)
        monkeypatch.setitem(data.CATALOG, "mnist", dataclasses.replace(card, places=tuple(places)))
        loaded = data.load("mnist")
        assert loaded.source == source
    assert (len(loaded.train), len(loaded.val), len(loaded.test)) == (180, 20, 30)


def put_folder(folder, with_table=True):
    """Twelve training and four test pictures of different sizes, with or without a table."""
    rng = np.random.default_rng(0)
    lines = ["file,label,split,patient_id"]
    for split, n in (("train", 12), ("test", 4)):
        for label in ("NORMAL", "PNEUMONIA"):
            for i in range(n // 2):
                name = f"{split}/{label}/person{i}_{label}.png"
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shape = (30 + i, 40) if i % 2 else (20, 20)
                Image.fromarray(rng.integers(0, 256, shape).astype(np.uint8)).save(folder / name)
                lines.append(f"{name},{label},{split},{label}-{i}")
    if with_table:
        (folder / "manifest.csv").write_text("\n".join(lines))


@pytest.mark.parametrize("with_table", [True, False])
def test_folder_twice_the_second_time_from_the_cache(homes, monkeypatch, with_table):
    expect(monkeypatch, "chest_xray")
    put_folder(homes / "data/chest_xray", with_table)
    first = data.load("chest_xray", size=16)
    assert first.source == "mirror" and first.image_shape == (16, 16, 1)
    assert (len(first.train_and_val), len(first.test)) == (12, 4)
    assert not set(first.train.groups) & (set(first.val.groups) | set(first.test.groups))
    monkeypatch.setattr("medtk.data.folders._decode", lambda *_: pytest.fail("decoded again"))
    second = data.load("chest_xray", size=16)
    np.testing.assert_array_equal(first.train.images, second.train.images)
    np.testing.assert_array_equal(first.train.labels, second.train.labels)
    assert first.sha256 == second.sha256


def test_folder_cache_notices_a_changed_picture(homes, monkeypatch):
    expect(monkeypatch, "chest_xray")
    put_folder(homes / "data/chest_xray")
    first = data.load("chest_xray", size=16)
    picture = next((homes / "data/chest_xray/test/NORMAL").iterdir())
    Image.fromarray(np.zeros((33, 33), np.uint8)).save(picture)
    second = data.load("chest_xray", size=16)
    assert first.sha256 != second.sha256
    assert (second.test.images == 0).all(axis=(1, 2, 3)).any()


def test_missing_set_says_what_to_do():
    status = data.find("pocus")
    assert status.source == "missing" and status.path is None and "$MEDTK_DATA/pocus" in status.note
    for call in (data.load, data.fetch, data.verify):
        with pytest.raises(DataUnavailable, match=r"\$MEDTK_DATA/pocus"):
            call("pocus")
    with pytest.raises(DataUnavailable, match="medtk data fetch retinamnist"):
        data.load("retinamnist")
