"""Rules for the claims of the study on three hospitals, on its Tables 1 and 2 and the runs behind them.

Hospitals are compared by shares of some 200 test images, which chance alone moves by several points. So a rule about a
difference asks for an interval of it, and leaves the case open where the interval holds both answers.
"""

from collections import defaultdict
from collections.abc import Sequence
from statistics import mean

import numpy as np

from medtk.evaluation import intervals
from medtk.reproduction import paired
from medtk.reproduction.evidence import Case, Evidence, percent, points
from medtk.reproduction.paired import Side

HOSPITALS = ("Hospital 1", "Hospital 2", "Hospital 3")
TIGHT = 0.05
NEAR = 0.05
# Of all images: more than this with one answer, and a network hardly tells the classes apart.
ONE_SIDED = 0.85
# Balanced accuracy half-way between a coin and a network that is always right.
POOR = 0.75


def tightly_grouped(evidence: Evidence) -> list[Case]:
    """Best and worst hospital are at most 5 points apart, in accuracy and in macro F1.

    Open where the interval of the largest difference reaches to both sides of 5 points.
    """
    keys = tuple(("2", hospital, "Accuracy") for hospital in HOSPITALS)
    counts = _confusions(evidence, "Accuracy")
    if counts is None:
        return [Case(name, None, "not all recorded") for name in ("Accuracy", "F1 Avg")]
    right = [(float(np.trace(c)), float(c.sum())) for c in counts]
    ends = {
        "Accuracy": ([k / n for k, n in right], intervals.largest_difference(right)),
        "F1 Avg": ([float(_macro_f1(c)) for c in counts], _largest_f1_difference(counts)),
    }
    cases = []
    for name, (values, interval) in ends.items():
        text = f"{', '.join(percent(value) for value in values)}; largest difference {_span(interval)}"
        cases.append(_case(name, _within(interval), text, keys, evidence))
    return cases


def above_commonest(evidence: Evidence) -> list[Case]:
    """Accuracy is above that of the commonest answer, and each class is answered better than by a coin.

    One case, since the hospitals' images are parts of all images, answered by the same network. It holds where the
    lower ends of the three 95 % intervals are above on all images and on those of each hospital, fails where an upper
    end is below on all images, and is open else. The intervals are of images: another deal or another seed is another
    network. Accuracy alone could be had by calling nearly everybody ill, since most are.
    """
    keys = (("1", "Global Model", "Accuracy"), *(("2", hospital, "Accuracy") for hospital in HOSPITALS))
    found = [_confusion(evidence, key) for key in keys]
    if any(counts is None for counts in found):
        return [Case("all images", None, "no counts by class")]
    above = [_above_commonest(counts) for counts in found]
    holds = True if all(above) else False if above[0] is False else None
    whole, *parts = ((float(np.trace(c) / c.sum()), *np.diag(c) / c.sum(axis=1)) for c in found)
    networks = len(evidence.runs[keys[0]])
    text = f"accuracy {percent(whole[0])}, sensitivity {percent(whole[2])}, specificity {percent(whole[1])}"
    text += f", by hospital {', '.join(percent(specificity) for _, specificity, _ in parts)}; {networks} network"
    return [_case("all images", holds, text + "s" * (networks > 1), keys, evidence)]


def _above_commonest(counts: np.ndarray) -> bool | None:
    n, of_class = counts.sum(), counts.sum(axis=1)
    asked = [(np.trace(counts), n, of_class.max() / n), *((counts[c, c], of_class[c], 0.5) for c in (1, 0))]
    ends = [(intervals.wilson(float(k), float(total)), floor) for k, total, floor in asked]
    if all(interval.low > floor for interval, floor in ends):
        return True
    return False if any(interval.high < floor for interval, floor in ends) else None


def balanced_false_negatives(evidence: Evidence) -> list[Case]:
    """Shares of the ill who are missed, and of the healthy who are alarmed, differ by at most 5 points.

    The printed FN are all errors and cannot tell. Open where an interval reaches to both sides of 5 points; and where
    a hospital's network gives one answer to nearly all, or alarms more than half of the healthy: a network that calls
    everybody ill misses nobody anywhere.
    """
    keys = tuple(("2", hospital, "FN") for hospital in HOSPITALS)
    counts = _confusions(evidence, "FN")
    if counts is None:
        return [Case("missed pneumonias", None, "not all recorded")]
    gaps, said = [], []
    for true, given in ((1, 0), (0, 1)):
        shares = [(float(c[true, given]), float(c[true].sum())) for c in counts]
        gaps.append(_within(intervals.largest_difference(shares)))
        said.append(", ".join(percent(k / n) for k, n in shares))
    blunt = any(c.sum(axis=0).max() > ONE_SIDED * c.sum() or c[0, 0] < c[0].sum() / 2 for c in counts)
    holds = False if False in gaps else True if all(gaps) and not blunt else None
    text = f"missed {said[0]}; false alarms {said[1]}"
    if blunt and holds is None:
        text += "; who calls most of the healthy ill misses few anywhere"
    return [_case("missed pneumonias", holds, text, keys, evidence)]


def non_iid(evidence: Evidence) -> list[Case]:
    """Where hospitals differ, averaging is at most 5 points below pooled training, and below the best lone hospital.

    A case is a setting with unlike hospitals. The measure is balanced accuracy on all test images: accuracy can be had
    by naming the commonest class. Open where the interval of a difference, over the seeds that both have, holds both
    answers, as it does for fewer than three seeds. The best lone hospital is picked afterwards, by those same images: a
    high yardstick, which no hospital could know. Pooled training is the same whoever holds the images, so one recording
    of it serves all partitions but the one that changes the images themselves. To be near a network that is poor (below
    75 %) decides nothing.
    """
    settings: dict[tuple, dict[str, dict[int, dict]]] = defaultdict(lambda: defaultdict(dict))
    pooled: dict[tuple, dict[int, dict]] = defaultdict(dict)
    for record in evidence.records:
        p = record["parameters"]
        if p.get("hospital") != "all" or p.get("way") not in ("fedavg", "local", "centralised"):
            continue
        if p["way"] == "centralised":
            pooled[_pooled_setting(p)][record["seed"]] = record
        elif p["partition"] != "iid":
            setting = setting_of({name: value for name, value in p.items() if name != "way"})
            settings[setting][p["way"]][record["seed"]] = record
    cases = []
    for ways in settings.values():
        averaged = ways["fedavg"]
        central = pooled.get(_pooled_setting(next(iter(averaged.values()))["parameters"]), {}) if averaged else {}
        central, lone = ({s: r for s, r in other.items() if s in averaged} for other in (central, ways["local"]))
        if central or lone:
            cases.append(_averaging(evidence, averaged, central, lone))
    return cases


def _averaging(evidence: Evidence, averaged: dict[int, dict], central: dict[int, dict], lone: dict[int, dict]) -> Case:
    """Case of one setting, from records by seed."""
    near, said = [], []
    for name, others, best in (("centralised", central, _pooled), ("the best lone hospital", lone, _best_alone)):
        if not others:
            near.append(None)
            said.append(f"{name} not recorded")
            continue
        ours, theirs = ({s: Side(averaged[s], "clean") for s in others}, {s: best(r) for s, r in others.items()})
        answer, text = at_most_below(evidence, ours, theirs, POOR)
        near.append(answer)
        said.append(f"averaged less {name}: {text}")
    holds = False if False in near else True if all(near) else None
    p = next(iter(averaged.values()))["parameters"]
    alpha = f" {p['dirichlet_alpha']:g}" if p["partition"] in ("dirichlet", "quantity_skew") else ""
    name = f"{p['partition']}{alpha}, {p['network']} at {p['size']} pixels"
    used = [averaged[s]["id"] for s in averaged if s in central or s in lone]
    used += [record["id"] for record in (*central.values(), *lone.values())]
    return Case(name, holds, "; ".join(said), records=tuple(used))


def _pooled_setting(p: dict) -> tuple:
    """What a run in one place depends on."""
    apart = p["partition"] if p["partition"] == "acquisition_shift" else ""
    left_out = ("way", "partition", "dirichlet_alpha", "hospitals")
    return apart, *sorted((name, str(value)) for name, value in p.items() if name not in left_out)


def _pooled(record: dict) -> Side:
    return Side(record, "clean")


def _best_alone(record: dict) -> Side:
    """The hospital whose own network does best on everybody's images."""
    alone = [Side(record, name) for name in record["metrics"] if name.startswith("hospital_")]
    return max(alone, key=_balanced)


def _balanced(side: Side) -> float:
    return side.record["metrics"][side.condition]["balanced_accuracy"]


def at_most_below(
    evidence: Evidence, ours: dict[int, Side], theirs: dict[int, Side], poor: float
) -> tuple[bool | None, str]:
    """Whether balanced accuracy is at most 5 points below that of other networks, trained apart; and in words.

    None where the interval over images and seeds holds both answers, and where it is near networks below `poor`.
    """
    below = mean(_balanced(theirs[seed]) for seed in ours)
    text = f"{percent(mean(map(_balanced, ours.values())))} less {percent(below)}"
    found = None if evidence.predictions is None else paired.pairs(paired.balanced_answers, evidence, ours, theirs)
    if found is None:
        return None, f"{text}, not on the same images"
    low, high = paired.gap(found)
    text += paired.too_few(found) or f", {100 * low:+.1f} to {points(high)}"
    if high < -NEAR:
        return False, text
    if below < poor:
        return None, f"{text}, poor itself"
    return (True if low > -NEAR else None), text


def setting_of(p: dict) -> tuple:
    """Parameters in one order, to group runs by."""
    return tuple(sorted((name, str(value)) for name, value in p.items()))


def _confusion(evidence: Evidence, key: tuple) -> np.ndarray | None:
    """Mean confusion matrix (row: true, column: given) of the runs behind a cell; None without any."""
    names = {run.record for run in evidence.runs.get(key, ())}
    found = [r["metrics"].get("clean", {}).get("confusion") for r in evidence.records if r["id"] in names]
    return np.mean(found, axis=0) if found and None not in found else None


def _confusions(evidence: Evidence, column: str) -> list[np.ndarray] | None:
    """The three hospitals' matrices, or None if one is not recorded."""
    found = [_confusion(evidence, ("2", hospital, column)) for hospital in HOSPITALS]
    return None if any(one is None for one in found) else found


def _case(name: str, holds: bool | None, text: str, keys: tuple, evidence: Evidence) -> Case:
    """Case on cells of the tables; an open one names its records, so that the report can show what was looked at."""
    if holds is not None:
        return Case(name, holds, text, keys)
    return Case(name, None, text, (), tuple(sorted({run.record for key in keys for run in evidence.runs[key]})))


def _within(interval: intervals.Interval) -> bool | None:
    """Whether a largest difference is at most `TIGHT`; None where its interval leaves that open."""
    return True if interval.high <= TIGHT else False if interval.low > TIGHT else None


def _span(interval: intervals.Interval) -> str:
    return f"{percent(interval.low)} to {percent(interval.high)}"


def _macro_f1(counts: np.ndarray) -> np.ndarray:
    """Of confusion matrices, shape (..., k, k)."""
    right, total = np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1) + counts.sum(axis=-2)
    return np.mean(2 * right / np.maximum(total, 1e-12), axis=-1)


def _largest_f1_difference(counts: Sequence[np.ndarray], draws: int = 1000) -> intervals.Interval:
    """As `intervals.largest_difference`; a macro F1 is no share, so its spread is that of matrices drawn again."""
    random, shares = np.random.default_rng(0), []
    for one in counts:
        n = round(one.sum())
        again = random.multinomial(n, one.ravel() / one.sum(), draws).reshape(draws, *one.shape)
        value, variance = float(_macro_f1(one)), float(np.var(_macro_f1(again)))
        # As many trials as give a share of this value the same spread.
        trials = min(n, max(1.0, value * (1 - value) / variance)) if variance else n
        shares.append((value * trials, trials))
    return intervals.largest_difference(shares)
