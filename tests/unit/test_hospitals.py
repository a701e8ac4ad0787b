import json

import numpy as np
import pytest
import small_networks
from PIL import Image

from medtk import cli, data
from medtk.data import CATALOG, Dataset, Split, hospitals
from medtk.errors import BadParameter, CorruptFile, DataUnavailable, UnknownName


def patients(n=120, seed=0, side=6):
    """A data set of grey images, two of each patient, three in four of class 1."""
    random = np.random.default_rng(seed)

    def part(n, start):
        who = start + np.arange(n) // 2
        labels = (np.random.default_rng(7).random(start + n)[who] < 0.75).astype(np.int64)
        images = random.integers(0, 256, (n, side, side, 1)).astype(np.float32) / np.float32(255)
        return Split(images, labels, np.array([f"p{i}" for i in who]))

    card = CATALOG["chest_xray"]
    return Dataset("small", part(n, 0), part(20, n), part(36, 2 * n), ("normal", "pneumonia"), card, "synthetic", "0")


@pytest.mark.parametrize("partition", hospitals.PARTITIONS)
def test_every_image_has_one_hospital_and_no_patient_two(partition):
    whole = patients()
    found = hospitals.split(whole, partition, 3, dirichlet_alpha=1.0)
    assert [member.name for member in found.members] == ["hospital_1", "hospital_2", "hospital_3"]
    rows = np.concatenate([s.index for m in found.members for s in (m.train, m.val)])
    np.testing.assert_array_equal(np.sort(rows), np.arange(140))
    tested = np.concatenate([m.test.index for m in found.members])
    np.testing.assert_array_equal(np.sort(tested), np.arange(36))
    assert found.test is whole.test
    homes = [{*m.train.groups} | {*m.val.groups} for m in found.members]
    assert sum(map(len, homes)) == len(set().union(*homes))
    assert all(not {*m.train.groups} & {*m.val.groups} for m in found.members)


def test_shares_share_one_array():
    found = hospitals.split(patients(), "dirichlet", 4)
    assert len({id(s.whole.images) for m in found.members for s in (m.train, m.val)}) == 1
    share = found.members[1].train
    np.testing.assert_array_equal(share.take([2, 0]).images, share.whole.images[share.index[[2, 0]]])
    np.testing.assert_array_equal(np.concatenate([b.labels for b in hospitals.batches(share, 5)]), share.labels)


def test_same_seed_same_shares_and_another_seed_others():
    one, same, other = (hospitals.split(patients(), "dirichlet", seed=seed).members for seed in (3, 3, 4))
    assert all(np.array_equal(a.train.index, b.train.index) for a, b in zip(one, same, strict=True))
    assert any(not np.array_equal(a.train.index, b.train.index) for a, b in zip(one, other, strict=True))


def test_acquisition_differs_in_looks_alone():
    whole = patients()
    iid, shifted = (hospitals.split(whole, name).members for name in ("iid", "acquisition_shift"))
    spread = []
    for a, b in zip(iid, shifted, strict=True):
        np.testing.assert_array_equal(a.train.index, b.train.index)
        rows = np.arange(len(a.train))
        images = b.train.take(rows).images
        assert images.dtype == np.float32 and images.min() >= 0 and images.max() <= 1
        np.testing.assert_array_equal(images, b.train.take(rows).images)
        spread.append(images.std() / a.train.take(rows).images.std())
    assert spread[0] == 1 and spread[0] > spread[1] > spread[2]


def test_a_scanner_in_closed_form():
    images = np.zeros((1, 10, 10, 1), np.float32)
    images[:, :, 5:] = 1
    np.testing.assert_allclose(hospitals.acquired(images, contrast=0.5)[0, 0, [0, 9], 0], [0.25, 0.75])
    blurred = hospitals.acquired(images, blur=20)  # two pixels of ten
    assert np.all(np.diff(blurred[0, 0, :, 0]) > 0) and blurred.mean() == pytest.approx(0.5, abs=1e-6)
    with pytest.raises(BadParameter):
        hospitals.acquired(images, contrast=1.5)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"partition": "dirichlett"}, UnknownName),
        ({"hospitals": 0}, BadParameter),
        ({"hospitals": 1000}, BadParameter),
        ({"partition": "dirichlet", "dirichlet_alpha": 0}, BadParameter),
        ({"partition": "label_skew", "shards": 0}, BadParameter),
        ({"val_fraction": 1.0}, BadParameter),
    ],
)
def test_what_cannot_be_split(given, error):
    with pytest.raises(error):
        hospitals.split(patients(), **given)


def by_class(split):
    """Rows as a folder gives them back: class by class."""
    return split.take(np.argsort(split.labels, kind="stable"))


def test_written_and_read_again_is_the_same(tmp_path):
    found = hospitals.split(patients(), "dirichlet", 11)
    data.write_hospitals(found, tmp_path / "out", {"seed": 0})
    again = data.load_hospitals(tmp_path / "out", 6, channels=1)
    assert again.class_names == found.class_names and again.skipped == () and again.source == "folder"
    assert [m.name for m in again.members] == [m.name for m in found.members]  # 11 after 9, not after 1
    for a, b in zip(found.members, again.members, strict=True):
        for name in ("train", "val", "test"):
            if not len(getattr(a, name)):
                assert not len(getattr(b, name))
                continue
            mine, read = by_class(getattr(a, name)), getattr(b, name)
            np.testing.assert_array_equal(mine.images, read.images)
            np.testing.assert_array_equal(mine.labels, read.labels)
            np.testing.assert_array_equal(mine.groups, read.groups)
    np.testing.assert_array_equal(by_class(found.test).images, again.test.images)
    said = json.loads((tmp_path / "out" / "partition.json").read_text())
    assert said["source"] == "synthetic" and said["seed"] == 0


def test_nothing_is_overwritten_and_nothing_half_written_stays(tmp_path, monkeypatch):
    found = hospitals.split(patients())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(BadParameter, match="nothing is overwritten"):
        data.write_hospitals(found, tmp_path / "out")

    def full(*given, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space"):
        data.write_hospitals(found, tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def own_folder(root):
    """A reader's folder: two hospitals, pictures of many kinds, no table, no global test set."""
    random = np.random.default_rng(0)
    grey = random.integers(0, 256, (9, 7), np.uint8)
    colour = random.integers(0, 256, (12, 10, 3), np.uint8)
    pictures = {
        "HOSPITAL/north/train/ill/grey.png": Image.fromarray(grey),
        "HOSPITAL/north/train/ill/colour.jpg": Image.fromarray(colour),
        "HOSPITAL/north/train/well/deep.png": Image.fromarray(grey.astype(np.uint16) * 257),
        "HOSPITAL/north/val/well/palette.png": Image.fromarray(colour).quantize(16),
        "HOSPITAL/north/test/ill/clear.png": Image.fromarray(np.dstack([colour, colour[..., 0]])),
        "HOSPITAL/south/train/well/bits.png": Image.fromarray(grey > 99),
        "HOSPITAL/south/train/well/greyalpha.png": Image.fromarray(np.dstack([grey, grey])),
        "HOSPITAL/south/test/well/print.tiff": Image.fromarray(colour).convert("CMYK"),
    }
    for name, image in pictures.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(root / name)
    (root / "HOSPITAL/south/train/well/.DS_Store").write_bytes(b"hidden")
    return grey, colour


@pytest.mark.parametrize("channels", [1, 3])
def test_a_readers_folder_of_any_size_and_mode(tmp_path, channels):
    own_folder(tmp_path)
    found = data.load_hospitals(tmp_path, 8, channels=channels)
    assert found.class_names == ("ill", "well")
    rows = hospitals.table(found.members, found.class_names)
    assert [(r["hospital"], r["split"], r["ill"], r["well"]) for r in rows] == [
        ("north", "train", 2, 1), ("north", "val", 0, 1), ("north", "test", 1, 0),
        ("south", "train", 0, 2), ("south", "val", 0, 0), ("south", "test", 0, 1),
    ]  # fmt: skip
    assert len(found.test) == 2  # all test images together, where there is no global folder
    for split in (found.members[0].train, found.members[1].train, found.test):
        assert split.images.shape[1:] == (8, 8, channels) and split.images.dtype == np.float32
        assert split.images.min() >= 0 and split.images.max() <= 1


def test_pixels_of_each_mode(tmp_path):
    grey, colour = own_folder(tmp_path)
    read = {path.name: hospitals_picture(path) for path in tmp_path.rglob("*.*") if path.name[0] != "."}
    deep = read["deep.png"]
    np.testing.assert_allclose(deep[..., 0], grey / 255, atol=1e-6)  # Pillow's own conversion would give white
    np.testing.assert_allclose(read["grey.png"], np.repeat(grey[..., None], 3, axis=-1) / np.float32(255), atol=1e-6)
    # Transparent pixels are laid on black: colour times opacity.
    np.testing.assert_allclose(read["clear.png"], colour / 255 * colour[..., :1] / 255, atol=0.01)
    np.testing.assert_allclose(read["greyalpha.png"][..., 0], (grey / 255) ** 2, atol=0.01)
    np.testing.assert_array_equal(read["bits.png"][..., 0], grey > 99)


def hospitals_picture(path):
    from medtk.data.hospital_folders import picture

    return picture(path)


def spoil(root):
    """Two pictures that cannot be read: cut short, and no picture at all."""
    whole = (root / "HOSPITAL/north/train/ill/colour.jpg").read_bytes()
    (root / "HOSPITAL/north/train/ill/cut.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "HOSPITAL/south/train/well/notes.txt").write_text("call the patient")


def test_unreadable_files_are_named_and_refused(tmp_path):
    own_folder(tmp_path)
    spoil(tmp_path)
    with pytest.raises(CorruptFile, match=r"2 of the files.*cut\.jpg.*notes\.txt.*skip_unreadable=True"):
        data.load_hospitals(tmp_path, 8)


def test_unreadable_files_are_left_out_by_choice_and_listed(tmp_path):
    own_folder(tmp_path)
    whole = data.load_hospitals(tmp_path, 8)
    spoil(tmp_path)
    found = data.load_hospitals(tmp_path, 8, skip_unreadable=True)
    assert [name for name in ("cut.jpg", "notes.txt") if any(name in said for said in found.skipped)] == [
        "cut.jpg",
        "notes.txt",
    ]
    for a, b in zip(whole.members, found.members, strict=True):
        np.testing.assert_array_equal(a.train.images, b.train.images)
        np.testing.assert_array_equal(a.train.labels, b.train.labels)


def test_a_hospital_with_nothing_readable_is_named(tmp_path):
    own_folder(tmp_path)
    for path in (tmp_path / "HOSPITAL/south/train/well").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataUnavailable, match="south"):
        data.load_hospitals(tmp_path, 8, skip_unreadable=True)


def test_a_layout_that_is_not_there(tmp_path):
    with pytest.raises(DataUnavailable, match="train/<class>"):
        data.load_hospitals(tmp_path, 8)
    own_folder(tmp_path)
    (tmp_path / "HOSPITAL" / "empty").mkdir()
    with pytest.raises(DataUnavailable, match="none in empty"):
        data.load_hospitals(tmp_path, 8)


@pytest.mark.parametrize(
    ("name", "content"), [("partition.json", "[1"), ("partition.json", "[]"), ("manifest.csv", "a\n1")]
)
def test_a_damaged_table_is_named(tmp_path, name, content):
    own_folder(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(CorruptFile, match=name):
        data.load_hospitals(tmp_path, 8)


@pytest.mark.parametrize("given", [{"size": 0}, {"size": None}, {"size": 8, "channels": 2}])
def test_sizes_that_cannot_be(tmp_path, given):
    with pytest.raises(BadParameter):
        data.load_hospitals(tmp_path, **given)


def test_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, "load", lambda name, **given: patients())
    with pytest.raises(SystemExit) as stopped:
        cli.main(
            ["data", "hospitals", "--out", str(tmp_path / "out"), "--partition", "quantity_skew", "--hospitals", "2"]
        )
    assert stopped.value.code == 0 and "hospital_2" in capsys.readouterr().out
    assert len(list((tmp_path / "out" / "GLOBAL_TEST_DATASET").rglob("*.png"))) == 36
    with pytest.raises(SystemExit) as stopped:
        cli.main(["data", "hospitals", "--out", str(tmp_path / "out")])
    assert stopped.value.code == 2 and "nothing is overwritten" in capsys.readouterr().err


def test_the_official_test_images_are_208_a_hospital():
    """With the counts of the catalogue's card, not the pictures."""
    card = CATALOG["chest_xray"]
    images, labels = small_networks.images_and_labels(card.counts["test"], 2, (1, 1, 1))
    test = Split(images, labels, np.array([f"p{i // 2}" for i in range(len(labels))]))
    whole = Dataset("chest_xray", test, test.take([]), test, card.class_names, card, "synthetic", "0")
    found = hospitals.split(whole)
    assert [len(member.test) for member in found.members] == [208, 208, 208] and len(found.test) == 624
