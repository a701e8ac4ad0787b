"""Rules for the claims of the study on small networks that are about teaching, search, devices and what is around them.

The study prints no number, so every case is a record of ours, or several that differ only in their seed. Networks that
are compared were trained apart, so that their difference takes 3 seeds: it is judged by the wider of what other images
and what other seeds would say.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean

import numpy as np

from medtk.evaluation import metrics
from medtk.evaluation.intervals import Interval, bootstrap, mcnemar
from medtk.reproduction.evidence import SLIGHT, Case, Evidence, percent
from medtk.reproduction.paired import FEWEST_SEEDS, LEARNED, balanced_gap, between_seeds
from medtk.reproduction.variants import WORKS, all_of, at_least, in_points

CLOSE = 0.02  # of balanced accuracy: what is kept, or as good
NEAR = 0.05  # the same distance as for paper 5's averaged network
DRAWS = 2000  # of the test images: with a few hundred, an end of an interval would depend on their seed
SMALLER = 5  # times fewer bytes than its teacher
REAL_TIME = 100.0  # milliseconds: ten answers a second, which a person sees as at once
QUALITY = "balanced_accuracy"


def student_keeps(evidence: Evidence) -> list[Case]:
    """The taught network is within 2 points of its teacher, ahead of its twin without one, and 5 times smaller.

    Within 2 points by the whole 95 % interval. Ahead if McNemar's exact test gives a p below 0.05 with every seed, each
    time for the taught network; behind if each time for the twin. Open else, with fewer than 3 seeds, and where the
    teacher is not ahead of the twin, since it has nothing to pass on.
    """
    if evidence.predictions is None:
        return []

    def judge(records):
        teacher, alone, taught = (_mean(records, name, QUALITY) for name in ("teacher", "alone", "clean"))
        ratio = _mean(records, "cost-teacher", "bytes") / _mean(records, "cost-distilled", "bytes")
        stored = [evidence.predictions(record) for record in records]
        tests = [mcnemar(found["labels"], found["alone"], found["clean"]) for found in stored]
        near, lost = _gap(stored, "clean", "teacher")
        text = (
            f"teacher {percent(teacher)}, taught {percent(taught)} ({lost}), without teacher {percent(alone)} "
            f"(p {', '.join(f'{test.p:.2g}' for test in tests)}), {ratio:.0f} times smaller"
        )
        if teacher <= alone:
            return None, f"{text}; the teacher is not ahead of the network without one"
        ways = {test.only_b > test.only_a for test in tests}
        sure = len(records) >= FEWEST_SEEDS and len(ways) == 1 and all(test.p < 0.05 for test in tests)
        return all_of((at_least(near, -CLOSE), ways.pop() if sure else None, ratio >= SMALLER)), text

    return _cases(_of(evidence, "distillation"), judge)


def search_fits(evidence: Evidence) -> list[Case]:
    """The network found is ahead of one found at random, within 2 points of one made by hand, and cheaper than that.

    Ahead by more than 1 point. Both by the whole 95 % interval, with 3 seeds or more. Open where the network made by
    hand has not learnt the task: to be as good as that is nothing.
    """
    if evidence.predictions is None:
        return []

    def judge(records):
        found, random, hand = (_mean(records, name, QUALITY) for name in ("clean", "random", "by_hand"))
        macs, usual = (_mean(records, name, "macs") for name in ("cost-nsga2", "cost-by_hand"))
        stored = [evidence.predictions(record) for record in records]
        (near, behind), (ahead, before) = (_gap(stored, "clean", name) for name in ("by_hand", "random"))
        text = f"search {percent(found)}, at random {percent(random)} ({before}), by hand {percent(hand)} ({behind}), "
        text += f"{macs / usual:.2f} of its multiplications"
        if hand < 1 / stored[0]["clean"].shape[1] + WORKS:
            return None, f"{text}; the network made by hand has not learnt the task"
        return all_of((at_least(near, -CLOSE), at_least(ahead, SLIGHT), macs <= usual)), text

    return _cases(_distinct(_of(evidence, "search")), judge)


def near_real_time(evidence: Evidence) -> list[Case]:
    """The slow answers (95th percentile) take more than 0.1 s on one core here; within 0.1 s the question stays open.

    One core of our machine is faster than a phone's: what is too slow here is too slow there, and nothing else follows.
    """

    def judge(records):
        slow = _mean(records, "small-int8-one_core", "p95_ms")
        text = f"{slow:.2f} ms on one core of this machine; no phone was measured"
        return (None if slow <= REAL_TIME else False), text

    return _cases(_of(evidence, "device"), judge)


def device_limits(evidence: Evidence) -> list[Case]:
    """Some network does not run under the limits of a stand-in. If all run, the question stays open: others may not."""

    def judge(records):
        ran = [(record, name) for record in records for name in record["metrics"] if "runs" in record["metrics"][name]]
        failed = sorted({name for record, name in ran if record["metrics"][name]["runs"] == 0})
        if not failed:
            return None, "every network ran under every limit that was tried"
        return True, f"does not run: {', '.join(failed)}"

    return _cases(_of(evidence, "device"), judge)


def federated_small(evidence: Evidence) -> list[Case]:
    """The network averaged over hospitals is at most 5 points below the one trained on all images in one place.

    By the whole 95 % interval, with 3 seeds or more.
    """
    if evidence.predictions is None:
        return []

    def judge(records):
        averaged, central = (_mean(records, name, QUALITY) for name in ("clean", "centralised"))
        sent = _mean(records, "traffic", "megabytes")
        lost, said = _gap([evidence.predictions(record) for record in records], "clean", "centralised")
        text = f"averaged {percent(averaged)}, in one place {percent(central)} ({said}), {sent:.1f} MB sent in all"
        p = records[0]["parameters"]
        if p["partition"] == "dirichlet":
            text += f", classes shared out unevenly (Dirichlet {p['dirichlet_alpha']:g})"
        return at_least(lost, -NEAR), text

    return _cases(_of(evidence, "federated"), judge)


def transfer_adapts(evidence: Evidence) -> list[Case]:
    """A network with another data set's weights ranks the images better than one with random weights.

    By the 95 % interval of the difference of their AUC on the same images, mean over 3 seeds or more: above 0 it holds,
    below 0.01 it does not, else it is open. It is open too unless with most seeds one of the networks is 5 points of
    balanced accuracy above naming one class.
    """
    if evidence.predictions is None:
        return []

    def judge(records):
        taken, scratch = ([r["metrics"][name][QUALITY] for r in records] for name in ("clean", "scratch"))
        stored = [evidence.predictions(record) for record in records]
        labels, classes = stored[0]["labels"], stored[0]["clean"].shape[1]
        both = np.stack([np.stack([found[name] for found in stored]) for name in ("clean", "scratch")])
        areas = np.array([[metrics.auc(labels, one) for one in way] for way in both])
        by_seed = areas[0] - areas[1]
        half = between_seeds(by_seed, apart=True)
        text = (
            f"balanced accuracy {percent(mean(taken))} taken over, {percent(mean(scratch))} from scratch; AUC "
            f"{areas[0].mean():.3f} and {areas[1].mean():.3f}"
        )
        if np.isinf(half):
            return None, f"{text}; networks trained apart take {FEWEST_SEEDS} seeds, not {len(records)}"
        images = bootstrap(labels, np.moveaxis(both, 2, 0), _gain_of_auc, repeats=DRAWS)
        low, high = min(images.low, by_seed.mean() - half), max(images.high, by_seed.mean() + half)
        text += f", difference [{low:+.3f}, {high:+.3f}], {len(records)} seeds"
        learnt = sum(max(both) >= 1 / classes + LEARNED for both in zip(taken, scratch, strict=True))
        if learnt <= len(records) / 2:
            return None, f"{text}; in {learnt} of them a network has learnt the task"
        return (True if low > 0 else False if high < SLIGHT else None), text

    return _cases(_of(evidence, "transfer"), judge)


def _of(evidence: Evidence, experiment: str) -> list[dict]:
    return [record for record in evidence.records if record["experiment"] == experiment]


def _distinct(searches: Iterable[dict]) -> list[dict]:
    """Searches without those that repeat another one's networks: with one limit more the same ones may be found."""
    found = {}
    for record in sorted(searches, key=lambda record: "max_ms" not in record["parameters"]):
        p = record["parameters"]
        chosen = tuple(p[f"chosen_{way}"] for way in ("nsga2", "random", "by_hand"))
        found[p["dataset"], p["epochs"], record["seed"], chosen] = record  # the one with fewer limits comes last
    return list(found.values())


def _cases(records: Iterable[dict], judge: Callable) -> list[Case]:
    """A case for each setting; records that differ in nothing but the seed are one case."""
    groups: dict[str, list[dict]] = {}
    for record in records:
        groups.setdefault(record["id"].rpartition("/")[2].rpartition("-s")[0], []).append(record)
    found = []
    for name, runs in groups.items():
        holds, text = judge(runs)
        found.append(Case(name, holds, text, records=tuple(record["id"] for record in runs)))
    return found


def _gap(stored: Sequence[Mapping], ours: str, theirs: str) -> tuple[Interval, str]:
    """Interval of the difference of two conditions in balanced accuracy, and the difference as text."""
    answers = ([found[name] for found in stored] for name in (ours, theirs))
    value, interval = balanced_gap(stored[0]["labels"], *answers, apart=True)
    return interval, in_points(value, interval, len(stored))


def _gain_of_auc(labels: np.ndarray, both: np.ndarray) -> float | None:
    """AUC of the first way minus that of the second, mean over seeds; ``both`` (n, 2, seeds, classes)."""
    if len(np.unique(labels)) < 2:
        return None
    ways = [[metrics.auc(labels, both[:, way, seed]) for seed in range(both.shape[2])] for way in (0, 1)]
    return mean(ways[0]) - mean(ways[1])


def _mean(records: Iterable[dict], condition: str, metric: str) -> float:
    return mean(record["metrics"][condition][metric] for record in records)
