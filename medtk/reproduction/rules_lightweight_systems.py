"""Rules for the claims of the study on small networks that are about teaching, search, devices and what is around them.

The study prints no number, so every case is a record of ours, or several that differ only in their seed.
"""

from collections.abc import Callable, Iterable
from statistics import mean

from medtk.reproduction.evidence import Case, Evidence, percent

CLOSE = 0.02  # of balanced accuracy: what is kept, or as good
NEAR = 0.05  # the same distance as for paper 5's averaged network
SMALLER = 5  # times fewer bytes than its teacher
REAL_TIME = 100.0  # milliseconds: ten answers a second, which a person sees as at once
QUALITY = "balanced_accuracy"


def student_keeps(evidence: Evidence) -> list[Case]:
    """The taught network is within 2 points of its teacher, ahead of its twin without one, and 5 times smaller."""

    def judge(records):
        teacher, alone, taught = (_mean(records, name, QUALITY) for name in ("teacher", "alone", "clean"))
        ratio = _mean(records, "cost-teacher", "bytes") / _mean(records, "cost-distilled", "bytes")
        text = f"teacher {percent(teacher)}, taught {percent(taught)}, without teacher {percent(alone)}, "
        return taught >= teacher - CLOSE and taught > alone and ratio >= SMALLER, f"{text}{ratio:.0f} times smaller"

    return _cases(evidence, "distillation", judge)


def search_fits(evidence: Evidence) -> list[Case]:
    """The network found is within 2 points of the better of one by hand and one at random, and cheaper."""

    def judge(records):
        found, random, hand = (_mean(records, name, QUALITY) for name in ("clean", "random", "by_hand"))
        macs, usual = (_mean(records, name, "macs") for name in ("cost-nsga2", "cost-by_hand"))
        text = f"search {percent(found)}, at random {percent(random)}, by hand {percent(hand)}, "
        return found >= max(random, hand) - CLOSE and macs <= usual, f"{text}{macs / usual:.2f} of its multiplications"

    return _cases(evidence, "search", judge)


def near_real_time(evidence: Evidence) -> list[Case]:
    """On one core, which stands for a device and is none, the slow answers (95th percentile) come within 0.1 s."""

    def judge(records):
        slow = _mean(records, "small-int8-one_core", "p95_ms")
        return slow <= REAL_TIME, f"{slow:.2f} ms on one core of this machine, no phone"

    return _cases(evidence, "device", judge)


def device_limits(evidence: Evidence) -> list[Case]:
    """Some network does not run under the limits of a stand-in. If all run, the question stays open: others may not."""

    def judge(records):
        ran = [(record, name) for record in records for name in record["metrics"] if "runs" in record["metrics"][name]]
        failed = sorted({name for record, name in ran if record["metrics"][name]["runs"] == 0})
        if not failed:
            return None, "every network ran under every limit that was tried"
        return True, f"does not run: {', '.join(failed)}"

    return _cases(evidence, "device", judge)


def federated_small(evidence: Evidence) -> list[Case]:
    """The network averaged over hospitals is at most 5 points below the one trained on all images in one place."""

    def judge(records):
        averaged, central = (_mean(records, name, QUALITY) for name in ("clean", "centralised"))
        sent = _mean(records, "traffic", "megabytes")
        text = f"averaged {percent(averaged)}, in one place {percent(central)}, {sent:.1f} MB sent in all"
        return averaged >= central - NEAR, text

    return _cases(evidence, "federated", judge)


def transfer_adapts(evidence: Evidence) -> list[Case]:
    """With every seed, a network with another data set's weights is ahead of one with random weights."""

    def judge(records):
        taken, scratch = (_mean(records, name, QUALITY) for name in ("clean", "scratch"))
        ahead = sum(r["metrics"]["clean"][QUALITY] > r["metrics"]["scratch"][QUALITY] for r in records)
        text = (
            f"taken over {percent(taken)}, from scratch {percent(scratch)}, ahead with {ahead} of {len(records)} seeds"
        )
        return ahead == len(records), text

    return _cases(evidence, "transfer", judge)


def _cases(evidence: Evidence, experiment: str, judge: Callable) -> list[Case]:
    """A case for each setting of an experiment; records that differ in nothing but the seed are one case."""
    groups: dict[str, list[dict]] = {}
    for record in evidence.records:
        if record["experiment"] == experiment:
            name = record["id"].rpartition("/")[2].rpartition("-s")[0]
            groups.setdefault(name, []).append(record)
    found = []
    for name, records in groups.items():
        holds, text = judge(records)
        found.append(Case(name, holds, text, records=tuple(record["id"] for record in records)))
    return found


def _mean(records: Iterable[dict], condition: str, metric: str) -> float:
    return mean(record["metrics"][condition][metric] for record in records)
