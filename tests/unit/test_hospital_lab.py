from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import small_networks

from medtk import federated, lab, models
from medtk.data import CATALOG, Dataset, Split, hospitals
from medtk.errors import UnknownName
from medtk.evaluation import fairness
from medtk.lab import hospital, hospital_audit, hospital_plots, hospital_recording, hospital_spec, hospital_tables
from medtk.reproduction import compare, papers, records
from medtk.settings import results_home

SPEC = hospital.Spec(partition="iid", network="small", size=8, rounds=2, learning_rate=1e-2, batch_size=8)
NAMES = ["hospital_1", "hospital_2", "hospital_3"]


def xrays(source="mirror", n=36, n_test=30):
    train, val, test = (
        Split(*small_networks.images_and_labels(size, 2, seed=seed)) for seed, size in enumerate((n, 6, n_test))
    )
    card = CATALOG["chest_xray"]
    return Dataset("chest_xray", train, val, test, card.class_names, card, source, "0" * 64)


@pytest.fixture(scope="module")
def model():
    return small_networks.classifier(2)


@pytest.fixture
def ledger(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("MEDTK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "results"


def run(spec=SPEC, profile="paper"):
    return lab.start("51", seed=spec.seed, profile=profile)


def test_unknown_ways_are_refused():
    with pytest.raises(UnknownName, match="fedavg"):
        hospital.Spec(way="fedavgg")


def test_the_usual_settings_are_the_studys():
    assert hospital_spec.deviations(hospital.Spec()) == [] and hospital_spec.literal(hospital.Spec())
    assert hospital_recording.profile(hospital.Spec(rounds=20)) == "paper"
    for change in ({"network": "small"}, {"size": 64}, {"rounds": 3}, {"local_epochs": 2}, {"learning_rate": 1e-3},
                   {"n_train": 600}):  # fmt: skip
        assert len(hospital_spec.deviations(hospital.Spec(**change))) == 1, change
        assert hospital_recording.profile(hospital.Spec(**change)) == "scaled"
    for change in (
        {"way": "local"},
        {"partition": "iid"},
        {"dirichlet_alpha": 1.0},
        {"hospitals": 4},
        {"n_train": 600},
    ):
        assert not hospital_spec.literal(hospital.Spec(**change)), change


def test_whatever_changes_a_run_changes_its_name():
    changes = [{}, {"way": "local"}, {"partition": "iid"}, {"dirichlet_alpha": 1.0}, {"hospitals": 4}, {"seed": 1}]
    changes += [{"network": "small"}, {"weights": "random"}, {"size": 64}, {"rounds": 10}, {"local_epochs": 2}]
    changes += [{"batch_size": 16}, {"learning_rate": 1e-3}, {"n_train": 600}]
    names = {hospital_spec.record_name(hospital.Spec(**change)) for change in changes}
    assert len(names) == len(changes)
    assert hospital_spec.record_name(hospital.Spec()) == "dirichlet0.5-fedavg-efficientnetv2s-100px-all-s0"


def test_every_cell_of_the_study_is_answered_once_by_its_own_metric():
    data, answered = xrays(), []
    for which in ("all", "1", "2", "3"):
        answered += hospital_spec.cells(data, hospital.Spec(), which)
    places = [(cell["table"], cell["row"], cell["column"]) for cell in answered]
    paper = papers.load("hospital")
    assert sorted(places) == sorted(cell.key for cell in paper.cells)
    for cell in answered:
        assert cell["metric"] == paper.cell(cell["table"], cell["row"], cell["column"]).metric
    # Another network answers the metrics, but not the figure of the study's network.
    others = hospital_spec.cells(data, hospital.Spec(network="small"), "all")
    assert {cell["table"] for cell in others} == {"1"}
    assert hospital_spec.cells(replace(data, name="pneumoniamnist"), hospital.Spec(), "all") == []
    assert hospital_spec.cells(data, hospital.Spec(way="local"), "all") == []


@pytest.mark.parametrize("partition", ["dirichlet", "acquisition_shift"])
def test_pooled_holds_every_training_image_as_its_hospital_sees_it(partition):
    members = hospital.shared_out(xrays(), replace(SPEC, partition=partition)).members
    found = hospital.pooled(members).train
    parts = [member.train.take(np.arange(len(member.train))) for member in members]
    assert len(found) == sum(map(len, parts))
    whole = found.take(np.arange(len(found)))
    np.testing.assert_array_equal(whole.images, np.concatenate([part.images for part in parts]))
    np.testing.assert_array_equal(whole.labels, np.concatenate([part.labels for part in parts]))
    assert isinstance(found, hospitals.Share) == (partition == "dirichlet")


def test_each_image_is_answered_by_its_own_hospital(model):
    data = xrays()
    members = hospital.shared_out(data, SPEC).members
    before = model.get_weights()
    networks = {name: small_networks.classifier(2, seed=k).get_weights() for k, name in enumerate(NAMES)}
    found = hospital.answers(model, members, networks)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    for k, member in enumerate(members):
        own = small_networks.classifier(2, seed=k).predict(data.test.images[member.test.index], verbose=0)
        np.testing.assert_allclose(found[member.test.index], own, atol=1e-6)


def test_baselines_are_the_engine_with_other_teams(ledger, model):
    members = hospital.shared_out(xrays(), SPEC).members
    settings, options = hospital.settings(SPEC), {"keep": False, "progress": False, "validate": False}
    ways = {way: hospital.trained(replace(SPEC, way=way), model, members, progress=False)
            for way in ("fedavg", "local", "centralised")}  # fmt: skip
    together = federated.run(model, members, settings, **options).weights()
    alone = federated.run(model, members[1:2], settings, **options).weights()
    central = federated.run(model, [hospital.pooled(members)], settings, **options).weights()
    for way, name, wanted in (
        ("fedavg", "hospital_1", together), ("fedavg", "hospital_3", together), ("local", "hospital_2", alone),
        ("centralised", "hospital_2", central),
    ):  # fmt: skip
        for mine, theirs in zip(ways[way].networks[name], wanted, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-6, err_msg=way)
    assert not np.array_equal(ways["local"].networks["hospital_1"][0], ways["local"].networks["hospital_2"][0])
    for made in ways.values():
        assert [len(made.curve(name)) for name in NAMES] == [2, 2, 2] and made.seconds > 0
    assert len(ways["local"].histories) == 3


@pytest.mark.parametrize("way", ["fedavg", "fedbn", "local"])
def test_records_fit_each_other(ledger, model, way):
    spec, data = replace(SPEC, way=way), xrays()
    made, found = hospital.recorded(run(), data, spec, model, progress=False)
    assert list(found) == ["1", "2", "3", "all"] and records.verify(results_home()) == []
    parts = [np.array(found[which]["metrics"]["clean"]["confusion"]) for which in ("1", "2", "3")]
    np.testing.assert_array_equal(sum(parts), found["all"]["metrics"]["clean"]["confusion"])
    stored = records.load_predictions(found["all"], results_home())
    np.testing.assert_array_equal(stored["labels"], data.test.labels)
    for k, name in enumerate(NAMES):
        # The last point of the curve is the hospital's own record.
        accuracy = found[str(k + 1)]["metrics"]["clean"]["accuracy"]
        assert made.curve(name)[-1] == pytest.approx(accuracy, abs=1e-6)
        assert stored[f"rounds-{name}/accuracy"][-1] == pytest.approx(accuracy, abs=1e-6)
        assert stored[f"training-{name}/images"].sum() == len(hospital.shared_out(data, spec).members[k].train)
    assert ("reestimated" in stored) == (way == "fedavg") and ("hospital_2" in stored) == (way != "fedavg")
    assert ("rounds/megabytes" in stored) == (way != "local")
    rows = hospital_tables.recorded()
    assert rows[["way", "seeds", "alpha"]].values.tolist() == [[way, 1, "–"]]
    assert rows["fewest"][0] == str(min(len(m.train) for m in hospital.shared_out(data, spec).members))


def test_a_recorded_run_answers_tables_1_and_2(ledger, model):
    spec = replace(SPEC, partition="dirichlet")
    _, found = hospital.recorded(run(profile="scaled"), xrays(), spec, model, progress=False)
    cells = [c for c in compare.report(ledger)["cells"] if c["paper"] == "hospital"]
    assert {c["table"] for c in cells if c["runs"]} == {"1", "2"} and sum(bool(c["runs"]) for c in cells) == 36
    table = hospital_tables.as_printed(found)
    wrong = 30 - np.trace(found["all"]["metrics"]["clean"]["confusion"])
    for source in ("recorded", "this run"):
        row = table.loc["Global Model", source]
        assert row["FN"] == row["FP"] == f"{wrong}" and row["TP"] == row["TN"] == f"{30 - wrong}"
        assert row["Precision"] == row["Recall"] == row["Accuracy"] == f"{1 - wrong / 30:.4f}"
    assert table.loc["Hospital 2", "printed"].tolist()[:2] == ["0.3940", "0.8365"]
    by_class = hospital_tables.by_class(found)
    assert list(by_class.index) == ["all images", "hospital 1", "hospital 2", "hospital 3"]
    assert by_class["missed"]["all images"] + by_class["false alarms"]["all images"] == wrong
    assert len(hospital_audit.recorded_gaps(repeats=20)) == 1
    groups = hospital_audit.groups(found, ledger)
    assert sum(len(labels) for labels, _ in groups.values()) == 30


def test_an_empty_ledger_gives_empty_tables(ledger):
    for table in (hospital_tables.recorded(), hospital_audit.recorded_gaps()):
        assert len(table) == 0 and len(table.columns) > 5
    assert (hospital_tables.as_printed({}).xs("recorded", level=1) == "–").all(axis=None)


def whole(seed, balanced, images=(40, 20)):
    metrics = {"clean": {"balanced_accuracy": balanced}}
    metrics |= {f"training-hospital_{k}": {"images": n / 2} for k, n in enumerate(images, 1)}
    return {"all": {"seed": seed, "metrics": metrics}}


def test_a_sweep_says_whether_it_is_larger_than_what_a_seed_does(monkeypatch):
    runs = {
        ("small", "dirichlet", 0.1, "fedavg"): [whole(0, 0.60, (40, 3)), whole(1, 0.61)],
        ("small", "dirichlet", 1.0, "fedavg"): [whole(0, 0.80), whole(1, 0.82)],
        ("small", "dirichlet", 1.0, "krum"): [whole(0, 0.1)],
    }
    monkeypatch.setattr(hospital_tables, "recorded_runs", lambda: runs)
    said = hospital_tables.alpha_sweep()
    assert "moves by 20.5 points" in said and "by up to 2.0" in said and "does not resolve" not in said
    assert said.endswith("At alpha 0.1 the smallest hospital has 3 training images.")
    runs["small", "dirichlet", 1.0, "fedavg"].pop()
    assert "One seed only at alpha 1. So the sweep does not resolve" in hospital_tables.alpha_sweep()
    runs.pop(("small", "dirichlet", 0.1, "fedavg"))
    assert hospital_tables.alpha_sweep() == ""


def test_a_rule_that_keeps_one_hospital_is_named(monkeypatch):
    """By its answers: those of Krum are those of a hospital that trained alone, where it kept that one each round."""
    runs = {("small", "dirichlet", 0.5, way): [whole(0, 0.7)] for way in ("krum", "local", "median")}
    for (*_, way), (run,) in runs.items():
        run["all"]["way"] = way
    first, second = np.eye(2)[[0, 1, 1]], np.eye(2)[[1, 1, 0]]
    stored = {"krum": {"clean": second}, "median": {"clean": (first + second) / 2},
              "local": {"clean": first, "hospital_1": first, "hospital_2": second}}  # fmt: skip
    monkeypatch.setattr(hospital_tables, "recorded_runs", lambda: runs)
    monkeypatch.setattr(records, "load_predictions", lambda record, home: stored[record["way"]])
    assert hospital_tables.copies() == "krum, dirichlet 0.5, seed 0: each answer is that of hospital_2 alone."


def test_counts_behind_the_printed_rows():
    """All four rows: accuracy and macro F1 of the counts are the printed ones, and the hospitals add up."""
    found = hospital_tables.right_by_class()
    wanted = {"Global Model": (345, 169), "Hospital 1": (116, 53), "Hospital 2": (118, 56), "Hospital 3": (111, 60)}
    assert found == wanted
    rows = hospital_tables.matrices().set_index("row")
    agree = rows["printed macro F1"] == rows["macro F1 of these counts"]
    assert agree.to_dict() == {"Global Model": True, "Hospital 1": True, "Hospital 2": False, "Hospital 3": True}
    assert rows["missed"].tolist() == [45, 14, 12, 19] and rows["false alarms"].tolist() == [65, 25, 22, 18]
    assert (rows["missed"] + rows["false alarms"] == rows["printed FN"]).all()
    for k, (labels, probabilities) in enumerate(hospital_tables.rebuilt().values()):
        micro, row = fairness.micro(labels, probabilities), f"Hospital {k + 1}"
        said = [papers.load("hospital").cell("2", row, column).printed for column in ("FN", "F1 Avg")]
        assert micro["fn"] == said[0] and micro["f1_avg"] == pytest.approx(said[1], abs=5e-4)


def test_gaps_tell_a_blind_hospital_from_chance():
    labels = np.tile([0, 1], 100)
    good, blind = np.eye(2)[labels], np.eye(2)[np.zeros(200, int)]
    table = hospital_audit.gaps({"a": (labels, good), "b": (labels, blind)}, repeats=50).set_index("gap in")
    assert table.loc["sensitivity", "points"] == "100.0" and table.loc["sensitivity", "lowest"] == "b"
    assert table.loc["sensitivity", "as large by chance"] == "2%"  # one of 51: itself
    assert table.loc["false alarms", ["points", "highest"]].tolist() == ["0.0", "–"]
    assert table.loc["false alarms", "as large by chance"] == "100%"


def test_gaps_count_patients_where_they_are_known():
    """Two hospitals of 10 patients with 20 images each, all of a patient answered alike: chance gives such a gap."""
    data = xrays(n_test=30)
    assert hospital_audit.patients_of(hospital.shared_out(data, SPEC).members) is None
    named = replace(data, test=replace(data.test, groups=np.repeat([f"person{k}" for k in range(10)], 3)))
    members = hospital.shared_out(named, SPEC).members
    found = hospital_audit.patients_of(members)
    assert list(found) == ["hospital 1", "hospital 2", "hospital 3"] and not set(found["hospital 1"]) & set(
        found["hospital 2"]
    )
    assert [len(one) for one in found.values()] == [len(member.test) for member in members]
    labels = np.ones(200, int)
    groups = {
        name: (labels, np.eye(2)[np.repeat(np.arange(10) < right, 20).astype(int)])
        for name, right in (("a", 7), ("b", 9))
    }
    patients = dict.fromkeys(groups, np.repeat(np.arange(10), 20))
    blind, aware = (
        hospital_audit.gaps(groups, patients=known, repeats=100).set_index("gap in").loc["sensitivity"]
        for known in (None, patients)
    )
    assert blind["as large by chance"] == "1%" and int(aware["as large by chance"][:-1]) > 10
    assert not blind["95 % interval"].startswith("0.0") and aware["95 % interval"].startswith("0.0")


def test_calibration_knows_what_chance_gives():
    random = np.random.default_rng(0)
    sure = random.uniform(0.5, 1, 400)
    probabilities = np.stack([sure, 1 - sure], axis=1)
    fair = (random.random(400) > sure).astype(int)
    often_wrong = (random.random(400) > 0.5).astype(int)
    table = hospital_audit.calibrated({"fair": (fair, probabilities), "not": (often_wrong, probabilities)}, repeats=200)
    error, bound = (table[column].astype(float) for column in ("calibration error", "95 % below"))
    assert error[0] < bound[0] < error[1] and (table["if perfect: mean"].astype(float) > 0.01).all()


def test_layers_are_compared_with_the_figure():
    figure = {cell.row: int(cell.printed) for cell in papers.load("hospital").cells if cell.table == "Fig. 1"}
    assert list(figure) == list(hospital_spec.LAYERS)
    assert hospital_tables.layers(figure)["equal"].all()
    assert hospital_tables.layers(figure | {"dense_3": 67})["equal"].tolist()[-1] is False


def test_planned_recordings_vary_alpha_only_where_it_counts(ledger):
    def names(*arguments):
        made = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                hospital_recording, "record", lambda chosen: made.extend(hospital_recording.planned(chosen, 0))
            )
            hospital_recording.main(list(arguments))
        return [(spec.partition, spec.dirichlet_alpha, spec.way) for spec in made]

    assert names() == [("dirichlet", 0.5, "fedavg")]
    found = names("--partitions", "iid", "dirichlet", "--alphas", "0.1", "1", "--ways", "fedavg", "local")
    dirichlet = [("dirichlet", alpha, way) for way in ("fedavg", "local") for alpha in (0.1, 1.0)]
    assert found == [("iid", 0.5, "fedavg"), ("iid", 0.5, "local"), *dirichlet]


def test_recording_skips_what_is_there_and_refuses_synthetic_images(ledger, monkeypatch, capsys):
    built = []

    def build(network, *, input_shape, weights, seed):
        built.append(seed)
        return small_networks.classifier(2, shape=input_shape, seed=seed)

    monkeypatch.setattr(models, "build_hospital", build, raising=False)
    monkeypatch.setattr(lab.Run, "load", lambda self, name, size, n_train: xrays())
    arguments = ["--network", "small", "--size", "8", "--rounds", "1", "--partitions", "iid", "--seeds", "0", "1"]
    hospital_recording.main(arguments)
    found = records.read_all(ledger)
    assert len(found) == 8 and {record["profile"] for record in found} == {"scaled"}
    assert "four layers instead of EfficientNetV2-S" in found[0]["deviations"]
    hospital_recording.main(arguments)
    assert built == [0, 1] and records.read_all(ledger) == found
    monkeypatch.setattr(lab.Run, "load", lambda self, name, size, n_train: xrays("synthetic"))
    with pytest.raises(SystemExit, match="never recorded"):
        hospital_recording.main([*arguments, "--seeds", "2"])


def figures(data):
    members = hospital.shared_out(data, SPEC).members
    groups = hospital_tables.rebuilt()
    yield hospital_plots.shares({"iid": members}, data)
    yield hospital_plots.curves({"a": {"hospital_1": [0.5, 0.6]}}, floor=0.5, dataset=data)
    yield hospital_plots.heatmap(hospital_audit.rates(groups), dataset=data)
    yield hospital_plots.reliability(groups, dataset=data)


@pytest.mark.parametrize("source", ["mirror", "synthetic"])
def test_figures_say_when_the_data_are_synthetic(source):
    for figure in figures(xrays(source)):
        assert any("SYNTHETIC" in text.get_text() for text in figure.texts) == (source == "synthetic")
        figure.canvas.draw()
        plt.close(figure)


def test_heatmap_shows_each_value_with_its_interval():
    figure = hospital_plots.heatmap(hospital_audit.rates(hospital_tables.rebuilt()))
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert len(texts) == 12 and "89.2%\n[83%, 93%]" in texts  # 116 of 130
    plt.close(figure)
