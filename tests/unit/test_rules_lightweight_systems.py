"""Rules of paper 4 about teaching, search, devices and what is around them, on made records."""

import numpy as np

from medtk.reproduction import rules_lightweight_systems as rules
from medtk.reproduction.evidence import Evidence


def record_of(experiment, name, parameters=None, **metrics):
    seed = int(name.rpartition("-s")[2])
    found = {"id": f"lightweight/{experiment}/{name}", "experiment": experiment, "seed": seed, "metrics": metrics}
    return found | {"parameters": parameters or {}}


def quality(value):
    return {"balanced_accuracy": value}


def judged(rule, *found, predictions=None):
    """Verdicts of a rule; predictions one a record."""
    by_id = {record["id"]: stored for record, stored in zip(found, predictions or [None] * len(found), strict=True)}
    given = Evidence({}, list(found), predictions and (lambda record: by_id[record["id"]]))
    return [(case.name, case.holds) for case in rule(given)]


def stored_of(**right):
    """Predictions for 1000 images of two classes in turn: how many of them each condition answers right."""
    labels = np.arange(1000) % 2
    answers = {name: np.where(np.arange(1000) < count, labels, 1 - labels) for name, count in right.items()}
    return {"labels": labels} | {name: np.eye(2)[given] * 0.8 + 0.1 for name, given in answers.items()}


def test_a_student_keeps_if_it_is_near_its_teacher_ahead_of_its_twin_and_small():
    def lessons(*, taught=895, alone=800, teacher=900, ratio=10, seeds=3, name="a"):
        stored = [stored_of(teacher=teacher, alone=alone, clean=taught)] * seeds
        costs = {"cost-teacher": {"bytes": 1000 * ratio}, "cost-distilled": {"bytes": 1000}}
        quantities = {
            "teacher": quality(teacher / 1000),
            "alone": quality(alone / 1000),
            "clean": quality(taught / 1000),
        }
        return [record_of("distillation", f"{name}-s{seed}", **quantities, **costs) for seed in range(seeds)], stored

    def verdict(**numbers):
        found, stored = lessons(**numbers)
        ((_, holds),) = judged(rules.student_keeps, *found, predictions=stored)
        return holds

    assert verdict() is True
    assert verdict(taught=850) is False  # five points below the teacher
    assert verdict(taught=880) is None  # two points, and on other images one or three
    assert verdict(ratio=4) is False
    # A p that is small speaks for the one that it favours.
    assert verdict(taught=897, alone=899, teacher=900) is None  # two images are no difference
    assert verdict(taught=880, alone=895, teacher=896) is False  # the twin is ahead with every seed
    # One seed or two tell nothing of networks that were trained apart, unless the sizes do.
    assert verdict(seeds=2) is None and verdict(taught=850, seeds=1) is None and verdict(ratio=4, seeds=1) is False
    # A teacher that is behind the twin has nothing to pass on.
    assert verdict(teacher=790) is None
    # Seeds are one case; other settings are another.
    ours, answers = lessons(name="a")
    others, worse = lessons(name="b", taught=700)
    rule = rules.student_keeps
    assert judged(rule, *ours, *others, predictions=answers + worse) == [("a", True), ("b", False)]
    # Seeds that contradict each other decide nothing.
    mixed = [*answers[:2], stored_of(teacher=900, alone=990, clean=895)]
    assert judged(rule, *ours, predictions=mixed) == [("a", None)]
    assert judged(rule, record_of("edge", "a-s0"), predictions=answers[:1]) == []
    assert judged(rule, *ours) == []  # without predictions


def test_a_search_has_to_beat_its_rivals_and_be_cheaper():
    def searched(*, found=850, random=800, hand=850, macs=50, seeds=3, name="a", **parameters):
        stored = [stored_of(clean=found, random=random, by_hand=hand)] * seeds
        metrics = {"clean": quality(found / 1000), "random": quality(random / 1000), "by_hand": quality(hand / 1000)}
        metrics |= {"cost-nsga2": {"macs": macs}, "cost-by_hand": {"macs": 100}}
        chosen = {f"chosen_{way}": way for way in ("nsga2", "random", "by_hand")} | {"dataset": name[0], "epochs": 1}
        runs = [record_of("search", f"{name}-s{seed}", chosen | parameters, **metrics) for seed in range(seeds)]
        return runs, stored

    def verdict(**numbers):
        runs, stored = searched(**numbers)
        ((_, holds),) = judged(rules.search_fits, *runs, predictions=stored)
        return holds

    assert verdict() is True
    assert verdict(found=780, random=700) is False  # seven points behind the network made by hand
    assert verdict(random=850) is False  # as good as chance, and so with every seed
    assert verdict(random=835) is None  # a point and a half
    assert verdict(macs=101) is False and verdict(macs=101, seeds=1) is False
    assert verdict(seeds=2) is None and verdict(random=900, seeds=1) is None
    assert verdict(hand=640, found=850) is None  # the rival has learnt nothing
    # The same networks, found with one limit more, are the same evidence.
    (free, stored), (limited, again) = searched(), searched(name="a-0.05ms", seeds=1, max_ms=0.05)
    rule = rules.search_fits
    assert judged(rule, *limited, *free, predictions=again + stored) == [("a", True)]
    (other, _) = searched(name="a-0.05ms", seeds=1, max_ms=0.05, chosen_nsga2="another")
    assert judged(rule, *other, *free, predictions=again + stored) == [("a-0.05ms", None), ("a", True)]


def test_devices_and_averages_are_judged():
    device = record_of("device", "a-s0", **{"small-int8-one_core": {"p95_ms": 90.0, "runs": 1}, "big-x": {"runs": 0}})
    assert judged(rules.near_real_time, device) == [("a", None)]  # this machine is no phone
    assert judged(rules.device_limits, device) == [("a", True)]
    slow = record_of("device", "a-s0", **{"small-int8-one_core": {"p95_ms": 101.0, "runs": 1}})
    assert judged(rules.near_real_time, slow) == [("a", False)]
    assert judged(rules.device_limits, slow) == [("a", None)]
    for averaged, seeds, holds in ((880, 3, True), (855, 3, None), (800, 3, False), (880, 2, None), (500, 1, None)):
        metrics = {"clean": quality(averaged / 1000), "centralised": quality(0.9), "traffic": {"megabytes": 1}}
        uneven = {"partition": "dirichlet", "dirichlet_alpha": 0.5}
        found = [record_of("federated", f"a-s{seed}", uneven, **metrics) for seed in range(seeds)]
        answers = stored_of(clean=averaged, centralised=900)
        (case,) = rules.federated_small(Evidence({}, found, lambda _, kept=answers: kept))
        assert case.holds is holds and case.detail.endswith("unevenly (Dirichlet 0.5)")


def test_what_is_taken_over_has_to_rank_better_on_the_same_images():
    labels = np.arange(200) % 2

    def ranking(strength, seed=0):
        noise = np.random.default_rng(seed).normal(size=200)
        p = 1 / (1 + np.exp(-(strength * labels + noise)))
        return np.stack([1 - p, p], axis=1)

    def verdict(pairs, taken=(0.81, 0.81, 0.81)):
        qualities = taken[: len(pairs)]
        found = [
            record_of("transfer", f"a-s{seed}", clean=quality(value), scratch=quality(0.5))
            for seed, value in enumerate(qualities)
        ]
        stored = [{"labels": labels, "clean": clean, "scratch": scratch} for clean, scratch in pairs]
        ((_, holds),) = judged(rules.transfer_adapts, *found, predictions=stored)
        return holds

    better, worse = (ranking(3), ranking(1)), (ranking(1), ranking(3))
    assert verdict([better] * 3) is True
    assert verdict([worse] * 3) is False
    assert verdict([(ranking(1), ranking(1))] * 3) is False  # the same network gains nothing
    assert verdict([(ranking(1, 1), ranking(1, 2))] * 3) is None  # equally good: these images cannot tell
    assert verdict([better] * 3, taken=(0.54, 0.54, 0.54)) is None  # two networks that name one class have not learnt
    # A mean above the gate is not enough: most seeds have to have learnt.
    assert verdict([better] * 3, taken=(0.50, 0.51, 0.90)) is None
    assert verdict([better] * 3, taken=(0.50, 0.81, 0.90)) is True
    # Two seeds gain and one loses: sure on these images, and not with other seeds.
    assert verdict([better, better, (ranking(2), ranking(3))]) is None
    assert verdict([better] * 2) is None and verdict([better]) is None
