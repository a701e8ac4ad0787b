"""Rules for the claims of the study on clustered federated learning, nearly all on its Table III.

"Overall" is the mean over the two classes weighted by their test images, because only that average gives the
gains that the abstract states; where the paper speaks of averages in general, the plain mean is asked as well.
"""

from medtk.reproduction.evidence import Case, Evidence, Key, compare, percent, points
from medtk.reproduction.rules_clustered_covid_rounds import best_round, overfitted, smoothed

TESTED = {"X-ray": {"COVID-19": 44, "Healthy": 269}, "Ultrasound": {"COVID-19": 80, "Healthy": 30}}
SETUPS = ("Specialised", "Multi-modal", "Clustered")
NEAR = 0.05
STATED = {"X-ray": 0.16, "Ultrasound": 0.11}
SAID = 50  # rounds after which conventional averaging is said to overfit


def near_specialised(evidence: Evidence) -> list[Case]:
    """The clustered model's overall F1 is at most 5 points below that of the specialised models."""

    def judge(gain):
        return gain >= -NEAR

    return [_gain(evidence, dataset, "Specialised", judge) for dataset in TESTED]


def clustered_helps(evidence: Evidence) -> list[Case]:
    """The clustered model's overall F1 is more than 1 point above that of the conventional multi-modal model.

    Less than that is a few test images, which another seed gives and takes.
    """

    def judge(gain):
        return gain > 0.01

    return [_gain(evidence, dataset, "Multi-modal", judge) for dataset in TESTED]


def gains_as_stated(evidence: Evidence) -> list[Case]:
    """The gain in overall F1 is within 3 points of the stated one: 16 on X-rays, 11 on ultrasound."""
    cases = []
    for dataset, stated in STATED.items():

        def judge(gain, stated=stated):
            return abs(gain - stated) <= 0.03

        cases.append(_gain(evidence, dataset, "Multi-modal", judge))
    return cases


def ultrasound_easier(evidence: Evidence) -> list[Case]:
    """F1 is higher on ultrasound than on X-rays in every set-up, as a plain and as a weighted mean."""
    cases = []
    for setup in SETUPS:
        for name, mean in (("plain mean", _plain), ("weighted mean", _overall)):
            keys = (*_keys("X-ray", setup), *_keys("Ultrasound", setup))

            def judge(values, mean=mean):
                xray, ultrasound = mean("X-ray", values[:2]), mean("Ultrasound", values[2:])
                return ultrasound > xray, f"X-ray {percent(xray)}, ultrasound {percent(ultrasound)}"

            cases.append(compare(evidence, f"{setup}, {name}", keys, judge))
    return cases


def modality_not_needed(evidence: Evidence) -> list[Case]:
    """The clustered model, one for both modalities, finds more than half of the images of each class of each."""
    cases = []
    for dataset, classes in TESTED.items():
        for name in classes:
            key = ("III", f"{dataset} / {name}", "Clustered / Recall")
            cases.append(compare(evidence, f"{dataset}, {name}", (key,), lambda v: (v[0] > 0.5, percent(v[0]))))
    return cases


def conventional_overfits(evidence: Evidence) -> list[Case]:
    """The conventional model's test loss ends a tenth or more above its lowest, in runs of more than 50 rounds.

    The loss is smoothed over five rounds; the training loss must have gone on falling. A case is a run and a modality.
    """
    cases = []
    for record in evidence.records:
        p = record["parameters"]
        if record["experiment"] != "setups" or p["way"] != "multi_modal" or p["rounds"] <= SAID:
            continue
        if evidence.predictions is None:
            continue
        kept = evidence.predictions(record)
        test, training = (smoothed(kept[f"rounds/{what}"]) for what in ("loss", "training_loss"))
        best = best_round(test)
        text = f"lowest test loss in round {best} of {len(test)}, at the end {test[-1] / test.min():.2f} times that"
        name = f"{p['modality']}, {p['network']} at {p['size']} pixels, split by {p['split']}, seed {record['seed']}"
        holds = overfitted(test) and bool(training[-1] < training[best - 1])
        cases.append(Case(name, holds, text, records=(record["id"],)))
    return cases


def _keys(dataset: str, setup: str) -> tuple[Key, ...]:
    return tuple(("III", f"{dataset} / {name}", f"{setup} / F1-Score") for name in TESTED[dataset])


def _overall(dataset: str, values) -> float:
    sizes = TESTED[dataset].values()
    return sum(n * value for n, value in zip(sizes, values, strict=True)) / sum(sizes)


def _plain(dataset: str, values) -> float:
    return sum(values) / len(values)


def _gain(evidence: Evidence, dataset: str, other: str, judge) -> Case:
    """Case about the overall F1 of the clustered model less that of another set-up."""

    def whole(values):
        ours, theirs = _overall(dataset, values[:2]), _overall(dataset, values[2:])
        text = f"clustered {percent(ours)}, {other.lower()} {percent(theirs)}: {points(ours - theirs)}"
        return judge(ours - theirs), text

    return compare(evidence, dataset, (*_keys(dataset, "Clustered"), *_keys(dataset, other)), whole)
