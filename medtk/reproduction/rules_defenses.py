"""Rules for the claims of the study on robust transfer about adversarial training and distillation."""

from statistics import mean

from medtk.reproduction.evidence import (
    DEFENDED,
    EPSILONS,
    NAMES,
    Case,
    Evidence,
    Key,
    drops,
    gains,
    keys_of,
    margin,
    pairs_of,
    percent,
    points,
)
from medtk.reproduction.rules import beyond, compare_learned, first


def training_helps(evidence: Evidence) -> list[Case]:
    """Adversarial training raises the accuracy at every epsilon, for every network on every data set."""
    cases = []
    for dataset, network in pairs_of(DEFENDED):
        for epsilon in EPSILONS:
            keys = keys_of(dataset, network, "none", (epsilon,)) + keys_of(dataset, network, "at", (epsilon,))
            cases.append(compare_learned(evidence, f"{NAMES[network]} on {NAMES[dataset]} at {epsilon}", keys, gains))
    return cases


def training_helps_more(evidence: Evidence) -> list[Case]:
    """Adversarial training gains more at the largest epsilon than at the smallest."""
    cases = []
    for dataset, network in pairs_of(DEFENDED):
        ends = (EPSILONS[0], EPSILONS[-1])
        keys = keys_of(dataset, network, "none", ends) + keys_of(dataset, network, "at", ends)

        def judge(v):
            small, large = v[2] - v[0], v[3] - v[1]
            return large > small + margin(evidence), f"gains {points(small)} and {points(large)}"

        cases.append(compare_learned(evidence, f"{NAMES[network]} on {NAMES[dataset]}", keys, judge))
    return cases


def training_costs(evidence: Evidence) -> list[Case]:
    """Adversarial training lowers the accuracy on clean images."""
    cases = []
    for dataset, network in pairs_of(DEFENDED):
        keys = keys_of(dataset, network, "none", (0.0,)) + keys_of(dataset, network, "at", (0.0,))
        cases.append(compare_learned(evidence, f"{NAMES[network]} on {NAMES[dataset]}", keys, drops))
    return cases


def mobilenet_gains_most(evidence: Evidence) -> list[Case]:
    """Averaged over epsilon, adversarial training gains most for MobileNetV2, on every data set."""
    cases = []
    for dataset, networks in DEFENDED.items():
        order = first("mobilenetv2", networks)

        def judge(v, order=order):
            each = _gains(v)
            text = ", ".join(f"{NAMES[n]} {points(gain)}" for n, gain in zip(order, each, strict=True))
            return beyond(each, margin(evidence), above=True), f"mean gains: {text}"

        cases.append(compare_learned(evidence, NAMES[dataset], _attacked(dataset, order), judge))
    return cases


def training_weaker_on_large(evidence: Evidence) -> list[Case]:
    """Adversarial training gains less on OCTMNIST than on each other set, as a mean of all its gains."""
    large = _attacked("octmnist", DEFENDED["octmnist"])
    cases = []
    for dataset in [d for d in DEFENDED if d != "octmnist"]:

        def judge(v):
            ours, other = mean(_gains(v[: len(large)])), mean(_gains(v[len(large) :]))
            return ours < other - margin(evidence), f"mean gains {points(ours)} and {points(other)}"

        keys = large + _attacked(dataset, DEFENDED[dataset])
        cases.append(compare_learned(evidence, f"OCTMNIST beside {NAMES[dataset]}", keys, judge))
    return cases


def distilled_derma(evidence: Evidence) -> list[Case]:
    """On DermaMNIST the student is ahead of the others at 0.004 and 0.005, and behind at 0 and 0.001."""
    return [_student(evidence, "dermamnist", epsilon, above=epsilon >= 0.004) for epsilon in (0.0, 0.001, 0.004, 0.005)]


def distilled_oct(evidence: Evidence) -> list[Case]:
    """On OCTMNIST the student is ahead of every other network, defended or not, at every epsilon."""
    return [_student(evidence, "octmnist", epsilon, above=True) for epsilon in (0.0, *EPSILONS)]


def distillation_likes_size(evidence: Evidence) -> list[Case]:
    """The student gains more on DenseNet121 without a defence on OCTMNIST, the larger set, than on DermaMNIST.

    A mean over all epsilon, of the two sets for which the paper prints a student.
    """
    keys = tuple(
        key
        for dataset in ("octmnist", "dermamnist")
        for defense in ("none", "kd")
        for key in keys_of(dataset, "densenet121", defense, EPSILONS)
    )

    def judge(values):
        large, small = _gains(values)
        return large > small + margin(evidence), f"mean gains {points(large)} and {points(small)}"

    return [compare_learned(evidence, "OCTMNIST beside DermaMNIST", keys, judge)]


def _attacked(dataset: str, networks) -> tuple[Key, ...]:
    """Keys of each network under every attack: first undefended, then adversarially trained."""
    return tuple(
        key
        for network in networks
        for defense in ("none", "at")
        for key in keys_of(dataset, network, defense, EPSILONS)
    )


def _gains(values) -> list[float]:
    """Mean gain of each network from values ordered as `_attacked` orders their keys."""
    size = len(EPSILONS)
    blocks = [mean(values[i : i + size]) for i in range(0, len(values), size)]
    return [after - before for before, after in zip(blocks[::2], blocks[1::2], strict=True)]


def _student(evidence: Evidence, dataset: str, epsilon: float, *, above: bool) -> Case:
    rivals = [(dataset, "densenet121", "none", epsilon)]
    rivals += [(dataset, network, "at", epsilon) for network in DEFENDED[dataset]]
    if dataset == "octmnist":  # where the paper speaks of every tested network
        rivals += [(dataset, network, "none", epsilon) for network in ("mobilenetv2", "resnet50")]
    keys = ((dataset, "densenet121", "kd", epsilon), *rivals)

    def judge(values):
        best = max(values[1:])
        text = f"student {percent(values[0])}, best of the others {percent(best)}"
        return (values[0] > best + margin(evidence) if above else values[0] < best - margin(evidence)), text

    return compare_learned(evidence, f"{NAMES[dataset]} at {epsilon}", keys, judge)
