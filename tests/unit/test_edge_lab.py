"""The experiment of paper 4 from end to end on tiny networks, its tables, its figures, and the rules of its claims."""

import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import small_networks
from lightweight_records import made
from sklearn.metrics import precision_recall_fscore_support

from medtk import edge as room
from medtk import lab
from medtk.data import CATALOG, Dataset, Split
from medtk.errors import BadParameter, MedtkError
from medtk.evaluation import intervals
from medtk.lab import check_small, edge, edge_aims, edge_plots, edge_recording, edge_spec, edge_tables
from medtk.reproduction import provenance, records
from medtk.settings import results_home

SHAPE = (32, 32, 3)


def xrays(source="mirror"):
    splits = (Split(*small_networks.images_and_labels(n, 2, SHAPE, seed=s)) for s, n in enumerate((64, 8, 40)))
    card = CATALOG["chest_xray"]
    return Dataset("chest_xray", *splits, card.class_names, card, source, "0" * 64)


@pytest.fixture(autouse=True)
def homes(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("MEDTK_CACHE", str(tmp_path / "cache"))


def test_steps_of_a_form():
    assert edge_spec.steps("float") == []
    assert edge_spec.steps("tuned") == [("tuned", 0)]
    assert edge_spec.steps("filters0.5+sparse0.8") == [("filters", 0.5), ("sparse", 0.8)]
    for wrong in ("", "sparse", "qat8+", "floats", "filters0.5,qat8"):
        with pytest.raises(BadParameter, match="form"):
            edge_spec.steps(wrong)
    assert all(edge_spec.steps(form) is not None for form in edge_spec.PLAN)
    for wrong in ("sparse0.8+qat8", "filters0.5+sparse0.8+qat8", "sparse0.8+tuned", "sparse0.5+sparse0.8"):
        with pytest.raises(BadParameter, match="zeros once and last") as refusal:
            edge_spec.steps(wrong)
        assert edge_spec.steps(str(refusal.value).split(" as in ")[1].rstrip("."))  # what it advises is a form


def test_zeros_are_still_there_in_the_end():
    model = room.build("tiny", 2, input_shape=SHAPE, weights="random")
    with pytest.raises(MedtkError, match="zeros of"):
        edge.must_be_sparse(model, 0.5)
    for layer in room.prunable(model):
        layer.kernel.assign(layer.kernel * room.mask(layer.kernel, 0.5))
    edge.must_be_sparse(model, 0.5)


def test_calibration_sees_every_class_of_sorted_labels():
    labels = np.repeat([0, 1, 2], [500, 30, 3])
    split = Split(np.arange(533, dtype=np.float32).reshape(-1, 1, 1, 1), labels)
    seen = room.calibration(split, 40, seed=1).ravel().astype(int)
    assert np.bincount(labels[seen]).tolist() == [19, 18, 3]
    assert len(room.calibration(split, 1000)) == 533
    np.testing.assert_array_equal(seen, room.calibration(split, 40, seed=1).ravel())
    with pytest.raises(BadParameter, match="3 classes"):
        room.calibration(split, 2)


def test_a_recipe_that_fails_is_recorded_shown_and_not_tried_again(monkeypatch, capsys):
    spec = edge.Spec(network="tiny", size=32, epochs=1, batch_size=16)
    monkeypatch.setattr(edge_recording.session.Run, "load", lambda self, name, *, size: xrays())
    monkeypatch.setitem(edge_spec.PLAN, "float", ("float32", "int8"))

    def broken(start, made, recipe, file, *, measured=edge.measured):
        if recipe == "int8":
            raise MedtkError(f"{file} gives answers that are not numbers.")
        return measured(start, made, recipe, file, threads=(1,), repeats=1, runs=2)

    monkeypatch.setattr(edge, "measured", broken)
    edge_recording.record(spec, ["float"])
    assert "not numbers" in capsys.readouterr().out
    assert edge_recording.missing(spec, ["float"]) == {}
    (failed,) = edge_tables.recorded("chest_xray", failed=True)
    assert failed["parameters"]["failed"] == "float-int8.tflite gives answers that are not numbers."
    assert len(edge_tables.recorded("chest_xray")) == 1 and records.verify(results_home()) == []
    table = edge_tables.variants("chest_xray", "tiny")
    assert table.loc["float as int8", "accuracy"].startswith("failed: float-int8") and len(table) == 2
    assert table.loc["float as int8", "ms"] == "–"


def test_name_of_a_record_says_what_is_unusual():
    usual = edge.Spec()
    assert edge.record_name(usual, "qat8", "int8") == "chest_xray-mobilenetv2_035-100px-qat8-int8-s0"
    other = edge.Spec(epochs=2, weights="random", seed=3)
    assert edge.record_name(other, "float", "keras") == "chest_xray-mobilenetv2_035-random-100px-epochs2-float-keras-s3"


def test_from_training_to_the_tables(monkeypatch, tmp_path, capsys):
    spec = edge.Spec(network="tiny", size=32, epochs=3, tune_epochs=1, learning_rate=5e-3, batch_size=16)
    monkeypatch.setattr(edge_recording.session.Run, "load", lambda self, name, *, size: xrays())
    monkeypatch.setattr(edge, "measured", lambda *given, measured=edge.measured: measured(
        *given, threads=(1, 2) if given[2] == "float32" else (1,), repeats=1, runs=2))  # fmt: skip
    monkeypatch.setitem(edge_spec.PLAN, "float", ("float32", "int8"))
    monkeypatch.setitem(edge_spec.PLAN, "sparse0.8", ("float32",))
    forms = ["float", "sparse0.8", "filters0.5+qat8"]
    assert edge_recording.missing(spec, forms) == {
        "float": ["float32", "int8"], "sparse0.8": ["float32"], "filters0.5+qat8": ["int8"]
    }  # fmt: skip
    edge_recording.record(spec, forms)
    assert edge_recording.missing(spec, forms) == {}
    assert records.verify(results_home()) == []
    found = {
        (r["parameters"]["form"], r["parameters"]["recipe"]): r for r in edge_tables.recorded("chest_xray", "tiny")
    }
    assert set(found) == {
        ("float", "float32"),
        ("float", "int8"),
        ("sparse0.8", "float32"),
        ("filters0.5+qat8", "int8"),
    }
    sizes = {key: record["metrics"]["size"] for key, record in found.items()}
    sparse, whole = sizes["sparse0.8", "float32"], sizes["float", "float32"]
    assert sparse["bytes"] == whole["bytes"] and sparse["macs"] == whole["macs"]  # a zero saves nothing in the file
    assert sparse["shipped_bytes"] < sparse["bytes"]
    kilobytes = edge_tables.points(found.values()).set_index(["form", "recipe"])["kilobytes"]
    assert kilobytes["sparse0.8", "float32"] == sparse["deflated_bytes"] / 1e3  # the same format for every form
    assert found["sparse0.8", "float32"]["metrics"]["network"]["sparsity"] > 0.5
    assert sizes["filters0.5+qat8", "int8"]["macs"] < whole["macs"]
    assert {"clean", "noise", "blur", "jpeg", "fgsm"} <= set(found["float", "int8"]["metrics"])
    labels = records.load_predictions(found["float", "int8"], results_home())["labels"]
    np.testing.assert_array_equal(labels, xrays().test.labels)
    table = edge_tables.variants("chest_xray", "tiny")
    assert list(table.index)[-1] == "sparse0.8 as float32" and len(table) == 4
    assert table.loc["float as float32", "changed"] == "−0 +0, p 1"
    assert table.loc["float as int8", "ms, 2 threads"] == "–"
    assert edge_tables.conditions("chest_xray", "tiny").shape == (4, 5)
    measures = edge_tables.measures("chest_xray", "tiny")
    assert list(measures.columns) == ["accuracy", "precision", "recall", "F1"] and len(measures) == 4
    assert list(measures["recall"]) == [f"{r['metrics']['clean']['balanced_accuracy']:.1%}" for r in found.values()]
    assert list(edge_tables.by_class("chest_xray", "tiny", CATALOG["chest_xray"].class_names).columns) == [
        "normal",
        "pneumonia",
    ]
    names = CATALOG["chest_xray"].class_names
    each = edge_tables.per_class("chest_xray", "tiny", names)
    assert list(each.columns) == ["images", "precision", "recall", "F1"] and len(each) == 4 * 2
    for (form, recipe), record in found.items():  # from the stored predictions, by another library
        stored = records.load_predictions(record, results_home())
        peer = precision_recall_fscore_support(
            stored["labels"], stored["clean"].argmax(axis=1), labels=[0, 1], zero_division=0
        )
        lines = each.loc[f"{form} as {recipe}"]
        for what, expected in zip(("precision", "recall", "F1"), peer, strict=False):
            # A share of no images is a dash here and 0 there.
            shown = [0.0 if text == "–" else float(text.split("%")[0]) / 100 for text in lines[what]]
            np.testing.assert_allclose(shown, expected, atol=5.1e-4)
        assert [int(n) for n in lines["images"]] == peer[3].tolist()
    assert edge_tables.per_class("chest_xray", "tiny", names, ["int8"]).index.levels[0].tolist() == [
        "filters0.5+qat8 as int8",
        "float as int8",
    ]
    assert "filters0.5+qat8-int8" in capsys.readouterr().out
    edge_recording.record(spec, forms)
    assert capsys.readouterr().out == ""  # nothing was left to do
    plt.close(edge_plots.pareto(edge_tables.points(found.values()), floor=0.5, dataset=xrays("synthetic")))


def test_the_keras_file_holds_a_network_and_no_optimiser(tmp_path):
    model = small_networks.classifier()
    model.compile("adam", "sparse_categorical_crossentropy")
    images, labels = small_networks.images_and_labels()
    model.fit(images, labels, verbose=0)
    file = edge.files(None, edge.Formed("float", model, 0.0), ["keras"], tmp_path)["keras"]
    stored = keras.saving.load_model(file)
    assert not stored.compiled
    np.testing.assert_allclose(stored(images), model(images), atol=1e-6)


def test_synthetic_images_are_never_recorded(monkeypatch, tmp_path):
    monkeypatch.setattr(edge_recording.session.Run, "load", lambda self, name, *, size: xrays("synthetic"))
    with pytest.raises(Exception, match="never recorded"):
        edge_recording.record(edge.Spec(network="tiny", size=32), ["float"])
    with pytest.raises(SystemExit, match="form"):
        edge_recording.main(["chest_xray", "--networks", "tiny", "--size", "32", "--forms", "sparse"])


def test_aims_are_judged_against_the_wide_float_network():
    made(kb=9000, right=900, n=1000)
    made(recipe="keras", kb=9500, ms=8, right=900, n=1000)
    made(recipe="int8", kb=400, ms=2, right=900, n=1000, network="mobilenetv2_035")
    made(recipe="weights_int4", kb=300, ms=1, right=880, n=1000, network="mobilenetv2_035")
    made(recipe="dynamic_int8", kb=300, ms=1, right=890, n=1000, network="mobilenetv2_035")
    made(recipe="float16", kb=4500, ms=2, right=900, n=1000)
    table = edge_aims.targets()
    found = table[["recipe", "met", "open"]].to_numpy().tolist()
    # Ten images less are a point, and on other images half a point or two.
    assert found == [["int8", "4 of 4", 0], ["dynamic_int8", "2 of 4", 2], ["weights_int4", "2 of 4", 0]]
    assert table["times smaller"].tolist() == ["22.5", "30.0", "30.0"]
    assert table["points lost"].tolist()[0] == "+0.0 [+0.0, +0.0]"
    assert table["points lost"].tolist()[2].startswith("+2.0 [+1.")
    made(kb=4000, right=970, n=1000, network="mobilenetv2_035")  # a better float network than the yardstick
    table = edge_aims.targets()
    assert [text.split()[0] for text in table["below the best"]] == ["+7.0", "+8.0", "+9.0"]
    assert table["met"].tolist()[0] == "3 of 4"
    shown = edge_aims.yardsticks()
    assert shown["network"].tolist() == ["MobileNetV2 of width 0.35", "MobileNetV2"]
    assert shown["right"].tolist() == ["485 of 500, 485 of 500", "450 of 500, 450 of 500"]
    assert edge_aims.yardsticks("dermamnist").empty


def test_what_was_trained_on_meets_no_aim_beside_a_network_that_was_not():
    made(kb=9000, right=900, n=1000)
    made(recipe="keras", kb=9500, ms=8, right=900, n=1000)
    made("qat8", "int8", kb=400, ms=1, right=990, n=1000, network="mobilenetv2_035")
    made("filters0.5+qat8", "int8", kb=300, ms=1, right=990, n=1000, network="mobilenetv2_035")

    def shown():
        table = edge_aims.targets().set_index("form")[["points lost", "below the best", "met", "open"]]
        return {form: line.tolist() for form, line in table.iterrows()}

    assert shown() == {form: ["–", "–", "2 of 4", 2] for form in ("qat8", "filters0.5+qat8")}
    made("tuned", kb=9000, right=970, n=1000)
    assert shown()["qat8"][2:] == ["4 of 4", 0] and shown()["qat8"][0].startswith("-2.0 [")
    assert shown()["filters0.5+qat8"][0] == "–"  # two steps trained on twice as long
    made("tuned+tuned", kb=9000, right=999, n=1000)
    assert shown()["filters0.5+qat8"][0].startswith("+0.9 [") and shown()["filters0.5+qat8"][2:] == ["2 of 4", 2]


def test_times_of_a_table_are_of_one_kind_of_processor(monkeypatch):
    here = provenance.hardware()
    made(ms=2), made(ms=4, seed=1), made(recipe="int8", ms=1)
    monkeypatch.setattr(provenance, "hardware", lambda: here | {"processor": "another"})
    made(ms=100, seed=2), made(recipe="float16", ms=100)
    table = edge_tables.points(edge_tables.recorded("chest_xray")).set_index("recipe")
    assert table["ms"].dropna().to_dict() == {"float32": 3, "int8": 1}
    assert set(table["processor"]) == {here["processor"]} and table.loc["float32", "seeds"] == 3
    shown = edge_tables.variants("chest_xray", "mobilenetv2")
    assert shown.loc["float as float16", "ms"] == "–" and set(shown["measured on"]) == {here["processor"]}


def test_each_class_has_its_share_and_its_interval_over_seeds():
    for seed, right in enumerate((80, 90)):  # of 100: one wrong answer in two is of either class
        made(right=right, seed=seed, network="tiny")
    table = edge_tables.per_class("chest_xray", "tiny", ("normal", "pneumonia"))
    low, high = intervals.wilson(42.5, 50)
    assert table.loc[("float as float32", "normal"), "recall"] == f"85.0% [{low:.1%}, {high:.1%}]"
    low, high = intervals.f1(42.5, 50, 50)
    assert table["F1"].tolist() == [f"85.0% [{low:.1%}, {high:.1%}]"] * 2
    assert edge_tables.per_class("dermamnist", "tiny", "abcdefg").empty
    with pytest.raises(ValueError, match="longer"):  # a name for each class, or they would be mixed up
        edge_tables.per_class("chest_xray", "tiny", ["normal"])


def test_the_page_says_how_steady_times_are():
    made(ms=1)
    assert "No two files" in edge_tables.steadiness()
    made("tuned", ms=0.8, mb=11)
    assert "up to 1.25 in time and 1.10 in memory" in edge_tables.steadiness()


def test_a_frontier_holds_what_nothing_beats():
    table = pd.DataFrame({"kilobytes": [5, 1, 3, 3, 4], "balanced_accuracy": [0.9, 0.6, 0.8, 0.7, 0.8]})
    found = edge_plots.frontier(table, "kilobytes")
    assert found["kilobytes"].tolist() == [1, 3, 5] and found["balanced_accuracy"].tolist() == [0.6, 0.8, 0.9]


def test_figures_are_drawn():
    kernel = np.random.default_rng(0).standard_normal((3, 3, 4, 1))
    p = np.eye(2)[[0, 1, 1]]
    for figure in (
        edge_plots.rounding(kernel, {4: np.array(room.rounded_weights(kernel.astype(np.float32), 4))}),
        edge_plots.bars({"a": [1, 2], "b": [2, 3]}, ["x", "y"], "kB", log=True),
        edge_plots.schedule([0, 1], {"a": [0, 0.5]}),
        edge_plots.sides(p, {"int8": p[::-1]}, np.array([0, 1, 1])),
    ):
        assert figure.axes
        plt.close(figure)


def test_empty_ledger_gives_empty_tables():
    assert edge_tables.variants("chest_xray", "tiny").empty and edge_aims.targets().empty
    assert lab.edge_tables.points([]).empty


def test_exercises_take_right_answers_and_no_others(monkeypatch):
    monkeypatch.setenv("MEDTK_STRICT_CHECKS", "1")
    right = {
        check_small.scale_and_zero: lambda a, b, n: ((b - a) / (2**n - 1), round(-a * (2**n - 1) / (b - a))),
        check_small.stored_bytes: lambda h, w, i, o, b: h * w * i * o * b / 8 + 4 * o,
        check_small.share_of_zeros: lambda t, n, f: f * (1 - max(1 - t / n, 0) ** 3),
        check_small.break_even: lambda bits: 1 / bits,
    }
    wrong = {
        check_small.scale_and_zero: lambda a, b, n: ((b - a) / 2**n, 0),
        check_small.stored_bytes: lambda h, w, i, o, b: h * w * i * o * b / 8,
        check_small.share_of_zeros: lambda t, n, f: f * t / n,
        check_small.break_even: lambda bits: 0.5,
    }
    for check, answer in right.items():
        check(answer)
        with pytest.raises(AssertionError, match="Not yet"):
            check(wrong[check])
    for rounded in (np.ceil, np.floor):
        with pytest.raises(AssertionError, match="Not yet"):
            check_small.scale_and_zero(
                lambda a, b, n, rounded=rounded: ((b - a) / (2**n - 1), rounded(-a * (2**n - 1) / (b - a)))
            )
