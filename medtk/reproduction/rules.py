"""One function for each claim of a paper: it reads accuracies and says, case by case, whether it holds.

The same function is asked about the numbers recorded here and about the numbers that the paper printed, so a
claim that a paper's own table contradicts is found without training anything.

A comparison is one of networks that have learned. How an attack or a defence moves the accuracy of the others, which
is the share of a class, says nothing of either.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from medtk.reproduction import paired
from medtk.reproduction.evidence import (
    EPSILONS,
    NAMES,
    PAIRS,
    Case,
    Evidence,
    Key,
    compare,
    falls,
    keys_of,
    margin,
    pairs_of,
    percent,
    points,
)

# Accuracy of ResNet-18 and ResNet-50 on images of 28 pixels: Yang et al., Scientific Data 10 (2023), Table 3.
BENCHMARK = {
    "breastmnist": (0.863, 0.812),
    "pneumoniamnist": (0.854, 0.854),
    "dermamnist": (0.735, 0.735),
    "octmnist": (0.743, 0.762),
}


def densenet_leads(evidence: Evidence) -> list[Case]:
    """On clean images DenseNet121 is above each other network, on every data set."""
    return [_best(evidence, dataset, "densenet121", 0.0, highest=True) for dataset in PAIRS]


def mobilenet_trails(evidence: Evidence) -> list[Case]:
    """On clean images MobileNetV2 is below each other network, on every data set."""
    return [_best(evidence, dataset, "mobilenetv2", 0.0, highest=False) for dataset in PAIRS]


def densenet_falls_behind(evidence: Evidence) -> list[Case]:
    """At the strongest attack DenseNet121 is below each other network, on every data set."""
    return [_best(evidence, dataset, "densenet121", EPSILONS[-1], highest=False) for dataset in PAIRS]


def attack_lowers(evidence: Evidence) -> list[Case]:
    """Accuracy falls with every step of epsilon, for every network on every data set."""
    cases = []
    for dataset, network in pairs_of(PAIRS):
        keys = keys_of(dataset, network, "none", (0.0, *EPSILONS))
        cases.append(compare_learned(evidence, f"{NAMES[network]} on {NAMES[dataset]}", keys, falls))
    return cases


def resnet_resists(evidence: Evidence) -> list[Case]:
    """From clean to the strongest attack ResNet50 loses less than the other two."""
    return [_loses(evidence, d, "resnet50", most=False) for d, networks in PAIRS.items() if "resnet50" in networks]


def resnet_pneumonia(evidence: Evidence) -> list[Case]:
    """ResNet50 stays above 70 % on PneumoniaMNIST at the strongest attack."""
    keys = keys_of("pneumoniamnist", "resnet50", "none", EPSILONS[-1:])
    return [compare_learned(evidence, "ResNet50 on PneumoniaMNIST", keys, lambda v: (v[0] > 0.70, percent(v[0])))]


def resnet_breast(evidence: Evidence) -> list[Case]:
    """ResNet50 stays below 30 % on BreastMNIST, where always saying the rarer class gives 26.9 %."""
    key = ("breastmnist", "resnet50", "none", 0.0)
    runs = evidence.runs.get(key, ())
    return [Case(run.record, run.value < 0.30, percent(run.value), (), (run.record,)) for run in runs]


def resnet_overfits(evidence: Evidence) -> list[Case]:
    """The low accuracy is overfitting: the network knows its training images far better than its test images.

    Asked of ResNet50 on BreastMNIST where ``clean`` is below 30 %. Both sides of the comparison use statistics of
    the present weights: the accuracy that the last epoch reported (of each batch), and ``reestimated`` on the test
    images (of one pass over the training set). The claim holds for a run if the first is 10 points above the second.
    """
    cases = []
    for record in evidence.records:
        subject = [record["experiment"], record["data"]["name"], record["parameters"].get("network")]
        scores = {key: value["accuracy"] for key, value in record["metrics"].items() if "accuracy" in value}
        trained = record.get("while_training", {}).get("accuracy")
        if subject != ["transfer", "breastmnist", "resnet50"] or trained is None or "reestimated" not in scores:
            continue
        if scores["clean"] < 0.30:
            test = scores["reestimated"]
            detail = f"{percent(trained)} of the training images, {percent(test)} of the test images"
            cases.append(Case(record["id"], trained > test + 0.10, detail, (), (record["id"],)))
    return cases


def chest_flip(evidence: Evidence) -> list[Case]:
    """Some chest X-ray goes from pneumonia at 98 % or more to normal at 91 % or more as epsilon rises.

    The paper shows one image of one undefended network, so one image of one such network that has learned is enough.
    """
    found = {}
    for record in evidence.records:
        subject = (record["experiment"], record["data"]["name"])
        attacked = [key for key in record["metrics"] if key.startswith("epsilon=")]
        if evidence.predictions is None or subject != ("transfer", "pneumoniamnist") or not attacked:
            continue
        if "clean" in record["metrics"] and paired.learned(paired.Side(record, "clean")):
            stored = evidence.predictions(record)
            sure = (stored["labels"] == 1) & (stored["clean"][:, 1] >= 0.98)
            flipped = np.any([stored[key][:, 0] >= 0.91 for key in attacked], axis=0)
            found[record["id"]] = int(np.sum(sure & flipped))
    if not found:
        return []
    detail = f"{sum(found.values())} images in {sum(n > 0 for n in found.values())} of {len(found)} networks"
    return [Case("an X-ray that flips", any(found.values()), detail, (), tuple(found))]


def near_benchmark(evidence: Evidence) -> list[Case]:
    """On clean images each network is within 5 points of what the two ResNets of the collection's authors reach."""
    cases = []
    for dataset, network in pairs_of(PAIRS):
        low, high = min(BENCHMARK[dataset]), max(BENCHMARK[dataset])

        def judge(values, low=low, high=high):
            text = f"{percent(values[0])}, the benchmark {percent(low)} to {percent(high)}"
            return low - 0.05 <= values[0] <= high + 0.05, text

        keys = keys_of(dataset, network, "none", (0.0,))
        cases.append(compare_learned(evidence, f"{NAMES[network]} on {NAMES[dataset]}", keys, judge))
    return cases


def mobilenet_loses_most(evidence: Evidence) -> list[Case]:
    """From clean to the strongest attack MobileNetV2 loses more than each other network, on every data set."""
    return [_loses(evidence, dataset, "mobilenetv2", most=True) for dataset in PAIRS]


def _best(evidence: Evidence, dataset: str, network: str, epsilon: float, *, highest: bool) -> Case:
    networks = first(network, PAIRS[dataset])
    keys = tuple((dataset, other, "none", epsilon) for other in networks)

    def judge(values):
        text = ", ".join(f"{NAMES[n]} {percent(v)}" for n, v in zip(networks, values, strict=True))
        return beyond(values, margin(evidence), above=highest), text

    return compare_learned(evidence, NAMES[dataset], keys, judge)


def _loses(evidence: Evidence, dataset: str, network: str, *, most: bool) -> Case:
    networks = first(network, PAIRS[dataset])
    keys = tuple(key for other in networks for key in keys_of(dataset, other, "none", (0.0, EPSILONS[-1])))

    def judge(values):
        lost = [clean - attacked for clean, attacked in zip(values[::2], values[1::2], strict=True)]
        text = ", ".join(f"{NAMES[n]} {points(loss)}" for n, loss in zip(networks, lost, strict=True))
        return beyond(lost, margin(evidence), above=most), f"losses: {text}"

    return compare_learned(evidence, NAMES[dataset], keys, judge)


def first(network: str, networks: tuple[str, ...]) -> tuple[str, ...]:
    """The networks with the one that a claim is about in front."""
    return (network, *(other for other in networks if other != network))


def beyond(values, by: float, *, above: bool) -> bool:
    """Whether the first value is above (or below) each of the others by more than `by`."""
    return values[0] > max(values[1:]) + by if above else values[0] < min(values[1:]) - by


def compare_learned(evidence: Evidence, name: str, keys: tuple[Key, ...], judge: Callable) -> Case:
    """`compare` over networks that have learned; open where no seed has one at every key."""
    case = compare(evidence.once("learned", lambda: _learned(evidence)), name, keys, judge)
    if case.holds is not None or case.records or evidence.values(keys) is None:
        return case
    used = tuple(sorted({run.record for key in keys for run in evidence.runs[key]}))
    return Case(name, None, "no seed at which every network has learned", (), used)


def _learned(evidence: Evidence) -> Evidence:
    """The same evidence without runs of networks that on clean images are no better than one answer for all."""
    known = {r["id"]: r for r in evidence.records if "clean" in r["metrics"]}
    poor = {name for name, record in known.items() if not paired.learned(paired.Side(record, "clean"))}
    runs = {key: tuple(run for run in found if run.record not in poor) for key, found in evidence.runs.items()}
    return replace(evidence, runs={key: found for key, found in runs.items() if found})
