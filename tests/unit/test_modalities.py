"""Clients of two modalities: no image twice, no patient on both sides, the printed sizes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtk import data
from medtk.data import Dataset, Split, modalities
from medtk.errors import BadParameter, UnknownName


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


def pair(**options) -> dict[str, Dataset]:
    return {"xray": films("xr", **options), "ultrasound": films("us", **options)}


@given(by=st.sampled_from(modalities.SPLITS), clients=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_every_image_is_in_one_place(by, clients, seed):
    made = modalities.clients(pair(), by=by, clients_per_modality=clients, seed=seed)
    assert [member.name for member in made.members] == [
        f"{name}_{k + 1}" for name in ("xray", "ultrasound") for k in range(clients)
    ]
    for modality, dataset in made.datasets.items():
        own = [m.train for m in made.members if made.modality_of[m.name] == modality]
        marks = [share.take(np.arange(len(share))).images[:, 0, 0, 0] for share in own]
        test = made.test.images[made.modality == modality][:, 0, 0, 0]
        assert np.array_equal(np.sort(np.concatenate([*marks, test])), np.arange(60, dtype=np.float32) / 60)
        assert all(len(share) for share in own)
        # Labels travel with their images.
        for share in own:
            assert np.array_equal(
                share.labels, (np.round(60 * share.take(np.arange(len(share))).images[:, 0, 0, 0]) < 20)
            )
        assert len(dataset.val) == 0


@given(clients=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_by_patient_no_patient_is_in_two_places(clients, seed):
    made = modalities.clients(pair(), by="patient", clients_per_modality=clients, seed=seed)
    places = [set(member.train.groups) for member in made.members] + [set(made.test.groups)]
    assert sum(map(len, places)) == len(set.union(*places)) == 24
    # Each client meets both classes.
    assert all(set(member.train.labels) == {0, 1} for member in made.members)


def test_by_frame_patients_are_on_both_sides():
    made = modalities.clients(pair(), by="frame")
    assert set(made.test.groups) & set(made.members[0].train.groups)


def test_a_fifth_of_each_class_is_tested():
    for by in modalities.SPLITS:
        test = modalities.split(films("us"), by, seed=3).test
        assert abs(len(test) - 12) <= 5
        assert set(test.labels) == {0, 1}
    assert np.bincount(modalities.split(films("us"), "frame").test.labels).tolist() == [8, 4]


def test_the_same_seed_gives_the_same_clients_and_another_seed_others():
    def drawn(seed):
        made = modalities.clients(pair(), by="patient", seed=seed)
        return [member.train.index.tolist() for member in made.members], made.test.groups.tolist()

    assert drawn(1) == drawn(1) != drawn(2)


def test_the_tests_of_a_modality_are_shares_of_the_joint_test():
    made = modalities.clients(pair())
    for name, share in made.tests().items():
        assert np.array_equal(share.labels, made.datasets[name].test.labels)
        assert np.array_equal(share.groups, made.datasets[name].test.groups)
    assert all(member.test.index.tolist() == made.tests()[made.modality_of[member.name]].index.tolist()
               for member in made.members)  # fmt: skip


def test_names_tell_the_split():
    assert modalities.split(films("us"), "patient").name == "us-by-group"
    assert "no patient is on both sides" in modalities.split(films("us"), "patient").note
    assert modalities.split(films("us"), "frame").name == "us"


def test_what_cannot_be_is_refused():
    with pytest.raises(UnknownName, match="way to split"):
        modalities.split(films("us"), "film")
    with pytest.raises(BadParameter, match="same shape"):
        modalities.clients({"xray": films("xr", side=8), "ultrasound": films("us", side=4)})
    with pytest.raises(BadParameter, match="cannot be shared"):
        modalities.clients(pair(), by="patient", clients_per_modality=4)
    with pytest.raises(BadParameter, match="one modality"):
        modalities.clients({})


def test_the_least_source_counts():
    both = pair()
    assert modalities.clients(both).source == "mirror"
    assert (
        modalities.clients({**both, "ultrasound": replace(both["ultrasound"], source="synthetic")}).source
        == "synthetic"
    )


@pytest.mark.filterwarnings("ignore:.*synthetic images take its place")
def test_stand_ins_have_the_same_form(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDTK_DATA", str(tmp_path))
    monkeypatch.setenv("MEDTK_CACHE", str(tmp_path / "cache"))
    loaded = {m: data.load(name, size=16, allow_synthetic=True) for m, name in modalities.DATASETS.items()}
    for by in modalities.SPLITS:
        made = modalities.clients(loaded, by=by, clients_per_modality=2)
        assert made.source == "synthetic"
        assert set(made.test.labels) == {0, 1}
        assert len(set(made.test.groups)) == len(made.test)


def real() -> dict[str, Dataset]:
    missing = [name for name in modalities.DATASETS.values() if data.find(name).source == "missing"]
    if missing:
        pytest.skip(f"{', '.join(missing)} not on this machine: its real images are needed here.")
    return {m: data.load(name, size=8) for m, name in modalities.DATASETS.items()}


def test_real_sizes_are_those_of_table_1():
    made = {m: modalities.split(dataset, "frame") for m, dataset in real().items()}
    counts = {m: (np.bincount(d.train.labels).tolist(), np.bincount(d.test.labels).tolist()) for m, d in made.items()}
    assert counts == {"xray": ([1072, 179], [269, 44]), "ultrasound": ([116, 319], [30, 80])}


def test_real_patients_are_on_one_side():
    for seed in range(3):
        made = modalities.clients(real(), by="patient", seed=seed)
        trained = [set(member.train.groups) for member in made.members]
        assert not set(made.test.groups) & set.union(*trained)
        assert all(set(split.labels) == {0, 1} for split in (*made.tests().values(), *(m.train for m in made.members)))
