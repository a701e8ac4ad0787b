"""Clients of two modalities: no image twice, no patient on both sides, the printed sizes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtk import data
from medtk.data import Dataset, Split, modalities
from medtk.errors import BadParameter, UnknownName

DATASETS = {"xray": "covid_xray_paper", "ultrasound": "pocus_paper"}


def films(name: str, patients: int = 12, frames: int = 5, side: int = 8) -> Dataset:
    """A data set whose pixel (0, 0) names the image: `frames` images of each patient, the first third sick."""
    n = patients * frames
    images = np.zeros((n, side, side, 1), np.float32)
    images[:, 0, 0, 0] = np.arange(n) / n
    groups = np.array([f"{name}-{i // frames}" for i in range(n)])
    whole = Split(images, (np.arange(n) // frames < patients / 3).astype(np.int64), groups)
    card = data.CATALOG["pocus_paper"]
    parts = np.split(np.arange(n), [n // 2, n // 2 + 5])
    return Dataset(name, *(whole.take(part) for part in parts), card.class_names, card, "mirror", "")


def made_of(datasets, by="frame", clients=2, seed=0):
    """Split and shared out: data sets by modality, clients, clients by modality."""
    split = {name: modalities.split(dataset, by, seed) for name, dataset in datasets.items()}
    members = modalities.share_out(split, by, clients, seed)
    return split, members, {name: [m for m in members if m.name.startswith(name)] for name in split}


def pair(**options) -> dict[str, Dataset]:
    return {"xray": films("xr", **options), "ultrasound": films("us", **options)}


@given(by=st.sampled_from(modalities.SPLITS), clients=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_every_image_is_in_one_place(by, clients, seed):
    datasets, members, mine = made_of(pair(), by, clients, seed)
    assert [m.name for m in members] == [f"{n}_{k + 1}" for n in ("xray", "ultrasound") for k in range(clients)]
    for modality, dataset in datasets.items():
        parts = [m.train.take(np.arange(len(m.train))) for m in mine[modality]]
        marks = np.concatenate([part.images[:, 0, 0, 0] for part in (*parts, dataset.test)])
        assert np.array_equal(np.sort(marks), np.arange(60, dtype=np.float32) / 60)
        assert all(len(part) for part in parts) and len(dataset.val) == 0
        # Labels travel with their images.
        for part in (*parts, dataset.test):
            assert np.array_equal(part.labels, np.round(60 * part.images[:, 0, 0, 0]) < 20)


@given(clients=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_by_patient_no_patient_is_in_two_places(clients, seed):
    datasets, members, _ = made_of(pair(), "patient", clients, seed)
    places = [set(m.train.groups) for m in members] + [set(d.test.groups) for d in datasets.values()]
    assert sum(map(len, places)) == len(set.union(*places)) == 24
    # Each client meets both classes.
    assert all(set(member.train.labels) == {0, 1} for member in members)


def test_by_frame_patients_are_on_both_sides():
    datasets, members, _ = made_of(pair())
    assert set(datasets["xray"].test.groups) & set(members[0].train.groups)


def test_a_fifth_of_each_class_is_tested():
    for by in modalities.SPLITS:
        test = modalities.split(films("us"), by, seed=3).test
        assert abs(len(test) - 12) <= 5
        assert set(test.labels) == {0, 1}
    assert np.bincount(modalities.split(films("us"), "frame").test.labels).tolist() == [8, 4]


def test_the_same_seed_gives_the_same_clients_and_another_seed_others():
    def drawn(seed):
        datasets, members, _ = made_of(pair(), "patient", 2, seed)
        return [m.train.index.tolist() for m in members], datasets["xray"].test.groups.tolist()

    assert drawn(1) == drawn(1) != drawn(2)


def test_the_joint_test_set_names_modalities():
    datasets = made_of(pair(), "patient")[0]
    test, modality = modalities.joined(datasets)
    for name, dataset in datasets.items():
        assert np.array_equal(test.images[modality == name], dataset.test.images)
        assert np.array_equal(test.groups[modality == name], dataset.test.groups)


def test_the_note_tells_the_split():
    assert "no patient is on both sides" in modalities.split(films("us"), "patient").note
    assert "single frames" in modalities.split(films("us"), "frame").note


def test_what_cannot_be_is_refused():
    for act in (lambda: modalities.split(films("us"), "film"), lambda: modalities.share_out(pair(), "film")):
        with pytest.raises(UnknownName, match="way to split"):
            act()
    for wrong in ({"xray": films("xr", side=8), "ultrasound": films("us", side=4)}, {}):
        with pytest.raises(BadParameter, match="same shape"):
            modalities.joined(wrong)
    with pytest.raises(BadParameter, match="cannot be shared"):
        modalities.share_out({"xray": modalities.split(films("xr"), "patient")}, "patient", 4)


@pytest.mark.filterwarnings("ignore:.*synthetic images take its place")
def test_stand_ins_have_the_same_form(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDTK_DATA", str(tmp_path))
    monkeypatch.setenv("MEDTK_CACHE", str(tmp_path / "cache"))
    loaded = {m: data.load(name, size=16, allow_synthetic=True) for m, name in DATASETS.items()}
    for by in modalities.SPLITS:
        datasets, members, _ = made_of(loaded, by)
        test, _ = modalities.joined(datasets)
        assert {dataset.source for dataset in datasets.values()} == {"synthetic"}
        assert set(test.labels) == {0, 1} and len(members) == 4
        assert len(set(test.groups)) == len(test)


def real() -> dict[str, Dataset]:
    missing = [name for name in DATASETS.values() if data.find(name).source == "missing"]
    if missing:
        pytest.skip(f"{', '.join(missing)} not on this machine: its real images are needed here.")
    return {m: data.load(name, size=8) for m, name in DATASETS.items()}


def test_real_sizes_are_those_of_table_1():
    made = {m: modalities.split(dataset, "frame") for m, dataset in real().items()}
    counts = {m: (np.bincount(d.train.labels).tolist(), np.bincount(d.test.labels).tolist()) for m, d in made.items()}
    assert counts == {"xray": ([1072, 179], [269, 44]), "ultrasound": ([116, 319], [30, 80])}


def test_real_patients_are_on_one_side():
    loaded = real()
    for seed in range(3):
        datasets, members, _ = made_of(loaded, "patient", 2, seed)
        tested = {group for dataset in datasets.values() for group in dataset.test.groups}
        assert not tested & {group for member in members for group in member.train.groups}
        assert all(set(split.labels) == {0, 1} for split in (*(d.test for d in datasets.values()),
                                                             *(m.train for m in members)))  # fmt: skip
