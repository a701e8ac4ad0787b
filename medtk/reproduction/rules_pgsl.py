"""Rules for the claims of the study on split learning about accuracies, Table II.

Recorded conditions are compared on the same images. A difference within what images and seeds differ decides nothing,
nor does a network that has not learned. Printed numbers have no images; they are compared as they stand.
"""

from collections import defaultdict
from statistics import mean

import numpy as np

from medtk.reproduction import paired
from medtk.reproduction.evidence import SLIGHT, Case, Evidence, Key, compare, percent, points
from medtk.reproduction.paired import Side
from medtk.reproduction.rules_pgsl_errors import DATASETS, INVERSIONS, NAMES

PIXEL_ATTACKS = ("JSMA [28]", "C&W [36]", "BIM [37]", "FGSM [10]")
STATED = {"iDLG [24]": 0.140, "DLG [23]": 0.179, "JSMA [28]": 0.369}
NEAR = 0.03  # of a stated gain
GUESSING = {"MIAS": 26 / 50, "MNIST": 1135 / 10000}  # always the commonest class of the test set


def hardest_attack(evidence: Evidence) -> list[Case]:
    """Of the four pixel attacks JSMA leaves the lowest accuracy on MIAS and C&W on MNIST."""
    strongest = {"MIAS": "JSMA [28]", "MNIST": "C&W [36]"}
    return [_beats(evidence, dataset, row, PIXEL_ATTACKS, lowest=True) for dataset, row in strongest.items()]


def attacks_near_chance(evidence: Evidence) -> list[Case]:
    """Every pixel attack brings the accuracy within 20 points of always naming the commonest class.

    Open where the accuracy is that low without an attack too, and where it is high only because the attack, made with
    the true label, writes it into the image.
    """
    cases = []
    for name, dataset in NAMES.items():
        plain = [
            Side(r, "unattacked") for r in paired.of(evidence, name, "streams") if r["parameters"]["images"] == "none"
        ]
        falls = not evidence.records or (plain and all(map(paired.learned, plain)))
        for row in PIXEL_ATTACKS:

            def judge(values, guessing=GUESSING[dataset]):
                return values[0] - guessing <= 0.20, percent(values[0])

            key = _accuracy(row, dataset)
            case = compare(evidence, f"{row} on {dataset}", (key,), judge)
            if case.holds and not falls:
                detail = f"{case.detail}, and no network is recorded that had learned without an attack"
                case = paired.case(evidence, case.name, None, detail, (key,))
            if case.holds is False and not all(map(paired.learned, paired.sides(evidence, key).values())):
                detail = f"{case.detail}, by a trace of the label that the attack leaves: a guessed one is not learned"
                case = paired.case(evidence, case.name, None, detail, (key,))
            cases.append(case)
    return cases


def idlg_leads(evidence: Evidence) -> list[Case]:
    """Of the images rebuilt by an inversion, those of iDLG are recognised best."""
    return [_beats(evidence, dataset, "iDLG [24]", INVERSIONS.values()) for dataset in DATASETS]


def recovered_leads(evidence: Evidence) -> list[Case]:
    """The stream of recovered images is ahead of the other two and of iDLG."""
    rivals = ("S_f", "S_a", "iDLG [24]")
    return [_beats(evidence, dataset, "S_r", rivals) for dataset in DATASETS]


def fusion_leads(evidence: Evidence) -> list[Case]:
    """The three streams together are ahead of each of them, of every attack and of every inversion."""
    rivals = (*PIXEL_ATTACKS, *INVERSIONS.values(), "S_r", "S_f", "S_a")
    return [_beats(evidence, dataset, "PGSL", rivals) for dataset in DATASETS]


def improves_recognition(evidence: Evidence) -> list[Case]:
    """The whole method, its attack made with a guessed label, is above training on plain images at the same settings.

    The paper prints no row without an attack, so its own numbers say nothing. A true label would be no fair start: the
    attack writes it into the image.
    """
    cases, alike = [], ("split", "size", "n_train", "n_test", "epochs", "batch_size")
    for dataset, title in NAMES.items():
        runs = defaultdict(lambda: defaultdict(dict))
        for record in paired.of(evidence, dataset, "streams"):
            p, metrics = record["parameters"], record["metrics"]
            condition = {"pgsl": "pgsl-guessed", "none": "unattacked"}.get(p["images"])
            if condition in metrics and p.get("cut", 2) == 2:
                runs[tuple(p[name] for name in alike)][p["images"]][record["seed"]] = Side(record, condition)
        both = [(found["pgsl"], found["none"]) for found in runs.values() if len(found) == 2]
        for ours, plain in (pair for pair in both if pair[0].keys() & pair[1].keys()):
            seeds = sorted(ours.keys() & plain.keys())
            shares = (mean(_share(side[seed]) for seed in seeds) for side in (ours, plain))
            detail = "{} beside {} without an attack".format(*map(percent, shares))
            if answers := paired.pairs(paired.answers, evidence, ours, plain):
                detail += paired.too_few(answers)
            lead = _lead(evidence, ours, plain)
            ids = tuple(side[seed].record["id"] for side in (ours, plain) for seed in seeds)
            cases.append(Case(title, lead > 0 if lead else None, detail, records=ids))
    return cases or [Case("both data sets", None, "not all recorded")]


def gains_as_stated(evidence: Evidence) -> list[Case]:
    """On MIAS the method is ahead of iDLG, DLG and JSMA by the points that the abstract states, to 3 points."""
    cases = []
    for row, stated in STATED.items():
        keys = _accuracy("PGSL", "MIAS"), _accuracy(row, "MIAS")
        values = evidence.values(keys)
        if values is None:
            cases.append(Case(row, None, "not all recorded"))
            continue
        gain = values[0] - values[1]
        ours, theirs = _sides(evidence, *keys)
        low, high = _gain(evidence, ours, theirs) if evidence.records else (gain, gain)
        detail = f"{points(gain)}, stated {points(stated)}"
        if not all(map(paired.learned, (*ours.values(), *theirs.values()))):
            holds, detail = None, f"{detail}, but a network has not learned"
        elif high < stated - NEAR or low > stated + NEAR:
            holds = False
        else:
            holds = True if stated - NEAR <= low and high <= stated + NEAR else None
        cases.append(paired.case(evidence, row, holds, detail, keys))
    return cases


def early_cut(evidence: Evidence) -> list[Case]:
    """The whole method is more accurate cut behind the second convolution than behind any other that was tried."""
    cases = []
    for dataset in NAMES:
        runs = defaultdict(lambda: defaultdict(dict))
        for record in paired.of(evidence, dataset, "streams"):
            p = record["parameters"]
            if p["images"] == "pgsl":
                alike = tuple(p[name] for name in ("split", "size", "n_train", "n_test", "epochs", "batch_size", "mu"))
                runs[alike][p["cut"]][record["seed"]] = Side(record, "pgsl")
        tried = {alike: cuts for alike, cuts in runs.items() if 2 in cuts and len(cuts) > 1}
        if not tried:
            cases.append(Case(NAMES[dataset], None, "not all recorded"))
        for cuts in tried.values():
            found = {cut: mean(_share(side) for side in seeds.values()) for cut, seeds in sorted(cuts.items())}
            leads = [_lead(evidence, cuts[2], cuts[cut]) for cut in found if cut != 2]
            detail = ", ".join(
                f"cut {cut}: {percent(share)} in {len(cuts[cut])} {'seeds' if len(cuts[cut]) > 1 else 'seed'}"
                for cut, share in found.items()
            )
            ids = tuple(side.record["id"] for seeds in cuts.values() for side in seeds.values())
            holds = False if -1 in leads else True if set(leads) == {1} else None
            cases.append(Case(NAMES[dataset], holds, detail, records=ids))
    return cases


def _accuracy(row: str, dataset: str) -> Key:
    return "II", row, dataset


def _sides(evidence: Evidence, *keys: Key) -> tuple[dict[int, Side], ...]:
    return tuple(paired.sides(evidence, key) for key in keys)


def _share(side: Side) -> float:
    return side.record["metrics"][side.condition]["accuracy"]


def _gain(evidence: Evidence, ours: dict[int, Side], theirs: dict[int, Side]) -> tuple[float, float]:
    """95 % interval of the first accuracy less the second, on the same images if there are such."""
    found = paired.pairs(paired.answers, evidence, ours, theirs)
    if found is not None:
        return paired.gap(found)
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return -np.inf, np.inf
    gains, variance = [_share(ours[seed]) - _share(theirs[seed]) for seed in seeds], 0.0
    for side in (ours, theirs):
        share, n = mean(_share(side[seed]) for seed in seeds), side[seeds[0]].record["metrics"]
        variance += share * (1 - share) / n[side[seeds[0]].condition]["n"]
    half = max(SLIGHT, 1.96 * float(np.sqrt(variance)), paired.between_seeds(gains, apart=True))
    return mean(gains) - half, mean(gains) + half


def _lead(evidence: Evidence, ours: dict[int, Side], theirs: dict[int, Side]) -> int | None:
    """1 if our accuracy is ahead, -1 if it is behind, 0 within noise; None if a network has not learned."""
    seeds = ours.keys() & theirs.keys()
    if not all(paired.learned(side[seed]) for side in (ours, theirs) for seed in seeds):
        return None
    low, high = _gain(evidence, ours, theirs)
    return (low > 0) - (high < 0)


def _beats(evidence: Evidence, dataset: str, row: str, rivals, *, lowest: bool = False) -> Case:
    """Case: a row of Table II is above (or below) each of its rivals.

    One rival that is ahead decides against it; all of them must be recorded, and behind, to decide for it.
    """
    key, keys = _accuracy(row, dataset), {rival: _accuracy(rival, dataset) for rival in rivals if rival != row}
    found = {rival: evidence.values((key, other)) for rival, other in keys.items()}
    found = {rival: values for rival, values in found.items() if values is not None}
    signs = {}
    for rival, (ours, other) in found.items():
        sides = _sides(evidence, key, keys[rival])
        sign = _lead(evidence, *sides) if evidence.records else int(np.sign(ours - other))
        signs[rival] = -sign if lowest and sign else sign
    if not found:
        return Case(dataset, None, "not all recorded")
    best = (min if lowest else max)(found, key=lambda rival: found[rival][1])
    ahead = [rival for rival, sign in signs.items() if sign == -1]
    rival = best if best in ahead or not ahead else ahead[0]
    detail = f"{row} {percent(found[rival][0])}, {rival} {percent(found[rival][1])}"
    if ahead:
        return Case(dataset, False, detail, (key, keys[rival]))
    if len(found) == len(keys) and set(signs.values()) == {1}:
        return Case(dataset, True, detail, (key, *keys.values()))
    if evidence.records and (both := paired.pairs(paired.answers, evidence, *_sides(evidence, key, keys[rival]))):
        detail += paired.too_few(both)
    return paired.case(evidence, dataset, None, detail, (key, keys[rival]))
