from dataclasses import fields, replace
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from medtk import federated, lab
from medtk.data import CATALOG, Dataset, Split
from medtk.errors import BadParameter, UnknownName
from medtk.evaluation import intervals, metrics
from medtk.lab import covid, covid_gains, covid_plots, covid_recording, covid_spec, covid_tables
from medtk.reproduction import compare, papers, records
from medtk.reproduction.quantities import value
from medtk.settings import results_home

SPEC = covid.Spec("multi_modal", "small", size=8, rounds=2, local_epochs=1, learning_rate=1e-2, batch_size=8)
CLIENTS = ["xray_1", "xray_2", "ultrasound_1", "ultrasound_2"]


def dataset(modality, n=40, source="mirror", seed=0):
    """Brighter where the class is 1; two images a patient."""
    random = np.random.default_rng((seed, len(modality)))
    labels = np.repeat(random.integers(0, 2, n // 2), 2)
    labels[:4] = [0, 0, 1, 1]
    images = random.random((n, 8, 8, 1)) * 0.5 + 0.4 * labels[:, None, None, None]
    groups = np.array([f"p{k // 2}" for k in range(n)])
    whole = Split(images.astype(np.float32), labels, groups)
    name = covid_spec.DATASETS[modality]
    card = CATALOG[name]
    parts = [whole.take(np.arange(*ends)) for ends in ((0, n - 10), (n, n), (n - 10, n))]
    return Dataset(name, *parts, card.class_names, card, source, "0" * 64)


def both(spec=SPEC, source="mirror"):
    return {m: covid.split_again(dataset(m, source=source), spec) for m in covid_spec.DATASETS}


@pytest.fixture(scope="module")
def model():
    return covid.network(SPEC)


@pytest.fixture
def ledger(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("MEDTK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "results"


def run(seed=0, profile="scaled"):
    return lab.start("23", seed=seed, profile=profile)


def made(spec, model):
    return covid.trained(spec, model, both(spec), keep=False, progress=False)


def same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_the_usual_settings_are_the_studys_and_each_change_is_said():
    assert covid_spec.deviations(covid.Spec()) == [] and covid_spec.literal(covid.Spec())
    assert covid_recording.profile(covid.Spec(rounds=30)) == "paper"
    changes = [{"network": "small"}, {"size": 64}, {"rounds": 10}, {"local_epochs": 1}, {"batch_size": 8}]
    # Values of Table II for which no results are printed.
    for change in [*changes, {"local_epochs": 10}, {"batch_size": 32}, {"learning_rate": 1e-3}]:
        assert len(covid_spec.deviations(covid.Spec(**change))) == 1, change
        assert covid_recording.profile(covid.Spec(**change)) == "scaled"
    for change in ({"way": "sattler"}, {"split": "patient"}, {"network": "small_bn"}):
        assert not covid_spec.literal(covid.Spec(**change)), change


def test_the_records_say_what_differs_as_new_ones_would():
    """A sentence that was not yet there when a record was made would make it look nearer to the study than it is."""
    home = Path(__file__).parents[2] / "results"
    names = [field.name for field in fields(covid.Spec) if field.name != "seed"]
    found = [r for r in records.read_all(home) if r["paper"] == covid_spec.PAPER and set(names) <= set(r["parameters"])]
    assert found
    for record in found:
        spec = covid.Spec(**{name: record["parameters"][name] for name in names})
        said = [words for words in record["deviations"] if "instead of" in words and "weights" not in words]
        assert said == covid_spec.deviations(spec), record["id"]


def test_unknown_and_impossible_settings_are_refused():
    for change in ({"way": "cluster"}, {"network": "vgg19"}, {"split": "film"}):
        with pytest.raises(UnknownName):
            covid.Spec(**change)
    with pytest.raises(BadParameter, match="small_bn"):
        covid.Spec(way="fedbn")


def test_whatever_changes_a_run_changes_its_name():
    changes = [{}, {"way": "ifca"}, {"network": "small"}, {"weights": "random"}, {"size": 64}, {"split": "patient"}]
    changes += [{"clients": 3}, {"rounds": 30}, {"local_epochs": 10}, {"batch_size": 32}, {"learning_rate": 1e-3}]
    names = {covid_spec.record_name(covid.Spec(**change), "xray") for change in [*changes, {"seed": 1}]}
    names.add(covid_spec.record_name(covid.Spec(), "ultrasound"))
    assert len(names) == len(changes) + 2


def test_every_cell_of_table_iii_and_figure_4_is_answered_once():
    answered = []
    for way in covid_spec.WAYS:
        spec = covid.Spec(way=way, network="small_bn" if way == "fedbn" else "vgg16")
        for modality in covid_spec.DATASETS:
            answered += covid_spec.cells(dataset(modality), spec, modality)
    paper = papers.load("clustered_covid")
    wanted = [cell for cell in paper.cells if cell.table in ("III", "Fig. 4")]
    assert sorted((c["table"], c["row"], c["column"]) for c in answered) == sorted(cell.key for cell in wanted)
    assert sum(cell.table == "III" for cell in wanted) == 36
    for cell in answered:
        printed = paper.cell(cell["table"], cell["row"], cell["column"])
        assert cell["metric"] == printed.metric
        assert cell.get("of") == {"covid": 1, "healthy": 0}.get(printed.needs.get("class"))
    assert covid_spec.cells(replace(dataset("xray"), name="covid_xray"), covid.Spec(), "xray") == []


def test_specialised_models_are_each_modality_alone(model):
    """Clustered learning with known clusters and specialised models are one and the same run."""
    spec = replace(SPEC, way="specialised")
    images, together = both(), made(replace(SPEC, way="specialised"), model)
    assert {together.model_of(client) for client in CLIENTS} == {"xray", "ultrasound"}
    for modality in images:
        members = [m for m in covid.shared_out(images, spec) if m.name.startswith(modality)]
        alone = federated.run(model, members, covid.settings(spec), validate=False, keep=False, progress=False)
        same(together.result.weights(modality), alone.weights())


def test_algorithm_1_and_fedavg_differ_by_the_weights_of_clients_alone(model):
    images = both()
    images["ultrasound"] = replace(images["ultrasound"], train=images["ultrasound"].train.take(np.arange(8)))
    once = {way: covid.trained(replace(SPEC, way=way, rounds=1), model, images, keep=False, progress=False)
            for way in ("clustered", "multi_modal", "specialised")}  # fmt: skip
    means = [once["specialised"].result.weights(modality) for modality in images]
    sizes = [len(images[modality].train) for modality in images]
    same(once["clustered"].result.weights(), federated.fedavg(means, [1, 1]))
    same(once["multi_modal"].result.weights(), federated.fedavg(means, sizes))
    assert sizes[1] == 8 < sizes[0]
    distance = once["specialised"].notes("distance")[0]
    assert once["clustered"].notes("distance") == [pytest.approx(distance, rel=1e-4)]


@pytest.mark.parametrize("way", ["multi_modal", "specialised", "ifca", "local_head", "sattler"])
def test_each_image_is_answered_by_a_client_of_its_modality(model, way):
    spec = replace(SPEC, way=way)
    images, got = both(), made(spec, model)
    found = covid.conditions(model, images, got)
    several = len(got.networks()) > 1
    for modality, data in images.items():
        answers = {}
        for client in CLIENTS:
            federated.put(model, got.result.weights_of(client))
            answers[client] = federated.predict(model, data.test)
        covid.network(spec, into=model)
        other = next(name for name in images if name != modality)
        for i in range(len(data.test)):
            turn = 1 + i % 2
            np.testing.assert_allclose(found[modality]["clean"][i], answers[f"{modality}_{turn}"][i], atol=1e-6)
            if several:
                np.testing.assert_allclose(found[modality]["swapped"][i], answers[f"{other}_{turn}"][i], atol=1e-6)
                surest = max(each[i].max() for each in answers.values())
                assert found[modality]["confident"][i].max() == pytest.approx(surest, abs=1e-6)
        assert (set(found[modality]) == {"clean"}) != several
    # No cut before round 5; of IFCA's two models those that somebody took in the last round.
    taken = {row["model"] for row in got.result.history[-1]["clients"]}
    wanted = {"multi_modal": 1, "specialised": 2, "ifca": len(taken), "local_head": 4, "sattler": 1}
    assert len(got.networks()) == wanted[way]


def test_local_parts_stay_and_the_rest_is_shared(model):
    kept = made(replace(SPEC, way="local_head"), model)
    weights = {client: kept.result.weights_of(client) for client in CLIENTS}
    paths = [variable.path for variable in model.weights]
    for path, *arrays in zip(paths, *weights.values(), strict=True):
        shared = all(np.array_equal(arrays[0], other) for other in arrays[1:])
        assert shared != path.startswith("logits/")
    assert len(kept.networks()) == 4
    assert len(kept.curve("xray")) == 2  # of each client's own network, a mean
    spec = replace(SPEC, way="fedbn", network="small_bn")
    mask = covid.options(spec, covid.network(spec), covid.shared_out(both(), spec))["mask"]
    assert mask.count(False) == 3 * 4


def test_fedprox_pulls_and_ifca_starts_from_two_places(model):
    assert covid.settings(replace(SPEC, way="fedprox")).proximal == 0.01 and covid.settings(SPEC).proximal == 0
    server = covid.options(replace(SPEC, way="ifca"), model, covid.shared_out(both(), SPEC))["server"]
    first, second = (server.models[name][0] for name in ("first", "second"))
    assert not np.array_equal(first, second) and np.array_equal(first, model.get_weights()[0])
    assert set(server.route.values()) == {("first", "second")}


@pytest.mark.parametrize("way", ["clustered", "specialised", "fedprox"])
def test_records_and_curves_agree(ledger, model, way):
    spec, images = replace(SPEC, way=way), both()
    got, found = covid.recorded(run(), images, spec, model, progress=False)
    assert list(found) == ["xray", "ultrasound"] and records.verify(results_home()) == []
    for modality, record in found.items():
        stored = records.load_predictions(record, results_home())
        np.testing.assert_array_equal(stored["labels"], images[modality].test.labels)
        assert got.curve(modality)[-1] == pytest.approx(record["metrics"]["clean"]["accuracy"], abs=1e-6)
        assert stored["rounds/accuracy"].tolist() == pytest.approx(got.curve(modality), abs=1e-6)
        assert len(stored["rounds/distance"]) == len(stored["rounds/training_loss"]) == 2
        # Two clients of a modality send and get the whole network.
        numbers = sum(array.size for array in model.get_weights())
        np.testing.assert_allclose(stored["rounds/megabytes"], 4 * numbers * 4 / 1e6, rtol=1e-6)
        assert stored["training/images"].sum() == len(images[modality].train)
        assert record["cells"] == covid_spec.cells(images[modality], spec, modality)
        assert ("swapped" in record["metrics"]) == (way == "specialised")


def test_runs_that_differ_in_the_seed_belong_together(ledger, model, monkeypatch):
    for seed in (0, 1):
        for split in covid_spec.SPLITS:
            for way in ("multi_modal", "clustered"):
                spec = replace(SPEC, way=way, split=split, seed=seed)
                covid.recorded(run(seed), both(spec), spec, covid.network(spec, into=model), progress=False)
    cells = [c for c in compare.report(ledger)["cells"] if c["paper"] == "clustered_covid"]
    judged = {c["column"].split(" / ")[0] for c in cells if c["table"] == "III" and c["runs"] == 2}
    assert judged == {"Multi-modal", "Clustered"}
    rows = covid_tables.recorded()
    assert rows["seeds"].tolist() == [2] * 4 and rows["split"].tolist() == ["frame", "frame", "patient", "patient"]
    gains = covid_gains.gains(repeats=200)
    assert gains["way"].tolist() == ["Algorithm 1, one model"] * 2 and gains["seeds"].tolist() == [2, 2]
    runs = covid_tables.everything().set_index(["split", "way", "modality"])
    for column, measure in (("X-ray balanced", "balanced"), ("Ultrasound AUC", "auc")):
        modality = {"X-ray": "xray", "Ultrasound": "ultrasound"}[column.split()[0]]
        for split, text in zip(gains["split"], gains[column], strict=True):
            ours, base = (runs.loc[(split, way, modality), measure].mean() for way in ("clustered", "multi_modal"))
            assert float(text.split()[0]) == pytest.approx(100 * (ours - base), abs=0.051)
    # The records are of a toy: no data set on this machine has its patients.
    assert set(gains["X-ray patients"]) == {"not known"} and set(gains["processors"]) == {1}
    assert gains["reading"].str.contains("in these 2 trainings, no verdict").all()
    # A seed on another machine is no pair across machines; a way on another machine is.
    for field, other, processors in (("seed", 1, 1), ("way", "clustered", 2)):
        moved = [record | {"hardware": {"processor": str((record | record["parameters"])[field] == other)}}
                 for record in covid_tables.kept()]  # fmt: skip
        monkeypatch.setattr(covid_gains, "kept", lambda moved=moved: moved)
        assert set(covid_gains.gains(repeats=10)["processors"]) == {processors}
    table = covid_tables.table_iii()
    assert table.shape == (24, 9)
    for split in covid_spec.SPLITS:
        wanted = {"split": split, "way": "clustered", "modality": "xray"}
        behind = [r["metrics"]["clean"] for r in covid_tables.kept() if wanted.items() <= r["parameters"].items()]
        recall = np.mean([value(found, "recall", 1) for found in behind])
        shown = table.loc[("X-ray / COVID-19", f"recorded, by {split}"), "Clustered / Recall"]
        assert shown == f"{recall:.2f}"
    assert table.loc[("Ultrasound / Healthy", "printed"), "Specialised / Precision"] == "0.88"
    assert (table.xs("this run", level=1) == "–").all(axis=None)
    curves = covid_tables.recorded_curves("xray", "frame", "small")
    assert list(curves) == ["FedAvg, one model", "Algorithm 1, one model"]
    assert all(len(values["loss"]) == 2 for values in curves.values())


def test_runs_of_two_backends_stand_apart(ledger, model, monkeypatch):
    """Each backend draws starting weights of its own: neither a mean nor a pair of runs has two of them."""
    for seed, way, backend in ((0, "multi_modal", "tensorflow"), (1, "multi_modal", "jax"), (0, "clustered", "jax")):
        with monkeypatch.context() as patch:
            patch.setattr(records.provenance, "backend", lambda backend=backend: backend)
            spec = replace(SPEC, way=way, seed=seed)
            covid.recorded(run(seed), both(spec), spec, covid.network(spec, into=model), progress=False)
    table = covid_tables.recorded().set_index("way")
    assert table["seeds"].tolist() == [1, 1, 1] and covid_gains.gains(repeats=50).empty
    assert table["setting"].str.endswith("on jax").tolist() == [False, True, True]


def test_the_regression_stands_in_table_iii(ledger):
    one = run()
    for split in covid_spec.SPLITS:
        images = {m: covid.split_again(d, replace(SPEC, split=split)) for m, d in both().items()}
        lab.shortcuts.recorded(one, images, split, 0)
    table = covid_tables.table_iii()
    for split in covid_spec.SPLITS:
        (record,) = lab.shortcut_tables.ledger_of("ultrasound", split)
        shown = table.loc[("Ultrasound / COVID-19", f"64 grey values, by {split}")]
        for setup, view in (("Specialised", "thumbnail"), ("Multi-modal", "joint")):
            assert shown[f"{setup} / F1-Score"] == f"{value(record['metrics'][view], 'f1', 1):.2f}"
        assert shown["Clustered / F1-Score"] == "–"


def test_a_cut_stands_beside_the_first_round_in_which_it_may_come(ledger, model):
    spec = replace(SPEC, way="sattler", rounds=6)
    made, found = covid.recorded(run(), both(), spec, model, progress=False)
    (line,) = covid_tables.cuts().to_dict("records")
    cut = next((k for k, split in enumerate(made.notes("split"), 1) if split), "none")
    assert (line["round of the first cut"], line["first round allowed"]) == (cut, 5)
    assert line["models in the end"] == len({made.model_of(client) for client in CLIENTS})
    stored = records.load_predictions(found["xray"], results_home())
    assert stored["rounds/mean_update"] == pytest.approx([max(n.values()) for n in made.notes("mean_update")])


@pytest.mark.parametrize(
    ("xray", "ultrasound", "models", "same"),
    [
        ([0, 0], [1, 1], 2, "yes"),
        ([0, 0], [1, 2], 3, "no"),  # finer than the modalities: one clinic was cut off first
        ([0, 0], [0, 1], 2, "no"),
        ([0, 0], [0, 0], 1, "no"),
    ],
)
def test_found_clusters_stand_beside_the_modalities(monkeypatch, xray, ultrasound, models, same):
    own = {"xray": xray, "ultrasound": ultrasound}
    found = [{"parameters": vars(SPEC) | {"way": "sattler", "modality": m}, "backend": "tensorflow", "seed": 0}
             for m in own]  # fmt: skip
    monkeypatch.setattr(covid_tables, "kept", lambda: found)
    monkeypatch.setattr(covid_tables.records, "load_predictions", lambda record, home: {
        "models/clients": np.array(own[record["parameters"]["modality"]]), "rounds/models": np.array([1, 1, 2, models]),
    })  # fmt: skip
    (line,) = covid_tables.cuts().to_dict("records")
    assert (line["models in the end"], line["clusters are the modalities"]) == (models, same)
    found.pop()  # half a run
    assert covid_tables.cuts().empty


def test_an_empty_ledger_gives_empty_tables(ledger):
    assert covid_tables.cuts().empty
    for table in (covid_tables.recorded(), covid_gains.gains(), covid_tables.everything()):
        assert len(table) == 0 and len(table.columns) > 6
    assert (covid_tables.table_iii().xs("recorded, by frame", level=1) == "–").all(axis=None)
    assert covid_tables.recorded_curves("xray", "frame", "small") == {}
    assert covid_gains.answer() == "No record answers it yet."


def test_the_answer_needs_both_ways_and_repeats_the_readings():
    line = {"setting": "small, 32 pixels", "split": "frame", "seeds": 2, "X-ray balanced": "+1.0 [+0.1, +2.0]",
            "X-ray AUC": "+3.0 [+2.0, +4.0]", "Ultrasound balanced": "-1.0 [-2.0, +1.0]",
            "Ultrasound AUC": "+0.0 [+0.0, +0.0]"}  # fmt: skip
    both = [line | {"way": covid_spec.WAYS[way], "reading": way} for way in ("specialised", "clustered")]
    said = covid_gains.answer(pd.DataFrame(both))
    assert "2 seeds" in said and said.count("+1.0 [+0.1, +2.0] of balanced accuracy and +3.0 [+2.0, +4.0] of AUC") == 2
    assert "apart: specialised." in said and said.endswith("does: clustered.")
    assert covid_gains.answer(pd.DataFrame(both[:1])) == "No record answers it yet."


def test_overall_f1_is_the_average_that_the_printed_gains_are_in():
    """From the printed table: 16 points on X-rays, and a plain mean would give far more."""
    labels = np.repeat([0, 1], [269, 44])
    said = np.concatenate([np.repeat([0, 1], [199, 70]), np.repeat([0, 1], [14, 30])])
    found = metrics.classification(labels, np.eye(2)[said])
    f1 = [2 * 199 / (269 + 213), 2 * 30 / (44 + 100)]
    assert covid_tables.scores(found)["overall"] == pytest.approx((269 * f1[0] + 44 * f1[1]) / 313)
    assert covid_tables.scores(found)["balanced"] == pytest.approx((199 / 269 + 30 / 44) / 2)


LABELS = np.repeat([0, 1], [80, 20])
BASE = {"labels": LABELS, "clean": np.eye(2)[np.zeros(100, int)]}  # right on class 0 alone
OURS = {"labels": LABELS, "clean": np.eye(2)[np.repeat([0, 1, 0], [80, 10, 10])]}  # and on half of class 1


def test_a_gain_is_paired_and_its_interval_holds_it():
    found = covid_gains.paired([(OURS, BASE)] * 2, None, 4000)
    gain = found["balanced"]
    assert gain.mean == pytest.approx(25) and gain.low < 25 < gain.high and gain.side == "better"
    # Half of class 1: a share of 0.5 over 20 images, and class 0 has no spread; two seeds make it narrower.
    assert (gain.high - gain.low) / 2 == pytest.approx(1.96 * 50 * np.sqrt(0.25 / 20 / 2), rel=0.15)
    assert found["AUC"].mean == pytest.approx(25)  # ties count one half
    for none in covid_gains.paired([(OURS, OURS)], None, 100).values():
        assert none == (0, 0, 0, [0]) and none.side == ""


def test_from_three_seeds_on_an_interval_knows_of_other_trainings():
    """All patients answer alike and the trainings do not: a bootstrap over patients sees nothing of that."""
    flip = {"labels": LABELS, "clean": np.eye(2)[LABELS]}
    wrong = {"labels": LABELS, "clean": np.eye(2)[1 - LABELS]}
    gain = covid_gains.paired([(flip, BASE), (flip, BASE), (wrong, BASE)], None, 200)["balanced"]
    assert gain.by_seed == pytest.approx([50, 50, -50])
    assert (gain.low, gain.high) == pytest.approx(intervals.over_seeds(gain.by_seed)[:2]) and gain.side == ""
    # Where seeds agree, patients are what is left to chance.
    same = covid_gains.paired([(OURS, BASE)] * 3, None, 200)["balanced"]
    assert same.low < same.mean < same.high


def test_images_of_a_patient_are_drawn_together_as_the_package_draws_them():
    random = np.random.default_rng(0)
    ours, base = (np.stack([1 - p, p], axis=1) for p in random.random((2, 100)) * 0.6 + 0.4 * LABELS)
    people = np.arange(100) // 5
    found = covid_gains.paired([({"labels": LABELS, "clean": ours}, {"labels": LABELS, "clean": base})], [people], 4000)

    def difference(labels, both):
        areas = [metrics.auc(labels, p) for p in (both[:, :2], both[:, 2:])]
        return None if None in areas else 100 * (areas[0] - areas[1])

    both = np.concatenate([ours, base], axis=1)
    assert found["AUC"].mean == pytest.approx(difference(LABELS, both))
    wanted = intervals.bootstrap(LABELS, both, difference, repeats=2000, groups=people)
    assert (found["AUC"].low, found["AUC"].high) == pytest.approx(wanted, abs=2.0)


def test_one_seed_few_patients_and_seeds_that_disagree_give_no_reading():
    good = dict.fromkeys(covid_gains.MEASURES, covid_gains.Gain(9.0, 5.0, 12.0, [8.0, 9.0, 10.0]))
    assert covid_gains._reading(good, [10, 5], 3) == "better balanced, better AUC"
    # An interval over patients alone: the same comparison in other trainings came out on the other side.
    assert covid_gains._reading(good, [10, 5], 1) == "in this training, no verdict"
    assert covid_gains._reading(good, [10, 5], 2) == "in these 2 trainings, no verdict"
    assert covid_gains._reading(good, [10, 2], 3) == "2 patients of a class are too few"
    assert covid_gains._reading(good, None, 3).startswith("patients not known")
    torn = good | {"balanced": covid_gains.Gain(9.0, 5.0, 12.0, [-1.0, 9.0, 19.0])}
    assert covid_gains._reading(torn, [10, 5], 3) == "better AUC"
    assert covid_gains.Gain(-9.0, -12.0, -5.0, [-8.0, -10.0]).side == "worse"


def test_patients_are_those_of_the_same_split_and_seed():
    pool = dataset("xray")
    for split in covid_spec.SPLITS:
        test = covid.split_again(pool, replace(SPEC, split=split, seed=3)).test
        assert covid_gains._patients(pool, split, 3, test.labels).tolist() == test.groups.tolist()
        assert covid_gains._patients(pool, split, 3, 1 - test.labels) is None
        # Two records of one image set: each patient counts once.
        found = covid_gains._counted([({"labels": test.labels}, {})] * 2, [test.groups] * 2)
        assert found == [len(set(test.groups[test.labels == c])) for c in (0, 1)]
    assert covid_gains._patients(None, "frame", 3, test.labels) is None


def test_the_turning_point_is_the_lowest_test_loss():
    found = covid_tables.turning({"a": {"loss": [3, 1, 2, 2.5], "training_loss": [4, 3, 2, 1]}})
    row = found.loc["a"]
    assert row["lowest test loss in round"] == 2 and row["rounds"] == 4
    assert [row["test loss there"], row["test loss at the end"]] == ["1.0000", "2.5000"]
    assert [row["training loss there"], row["training loss at the end"]] == ["3.0000", "1.0000"]


def test_recording_skips_what_is_there_and_refuses_synthetic_images(ledger, monkeypatch):
    monkeypatch.setattr(lab.Run, "load", lambda self, name, **_: dataset(name_of(name)))
    arguments = ["--network", "small", "--size", "8", "--rounds", "1", "--local-epochs", "1", "--ways", "clustered"]
    covid_recording.main([*arguments, "--seeds", "0", "1"])
    found = records.read_all(ledger)
    assert len(found) == 4 and {record["profile"] for record in found} == {"scaled"}
    assert {record["backend"] for record in found} == {keras.backend.backend()}  # see test_federated_jax.py
    assert "a network of four convolutions instead of VGG16" in found[0]["deviations"]
    covid_recording.main([*arguments, "--seeds", "0", "1"])
    assert records.read_all(ledger) == found
    monkeypatch.setattr(lab.Run, "load", lambda self, name, **_: dataset(name_of(name), source="synthetic"))
    with pytest.raises(SystemExit, match="never recorded"):
        covid_recording.main([*arguments, "--seeds", "2"])


def name_of(data):
    return next(modality for modality, name in covid_spec.DATASETS.items() if name == data)


@pytest.mark.parametrize("source", ["mirror", "synthetic"])
def test_figures_say_when_the_data_are_synthetic(ledger, source):
    data = dataset("xray", source=source)
    curve = {"loss": np.array([1.0, 0.5]), "training_loss": np.array([1.0, 0.4]), "accuracy": np.array([0.5, 0.9])}
    figures = [
        covid_plots.curves({"xray": {"a": curve}, "ultrasound": {"a": curve}}, dataset=data),
        covid_plots.curves({"xray": {"a": curve}}, "accuracy", dataset=data),
        covid_plots.figure_4(dataset=data),
        covid_plots.similarities({"round 1": np.eye(4)}, CLIENTS, dataset=data),
    ]
    for figure in figures:
        assert any("SYNTHETIC" in text.get_text() for text in figure.texts) == (source == "synthetic")
        figure.canvas.draw()
        plt.close(figure)


def test_figure_4_draws_the_means_of_the_printed_table(ledger):
    figure = covid_plots.figure_4()
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights[:3] == pytest.approx([(0.73 + 0.97) / 2, (0.82 + 0.95) / 2, (0.77 + 0.96) / 2])
    plt.close(figure)


def test_runs_of_a_page_stand_beside_each_other(ledger, model):
    found = {}
    for way in ("multi_modal", "specialised"):
        _, found[way] = covid.recorded(run(), both(), replace(SPEC, way=way), model, progress=False)
    table = covid_tables.setups(found)
    assert list(table.index) == ["FedAvg, one model", "a model a modality"]
    assert table.loc["FedAvg, one model", "X-ray untold"] == "–" != table.loc["a model a modality", "X-ray untold"]
    this = covid_tables.table_iii(found).xs("this run", level=1)
    assert isinstance(this, pd.DataFrame) and (this["Clustered / Recall"] == "–").all()
    assert (this["Specialised / Recall"] != "–").all()
