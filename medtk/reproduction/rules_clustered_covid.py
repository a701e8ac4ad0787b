"""Rules for the claims of the study on clustered federated learning, all on the F1 scores of its Table III.

"Overall" is the mean over the two classes weighted by their test images, because only that average gives the
gains that the abstract states; where the paper speaks of averages in general, the plain mean is asked as well.
"""

from medtk.reproduction.evidence import Case, Evidence, Key, compare, percent, points

TESTED = {"X-ray": {"COVID-19": 44, "Healthy": 269}, "Ultrasound": {"COVID-19": 80, "Healthy": 30}}
SETUPS = ("Specialised", "Multi-modal", "Clustered")
NEAR = 0.05
STATED = {"X-ray": 0.16, "Ultrasound": 0.11}


def near_specialised(evidence: Evidence) -> list[Case]:
    """The clustered model's overall F1 is at most 5 points below that of the specialised models."""

    def judge(gain):
        return gain >= -NEAR

    return [_gain(evidence, dataset, "Specialised", judge) for dataset in TESTED]


def clustered_helps(evidence: Evidence) -> list[Case]:
    """The clustered model's overall F1 is above that of the conventional multi-modal model."""

    def judge(gain):
        return gain > 0

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
