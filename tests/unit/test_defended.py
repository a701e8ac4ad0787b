"""The third table's experiment on small networks: what is attacked, where, and which cells it fills."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import small_networks

from medtk import lab, models, training
from medtk.defenses import adversarial, distillation
from medtk.lab import defended
from medtk.reproduction import papers, records
from medtk.reproduction.answers import reestimated

EPSILONS = (0.01, 0.03)


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDTK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(models, "build", small_networks.built_for_fit)
    monkeypatch.setattr(defended, "STEPS", 3)
    return lab.start("13", seed=0, profile="reader")


def accuracy(model, images, labels):
    return float(np.mean(model.predict(images, verbose=0).argmax(1) == labels))


def test_an_adversarially_trained_network_is_recorded_in_both_states(run):
    data = small_networks.dataset(40)
    spec = adversarial.Spec(training.Spec("mobilenetv2", epochs=2), "fgsm", epsilon=0.02, epochs=2)
    fit, record = defended.adversarially_trained(run, data, spec, EPSILONS, strong=(0.03,), answers=False)
    conditions = {"clean", "epsilon=0.01", "epsilon=0.03", "transfer-epsilon=0.01", "transfer-epsilon=0.03"}
    expected = conditions | {reestimated(name) for name in conditions}
    expected |= {"reestimated-pgd-epsilon=0.03", "reestimated-base-pgd-epsilon=0.03"}
    assert set(record["metrics"]) == expected
    assert record["cells"] == []
    assert record["parameters"]["defense_method"] == "fgsm"
    # The network that is returned is the one with its statistics measured again.
    kept = records.load_predictions(record, run.home)
    now = fit.model.predict(data.test.images, verbose=0)
    np.testing.assert_allclose(kept["reestimated"], now, atol=1e-3)
    assert records.verify(run.home) == []


def test_a_student_is_attacked_through_itself_and_through_its_teacher(run, monkeypatch):
    data = small_networks.dataset(40)
    spec = distillation.Spec(training.Spec("densenet121", epochs=1), "tiny", epochs=1)
    seen = []
    real = defended.attacks.fgsm_path

    def spied(model, *arguments, **settings):
        seen.append(model.name)
        return real(model, *arguments, **settings)

    monkeypatch.setattr(defended.attacks, "fgsm_path", spied)
    _, record = defended.distilled(run, data, spec, EPSILONS, answers=False)
    assert seen.count("tiny") == 1 and len(seen) == 2
    assert {"clean", "teacher", "transfer-epsilon=0.03", "pgd-epsilon=0.01"} <= set(record["metrics"])
    assert record["parameters"]["student"] == "tiny" and record["parameters"]["student_epochs"] == 1
    # What is unusual in one record is not said of the next.
    assert sum("epochs of the student" in deviation for deviation in record["deviations"]) == 1
    usual = dataclasses.replace(spec, epochs=distillation.Spec(spec.teacher).epochs)
    _, record = defended.distilled(run, data, usual, EPSILONS, answers=False)
    assert not any("epochs" in deviation for deviation in record["deviations"])


def test_many_steps_are_never_weaker_than_one(run):
    model, split = small_networks.settled(), small_networks.dataset(20).test
    one = defended.one_step(model, model, split, EPSILONS)
    many = defended.ascended(model, split, EPSILONS)
    for epsilon in EPSILONS:
        name = lab.transfer.condition(epsilon)
        right = [np.mean(p.argmax(1) == split.labels) for p in (one[name], many[defended.many_steps(name)])]
        assert right[1] <= right[0]
        np.testing.assert_allclose(one[name], one[defended.transferred(name)], atol=1e-6)


def test_every_defended_cell_of_the_paper_has_one_run_that_answers_it():
    wanted = {
        cell.key
        for cell in papers.load("robust_transfer").cells
        if cell.table == "III" and cell.row[-2:] in ("AT", "KD")
    }
    answered = []
    for name, title in (("breastmnist", "BreastMNIST"), ("pneumoniamnist", "PneumoniaMNIST"),
                        ("dermamnist", "DermaMNIST"), ("octmnist", "OCTMNIST")):  # fmt: skip
        data = SimpleNamespace(name=name, card=SimpleNamespace(title=f"{title}: x"))
        for network in lab.transfer.TITLES:
            for defense in ("AT", "KD"):
                answered += defended.cells(data, network, defense)
    keys = [(cell["table"], cell["row"], cell["column"]) for cell in answered]
    assert len(keys) == len(set(keys))
    assert set(keys) == wanted


def test_unusual_settings_are_named_in_a_record():
    base = training.Spec("resnet50", seed=2)
    usual = adversarial.Spec(base, seed=2)
    assert defended.adversarial_name("x", usual) == "x-resnet50-all-unit-printed-s2"
    changed = dataclasses.replace(usual, epsilon=0.002, clean_share=0.5)
    assert defended.adversarial_name("x", changed) == "x-resnet50-all-unit-printed-epsilon0.002-clean-share0.5-s2"
    inside = adversarial.Spec(base, "pgd", crafting="training", seed=2)
    assert defended.adversarial_name("x", inside) == "x-resnet50-all-unit-pgd-crafting-training-s2"
    student = distillation.Spec(base, temperature=20.0, teacher_temperature=1.0)
    assert defended.distilled_name("x", student) == "x-resnet50-moving-small-temperature20-teacher-temperature1-s0"
