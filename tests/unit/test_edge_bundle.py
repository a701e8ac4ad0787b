"""Bundles that are what their checksums say, and a registry that is never left between two states."""

import os
import signal
import subprocess
import sys
import time
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image
from small_networks import images_and_labels

from medtk import edge
from medtk.data import Split, files
from medtk.edge import browser, bundle, registry, small
from medtk.errors import BadParameter, CorruptFile, UnknownName

LABELS = ("a", "b")
ARCHITECTURE = small.Architecture(width=4, depth=2, size=16)


def network_file(folder, seed=0, shift=0.0):
    """A small network as a file that says each class to half of the images; shifted far, it always says the second."""
    model = small.build(ARCHITECTURE, 2, seed=seed)
    said = np.log(model.predict(images_and_labels(60, 2, (16, 16, 1))[0], verbose=0))
    model.get_layer("logits").bias.assign([np.median(said[:, 1] - said[:, 0]), shift])
    return edge.export(model, folder / f"network{seed}_{shift}.tflite"), model


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three bundles: of two networks, and of one that answers always the same."""
    folder = tmp_path_factory.mktemp("bundles")
    found = {}
    for version, seed, shift in (("1", 0, 0.0), ("2", 1, 0.0), ("3", 0, 100.0)):
        network, model = network_file(folder, seed, shift)
        file = folder / f"{version}.zip"
        bundle.write(file, network, name="chest", version=version, labels=LABELS, card={"data": "drawn"})
        found[version] = (file, model)
    return found


@pytest.fixture
def home(made, tmp_path):
    for version in made:
        registry.publish(tmp_path / "registry", made[version][0])
    return tmp_path / "registry"


@pytest.fixture(scope="module")
def pictures():
    random = np.random.default_rng(0)
    return [random.integers(0, 256, shape).astype(np.uint8) for shape in ((16, 16), (40, 24), (30, 50, 3))]


def test_a_bundle_answers_as_its_network(made, pictures, tmp_path):
    file, model = made["1"]
    found = bundle.load(file)
    assert (found.name, found.version, found.labels, found.size, found.channels) == ("chest", "1", LABELS, 16, 1)
    wanted = model.predict(bundle.prepared(pictures, 16, 1), verbose=0)
    np.testing.assert_allclose(found.predict(pictures), wanted, atol=1e-5)
    names = []
    for number, pixels in enumerate(pictures):
        names.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(names[-1])
    np.testing.assert_allclose(bundle.load(file).predict(names), wanted, atol=1e-5)
    assert found.answers(names)[2] == pytest.approx(dict(zip(LABELS, wanted[2], strict=True)), abs=1e-5)


def test_preparation_is_that_of_the_data_sets(pictures):
    from medtk import data

    grey, tall, colour = pictures
    np.testing.assert_array_equal(bundle.prepared([grey], 16, 1)[0, ..., 0], grey.astype(np.float32) / 255)
    np.testing.assert_array_equal(
        bundle.prepared([tall], 16, 1)[0], (data.resize(tall[None, ..., None], 16) / 255)[0].astype(np.float32)
    )
    luma = np.asarray(Image.fromarray(colour).convert("L"))
    np.testing.assert_array_equal(bundle.prepared([colour], 8, 1), bundle.prepared([luma], 8, 1))
    clear = np.concatenate([colour, np.zeros((*colour.shape[:2], 1), np.uint8)], axis=2)
    assert bundle.prepared([clear], 8, 1).max() == 0
    assert bundle.prepared([grey], 8, 3).shape == (1, 8, 8, 3)
    with pytest.raises(BadParameter, match="8-bit"):
        bundle.prepared([grey / 255], 8, 1)


def test_what_is_no_picture_and_what_is_no_name_is_refused(made, tmp_path):
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(CorruptFile, match=r"x\.png is not a picture"):
        bundle.load(made["1"][0]).predict([tmp_path / "x.png"])
    network, _ = network_file(tmp_path)
    with pytest.raises(BadParameter, match="version"):
        bundle.write(tmp_path / "x.zip", network, name="chest", version="../1", labels=LABELS, card={})
    with pytest.raises(BadParameter, match="2 labels"):
        bundle.write(tmp_path / "x.zip", network, name="chest", version="1", labels=("a",), card={})


def test_the_same_bundle_has_the_same_bytes(made, tmp_path):
    network, _ = network_file(tmp_path)
    for name in ("a.zip", "b.zip"):
        bundle.write(tmp_path / name, network, name="chest", version="1", labels=LABELS, card={"data": "drawn"})
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.parametrize(
    ("entry", "change", "words"),
    [
        ("network.tflite", lambda content: content[:-1] + bytes([content[-1] ^ 1]), "its network was changed"),
        ("bundle.json", lambda content: content.replace(b'"a"', b'"b"'), "its description was changed"),
        ("bundle.json", lambda content: content.replace(b'"format": 1', b'"format": 9'), "format 9"),
        ("bundle.json", lambda content: b"[]", "no model bundle"),
    ],
)
def test_a_changed_bundle_is_refused(made, tmp_path, entry, change, words):
    with zipfile.ZipFile(made["1"][0]) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents[entry] = change(contents[entry])
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    with pytest.raises(CorruptFile, match=words):
        bundle.load(tmp_path / "x.zip")


def test_a_truncated_or_absent_bundle_is_refused(made, tmp_path):
    whole = made["1"][0].read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 5):
        (tmp_path / "x.zip").write_bytes(whole[:size])
        with pytest.raises(CorruptFile):
            bundle.load(tmp_path / "x.zip")
    with pytest.raises(CorruptFile, match=r"y\.zip"):
        bundle.load(tmp_path / "y.zip")


def validation(model, n=60):
    """Images whose labels are what a network says of them."""
    images = images_and_labels(n, 2, (16, 16, 1))[0]
    # Half of each class, so that a constant answer is right on half of them.
    scores = model.predict(images, verbose=0)[:, 1]
    return Split(images, (scores > np.median(scores)).astype(np.int64))


def test_a_worse_update_is_refused_and_a_better_one_taken(home, made):
    always = made["3"][1]
    split = validation(made["1"][1])
    assert registry.versions(home) == ["1", "2", "3"] and registry.active_version(home) is None
    first = registry.update(home, "3", split)
    assert first.accepted and first.old is None and first.new == pytest.approx(0.5)
    better = registry.update(home, "1", split)
    assert better.accepted and better.new > better.old == pytest.approx(0.5)
    worse = registry.update(home, "3", split)
    assert not worse.accepted and "refused, it is worse" in worse.reason and worse.new < worse.old
    assert registry.active(home).version == "1"
    assert [event["event"] for event in registry.history(home)] == ["update", "update", "refuse"]
    lenient = registry.update(home, "3", split, margin=1.0)
    assert lenient.accepted and 0 <= lenient.p_value <= 1
    answers = registry.active(home).predict(split.images).argmax(axis=1)
    assert (answers == always.predict(split.images, verbose=0).argmax(axis=1)).all() and (answers == 1).all()


def test_roll_back_goes_back_step_by_step(home):
    with pytest.raises(BadParameter, match="no version before"):
        registry.roll_back(home)
    for version in ("1", "2", "3"):
        registry.activate(home, version)
    assert registry.roll_back(home, reason="complaints") == "2"
    assert registry.roll_back(home) == "1"
    with pytest.raises(BadParameter, match="no version before"):
        registry.roll_back(home)
    registry.activate(home, "3")
    assert registry.roll_back(home) == "1"
    assert registry.history(home)[3]["reason"] == "complaints"


def test_a_published_version_is_never_replaced(home, made, tmp_path):
    before = (home / "bundles" / "1.zip").read_bytes()
    registry.publish(home, made["1"][0])  # the same again changes nothing
    network, _ = network_file(tmp_path, 5)
    other = bundle.write(tmp_path / "x.zip", network, name="chest", version="1", labels=LABELS, card={})
    with pytest.raises(BadParameter, match="other content"):
        registry.publish(home, other)
    assert (home / "bundles" / "1.zip").read_bytes() == before
    stranger = bundle.write(tmp_path / "y.zip", network, name="skin", version="9", labels=LABELS, card={})
    with pytest.raises(BadParameter, match="folder of its own"):
        registry.publish(home, stranger)
    with pytest.raises(UnknownName, match="version"):
        registry.activate(home, "9")


def test_a_damaged_bundle_cannot_be_activated_and_can_be_left(home):
    registry.activate(home, "1")
    registry.activate(home, "2")
    path = home / "bundles" / "2.zip"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CorruptFile):
        registry.active(home)
    assert registry.roll_back(home) == "1" and registry.active(home).version == "1"
    with pytest.raises(CorruptFile):
        registry.activate(home, "2")
    assert registry.active(home).version == "1"
    (home / "state.json").write_text("{", encoding="utf-8")
    with pytest.raises(CorruptFile, match="activate a version again"):
        registry.active(home)


@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_a_full_disk_changes_nothing(home, monkeypatch, step):
    registry.activate(home, "1")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, step, full)
    with pytest.raises(OSError, match="No space"):
        registry.activate(home, "2")
    monkeypatch.undo()
    assert registry.active(home).version == "1"
    assert [path.name for path in home.iterdir() if path.name.startswith(".")] == []


def test_a_registry_survives_being_killed_at_any_moment(home):
    code = (
        "import sys, itertools\nfrom pathlib import Path\nfrom medtk.edge import registry\nhome = Path(sys.argv[1])\n"
        "print('go', flush=True)\n"
        "for n in itertools.count():\n    registry.activate(home, str(n % 3 + 1))\n"
        "    if n % 4 == 3: registry.roll_back(home)\n"
    )
    random = np.random.default_rng(0)
    lengths = []
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", code, str(home)], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "go\n"
        time.sleep(0.1 + 0.2 * random.random())
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert registry.active(home).version == registry.history(home)[-1]["active"]
        lengths.append(len(registry.history(home)))
    assert lengths == sorted(set(lengths)) and lengths[0] > 1  # it did something each time, and lost nothing


def test_weights_in_eight_bits_are_off_by_half_a_step_at_most():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 6)).astype(np.float32)
    kernel[..., 2] = 0
    q, scale = browser.quantized(kernel)
    assert q.dtype == np.int8 and np.abs(q).max() == 127 and scale[2] == 1
    assert (np.abs(q * scale - kernel) <= scale / 2 * 1.0001).all()


def test_the_script_holds_the_network_and_refuses_what_the_page_cannot_compute(made):
    model = made["1"][1]
    text = browser.script(model, classes=LABELS, about={"purpose": "test"})
    content = browser.read(text)
    assert [layer["kind"] for layer in content["layers"]] == [
        "conv",
        "pool",
        "conv",
        "pool",
        "mean",
        "dense",
        "softmax",
    ]
    with pytest.raises(BadParameter, match="changed"):
        browser.read(text.replace('"relu": true', '"relu": false'))
    shipped = browser.as_shipped(model)
    again = browser.as_shipped(shipped)
    for one, two in zip(shipped.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-6)
    separable = small.build(small.Architecture(width=4, depth=2, size=16, separable=True), 2)
    with pytest.raises(BadParameter, match="DepthwiseConv2D"):
        browser.script(separable, classes=LABELS, about={})
    with pytest.raises(BadParameter, match="a name for each class"):
        browser.script(model, classes=("a",), about={})
    headless = keras.Model(model.input, model.get_layer("logits").output)
    with pytest.raises(BadParameter, match="Softmax"):
        browser.script(headless, classes=LABELS, about={})


def test_the_family_has_the_sizes_that_it_says():
    plain = small.build(small.Architecture(width=8, depth=3, kernel=5, size=32), 3)
    assert plain.count_params() == (25 * 8 + 8) + (25 * 8 * 16 + 16) + (25 * 16 * 32 + 32) + (32 * 3 + 3)
    wide = small.build(small.Architecture(width=100, depth=2, size=16, separable=True), 2, channels=3)
    assert wide.get_layer("conv2").filters == 128 and wide.get_layer("depthwise2").depth_multiplier == 1
    for wrong in ({"width": 0}, {"depth": 7}, {"kernel": 2}, {"size": 4}):
        with pytest.raises(BadParameter, match="architecture"):
            small.Architecture(**wrong)
