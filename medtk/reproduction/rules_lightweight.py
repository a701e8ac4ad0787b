"""Rules for the claims of the study on small networks that are about bits, pruning, size, speed and mobile networks.

The study prints no number, so every case is a set of records of ours: a variant and the float network that it comes
from, on the same test images, means over seeds. A float network that has not learnt its task has nothing to lose, and
its variants are no evidence. A recipe that gives no file, or none that answers, has failed its claim.
"""

from collections.abc import Callable
from statistics import mean

import numpy as np

from medtk.evaluation.intervals import mcnemar
from medtk.reproduction.evidence import Case, Evidence, percent, points
from medtk.reproduction.paired import FEWEST_SEEDS, balanced_gap, between_seeds
from medtk.reproduction.variants import (
    KEPT,
    UNCOMPARED,
    WORKS,
    Pair,
    all_of,
    at_least,
    kept,
    less,
    memory,
    noise,
    pairs,
    processor,
    quality,
    same_operations,
    size_of,
    time,
)

MUCH = 0.5  # of the bytes of the float file, at most: much smaller
REAL_TIME, MEMORY = 100.0, 256.0  # milliseconds of the slow answers, megabytes: what a small device may have
TASKS = {
    "skin lesions": ("dermamnist",),
    "diabetic retinopathy": ("retinamnist",),
    "chest X-rays": ("pneumoniamnist", "chest_xray"),
}
FEW_BITS = ("int8", "weights_int8", "dynamic_int8", "weights_int4", "dynamic_int4", "dynamic_int2")
FAMILIES = {"MobileNet": "mobilenet", "ShuffleNet": "shufflenet"}
PLAIN = ("medium", "small", "tiny")  # networks of no such family: a line of convolutions


def quantization_shrinks(evidence: Evidence) -> list[Case]:
    """A file of few bits takes less memory, and answers sooner than the float file on one thread.

    Memory is the peak of the process beyond what it had before. Both have to differ by 5 % and by more than files with
    the same operations do.
    """
    sooner, unsteady = _sooner(evidence), noise(evidence, memory)

    def judge(pair):
        took, bytes_left = pair.measured_ratio(memory), pair.ratio(size_of("bytes"))
        quick, text = sooner(pair)
        text = f"{bytes_left:.2f} of the file, {_of(took, 'memory')}, {text}"
        return all_of((less(took, unsteady), quick)), text

    return _cases(evidence, lambda p: p.form == "float" and p.recipe in FEW_BITS, judge)


def bit_widths(evidence: Evidence) -> list[Case]:
    """With 8 and with 4 bits an answer comes sooner, and at most 2 points of balanced accuracy are lost."""
    return _quick_and_kept(
        evidence, lambda p: p.form in ("float", "qat8", "qat4") and p.recipe.endswith(("int8", "int4"))
    )


def pruning_shrinks(evidence: Evidence) -> list[Case]:
    """The file compressed is at most half as large, fewer multiplications are done, and at most 2 points are lost."""
    if evidence.predictions is None:
        return []

    def judge(pair):
        sent, macs = pair.ratio(size_of("deflated_bytes")), pair.ratio(size_of("macs"))
        unharmed, text = kept(evidence, pair)
        holds = all_of((sent <= MUCH, macs < 1, unharmed))
        return holds, f"{sent:.2f} of the bytes, {macs:.2f} of the multiplications, {text}"

    return _cases(evidence, _pruned, judge)


def pruning_kinds(evidence: Evidence) -> list[Case]:
    """Without single weights, and without filters, an answer comes sooner and at most 2 points are lost."""
    return _quick_and_kept(evidence, _pruned)


def accuracy_kept(evidence: Evidence) -> list[Case]:
    """Every variant is at most 2 points of balanced accuracy below its float network.

    A variant that was trained on is compared with the float network after as much more training, with 3 seeds or more.
    Open where the 95 % interval of the difference holds both answers.
    """
    if evidence.predictions is None:
        return []
    return _cases(evidence, lambda p: True, lambda p: kept(evidence, p))


def accuracy_rises(evidence: Evidence) -> list[Case]:
    """A variant is more accurate than its float network: McNemar's exact test gives p below 0.05 in each seed.

    The p of all cases are corrected together by Holm's method: of 72 pairs of equal networks 3 or 4 would pass without.
    A variant that was trained on needs 3 seeds or more, and a gain that is above 0 beyond what the seeds differ by.
    """
    if evidence.predictions is None:
        return []
    found = {
        pair.records: _rise(evidence, pair)
        for pair in pairs(evidence)
        if pair.learnt and pair.twin and not pair.failed and _enough(pair)
    }
    corrected = dict(zip(found, _holm([p for _, p in found.values()]), strict=True))

    def judge(pair):
        if not pair.twin:
            return None, UNCOMPARED
        if not _enough(pair):
            return None, f"networks trained apart take {FEWEST_SEEDS} seeds, not {len(pair.variant)}"
        gained, p = found[pair.records][0], corrected[pair.records]
        beyond = mean(gained) > between_seeds(gained, apart=pair.apart)
        return p < 0.05 and beyond, f"{points(mean(gained))}, p {p:.2g} (Holm)"

    return _cases(evidence, lambda p: True, judge)


def faster(evidence: Evidence) -> list[Case]:
    """A variant answers sooner than the float file, both by the same runtime on one thread.

    Open where the times differ by less than those of files with the same operations.
    """
    return _cases(evidence, lambda p: True, _sooner(evidence))


def mobile_families(evidence: Evidence) -> list[Case]:
    """An int8 MobileNet or ShuffleNet of a network that has learnt its task fits our limits; no plain one beats it.

    Fits: 15 points of balanced accuracy above naming one class, 0.1 s (95th percentile) and 256 MB, on our machine. A
    plain network beats it on the same images if it is no larger, not clearly slower, and 2 points better by the whole
    95 % interval; with fewer than 3 seeds that cannot be told.
    """
    if evidence.predictions is None:
        return []
    whole_numbers = [p for p in pairs(evidence) if (p.form, p.recipe) == ("float", "int8") and not p.failed]
    if not whole_numbers:
        return []
    unsteady, cases = noise(evidence, time), []
    for family, start in FAMILIES.items():
        mine = [pair for pair in whole_numbers if pair.network.startswith(start) and pair.learnt]
        if not mine:
            cases.append(Case(family, None, "no network that has learnt its task is recorded"))
        for pair in mine:
            rivals = [
                r for r in whole_numbers if r.network in PLAIN and (r.dataset, r.size) == (pair.dataset, pair.size)
            ]
            beaten = {rival.network: _beats(evidence, rival, pair, unsteady) for rival in rivals}
            good, slow = _mean(pair, quality), _mean(pair, lambda r: r["metrics"]["threads=1"]["p95_ms"])
            room = _mean(pair, lambda r: r["metrics"]["start-threads=1"]["peak_mb"])
            fits = good >= 1 / pair.classes + WORKS and slow <= REAL_TIME and room <= MEMORY
            text = f"balanced accuracy {percent(good)}, {slow:.1f} ms, {room:.0f} MB"
            for said, which in (("beaten by", True), ("these seeds cannot tell whether it is beaten by", None)):
                names = [name for name, found in beaten.items() if found is which]
                text += f", {said} {' and '.join(names)}" if names else ""
            text += "" if rivals else ", no plain network beside it"
            unbeaten = [None if found is None else not found for found in beaten.values()] or [None]
            ids = tuple(dict.fromkeys(name for p in (pair, *rivals) for name in p.records))
            cases.append(Case(pair.name, all_of((fits, *unbeaten)), text, records=ids))
    return cases


def three_tasks(evidence: Evidence) -> list[Case]:
    """For each of the three tasks most int8 files are 15 points of balanced accuracy above naming one class.

    One case, since the claim names all three: open while one of them is. Only networks count whose float file is as far
    above; none is chosen by its test images. A task with no such network is open.
    """
    found = [pair for pair in pairs(evidence) if (pair.form, pair.recipe) == ("float", "int8")]
    parts, said, used = [], [], []
    for task, datasets in TASKS.items():
        mine = [pair for pair in found if pair.dataset in datasets]
        learnt = [pair for pair in mine if pair.learnt]
        good = sum(not pair.failed and _mean(pair, quality) >= 1 / pair.classes + WORKS for pair in learnt)
        parts.append(good > len(learnt) / 2 if learnt else None)
        if learnt:
            said.append(f"{task}: {good} of {len(learnt)} networks")
        else:
            said.append(f"{task}: {'no float network has learnt it' if mine else 'not recorded'}")
        used += [name for pair in mine for name in pair.records]
    return [Case("all three tasks", all_of(parts), "; ".join(said), records=tuple(dict.fromkeys(used)))]


def _sooner(evidence: Evidence) -> Callable[[Pair], tuple[bool | None, str]]:
    unsteady = noise(evidence, time)

    def sooner(pair):
        if same_operations(pair.form) and pair.recipe == "float32":
            return False, "the same operations, so the same time"
        ratio = pair.measured_ratio(time)
        holds = less(ratio, unsteady)
        equal = "unknown" if unsteady is None else f"up to {unsteady:.2f}"
        open_ = f" (between files with the same operations: {equal})" if holds is None and ratio is not None else ""
        return holds, f"{_of(ratio, 'time')}{open_}"

    return sooner


def _quick_and_kept(evidence: Evidence, wanted: Callable[[Pair], bool]) -> list[Case]:
    if evidence.predictions is None:
        return []
    sooner = _sooner(evidence)

    def judge(pair):
        (quick, when), (unharmed, lost) = sooner(pair), kept(evidence, pair)
        return all_of((quick, unharmed)), f"{when}, {lost}"

    return _cases(evidence, wanted, judge)


def _cases(evidence: Evidence, wanted: Callable[[Pair], bool], judge: Callable) -> list[Case]:
    cases = []
    for pair in (pair for pair in pairs(evidence) if pair.learnt and wanted(pair)):
        holds, text = (False, f"failed: {pair.failed}") if pair.failed else judge(pair)
        cases.append(Case(pair.name, holds, text, records=pair.records))
    return cases


def _of(ratio: float | None, what: str) -> str:
    return f"no {what} on the same processor" if ratio is None else f"{ratio:.2f} of the {what}"


def _enough(pair: Pair) -> bool:
    return not pair.apart or len(pair.variant) >= FEWEST_SEEDS


def _rise(evidence: Evidence, pair: Pair) -> tuple[list[float], float]:
    """Gain of each seed as a share of the images, and the largest McNemar p; a loss has p 1, however sure it is."""
    gained, ps = [], []
    for variant, twin in zip(pair.variant, pair.twin, strict=True):
        after, before = evidence.predictions(variant), evidence.predictions(twin)
        test = mcnemar(after["labels"], before["clean"], after["clean"])
        gained.append((test.only_b - test.only_a) / len(after["labels"]))
        ps.append(test.p if test.only_b > test.only_a else 1.0)
    return gained, max(ps)


def _holm(ps: list[float]) -> list[float]:
    """P values of many tests, corrected so that the chance of any false one stays what is asked (Holm 1979)."""
    ordered = np.argsort(ps)
    raised = np.maximum.accumulate(np.sort(ps) * np.arange(len(ps), 0, -1))
    corrected = np.empty(len(ps))
    corrected[ordered] = np.minimum(raised, 1)
    return corrected.tolist()


def _beats(evidence: Evidence, rival: Pair, pair: Pair, unsteady: float | None) -> bool | None:
    ours, theirs = ({record["seed"]: record for record in side.variant} for side in (rival, pair))
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return None
    mine, others = ([evidence.predictions(side[seed]) for seed in seeds] for side in (ours, theirs))
    answers = ([found["clean"] for found in side] for side in (mine, others))
    better = at_least(balanced_gap(mine[0]["labels"], *answers, apart=True)[1], KEPT)
    smaller = _mean(rival, size_of("deflated_bytes")) <= _mean(pair, size_of("deflated_bytes"))
    timed = [(time(ours[s]), time(theirs[s])) for s in seeds if processor(ours[s]) == processor(theirs[s])]
    ratio = mean(a for a, _ in timed) / mean(b for _, b in timed) if timed else None
    return all_of((better, smaller, less(ratio, unsteady) is not False))


def _pruned(pair: Pair) -> bool:
    return pair.form.startswith(("sparse", "filters")) and "+" not in pair.form and pair.recipe == "float32"


def _mean(pair: Pair, measure: Callable[[dict], float]) -> float:
    return mean(map(measure, pair.variant))
