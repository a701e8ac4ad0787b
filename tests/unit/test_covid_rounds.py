"""Chapter 24's experiments on tiny networks, and the rules of the claims on rounds."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import small_networks
from test_modalities import films

from medtk import federated
from medtk.data import modalities
from medtk.errors import BadParameter, UnknownName
from medtk.evaluation import metrics
from medtk.lab import (
    check_modalities,
    covid,
    covid_communication,
    covid_rounds,
    covid_rounds_recording,
    covid_rounds_tables,
    session,
)  # fmt: skip
from medtk.lab.covid_rounds import TREATMENTS, Late
from medtk.lab.covid_spec import Spec
from medtk.reproduction import compare, records, rules_clustered_covid_rounds
from medtk.reproduction.evidence import Evidence

SIDE = 8
SPEC = Spec("multi_modal", "small", "random", SIDE, "frame", rounds=4, local_epochs=1, batch_size=8, learning_rate=0.01)


@pytest.fixture(scope="module")
def model():
    return small_networks.classifier(2, shape=(SIDE, SIDE, 1), filters=(4,))


@pytest.fixture(scope="module")
def images():
    return {name: modalities.split(films(card), "frame") for name, card in
            (("xray", "covid_xray_paper"), ("ultrasound", "pocus_paper"))}  # fmt: skip


def run(model, images, treatment, delay=2):
    late = Late(treatment, delay=delay)
    return covid_rounds.late_run(SPEC, model, images, late, keep=False, progress=False)


def test_treatments_of_a_slow_client(model, images):
    made = {name: run(model, images, name) for name in TREATMENTS}
    # Waiting halves the rounds; it and FedAvg with half the rounds are one thing.
    assert len(made["wait"].result.history) == 2
    plain = federated.run(model, covid.shared_out(images, SPEC), covid.settings(Spec(**{**vars(SPEC), "rounds": 2})),
                          validate=False, keep=False, progress=False)  # fmt: skip
    assert all(np.array_equal(a, b) for a, b in zip(made["wait"].result.weights(), plain.weights(), strict=True))
    dropped = {row["client"] for row in federated.rows(made["drop"].result.history)}
    assert dropped == {"xray_1", "xray_2", "ultrasound_1"}
    rows = federated.rows(made["late"].result.history)
    assert [r["round"] for r in rows if r["status"] == "arrived"] == [2, 4]
    # Without a buffer every update moves the model, with one every second.
    moved = {name: [e["notes"]["moved"]["global"] for e in made[name].result.history] for name in ("late", "buffered")}
    assert moved == {"late": [3, 7, 10, 14], "buffered": [1, 3, 5, 7]}
    assert all(len(m.curve("ultrasound", "loss")) == len(m.result.history) for m in made.values())
    tested = [covid_rounds.answers(model, images, m) for m in made.values()]
    assert all(found["ultrasound"].shape == (len(images["ultrasound"].test), 2) for found in tested)


@pytest.mark.parametrize(("rounds", "delay"), [(6, 3), (7, 3), (6, 2)])
def test_in_the_same_time_the_slow_client_delivers_as_often_whatever_the_server_does(model, images, rounds, delay):
    arrived = {}
    for treatment in ("wait", "late", "buffered"):
        made = covid_rounds.late_run(
            replace(SPEC, rounds=rounds), model, images, Late(treatment, delay=delay), keep=False, progress=False
        )
        rows = federated.rows(made.result.history)
        arrived[treatment] = len(
            [r for r in rows if r["client"] == "ultrasound_2" and r["status"] in ("ok", "arrived")]
        )
    assert arrived == dict.fromkeys(arrived, rounds // delay)


def on_time(name, number, late):
    return 0


@pytest.mark.parametrize("treatment", ["late", "buffered"])
def test_with_nobody_late_every_treatment_is_fedavg(model, images, treatment, monkeypatch):
    """The modalities have other numbers of images; neither that nor the order of names may change what counts."""
    uneven = images | {"ultrasound": modalities.split(films("pocus_paper", patients=6), "frame")}
    monkeypatch.setattr(federated, "delays", on_time)
    spec = replace(SPEC, rounds=1)
    made = covid_rounds.late_run(spec, model, uneven, Late(treatment, delay=2), keep=False, progress=False)
    plain = federated.run(model, covid.shared_out(uneven, spec), covid.settings(spec), validate=False, keep=False,
                          progress=False)  # fmt: skip
    trained = federated.trainable(model)  # moving statistics are no sums of steps
    assert len({r["n"] for r in federated.rows(made.result.history)}) > 1
    for ours, theirs, own in zip(made.result.weights(), plain.weights(), trained, strict=True):
        if own:
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_the_recorder_takes_a_batch_size_and_names_it_where_it_is_not_the_usual_one(monkeypatch):
    asked = []
    monkeypatch.setattr(covid_rounds_recording, "record_members", asked.append)
    for more in ([], ["--batch-size", "16"], ["--batch-size", "32"]):
        covid_rounds_recording.main(["members", "--rounds", "30", *more])
    assert [spec.batch_size for spec in asked] == [16, 16, 32]
    names = [covid_rounds.members_name(spec, "xray") for spec in asked]
    assert names[0] == names[1] == "clustered-small-32px-patient-rounds30x1-xray-s0"
    assert names[2] == "clustered-small-32px-patient-rounds30x1-batch-size32-xray-s0"


def test_slips_in_the_slow_client_are_refused(model, images):
    with pytest.raises(UnknownName):
        Late("bufered")
    for delay in (0, 1):
        with pytest.raises(BadParameter, match="delay"):
            Late(delay=delay)
    with pytest.raises(UnknownName, match="nobody"):
        covid_rounds.late_run(SPEC, model, images, Late(slow="nobody"))
    alone = replace(SPEC, clients=1)
    assert (Late().client(SPEC), Late().client(alone)) == ("ultrasound_2", "ultrasound_1")
    with pytest.raises(BadParameter, match="2 clients"):
        covid_rounds.late_run(alone, model, images, Late("drop", delay=2))
    made = covid_rounds.late_run(replace(alone, rounds=2), model, images, Late(delay=2), keep=False, progress=False)
    assert {row["client"] for row in federated.rows(made.result.history)} == {"xray_1", "ultrasound_1"}


def test_names_of_records_say_what_is_unusual():
    name = partial(covid_rounds.late_name, modality="xray")
    old = "small-8px-frame-rounds4x1-batch-size8-learning-rate0.01-xray-s0"
    assert name(SPEC, Late("wait", delay=2)) == f"wait2-ultrasound_2-{old}"
    assert name(SPEC, Late("late", delay=2)) == f"late2-ultrasound_2-{old}"
    usual = Spec("multi_modal", "small", "random", 32, "patient", rounds=24, local_epochs=1, learning_rate=1e-3)
    assert covid_rounds.members_name(usual, "xray") == "multi_modal-small-32px-patient-rounds24x1-xray-s0"
    large = replace(usual, network="vgg16", weights="auto", learning_rate=1e-4)
    assert "vgg16-auto-32px-patient-rounds24x1-learning-rate0.0001" in covid_rounds.members_name(large, "xray")


def test_losses_of_members_and_others(model, images):
    made = covid.trained(SPEC, model, images, keep=False, progress=False)
    found = covid_rounds.members_and_others(model, images, made)
    for modality, dataset in images.items():
        federated.put(model, made.networks()["global"])
        p = model.predict_on_batch(dataset.test.images)[np.arange(len(dataset.test)), dataset.test.labels]
        np.testing.assert_allclose(found[modality]["others"], -np.log(p), rtol=1e-4)
        assert len(found[modality]["members"]) == len(dataset.train)


def test_records_of_slow_clients_members_and_traffic(model, images, tmp_path, monkeypatch):
    home = tmp_path / "results"
    monkeypatch.setenv("MEDTK_RESULTS", str(home))
    monkeypatch.setenv("MEDTK_CACHE", str(tmp_path / "cache"))
    one = session.start("24", profile="scaled")
    covid_rounds.late_recorded(one, images, SPEC, model, Late("wait", delay=2))
    easy = {"members": np.linspace(0, 1, 40), "others": np.linspace(0.8, 1.8, 40)}
    monkeypatch.setattr(covid_rounds, "members_and_others", lambda *_: dict.fromkeys(images, easy))
    covid_rounds.members_recorded(one, images, SPEC, model)
    payload = covid_communication.measured(SPEC, covid.shared_out(images, SPEC), {"JPEG": 1e6, "8-bit pixels": 2e9})
    assert payload.round_bytes == 4 * payload.numbers * 2 * 4
    assert covid_communication.counted(SPEC, covid.shared_out(images, SPEC), payload.images) == payload
    assert payload.break_even("JPEG") == pytest.approx(1e6 / payload.round_bytes)
    record = covid_communication.recorded(one, images, SPEC, payload)
    assert covid_communication.break_evens(record) == pytest.approx(
        {"JPEG": payload.break_even("JPEG"), "8-bit_pixels": payload.break_even("8-bit pixels")}
    )
    assert records.verify(home) == []
    kept = {r["id"].split("/")[1]: records.load_predictions(r, home) for r in records.read_all(home)}
    assert kept["late"]["rounds/tick"].tolist() == [2, 4]
    claims = {c["claim"][:12]: c for c in compare.claims(records.read_all(home), home)}
    assert claims["Sending weig"]["verdict"] == "differs"  # of two forms one is light and one heavy
    cases = rules_clustered_covid_rounds.payload(Evidence({}, [record]))
    assert {case.name: case.holds for case in cases} == {
        "small, images as 8-bit pixels": True,
        "small, images as JPEG": False,
    }
    private = claims["The users' d"]
    assert private["verdict"] == "differs" and len(private["records"]) == 2
    late = covid_rounds_tables.recorded_late()
    assert late["the server"].tolist() == [TREATMENTS["wait"]] and late["seeds"].tolist() == ["0"]
    assert len(covid_rounds_tables.recorded_recognised()) == 2
    assert covid_rounds_tables.recorded_payload()["JPEG, rounds"].tolist() == [f"{payload.break_even('JPEG'):.2f}"]
    table = covid_communication.table([payload])
    assert table.loc["small", "numbers"] == f"{payload.numbers:,}"


def test_a_network_that_is_unsure_of_its_training_images_is_named(monkeypatch):
    found = [
        {"id": name, "seed": 0, "parameters": {"modality": "xray", "split": name}} for name in ("frame", "patient")
    ]
    losses = {"frame": np.full(9, 0.652), "patient": np.full(9, 0.112)}
    monkeypatch.setattr(covid_rounds_tables, "ledger", lambda experiment: found)
    monkeypatch.setattr(
        covid_rounds_tables.records, "load_predictions", lambda r, home: {"members/loss": losses[r["id"]]}
    )
    said = covid_rounds_tables.beside_a_coin()
    assert "ln 2 = 0.693" in said and "In 1 of 2 cases" in said and said.endswith("X-ray by frame (seed 0): 0.652.")
    losses["frame"] = losses["patient"]
    assert "All 2 networks attacked have less than half" in covid_rounds_tables.beside_a_coin()
    found.clear()
    assert covid_rounds_tables.beside_a_coin().startswith("No attack")


def test_the_sign_of_a_product_is_no_matter_of_one_direction(capsys):
    for wrong in (lambda a, b: (a * b)[0] > 0, lambda a, b: np.any(a * b > 0), lambda a, b: np.all(a * b >= 0)):
        check_modalities.step_for_both(wrong)
        assert "Right." not in capsys.readouterr().out
    check_modalities.step_for_both(lambda a, b: a @ b > 0)
    assert "Right." in capsys.readouterr().out


def late_record(treatment, modality, seed, balanced, **changed):
    parameters = vars(SPEC) | {"treatment": treatment, "modality": modality, "slow": "ultrasound_2", "delay": 2}
    return {"parameters": parameters | changed, "seed": seed, "backend": "tensorflow",
            "metrics": {"clean": {"balanced_accuracy": balanced}}}  # fmt: skip


def test_treatments_are_compared_on_the_seeds_that_all_of_them_have(monkeypatch):
    """Seed 1 is harder; a mean with it beside one without it would tell seeds apart, not treatments."""
    both = ("xray", "ultrasound")
    found = [late_record("drop", m, seed, score) for m in both for seed, score in ((0, 0.7), (1, 0.5))]
    found += [late_record("late", m, 0, 0.6) for m in both]
    # Other settings, whatever differs, are no further seeds of this one.
    others = ({"delay": 3}, {"slow": "xray_1"}, {"local_epochs": 5}, {"learning_rate": 1e-4})
    found += [late_record("late", m, 1, 0.9, **changed) for m in both for changed in others]
    found += [late_record("late", "xray", 1, 0.9)]  # half a run is none
    monkeypatch.setattr(covid_rounds_tables, "ledger", lambda experiment: found)
    table = covid_rounds_tables.recorded_late()
    assert len(table) == 2 + len(others)
    first = table[table["slow client"].eq("ultrasound_2, 2 rounds") & table["seeds"].eq("0")]
    assert first["the server"].tolist() == [TREATMENTS["drop"], TREATMENTS["late"]]
    assert first["X-ray"].tolist() == ["70.0%", "60.0%"] and first["Ultrasound"].tolist() == ["70.0%", "60.0%"]
    # Without a seed in common nothing is shown of a setting.
    found[:] = [late_record("drop", m, 0, 0.7) for m in both] + [late_record("late", m, 1, 0.7) for m in both]
    assert covid_rounds_tables.recorded_late().empty


def test_tables_of_long_runs(model, images, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("MEDTK_CACHE", str(tmp_path / "cache"))
    one = session.start("24", profile="scaled")
    assert covid_rounds_tables.recorded_parting().empty and covid_rounds_tables.recorded_fig_5() is None
    made = {}
    for way in ("specialised", "clustered", "multi_modal"):
        spec = replace(SPEC, rounds=9, way=way)
        made[way] = covid.recorded(one, images, spec, model, progress=False)[0]
    (line,) = covid_rounds_tables.recorded_parting().to_dict("records")
    loss = rules_clustered_covid_rounds.smoothed(made["clustered"].curve("xray", "loss"))
    assert line["lowest loss, X-ray"] == rules_clustered_covid_rounds.best_round(loss)
    # The cosines are those of the runs with one model, not of models that stand at different weights.
    # Four clients of one network, both ways, four bytes a number.
    sent = covid_rounds_tables.recorded_traffic().set_index("way")
    assert len(sent) == 3
    a_client = 2 * 4 * model.count_params() / 1e6
    assert sent.loc["FedAvg, one model"].tolist()[1:] == [f"{a_client:.3f}", f"{9 * 4 * a_client:.1f}"]
    setting, losses, notes, marks = covid_rounds_tables.recorded_fig_5()
    assert "9 rounds" in setting and len(losses) == 4
    np.testing.assert_allclose(losses["Clustered, X-ray"], loss, rtol=1e-6)
    assert notes["cosine of the updates, one shared model"] == pytest.approx(made["multi_modal"].notes("cosine"))
    assert notes["cosine of the updates, one shared model"] != pytest.approx(made["specialised"].notes("cosine"))
    assert notes["distance of the specialised models"] == pytest.approx(made["specialised"].notes("distance"))
    for way, name in (("multi_modal", "FedAvg"), ("clustered", "Algorithm 1")):
        round_ = federated.conflict({"cosine": made[way].notes("cosine")})
        assert line[f"cosine not above 0, {name}"] == (round_ or "none")
    assert (marks["the distance bends"] or "none") == line["the distance bends"]
    sent = covid_rounds_tables.traffic(made)
    assert sent["rounds"].tolist() == [9] * 3 and len(set(sent["megabytes"])) == 1
    shown = covid_rounds_tables.answered({"one": covid_rounds.answers(model, images, made["clustered"])}, images)
    p = covid_rounds.answers(model, images, made["clustered"])["xray"]
    assert (
        shown.loc["one", "X-ray, macro F1"]
        == f"{metrics.classification(images['xray'].test.labels, p)['macro_f1']:.3f}"
    )


def test_a_rule_that_fires_before_the_lowest_loss_is_too_early():
    def said(*rounds):
        names = ("cosine not above 0, Algorithm 1", "lowest loss, X-ray", "lowest loss, Ultrasound")
        return covid_rounds_tables.too_early(pd.DataFrame([dict(zip(names, one, strict=True)) for one in rounds]))

    some = said((5, 20, 4), ("none", 9, 9), (30, 9, 9))
    # In round 5 the loss of ultrasound has been lowest already: the rule fires before the later of the two.
    assert "In 1 of 3 runs" in some and "before the later of the two" in some and "15 rounds" in said((5, 20, 4))
    assert "In 1 of 3 it fires in round 5, the first in which it can" in some
    none = said((30, 9, 9))
    assert "In none of 1 runs" in none and "at the most" not in none and "In none of 1 it fires in round 5" in none
    assert covid_rounds_tables.too_early(pd.DataFrame()).startswith("No run")


def test_gains_are_shown_by_rule():
    found = covid_rounds_tables.gains({"a": 3, "b": None}, {"xray": [3.0, 2.0, 1.0, 1.0, 1.0, 4.0, 4.0]})
    assert found["round"].tolist() == [3, "none"] and found["X-ray"][0].count("/") == 2 and found["X-ray"][1] == "–"


def test_images_weigh_what_their_pixels_do(images):
    forms = covid_communication.image_bytes(images, size=16)
    assert forms["8-bit pixels"] == 16**2 * sum(len(d.train) for d in images.values())


def record(way, loss, distance, rounds=40, modality="xray", seed=0, epochs=5, **changed):
    parameters = vars(SPEC) | {"way": way, "rounds": rounds, "modality": modality, "local_epochs": epochs} | changed
    values = {"rounds/loss": np.asarray(loss), "rounds/training_loss": np.asarray(distance),
              "rounds/distance": np.asarray(distance)}  # fmt: skip
    return {"id": f"clustered_covid/setups/{way}-s{seed}", "experiment": "setups", "parameters": parameters,
            "seed": seed, "values": values}  # fmt: skip


def evidence(*found):
    return Evidence({}, list(found), lambda r: r["values"])


def valley(lowest, n=80, depth=1.0):
    return 0.2 + depth * np.abs(np.arange(1, n + 1) - lowest) / n


FALLING = np.linspace(1, 0, 80)


def test_a_course_compares_ten_rounds_with_ten():
    rules = rules_clustered_covid_rounds
    assert rules.smoothed([1, 2, 3, 4, 5], 3).tolist() == [1.5, 2, 3, 4, 4.5]
    assert rules.best_round(rules.smoothed(valley(12))) == 12
    assert rules.blocks([1, 2, 3, 4], 3).tolist() == [2, 3] and rules.blocks([1, 3]).tolist() == [2]
    found = rules.course(valley(30), FALLING)
    assert found.overfitted is True and found.best in (34, 35)
    assert rules.course(valley(30), valley(30)).overfitted is None  # both rise: unstable, which tells nothing
    assert rules.course(np.ones(80), FALLING).overfitted is False
    assert rules.course(np.ones(80) + 1e-3 * valley(30), valley(30)).overfitted is False
    # Best near the end: nothing that could be compared came after it.
    assert [rules.course(valley(lowest), FALLING).overfitted for lowest in (60, 68, 80)] == [True, None, None]


@pytest.mark.parametrize(
    ("ours", "theirs", "holds"), [(50, 22, True), (22, 50, False), (80, 22, None), (22, 80, False)]
)
def test_clustered_overfits_later(ours, theirs, holds):
    runs = [record(way, valley(low), FALLING, rounds=80) for way, low in (("clustered", ours), ("multi_modal", theirs))]
    (case,) = rules_clustered_covid_rounds.clustered_overfits_later(evidence(*runs))
    assert case.holds is holds and case.detail.count("training loss there") == 2
    short = [record(way, valley(20, 50), FALLING[:50], rounds=50) for way in ("clustered", "multi_modal")]
    (case,) = rules_clustered_covid_rounds.clustered_overfits_later(evidence(*short))
    assert case.holds is None  # what comes after 50 rounds is not known after 50
    # 80 rounds of 3 are fewer passes over the images than the study's 50 of 5.
    few = [record(way, valley(low), FALLING, epochs=3) for way, low in (("clustered", ours), ("multi_modal", theirs))]
    (case,) = rules_clustered_covid_rounds.clustered_overfits_later(evidence(*few))
    assert case.holds is None


def test_short_runs_and_runs_without_a_partner_say_nothing():
    flat, rules = np.ones(40), rules_clustered_covid_rounds
    assert rules.clustered_overfits_later(evidence(record("clustered", flat, flat))) == []
    short = [record(way, flat[:9], flat[:9], rounds=9) for way in ("clustered", "multi_modal")]
    assert rules.clustered_overfits_later(evidence(*short)) == []


@pytest.mark.parametrize(
    ("loss", "slopes", "holds"),
    [
        (valley(15, 40), (0.1, 1.0), True),  # parts at 20, and the loss was lowest before
        (valley(35, 40), (0.1, 1.0), False),  # the loss goes on falling
        (valley(15, 40), (1.0, 0.1), False),  # they part slower, not faster
        (valley(15, 40), (0.5, 0.5), False),  # no bend
        (np.where(np.arange(40) == 30, 0.7, 1.0), (0.1, 1.0), True),  # one low round is no fall
    ],
)
@pytest.mark.parametrize("bend", [20, 35])
def test_stop_at_inflection(loss, slopes, holds, bend):
    t = np.arange(1, 41)
    distance = slopes[0] * t + (slopes[1] - slopes[0]) * np.maximum(t - bend, 0)
    (case,) = rules_clustered_covid_rounds.stop_at_inflection(
        evidence(record("clustered", loss, distance), record("specialised", loss, distance))
    )
    # Five rounds after a bend are too few to say that nothing is gained any more.
    assert case.holds is (None if bend == 35 and slopes[1] > slopes[0] else holds)
    assert (f"bend at round {bend}" in case.detail) == (slopes[0] != slopes[1])


def test_a_distance_that_decides_alone_is_one_case_a_run():
    """X-ray and ultrasound share the distance of their models: the same bend is no second piece of evidence."""
    t, both = np.arange(1, 41), ("xray", "ultrasound")

    def asked(distance, **changed):
        found = [record(way, valley(15, 40), distance, modality=m, **changed) for way in ("clustered", "specialised")
                 for m in both]  # fmt: skip
        return rules_clustered_covid_rounds.stop_at_inflection(evidence(*found))

    slows = t + 1.0 * np.minimum(t, 20)
    (case,) = asked(slows)
    assert case.holds is False and len(case.records) == 4 and case.name.startswith("small (random")
    (straight,) = asked(1.0 * t)
    assert straight.holds is False and "without a bend" in straight.detail
    grows = asked(0.1 * t + 0.9 * np.maximum(t - 20, 0))
    assert [case.name.split(",")[0] for case in grows] == ["X-ray", "ultrasound"]
    # Another batch or rate is another run with another name.
    two = [record(way, valley(15, 40), slows, modality=m, **changed) for way in ("clustered", "specialised")
           for m in both for changed in ({}, {"batch_size": 16}, {"learning_rate": 1e-4})]  # fmt: skip
    assert len({case.name for case in rules_clustered_covid_rounds.stop_at_inflection(evidence(*two))}) == 3


@pytest.mark.parametrize(
    ("shift", "split", "holds", "says"),
    [
        (0.0, "frame", None, "proves nothing"),
        (1.0, "frame", False, "area 1.000"),
        # Harder for having been trained on? Then the two sides differ in something else.
        (-1.0, "frame", None, "the two sides differ, membership cannot be judged"),
        # Other patients: a difference may be theirs.
        (1.0, "patient", None, "the two sides differ, membership cannot be judged"),
        (0.0, "patient", None, "proves nothing"),
    ],
)
def test_an_attack_can_refute_privacy_and_never_prove_it(shift, split, holds, says):
    random = np.random.default_rng(0)
    kept = {"members/loss": random.random(300), "others/loss": random.random(300) + shift}
    found = {"id": "clustered_covid/members/a-s0", "experiment": "members", "seed": 0, "values": kept}
    found["parameters"] = vars(SPEC) | {"modality": "xray", "split": split}
    (case,) = rules_clustered_covid_rounds.privacy(evidence(found))
    assert "4 rounds of 1, batch 8" in case.name and case.holds is holds and says in case.detail
    assert holds is None or not case.detail.endswith(("judged", "nothing"))


def test_rounds_of_the_rules():
    t = np.arange(1, 31)
    notes = {"distance": t + 2.0 * np.maximum(t - 12, 0), "cosine": np.where(t < 9, 0.5, -0.5)}
    assert covid_rounds.parting(notes) == {
        "they pull against each other": 11,  # the first five rounds with a mean of 0 or less end there
        "the distance grows faster": 12,
        "the distance bends": 12,
    }
    found = covid_rounds.after([3.0, 2.0, 1.0, 1.0, 1.0, 1.0, 4.0, 4.0, 4.0], 3)
    assert found["there"] > found["best later"] and found["at the end"] > found["there"]
