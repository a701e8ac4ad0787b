"""The reader's own hospitals: as they were written, they come back; what cannot be audited is refused in a sentence."""

import json

import numpy as np
import pytest
import small_networks
from PIL import Image

from medtk import data, lab
from medtk.data import CATALOG, Dataset, Split, hospitals
from medtk.errors import BadParameter, CorruptFile, DataUnavailable, MedtkError
from medtk.lab import hospital, hospital_audit, hospital_own
from medtk.reproduction import answers, records
from medtk.runner import fingerprint
from medtk.settings import cache_home, results_home

CLASSES = ("well", "ill")


def collection(n=40, n_test=30, n_classes=2, source="mirror"):
    """Images of whole grey values, so that a PNG holds them exactly; two images a patient."""
    splits = []
    for seed, size in enumerate((n, 6, n_test)):
        images, labels = small_networks.images_and_labels(size, n_classes, seed=seed)
        images = (np.rint(images * 255) / np.float32(255)).astype(np.float32)
        splits.append(Split(images, labels, np.array([f"p{seed}-{i // 2}" for i in range(size)])))
    names = (*CLASSES, "other")[:n_classes]
    return Dataset("small", *splits, names, CATALOG["chest_xray"], source, "0" * 64)


@pytest.fixture
def folder(tmp_path):
    shared = hospitals.split(collection(), "quantity_skew", 3, seed=1)
    data.write_hospitals(shared, tmp_path / "own")
    return tmp_path / "own"


def run(profile="paper"):
    return lab.start("51", profile=profile)


def ordered(split):
    """Rows in the order of their pixels: a folder does not keep the order."""
    taken = split.take(np.arange(len(split)))
    return taken.take(np.lexsort(taken.images.reshape(len(taken), -1).T))


def test_what_was_written_is_what_is_audited(folder, capsys):
    shared = hospitals.split(collection(), "quantity_skew", 3, seed=1)
    dataset, found = hospital_own.read(run(), str(folder), 8)
    assert dataset.class_names == CLASSES and [m.name for m in found.members] == [m.name for m in shared.members]
    for mine, theirs in zip(found.members, shared.members, strict=True):
        for part in ("train", "test"):
            a, b = ordered(getattr(mine, part)), ordered(getattr(theirs, part))
            np.testing.assert_array_equal(a.images, b.images)
            np.testing.assert_array_equal(a.labels, b.labels)
    # The test images of all, each once, are those that the hospitals' shares point at.
    rows = np.concatenate([member.test.index for member in found.members])
    np.testing.assert_array_equal(rows, np.arange(len(dataset.test)))
    patients = hospital_audit.patients_of(found.members)
    assert [len(set(patients[f"hospital {k}"])) for k in (1, 2, 3)] == [
        len(set(member.test.groups)) for member in shared.members
    ]
    said = capsys.readouterr().out
    assert "folder data" in said and "'ill' counts as ill" in said


def test_records_are_named_and_stay_out_of_the_ledger(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path / "results"))
    (folder / "HOSPITAL" / "hospital_2").rename(folder / "HOSPITAL" / "north-1")
    (folder / "manifest.csv").unlink()
    begun = run()
    dataset, shared = hospital_own.read(begun, str(folder), 8)
    spec = hospital.Spec(partition="folder", network="small", size=8, rounds=1, learning_rate=1e-2)
    model = small_networks.classifier(2)
    _, found = hospital.recorded(begun, dataset, spec, model, members=shared.members, progress=False)
    assert begun.home == cache_home() / "records" and not results_home().exists()
    stored = records.read_all(begun.home)
    assert len(stored) == 4 and all(record["cells"] == [] for record in stored)
    assert answers.counted(stored) == []
    groups = hospital_audit.groups(found, begun.home)
    assert list(groups) == ["hospital 1", "hospital 3", "north-1"]
    assert [len(labels) for labels, _ in groups.values()] == [len(member.test) for member in shared.members]
    assert list(lab.hospital_tables.by_class(found).index) == ["all images", *groups]
    assert hospital_audit.patients_of(shared.members) is None


def test_images_that_medtk_drew_stay_synthetic(tmp_path, capsys):
    shared = hospitals.split(collection(source="synthetic"), "iid", 2)
    data.write_hospitals(shared, tmp_path / "own")
    dataset, _ = hospital_own.read(run(), str(tmp_path / "own"), 8)
    assert dataset.is_synthetic and "SYNTHETIC DATA" in capsys.readouterr().out


def nothing(folder):
    for path in (folder / "HOSPITAL").rglob("*.png"):
        path.unlink()


def untested(folder):
    for path in (folder / "HOSPITAL" / "hospital_2" / "test").rglob("*.png"):
        path.unlink()


def alone(folder):
    for name in ("hospital_2", "hospital_3"):
        (folder / "HOSPITAL" / name).rename(folder / name)


def third_class(folder):
    place = folder / "HOSPITAL" / "hospital_1" / "train" / "unclear"
    place.mkdir()
    Image.new("L", (8, 8)).save(place / "0.png")
    (folder / "partition.json").unlink()


def reserved(folder):
    (folder / "HOSPITAL" / "hospital_1").rename(folder / "HOSPITAL" / "clean")


def spoilt(folder):
    next((folder / "HOSPITAL" / "hospital_1" / "train").rglob("*.png")).write_bytes(b"no picture")


def half_written(folder):
    (folder / "partition.json").write_text('{"class_names": ')


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (nothing, DataUnavailable, "pictures in it; none in hospital_1, hospital_2, hospital_3"),
        (untested, DataUnavailable, "No test image of hospital_2: each hospital needs some"),
        (alone, BadParameter, "holds hospital_1 only"),
        (third_class, BadParameter, r"two class folders, not 3 \(ill, unclear, well\)"),
        (reserved, BadParameter, "cannot be called 'clean'"),
        (spoilt, CorruptFile, "cannot be read as pictures"),
        (half_written, CorruptFile, "partition.json"),
    ],
)
def test_what_cannot_be_audited_is_refused_in_a_sentence(folder, spoil, kind, words):
    spoil(folder)
    with pytest.raises(kind, match=words) as caught:
        hospital_own.read(run(), str(folder), 8)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_pictures_are_left_out_by_choice(folder, capsys):
    spoilt(folder)
    dataset, shared = hospital_own.read(run(), str(folder), 8, skip_unreadable=True)
    assert len(shared.skipped) == 1 and f"Left out: {shared.skipped[0]}" in capsys.readouterr().out
    assert len(dataset.train) + len(dataset.val) == 45


def test_a_record_of_own_images_answers_no_cell(folder, tmp_path):
    begun = run()
    dataset, _ = hospital_own.read(begun, str(folder), 8)
    labels = dataset.test.labels
    cell = {"table": "1", "row": "Global Model", "column": "Accuracy", "predictions": "clean"}
    with pytest.raises(MedtkError, match="own images and cannot answer"):
        begun.record(
            dataset, "small", experiment="rounds", paper="hospital", name="a", cells=[cell], parameters={},
            predictions={"clean": np.eye(2)[labels]}, seconds=0,
        )  # fmt: skip


def test_a_page_ages_when_the_folder_changes(folder):
    before = fingerprint.own_files(folder)
    assert before == fingerprint.own_files(folder) and len(before) > 80
    next(folder.rglob("*.png")).unlink()
    assert fingerprint.own_files(folder) != before
    assert json.dumps(before)
