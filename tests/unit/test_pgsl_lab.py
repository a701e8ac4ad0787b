"""The experiments of paper 3: splits, cells, names, the records of tiny runs, and the tables made from them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_networks import images_and_labels

from medtk import split_learning as sl
from medtk.data import CATALOG, Dataset, Split
from medtk.errors import BadParameter, UnknownName
from medtk.evaluation import intervals
from medtk.lab import check_pgsl, pgsl, pgsl_images, pgsl_plots, pgsl_spec, pgsl_tables, session, tables
from medtk.lab.pgsl_spec import Spec
from medtk.reproduction import papers, records
from medtk.reproduction.quantities import one_answer


def dataset(name="mnist", n=24, groups=None):
    """Grey images of 16 pixels in two classes, the one brighter on the left."""
    random = np.random.default_rng(0)

    def split(size):
        labels = np.arange(size) % 2
        images = 0.3 * random.random((size, 16, 16, 1), np.float32)
        images[labels == 1, :, :8] += 0.5
        return Split(images, labels, None if groups is None else groups(size))

    return Dataset(name, split(n), split(4), split(10), ("a", "b"), CATALOG[name], "mirror", "0" * 64)


@pytest.fixture
def small(monkeypatch):
    """Networks of a few filters, so that a run takes seconds."""
    build = sl.build
    monkeypatch.setattr(sl, "build", lambda *a, **k: build(*a, **{"filters": 4, **k}), raising=False)


def test_splits_by_line_and_by_patient():
    whole = dataset("mias_paper", groups=lambda n: np.array([f"woman {k // 2}" for k in range(n)]))
    lines = pgsl_spec.prepared(whole, Spec(split="line"))
    patients = pgsl_spec.prepared(whole, Spec(split="patient"))
    assert len(patients.train) == 28 and len(patients.val) == 0 and len(lines.train) == 28
    np.testing.assert_array_equal(patients.test.images, whole.test.images)
    for found in (lines, patients):
        assert np.bincount(found.test.labels).tolist() == np.bincount(whole.test.labels).tolist()
    everything = np.sort(np.concatenate([lines.train.images, lines.test.images]), axis=None)
    before = np.concatenate([whole.train.images, whole.val.images, whole.test.images])
    np.testing.assert_array_equal(everything, np.sort(before, axis=None))
    again, other = (pgsl_spec.prepared(whole, Spec(split="line", seed=seed)) for seed in (0, 1))
    np.testing.assert_array_equal(again.test.images, lines.test.images)
    assert not np.array_equal(other.test.images, lines.test.images)
    part = pgsl_spec.prepared(dataset(), Spec(), n_train=10, n_test=6)
    assert (len(part.train), len(part.test)) == (10, 6)


def test_what_a_run_answers():
    found = dataset()
    rows = {cell["row"]: cell["predictions"] for cell in pgsl_spec.cells(found, Spec())}
    assert rows == {"S_r": "recovered", "S_f": "fused", "S_a": "attacked", "PGSL": "pgsl"}
    (cell,) = pgsl_spec.cells(found, Spec(images="cw"))
    assert (cell["row"], cell["column"], cell["predictions"]) == ("C&W [36]", "MNIST", "attacked")
    for other in (Spec(images="none"), Spec(cut=3), Spec(mu=0.1), Spec(split="patient")):
        assert pgsl_spec.cells(found, other) == []
    for entry in pgsl_spec.cells(found, Spec()):
        papers.load("pgsl").cell(entry["table"], entry["row"], entry["column"])


def test_names_and_deviations_tell_what_differs():
    found = dataset()
    assert pgsl_spec.record_name(found, Spec(seed=2)) == "mnist-n24-t10-pgsl-s2"
    assert pgsl_spec.record_name(found, Spec(images="jsma", epochs=4)) == "mnist-n24-t10-jsma-epochs4-s0"
    assert "24 of 60,000 training images" in pgsl_spec.deviations(Spec(), found)
    films = replace(found, name="mias_paper")
    said = pgsl_spec.deviations(Spec(split="patient", cut=4), films)
    assert "split by patient instead of by line" in said and "cut behind convolution 4 instead of 2" in said
    assert pgsl_spec.record_name(films, Spec(split="patient")).startswith("mias_paper-patient-")
    with pytest.raises(UnknownName, match="jsma"):
        Spec(images="jmsa")
    with pytest.raises(BadParameter, match="even"):
        Spec(size=27)
    odd = replace(found, train=Split(found.train.images[:, :7, :7], found.train.labels))
    with pytest.raises(BadParameter, match="even"):
        pgsl_spec.prepared(odd, Spec())


def test_records_of_the_method_and_of_networks_in_one_piece(small, tmp_path, monkeypatch):
    home = tmp_path / "results"
    monkeypatch.setenv("MEDTK_RESULTS", str(home))
    found, spec = dataset(), Spec(epochs=1, batch_size=12, guide_epochs=6)
    run = session.start("34", profile="scaled")
    made, record = pgsl.recorded(run, found, spec, progress=False)
    assert {"recovered", "fused", "attacked", "pgsl", "pgsl-guessed"} <= record["metrics"].keys()
    stored = records.load_predictions(record, home)
    fused = sl.adaptive_fusion(*(made.predictions[name] for name in sl.STREAMS))
    np.testing.assert_allclose(stored["pgsl"], fused, atol=2e-3)
    assert record["metrics"]["rounds"]["megabytes"] == pytest.approx(24 * (2 * 8 * 8 * 4 * 4 + 8) / 1e6, rel=1e-3)
    assert record["metrics"]["attack"]["mse"] > 0
    assert "random starting weights" not in " ".join(record["deviations"])
    # The same again comes out of the cache with the same answers.
    again, _ = pgsl.recorded(run, found, spec, progress=False)
    assert again.fit.from_cache and not made.fit.from_cache
    np.testing.assert_array_equal(again.predictions["pgsl"], made.predictions["pgsl"])

    jsma = pgsl.recorded(run, found, replace(spec, images="jsma"), progress=False)[1]
    plain = pgsl.recorded(run, found, replace(spec, images="none"), progress=False)[1]
    assert list(plain["metrics"])[:5] and {"unattacked", "jsma", "cw", "bim", "fgsm"} <= plain["metrics"].keys()
    assert jsma["metrics"]["attacked"]["n"] == 10 and plain["cells"] == []
    table = pgsl_tables.networks({"a": jsma, "b": plain})
    assert table.loc["b", "attacked, true label"] == "–" and "%" in table.loc["a", "attacked, guessed label"]
    commonest = f"{np.bincount(found.test.labels).max() / len(found.test):.1%}"
    for shown in (pgsl_tables.streams(record), table):
        assert shown.index[-1] == pgsl_tables.COMMONEST and set(shown.iloc[-1]) == {commonest}
    assert list(pgsl_tables.streams(record).index)[:-1] == ["S_r", "S_f", "S_a", "PGSL"]
    assert f"balanced {record['metrics']['pgsl']['balanced_accuracy']:.1%}" in pgsl_tables.streams(record).iloc[3, 0]
    assert record["parameters"]["recovery_steps"] == sl.EARLY["steps"] and "recovery_steps" not in jsma["parameters"]
    fgsm = pgsl_images.attacked(made.guide, found, replace(spec, images="fgsm"))
    guesses = made.guide.predict(found.test.images, verbose=0).argmax(axis=1)
    for one, attacked, guessed in zip(guesses == found.test.labels, fgsm.test, fgsm.guessed, strict=True):
        assert np.array_equal(attacked, guessed) == one
    assert len(pgsl_tables.under_attack(plain, {"jsma": "JSMA"})) == 2
    listed = pgsl_tables.recorded()
    assert set(listed["trained on"]) == {"pgsl", "jsma", "none"} and (listed["seeds"] == 1).all()
    assert set(listed[pgsl_tables.COMMONEST]) == {commonest}
    (line,) = pgsl_tables.against_none().to_dict("records")
    gain = record["metrics"]["pgsl-guessed"]["accuracy"] - plain["metrics"]["unattacked"]["accuracy"]
    assert line["no attack"] == f"{plain['metrics']['unattacked']['accuracy']:.1%}" and line["seeds"] == "0"
    sides = record["metrics"]["pgsl-guessed"], plain["metrics"]["unattacked"]
    shown = "–" if all(map(one_answer, sides)) else f"{100 * gain:+.1f} ["
    assert line["PGSL, guessed label, points"].startswith(shown)
    assert "of 3 recorded networks" in pgsl_tables.learned("mnist") and commonest in pgsl_tables.learned("mnist")
    assert "no network" in pgsl_tables.learned("mias_paper")
    assert records.verify(home) == []


def test_recovery_is_recorded_for_every_mu(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path))
    found = dataset()
    run = session.start("32", profile="scaled")
    images, record = pgsl_images.recovery(run, found, Spec(guide_epochs=6), progress=False)
    assert len(record["cells"]) == 10 and {cell["row"] for cell in record["cells"]} == {"MNIST"}
    error = ((np.clip(images["mu=0.55"], 0, 1) - images["plain"]) ** 2).mean()
    assert record["metrics"]["mu=0.55"]["mse"] == pytest.approx(error, rel=1e-4)
    assert record["metrics"]["map_taken_off"]["mse"] <= record["metrics"]["attacked"]["mse"]
    assert len(pgsl_tables.by_mu(record)) == 12
    hit = (images["attacked"] != images["plain"]).any(axis=(1, 2, 3))
    error = ((images["attacked"] - images["plain"])[hit] ** 2).mean()
    (line,) = pgsl_tables.touched().to_dict("records")
    assert line["touched"] == f"{hit.sum()} of {len(hit)}" and line["attacked image"] == f"{error:.4f}"
    figure = pgsl_plots.errors_by_mu({"a": record}, dataset=found)
    assert len(figure.axes[0].lines) == 4


def test_figures_are_drawn():
    points = pd.DataFrame(
        [
            ("none", 0, 0.9, 0.8),
            ("none", 1, 0.8, 0.8),
            ("none", 2, 0.1, 0.8),
            ("laplace 1", 0, 0.8, 0.5),
            ("laplace 1", 1, 0.8, 0.5),
            ("laplace 2", 0, 0.7, 0.4),
            ("laplace 2", 1, 0.5, 0.4),
        ],
        columns=["defence", "seed", "accuracy", "SSIM"],
    )
    axis = pgsl_plots.trade_off(points).axes[0]
    assert [text.get_text() for text in axis.texts] == ["1", "2"]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["none", "laplace"]
    # Seed 2 is drawn, and is in no mean: only one defence has it.
    assert any(0.1 in line.get_ydata() for line in axis.lines)
    centres = [tuple(np.round(container.lines[0].get_xydata()[0], 6)) for container in axis.containers]
    assert centres == [(0.8, 0.85), (0.5, 0.8), (0.4, 0.6)]
    bars = [path.vertices[:, 1] for path in axis.containers[2].lines[2][1].get_paths()]
    np.testing.assert_allclose(bars, [[0.5, 0.7]])
    apart = pgsl_plots.trade_off(points[(points["seed"] == 2) | (points["defence"] == "laplace 1")]).axes[0]
    assert len(apart.containers) == 0 and len(apart.get_legend().get_texts()) == 2
    assert pgsl_plots.trade_off(points.iloc[:0]) is not None
    images, _ = images_and_labels(3)
    assert len(pgsl_plots.rows({"a": images[..., :1], "b": images[..., :1] - 0.5}).axes) == 6
    assert len(pgsl_plots.learning({"a": [{"loss": 1.0}, {"loss": 0.5}]}).axes[0].lines) == 1


def defended(defense, seed, accuracy, ssim):
    found = {"accuracy": accuracy, "n": 300}
    return {
        "data": {"name": "mnist"},
        "seed": seed,
        "parameters": {"size": 28, "cut": 2, "n_train": 1500, "defense": defense, "strength": 0.0},
        "metrics": {"server": found, "decoder": {"ssim": ssim, "mse": 0.01}},
    }


def test_defences_are_compared_on_the_seeds_that_both_have():
    found = [defended("none", 0, 0.9, 0.99), defended("none", 1, 0.8, 0.98), defended("pgsl", 1, 0.85, 0.97)]
    points = pgsl_tables.trade_offs(found)
    assert points["seed"].tolist() == [0, 1, 1]
    none, whole = pgsl_tables.defences(points).to_dict("records")
    assert none["seeds"] == "0, 1" and none["accuracy"] == "85.0% (80.0% to 90.0%)"
    assert none["points beside none"] == "–"
    assert whole["points beside none"] == "+5.0" and whole["SSIM beside none"] == "-0.010"
    assert whole["accuracy"].startswith("85.0% [80.5%")  # Wilson's interval of one seed
    assert pgsl_tables.defences(pgsl_tables.trade_offs([])).empty


def test_a_mean_says_how_far_its_seeds_are_apart():
    assert tables.spread([], ".1f") == "–" and tables.spread([0.5], ".1f") == "0.5"
    assert tables.spread([0.5, 1.0], ".2f") == "0.75 (0.50 to 1.00)"
    low, high = intervals.over_seeds([1.0, 2.0, 6.0])
    assert tables.spread([1, 2, 6], ".2f") == f"3.00 [{low:.2f}, {high:.2f}]"
    assert tables.spread([1, 2, 6], ".2f", within=(0, 7)) == "3.00 [0.00, 7.00]"


def test_checks_tell_right_from_wrong(monkeypatch, capsys):
    monkeypatch.delenv("MEDTK_STRICT_CHECKS", raising=False)
    right = {
        check_pgsl.soft_threshold: lambda v, b: np.sign(v) * np.maximum(np.abs(v) - b, 0),
        check_pgsl.cheaper_split: lambda n, a, w: n * a < w,
        check_pgsl.on_both_sides: lambda a, b: np.isin(b, a).mean(),
        check_pgsl.fused_scores: lambda s, w: (w * s.max(axis=1)) / (w * s.max(axis=1)).sum() @ s,
        check_pgsl.undone: lambda t: sl.to_pixels(t[None])[0, ..., 0],
        check_pgsl.returned_gradient: None,
    }
    for check, answer in right.items():
        if answer:
            check(answer)
            assert capsys.readouterr().out == "Right.\n"
        check(lambda *given: 0.123)
        assert capsys.readouterr().out.startswith("Not yet")
