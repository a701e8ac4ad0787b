"""The experiments around a small network: tiny settings and whole records."""

import dataclasses

import numpy as np
import pytest
from small_networks import images_and_labels

from medtk.data import CATALOG, Dataset, Split
from medtk.edge import search, small
from medtk.errors import MedtkError
from medtk.lab import edge_lessons, edge_systems, edge_systems_recording, edge_systems_tables, session
from medtk.lab.edge_spec import Spec as TeacherSpec
from medtk.lab.hospital_spec import Spec as FederatedSpec
from medtk.reproduction import provenance, records

TINY = small.Architecture(width=12, depth=3, size=16)  # just large enough for eight bits to save something


def dataset(channels=1, n_classes=2, n=48, name="breastmnist", seed=0):
    """Grey images of 32 x 32 that a network can learn, marked synthetic."""
    splits = {}
    for shift, (key, size) in enumerate((("train", n), ("val", 24), ("test", 30))):
        images, labels = images_and_labels(size, n_classes, (32, 32, 1), seed=seed + shift)
        splits[key] = Split(np.repeat(images, channels, axis=-1), labels)
    names = tuple("abcdefg"[:n_classes])
    return Dataset(name, **splits, class_names=names, card=CATALOG[name], source="synthetic", sha256="0" * 64)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path / "results"))
    return session.Run("43", "scaled", 0)


def complete(run, record):
    """A record that is stored whole, with every number that it should have."""
    assert records.verify(run.home) == []
    assert record["paper"] == "lightweight" and "synthetic data" in record["deviations"]
    return record["metrics"]


def test_a_lesson_compares_five_networks_on_the_same_images(run, monkeypatch):
    grey = dataset(channels=3)
    teacher = TeacherSpec(dataset=grey.name, network="tiny", size=32, epochs=1)
    lesson = edge_lessons.Lesson(teacher, TINY, epochs=1, tune_epochs=1)
    made = edge_lessons.taught(grey, lesson, progress=False)
    record = edge_lessons.lesson_record(run, made, lesson, name="x-s0", runs=2)
    metrics = complete(run, record)
    assert {"teacher", "alone", "clean", "pruned", "int8", "cost-teacher", "cost-int8"} <= metrics.keys()
    assert {name: metrics[name]["n"] for name in ("teacher", "clean", "int8")} == dict.fromkeys(
        ("teacher", "clean", "int8"), 30
    )
    assert made.networks["distilled"].input_shape == (None, 16, 16, 1)
    assert metrics["cost-pruned"]["parameters"] < metrics["cost-distilled"]["parameters"]
    assert metrics["cost-int8"]["bytes"] < metrics["cost-pruned"]["bytes"] < metrics["cost-distilled"]["bytes"]
    shown = edge_systems_tables.compared(record, run.home).set_index("network")
    assert list(shown.index) == list(edge_systems_tables.ROWS["distillation"])
    assert list(shown["p beside small, alone"] == "–") == [False, True, False, False, False]
    assert shown.loc["teacher", "balanced"] == f"{metrics['teacher']['balanced_accuracy']:.1%}"
    assert f"{metrics['cost-pruned']['bytes'] / 1e3:,.0f}" == shown.loc["taught, then half the filters", "kB"]
    ledger = edge_systems_tables.recorded("distillation")
    assert len(ledger) == 5 and set(ledger["setting"]) == {"x"} and set(ledger["least to most"]) == {"–"}
    assert edge_systems_tables.recorded("search").empty
    here = record["hardware"]["processor"]
    assert set(ledger["ms an image"].str.extract(r"\((.*)\)$")[0]) == {here}
    monkeypatch.setattr(provenance, "hardware", lambda: record["hardware"] | {"processor": "another"})
    other = edge_lessons.lesson_record(run, made, lesson, name="x-s1", runs=2)
    (first, second) = (f"{one['metrics']['cost-teacher']['median_ms']:.3g}" for one in (record, other))
    assert edge_systems_tables.recorded("distillation")["ms an image"][0] == f"{first} ({here}); {second} (another)"
    start = [w.copy() for w in made.networks["alone"].get_weights()]
    again = edge_lessons.taught(grey, lesson, progress=False)
    for one, two in zip(start, again.networks["alone"].get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_search_is_recorded_with_its_rivals(run):
    data = dataset()
    budget = edge_systems.Budget(max_bytes=9000, max_macs=400_000, n_trials=5, population=2, search_epochs=1, epochs=1)
    space = search.Space(widths=(2, 4, 64), depths=(1, 2), kernels=(3,), sizes=(16, 32), separables=(False,))
    found = {way: edge_systems.searched(data, budget, space, sampler=way, progress=False) for way in search.SAMPLERS}
    record = edge_systems.search_record(run, data, budget, found, name="x-s0", runs=2, progress=False)
    metrics = complete(run, record)
    assert {"clean", "random", "by_hand", "cost-nsga2", "trials-random"} <= metrics.keys()
    best = edge_systems.best(found["nsga2"])
    assert record["parameters"]["chosen_nsga2"] == best.architecture.name
    assert best.quality == max(one.quality for one in found["nsga2"] if one.quality is not None)
    assert metrics["cost-nsga2"]["macs"] == best.price.macs <= budget.max_macs
    assert len(edge_systems_tables.compared(record, run.home)) == 3
    assert list(edge_systems_tables.candidates(found["nsga2"])["architecture"]) == [
        one.architecture.name for one in search.front(found["nsga2"])
    ]
    figure = edge_systems_tables.fronts(found, max_macs=budget.max_macs, dataset=data)
    assert "SYNTHETIC DATA" in [text.get_text() for text in figure.texts]
    steps = [line.get_ydata() for line in figure.axes[0].lines if len(line.get_ydata()) and line.get_linestyle() == "-"]
    assert all((np.diff(step) >= 0).all() for step in steps)
    with pytest.raises(MedtkError, match="within the limits"):
        edge_systems.best([dataclasses.replace(best, quality=None)])


def test_a_search_with_a_limit_of_time_says_what_was_measured_and_where(run, monkeypatch):
    monkeypatch.setattr(search, "milliseconds", lambda one, n_classes, *, channels: one.size * one.width / 16)
    data, numbers = dataset(), {"n_trials": 4, "population": 2, "search_epochs": 1, "epochs": 1}
    space = search.Space(widths=(2, 4), depths=(1,), kernels=(3,), sizes=(16,), separables=(False,))
    budget = edge_systems.Budget(max_ms=3.0, **numbers)
    found = {way: edge_systems.searched(data, budget, space, sampler=way, progress=False) for way in search.SAMPLERS}
    record = edge_systems.search_record(run, data, budget, found, name="x-s0", runs=2, progress=False)
    metrics = complete(run, record)
    assert record["parameters"]["max_ms"] == 3.0 and record["parameters"]["chosen_nsga2"] == "w2d1k3-16px"
    stored = records.load_predictions(record, run.home)
    for sampler, tried in found.items():
        np.testing.assert_array_equal(stored[f"timed-{sampler}/ms"], [one.ms for one in tried])
        np.testing.assert_array_equal(stored[f"timed-{sampler}/trained"], [one.ms <= 3 for one in tried])
    shown = edge_systems_tables.timed(record, run.home).set_index("search")
    assert shown.loc["nsga2", "over 3 ms"] == sum(one.ms == 4 for one in found["nsga2"]) > 0
    assert record["hardware"]["processor"] in shown.loc["random", "measured on"]
    assert list(edge_systems_tables.candidates(found["nsga2"])["ms"]) == ["2.000"]
    impossible = edge_systems.Budget(max_ms=1.0, **numbers)
    with pytest.raises(
        MedtkError, match=r"allow more .* or milliseconds, or more trials\. The quickest .* took 2 ms\."
    ):
        edge_systems.best(edge_systems.searched(data, impossible, space, progress=False))
    # Records and caches of searches without that limit stay what they were.
    plain = edge_systems.Budget(**numbers)
    assert "max_ms" not in plain.settings()
    free = {way: edge_systems.searched(data, plain, space, sampler=way, progress=False) for way in search.SAMPLERS}
    older = edge_systems.search_record(run, data, plain, free, name="y-s0", runs=2, progress=False)
    assert "max_ms" not in older["parameters"] and not any(name.startswith("timed") for name in older["metrics"])
    assert edge_systems_tables.timed(older, run.home).empty and "timed-nsga2" in metrics


def test_federated_and_transferred_networks_are_recorded(run):
    data = dataset(n=60)
    spec = FederatedSpec(network="small", size=32, rounds=2, hospitals=2, learning_rate=1e-3, partition="iid")
    architecture = dataclasses.replace(TINY, size=32)
    model, record = edge_systems.federated(run, data, architecture, spec, name="x-s0", progress=False)
    metrics = complete(run, record)
    assert {"clean", "centralised", "local", "traffic"} <= metrics.keys()
    # Two rounds, two hospitals, there and back, four bytes a weight.
    assert metrics["traffic"]["megabytes"] == pytest.approx(2 * 2 * 2 * 4 * model.count_params() / 1e6)
    stored = records.load_predictions(record, run.home)
    said = model.predict(data.test.images, verbose=0)
    np.testing.assert_allclose(stored["clean"].astype(np.float32), said, atol=1e-3)
    value, low, high = edge_systems_tables.interval(record, "clean", run.home)
    assert low <= value <= high and value == pytest.approx(metrics["clean"]["balanced_accuracy"])
    bars = edge_systems_tables.bars({"averaged": (value, low, high), "constant": (0.5, 0.5, 0.5)})
    assert [tick.get_text() for tick in bars.axes[0].get_yticklabels()] == ["averaged", "constant"]
    other = dataset(n_classes=3, name="dermamnist", seed=9)
    moved = edge_systems.transferred(run, data, other, TINY, name="y-s0", epochs=1, progress=False)
    assert {"clean", "head", "scratch"} <= complete(run, moved).keys()
    assert moved["parameters"]["from"] == "breastmnist" and moved["metrics"]["clean"]["n"] == 30


def test_what_does_not_run_under_a_limit_is_kept_as_a_finding(tmp_path, monkeypatch, capsys):
    from medtk import edge
    from medtk.edge import device

    monkeypatch.setitem(device.STAND_INS, "tiny", device.StandIn(1, 40, "40 MB of address space"))
    file = edge.export(small.build(TINY, 2), tmp_path / "x.tflite")
    found = edge_systems.limited({"small": file}, ["one_core", "tiny"], runs=2)
    assert found["small-one_core"]["threads"] == [1]
    assert found["small-one_core"]["runs"] == [1] and found["small-tiny"] == {"runs": [0]}
    assert "does not run with 40 MB" in capsys.readouterr().out
    shown = edge_systems_tables.times(found).set_index("network and limit")
    assert (
        shown.loc["small-tiny", "median ms"] == "does not run" and float(shown.loc["small-one_core", "median ms"]) > 0
    )


def test_the_recorder_skips_what_is_there_and_refuses_synthetic_images(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path))
    home = tmp_path / "lightweight" / "transfer"
    home.mkdir(parents=True)
    (home / "breastmnist-32px-e1-s0.json").write_text("{}", encoding="utf-8")
    edge_systems_recording.main(["transfer", "breastmnist", "--epochs", "1"])
    monkeypatch.setattr(session.Run, "load", lambda *_, **__: dataset())
    with pytest.raises(SystemExit, match="never recorded"):
        edge_systems_recording.main(["search", "breastmnist"])
