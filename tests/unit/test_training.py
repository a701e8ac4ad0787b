import dataclasses
import errno
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import small_networks

from medtk import models, training
from medtk.data import CATALOG, Dataset, Split
from medtk.errors import BadParameter, MedtkError
from medtk.settings import cache_home
from medtk.training import checkpoints, fitting, loop

SPEC = training.Spec("mobilenetv2", weights="random", epochs=3, batch_size=8)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(fitting.models, "build", small_networks.built_for_fit)


@pytest.fixture(scope="module")
def dataset():
    return small_networks.dataset()


@pytest.fixture(scope="module")
def whole(dataset, tmp_path_factory):
    """Fit that nothing interrupted, and its entry in the cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting.models, "build", small_networks.built_for_fit)
        patch.setenv("MEDTK_CACHE", str(tmp_path_factory.mktemp("whole")))
        return fit(dataset), entries()[0]


@pytest.fixture
def entry(whole):
    """Copy of that entry in this test's cache."""
    folder = cache_home() / "models"
    folder.mkdir(parents=True)
    return Path(shutil.copy(whole[1], folder))


def fit(dataset, spec=SPEC):
    return training.fit_or_load(spec, dataset, progress=False)


def entries():
    return sorted((cache_home() / "models").iterdir())


def assert_same(one, other):
    for a, b in zip(one.model.get_weights(), other.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(one.model.optimizer.variables, other.model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(one.history, other.history, strict=True):
        assert {k: v for k, v in a.items() if k != "seconds"} == {k: v for k, v in b.items() if k != "seconds"}


def test_learns_and_keeps_its_history(dataset):
    spec = dataclasses.replace(SPEC, epochs=10, learning_rate=0.02)
    fitted = fit(dataset, spec)
    assert [sorted(entry) for entry in fitted.history] == [["accuracy", "loss", "seconds"]] * 10
    assert fitted.history[-1]["loss"] < fitted.history[0]["loss"]
    assert fitted.seconds == sum(entry["seconds"] for entry in fitted.history) > 0


def test_second_call_comes_from_the_cache(dataset, whole, entry, monkeypatch):
    monkeypatch.setattr(loop, "fit_one_epoch", lambda *_, **__: pytest.fail("trained again"))
    again = fit(dataset)
    assert again.from_cache and not whole[0].from_cache
    assert again.history == whole[0].history and again.seconds == whole[0].seconds
    assert_same(whole[0], again)
    images = dataset.test.images
    np.testing.assert_array_equal(*(f.model.predict(images, verbose=0) for f in (whole[0], again)))


def test_same_seed_same_weights(dataset, whole):
    np.random.default_rng().random(5)
    keras.utils.set_random_seed(99)
    again = fit(dataset)
    assert not again.from_cache
    assert_same(whole[0], again)


def test_other_seed_other_weights(dataset, whole):
    other = fit(dataset, dataclasses.replace(SPEC, seed=1, epochs=1))
    assert not np.array_equal(whole[0].model.get_weights()[0], other.model.get_weights()[0])


def test_goes_on_after_an_interruption_as_if_there_were_none(dataset, whole, monkeypatch):
    train, epochs = loop.fit_one_epoch, []

    def interrupted(*given, epoch, **named):
        epochs.append(epoch)
        entry = train(*given, epoch=epoch, **named)
        if epochs == [0, 1]:
            raise KeyboardInterrupt
        return entry

    monkeypatch.setattr(loop, "fit_one_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(dataset)
    resumed = fit(dataset)
    # The second epoch was trained but not stored; it is done again.
    assert epochs == [0, 1, 1, 2] and not resumed.from_cache
    assert_same(whole[0], resumed)


def test_a_damaged_entry_is_set_aside_named_and_rebuilt(dataset, whole, entry, capsys):
    damaged = entry.read_bytes()[:-1]
    entry.write_bytes(damaged)
    again = fit(dataset)
    said = capsys.readouterr().err
    assert entry.name in said and "damaged" in said and said.count("\n") == 1
    assert [path.suffix for path in entries()] == [".corrupt", ".npz"]
    assert entry.with_suffix(".corrupt").read_bytes() == damaged
    assert not again.from_cache
    assert_same(whole[0], again)


@pytest.fixture
def network(whole):
    """Network of the whole fit with all its state set to zero, given back as it was."""
    model = whole[0].model
    state = [*model.weights, *model.optimizer.variables]
    before = [keras.ops.convert_to_numpy(v) for v in state]
    for variable in state:
        variable.assign(np.zeros(variable.shape, variable.dtype))
    yield model
    for variable, value in zip(state, before, strict=True):
        variable.assign(value)


def is_blank(model):
    return not any(np.any(keras.ops.convert_to_numpy(v)) for v in [*model.weights, *model.optimizer.variables])


@pytest.mark.parametrize("keep", [0, 3, 500, -300])
def test_a_truncated_entry_changes_nothing(entry, network, keep):
    entry.write_bytes(entry.read_bytes()[:keep])
    assert checkpoints.restore(entry, network) == []
    assert is_blank(network) and not entry.exists()


@pytest.mark.parametrize("part", ["weight", "optimizer"])
def test_an_entry_of_another_shape_changes_nothing(entry, network, part, capsys):
    stored = dict(np.load(entry))
    last = max(key for key in stored if key.startswith(part))
    np.savez(entry, **stored | {last: np.ones((2, 3))})
    assert checkpoints.restore(entry, network) == []
    assert is_blank(network)
    assert "not those of this network" in capsys.readouterr().err


def test_no_flipped_bit_is_taken_for_a_result(entry, network, whole):
    content = entry.read_bytes()
    random = np.random.default_rng(0)
    # Headers are where a flipped bit has the strangest effects: the first array's, and the directory at the end.
    places = [
        *range(0, 200, 7),
        *random.integers(0, len(content), 20),
        *range(len(content) - 150, len(content), 5),
    ]
    refused = 0
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(random.integers(8))
        entry.write_bytes(flipped)
        history = checkpoints.restore(entry, network)
        if history:  # a bit that no reader looks at, such as the time of writing
            assert history == whole[0].history
            np.testing.assert_array_equal(network.get_weights()[0], np.load(whole[1])["weight_0000"])
        else:
            refused += 1
    assert refused > len(places) / 3


def test_key_changes_with_every_field(dataset):
    others = {
        "network": "resnet50",
        "weights": "imagenet",
        "trainable": "head",
        "scaling": "network",
        "epochs": 5,
        "batch_size": 9,
        "learning_rate": 2e-3,
        "seed": 7,
    }
    assert set(others) == {field.name for field in dataclasses.fields(training.Spec)}
    keys = {fitting.key(dataclasses.replace(SPEC, **{name: value}), dataset) for name, value in others.items()}
    assert len(keys | {fitting.key(SPEC, dataset)}) == len(others) + 1


def test_key_changes_with_the_training_data_alone(dataset, monkeypatch):
    images, labels = dataset.train.images, dataset.train.labels
    brighter, turned = images.copy(), labels.copy()
    brighter[-1, -1, -1, -1] += 1e-6
    turned[0] = (turned[0] + 1) % 3
    changes = [
        {"train": Split(brighter, labels)},
        {"train": Split(images, turned)},
        {"train": Split(images[:-1], labels[:-1])},
        {"class_names": ("a", "b", "c", "d")},
    ]
    same = fitting.key(SPEC, dataset)
    keys = {fitting.key(SPEC, dataclasses.replace(dataset, **change)) for change in changes}
    assert len(keys | {same}) == len(changes) + 1
    assert fitting.key(SPEC, dataclasses.replace(dataset, name="x", test=dataset.train, note="y")) == same
    monkeypatch.setattr(fitting, "RECIPE", fitting.RECIPE + 1)
    assert fitting.key(SPEC, dataset) != same


def test_key_changes_with_the_bytes_of_the_starting_weights(dataset, tmp_path, monkeypatch):
    mirror = tmp_path / "weights" / models.weights.FILES["mobilenetv2"][1]
    mirror.parent.mkdir()
    monkeypatch.setenv("MEDTK_DATA", str(tmp_path))
    keys = set()
    for content in (b"one file", b"an other"):  # of one length
        mirror.write_bytes(content)
        keys.add(fitting.key(training.Spec("mobilenetv2", weights="mirror"), dataset))
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"network": "mobilenetv2"}, "4f5d0f3f46626fd37ebcd259d89ecaae"),
        (
            {
                "network": "densenet121",
                "trainable": "head",
                "scaling": "network",
                "epochs": 3,
                "batch_size": 8,
                "learning_rate": 0.01,
                "seed": 4,
            },
            "de1e6d63950e3768e57d222b5505c3b3",
        ),
    ],
)
def test_key_is_the_one_that_recorded_trainings_have(settings, name, monkeypatch):
    """If this fails, every training that anybody has in a cache is done again: raise RECIPE, or mend the key."""
    monkeypatch.setattr(keras, "__version__", "3.15.1")
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    images = (np.arange(4 * 8 * 8 * 3, dtype=np.float32) / 1000).reshape(4, 8, 8, 3)
    split = Split(images, np.array([0, 1, 2, 0]))
    card = CATALOG["breastmnist"]
    fixed = Dataset("small", split, split, split, ("a", "b", "c"), card, "synthetic", "0" * 64)
    assert fitting.key(training.Spec(weights="random", **settings), fixed) == name


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"epochs": -1}, {"batch_size": 0}]
    + [{"learning_rate": rate} for rate in (0, -1e-3, float("nan"), float("inf"))],
    ids=str,
)
def test_specs_that_make_no_sense(wrong):
    with pytest.raises(BadParameter, match="epochs"):
        training.Spec("mobilenetv2", **wrong)


def test_full_disk_keeps_the_old_file(whole, entry, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = entry.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MedtkError, match="No space left") as raised:
        checkpoints.save(entry, whole[0].model, [])
    assert str(entry) in str(raised.value)
    assert entries() == [entry] and entry.read_bytes() == before


def test_a_write_that_the_system_cuts_short(whole, entry):
    resource = pytest.importorskip("resource", reason="only Unix limits the size of a file")
    before, limits = entry.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(MedtkError, match="Cannot write the checkpoint"):
            checkpoints.save(entry, whole[0].model, [])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert entries() == [entry] and entry.read_bytes() == before


def test_a_cache_that_is_a_file(whole, tmp_path):
    (tmp_path / "blocked").write_text("")
    with pytest.raises(MedtkError, match="Cannot write the checkpoint"):
        checkpoints.save(tmp_path / "blocked" / "models" / "x.npz", whole[0].model, [])


def test_a_restarted_network_trains_as_a_new_one_does(monkeypatch, tmp_path):
    monkeypatch.setattr(models, "build", small_networks.built_for_fit)
    data = small_networks.dataset(40)
    first, second = (training.Spec("mobilenetv2", epochs=2, seed=seed) for seed in (1, 2))
    monkeypatch.setenv("MEDTK_CACHE", str(tmp_path / "apart"))
    alone = training.fit_or_load(second, data, progress=False).model
    monkeypatch.setenv("MEDTK_CACHE", str(tmp_path / "again"))
    used = training.fit_or_load(first, data, progress=False).model
    step = used.train_function
    again = training.fit_or_load(second, data, into=used, progress=False).model
    assert again is used and again.train_function is step is not None
    for one, other in zip(alone.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(alone.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, other)
