"""Exported files: they answer as the network does, they are really smaller, and a fresh process can weigh them."""

import keras
import numpy as np
import pytest
import small_networks
from keras import layers

from medtk import edge
from medtk.edge import exporting, runtime
from medtk.errors import BadParameter, CorruptFile, MedtkError, UnknownName

LEVELS = {"float32": 1e-5, "float16": 5e-3, "weights_int8": 0.03, "int8": 0.06, "weights_int4": 0.3}


@pytest.fixture(scope="module")
def model():
    network = small_networks.settled(3, seed=0)
    wide = layers.Dense(3, name="logits")(
        layers.Dense(64, activation="relu")(layers.Flatten()(network.layers[5].output))
    )
    return keras.Model(network.input, layers.Softmax()(wide))


@pytest.fixture(scope="module")
def images():
    return small_networks.images_and_labels(21, seed=3)[0]


@pytest.fixture(scope="module")
def files(model, images, tmp_path_factory):
    return edge.export_all(model, tmp_path_factory.mktemp("files"), [*LEVELS, "dynamic_int8"], calibration=images)


@pytest.mark.parametrize("recipe", LEVELS)
def test_a_file_answers_as_the_network_does(recipe, files, model, images):
    found, expected = edge.predict(files[recipe], images, batch_size=8), model.predict(images, verbose=0)
    np.testing.assert_allclose(found, expected, atol=LEVELS[recipe])
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_fewer_bits_make_a_smaller_file(files):
    sizes = [files[recipe].stat().st_size for recipe in ("float32", "float16", "weights_int8", "weights_int4")]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 4


def test_int8_has_whole_numbers_at_both_ends(files):
    network = edge.open_network(files["int8"])
    ends = network.get_input_details()[0], network.get_output_details()[0]
    assert {end["dtype"] for end in ends} == {np.int8}
    assert ends[1]["quantization"] == (pytest.approx(1 / 256), -128)


def test_the_number_of_images_in_a_step_changes_nothing(files, images):
    whole = edge.predict(files["int8"], images)
    np.testing.assert_array_equal(whole, edge.predict(files["int8"], images, batch_size=4))
    assert edge.predict(files["int8"], images[:0]).shape == (0, 3)


def test_a_recipe_that_saves_nothing_is_an_error(files, model, monkeypatch, tmp_path):
    monkeypatch.setattr(exporting, "_rewritten", lambda floats, recipe, calibration: floats)
    with pytest.raises(MedtkError, match="left the weights alone"):
        edge.export(model, tmp_path / "x.tflite", "weights_int4", float_file=files["float32"])
    assert not (tmp_path / "x.tflite").exists()
    exporting.must_have_shrunk(5_000, 2_999, weights=1_000, bits=0)
    with pytest.raises(MedtkError):
        exporting.must_have_shrunk(5_000, 3_001, weights=1_000, bits=0)


def test_recipes_that_cannot_be_are_refused(model, files, tmp_path):
    with pytest.raises(UnknownName, match="weights_int4"):
        edge.export(model, tmp_path / "x.tflite", "int4")
    with pytest.raises(BadParameter, match="calibration"):
        edge.export(model, tmp_path / "x.tflite", "int8", float_file=files["float32"])
    with pytest.raises(BadParameter, match="takes images"):
        edge.predict(files["float32"], np.zeros((1, 9, 9, 3), np.float32))
    with pytest.raises(BadParameter, match="threads"):
        edge.open_network(files["float32"], threads=0)


@pytest.mark.parametrize("content", [b"", b"no network", b"\x1c\x00\x00\x00TFL3" + bytes(40)])
def test_what_is_no_network_is_refused(content, tmp_path):
    file = tmp_path / "x.tflite"
    file.write_bytes(content)
    with pytest.raises(CorruptFile, match=r"x\.tflite holds no network"):
        edge.predict(file, np.zeros((1, 8, 8, 3), np.float32))


def test_a_fresh_process_weighs_the_network_and_not_its_parent(files):
    ballast = np.ones(400_000_000, np.uint8)  # of this process; a child's ru_maxrss would start from it
    found = edge.alone(files["int8"], repeats=2, runs=3)
    assert ballast[0] < found["before_mb"] < found["peak_mb"] < 300
    assert found["cold_ms"] > 0 and len(found["median_ms"]) == len(found["p95_ms"]) == 2


def test_a_process_that_fails_says_why(tmp_path):
    with pytest.raises(MedtkError, match="process of its own"):
        edge.alone(tmp_path / "none.tflite", repeats=1, runs=1)


def test_blocks_hold_medians_and_high_quantiles(monkeypatch):
    ticks = iter(np.cumsum([0, 1, 0, 2, 0, 30, 0, 4, 0, 5, 0, 6]) / 1e3)
    monkeypatch.setattr(runtime.time, "perf_counter", lambda: next(ticks))
    found = runtime.blocks(lambda: None, repeats=2, runs=3)
    assert found["median_ms"] == pytest.approx([2, 5])
    assert found["p95_ms"] == pytest.approx([27.2, 5.9])
