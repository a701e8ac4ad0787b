"""Rules for the claims of the study on clustered federated learning, nearly all on its Table III.

"Overall" is the mean over the two classes weighted by their test images, because only that average gives the
gains that the abstract states; where the paper speaks of averages in general, the plain mean is asked as well.

What the set-ups gain is asked of every recorded setting, split by frame and by patient; the paper's own numbers are
one case more a data set. A setting with a single seed, or whose seeds disagree, stays open: one more training may say
otherwise.
"""

from collections import defaultdict
from statistics import mean

import numpy as np

from medtk.reproduction.evidence import SLIGHT, Case, Evidence, Key, compare, percent, points
from medtk.reproduction.quantities import one_answer, value
from medtk.reproduction.rules_clustered_covid_rounds import MODALITIES, SAID, course, passes, setting_of

TESTED = {"X-ray": {"COVID-19": 44, "Healthy": 269}, "Ultrasound": {"COVID-19": 80, "Healthy": 30}}
CLASSES = ("Healthy", "COVID-19")  # as the records number them
SETUPS = ("Specialised", "Multi-modal", "Clustered")
NEAR = 0.05
STATED = {"X-ray": 0.16, "Ultrasound": 0.11}


def near_specialised(evidence: Evidence) -> list[Case]:
    """The clustered model's overall F1 is at most 5 points below that of the specialised models."""
    return _gains(evidence, "Specialised", lambda dataset, gain: gain >= -NEAR)


def clustered_helps(evidence: Evidence) -> list[Case]:
    """The clustered model's overall F1 is more than 1 point above that of the conventional multi-modal model.

    Less than that is a few test images, which another seed gives and takes.
    """
    return _gains(evidence, "Multi-modal", lambda dataset, gain: gain > SLIGHT)


def gains_as_stated(evidence: Evidence) -> list[Case]:
    """The gain in overall F1 is within 3 points of the stated one: 16 on X-rays, 11 on ultrasound."""
    return _gains(evidence, "Multi-modal", lambda dataset, gain: abs(gain - STATED[dataset]) <= 0.03)


def ultrasound_easier(evidence: Evidence) -> list[Case]:
    """F1 is higher on ultrasound than on X-rays in every set-up, as a plain and as a weighted mean."""
    if evidence.records:
        return _easier(evidence)
    cases = []
    for setup in SETUPS:
        for name, average in (("plain mean", _plain), ("weighted mean", _overall)):
            keys = (*_keys("X-ray", setup), *_keys("Ultrasound", setup))

            def judge(values, average=average):
                xray, ultrasound = average("X-ray", values[:2]), average("Ultrasound", values[2:])
                return ultrasound > xray, f"X-ray {percent(xray)}, ultrasound {percent(ultrasound)}"

            cases.append(compare(evidence, f"{setup}, {name}", keys, judge))
    return cases


def _easier(evidence: Evidence) -> list[Case]:
    """The same of every recorded setting, with the seeds that both modalities have."""
    by_setup: dict[tuple[str, str], dict[str, dict[int, dict]]] = defaultdict(dict)
    for dataset, setting, ways in _settings(evidence):
        for setup in SETUPS:
            if _way(setup) in ways:
                by_setup[setup, setting][dataset] = ways[_way(setup)]
    cases = []
    for (setup, setting), found in by_setup.items():
        seeds = set.intersection(*(set(found.get(dataset, {})) for dataset in TESTED))
        if not seeds:
            continue
        runs = {dataset: [found[dataset][seed] for seed in sorted(seeds)] for dataset in TESTED}
        used = tuple(record["id"] for each in runs.values() for record in each)
        for name, average in (("plain mean", lambda clean: clean["macro_f1"]), ("weighted mean", overall_f1)):
            xray, ultrasound = ([average(r["metrics"]["clean"]) for r in runs[dataset]] for dataset in TESTED)
            text = f"X-ray {percent(mean(xray))}, ultrasound {percent(mean(ultrasound))}, {_many(seeds)}"
            holds = _in_all([theirs > ours for ours, theirs in zip(xray, ultrasound, strict=True)])
            cases.append(Case(f"{setup}, {name}, {setting}", holds, text, records=used))
    return cases


def _in_all(by_seed: list[bool]) -> bool | None:
    """What every seed says; None where they disagree, and for a single one, which says nothing of another training."""
    return by_seed[0] if len(by_seed) > 1 and len(set(by_seed)) == 1 else None


def _many(seeds) -> str:
    return f"{len(seeds)} seed{'s' * (len(seeds) > 1)}"


def modality_not_needed(evidence: Evidence) -> list[Case]:
    """The clustered model, one for both modalities, finds more than half of the images of each class of each.

    A case is a class of a recorded run. A model that gives every image of a modality the same answer finds all of one
    class; that measures nothing, so this class stays open.
    """
    if not evidence.records:
        return [
            compare(
                evidence, f"{dataset}, {name}", (("III", f"{dataset} / {name}", "Clustered / Recall"),), _more_than_half
            )
            for dataset, classes in TESTED.items()
            for name in classes
        ]
    cases = []
    for dataset, setting, ways in _settings(evidence):
        for seed, record in sorted(ways.get("clustered", {}).items()):
            found = record["metrics"]["clean"]
            for of, name in enumerate(CLASSES):
                holds, text = _more_than_half([value(found, "recall", of)])
                if holds and one_answer(found):
                    holds, text = None, f"{text}, because every image gets the same answer"
                cases.append(Case(f"{dataset}, {name}, {setting}, seed {seed}", holds, text, records=(record["id"],)))
    return cases


def _more_than_half(values) -> tuple[bool, str]:
    return values[0] > 0.5, percent(values[0])


def conventional_overfits(evidence: Evidence) -> list[Case]:
    """The conventional model's test loss ends a tenth or more above its lowest, and its training loss goes on falling.

    Means of ten rounds are compared. The study's 50 rounds are 250 passes over each client's images. A case is a run
    and a modality. It stays open where the run has no more passes than that, was best at its end (a longer one might
    tell), or where both losses rise: that is a training that has become unstable, which tells nothing of overfitting.
    """
    cases = []
    for record in evidence.records if evidence.predictions else []:
        p = record["parameters"]
        if record["experiment"] != "setups" or p["way"] != "multi_modal":
            continue
        kept = evidence.predictions(record)
        found = course(kept["rounds/loss"], kept["rounds/training_loss"])
        name = f"{MODALITIES[p['modality']]}, {setting_of(p)}, seed {record['seed']}"
        holds = found.overfitted if passes(p) > SAID else None
        cases.append(Case(name, holds, found.text, records=(record["id"],)))
    return cases


def _keys(dataset: str, setup: str) -> tuple[Key, ...]:
    return tuple(("III", f"{dataset} / {name}", f"{setup} / F1-Score") for name in TESTED[dataset])


def _overall(dataset: str, values) -> float:
    sizes = TESTED[dataset].values()
    return sum(n * value for n, value in zip(sizes, values, strict=True)) / sum(sizes)


def _plain(dataset: str, values) -> float:
    return sum(values) / len(values)


def overall_f1(found: dict) -> float:
    """Mean F1 of the classes of one condition of a record, each counted by its test images."""
    counts = np.array(found["confusion"])
    return float(np.average([value(found, "f1", of) for of in range(len(counts))], weights=counts.sum(axis=1)))


def _gains(evidence: Evidence, other: str, judge) -> list[Case]:
    """Cases about the overall F1 of the clustered model less that of another set-up, with the seeds that both have."""
    if not evidence.records:
        return [_printed_gain(evidence, dataset, other, judge) for dataset in TESTED]
    cases = []
    for dataset, setting, ways in _settings(evidence):
        ours, theirs = ways.get("clustered", {}), ways.get(_way(other), {})
        if not (seeds := sorted(ours.keys() & theirs.keys())):
            continue
        pairs = [(ours[seed], theirs[seed]) for seed in seeds]
        mine, base = (mean(overall_f1(r["metrics"]["clean"]) for r in side) for side in zip(*pairs, strict=True))
        text = f"clustered {percent(mine)}, {other.lower()} {percent(base)}: {points(mine - base)}, {_many(seeds)}"
        gains = [overall_f1(ours["metrics"]["clean"]) - overall_f1(base["metrics"]["clean"]) for ours, base in pairs]
        holds = _in_all([bool(judge(dataset, gain)) for gain in gains])
        if all(one_answer(r["metrics"]["clean"]) for pair in pairs for r in pair):
            holds, text = None, f"{text}; all of them give every image the same answer"
        cases.append(Case(f"{dataset}, {setting}", holds, text, records=tuple(r["id"] for pair in pairs for r in pair)))
    return cases


def _way(setup: str) -> str:
    """Name in the records of a set-up of Table III."""
    return setup.lower().replace("-", "_")


def _settings(evidence: Evidence) -> list[tuple[str, str, dict[str, dict[int, dict]]]]:
    """Recorded runs that differ only in way and seed: the data set, the setting in words, records by way and seed."""
    groups: dict[tuple, dict[str, dict[int, dict]]] = defaultdict(lambda: defaultdict(dict))
    for record in evidence.records:
        if record["experiment"] == "setups":
            p = record["parameters"]
            rest = tuple(sorted((name, str(v)) for name, v in p.items() if name != "way"))
            groups[rest, record["weights"]["source"]][p["way"]][record["seed"]] = record
    found = []
    for ways in groups.values():
        p = next(iter(next(iter(ways.values())).values()))["parameters"]
        found.append((MODALITIES[p["modality"]].capitalize(), setting_of(p), ways))
    return found


def _printed_gain(evidence: Evidence, dataset: str, other: str, judge) -> Case:
    """The same from the cells of Table III."""

    def whole(values):
        ours, theirs = _overall(dataset, values[:2]), _overall(dataset, values[2:])
        text = f"clustered {percent(ours)}, {other.lower()} {percent(theirs)}: {points(ours - theirs)}"
        return judge(dataset, ours - theirs), text

    return compare(evidence, dataset, (*_keys(dataset, "Clustered"), *_keys(dataset, other)), whole)
