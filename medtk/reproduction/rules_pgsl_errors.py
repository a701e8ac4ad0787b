"""Rules for the claims of the study on split learning about squared errors: Fig. 3, Table I and what the map tells.

Recorded conditions are compared on the same images, and a difference within what images and seeds differ decides
nothing. Printed numbers have no images; they are compared as they stand.
"""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from medtk.reproduction import paired
from medtk.reproduction.evidence import SLIGHT, Case, Evidence, Key, percent
from medtk.reproduction.paired import Side

NAMES = {"mias_paper": "MIAS", "mnist": "MNIST"}
DATASETS = ("MIAS", "MNIST")
INVERSIONS = {"DLG": "DLG [23]", "iDLG": "iDLG [24]", "DCGAN": "DCGAN [19]"}
MUS = tuple(f"μ = {0.05 + 0.1 * i:.2f}" for i in range(10))
BLIND = ("mean", "zero", "attacked", "attacked recovered")  # no inversion: looks at nothing, or is the image sent
# Reader of the map -> the image that he decodes with it and the same image less the map that he read.
READERS = {
    "map": ("first layer", "subtracted"),
    "map reader": ("first layer", "subtracted by reader"),
    "map ridge": ("first layer by ridge", "subtracted by ridge"),
}
READS = 0.05  # share of a map's squares that a reader must explain to have read it


def best_mu(evidence: Evidence) -> list[Case]:
    """The recovered image is nearest the original at μ = 0.55, on both data sets."""
    cases = []
    for dataset in DATASETS:
        keys = tuple(("Fig. 3", dataset, mu) for mu in MUS)
        values, stated = evidence.values(keys), MUS.index("μ = 0.55")
        if values is None:
            cases.append(Case(dataset, None, "not all recorded"))
            continue
        signs = [_larger(evidence, key, keys[stated]) for key in keys if key != keys[stated]]
        detail = f"lowest at {MUS[values.index(min(values))]}"
        holds = False if -1 in signs else True if set(signs) == {1} else None
        cases.append(paired.case(evidence, dataset, holds, detail, keys))
    return cases


def jsma_hides(evidence: Evidence) -> list[Case]:
    """Each inversion errs more on images under JSMA than on plain ones."""
    return _errors(evidence, lambda name, plain: (f"JSMA + {name}", plain))


def defends(evidence: Evidence) -> list[Case]:
    """The best inversion errs more with the whole method in place than against no defence.

    Printed numbers: each inversion by itself. Records: the best attack on activations, and the best on gradients, by
    1 point or more of the error of an attacker who always shows the mean image. A case is a setting; its seeds are
    averaged.
    """
    if not evidence.records:
        return _errors(evidence, lambda name, plain: (f"Ours ({name})", plain))
    cases = []
    for dataset, title in NAMES.items():
        for what, settings in (
            ("activations", _split_networks(evidence, dataset)),
            ("gradients", _gradients(evidence, dataset)),
        ):
            cases += [_hidden(evidence, f"{title}, from {what}", both) for both in settings or [[]]]
    return cases


def map_withheld(evidence: Evidence) -> list[Case]:
    """A server that reads image and map from the activations comes no nearer by taking the map off.

    Each record's best reader decides. Open where none has read the map: an attack that fails does not show that
    another would.
    """
    cases = []
    for dataset in NAMES:
        runs = [r for r in paired.of(evidence, dataset, "inversion") if "subtracted" in r["metrics"]]
        if not runs or evidence.predictions is None:
            cases.append(Case(NAMES[dataset], None, "not all recorded"))
            continue
        ids, stored = tuple(r["id"] for r in runs), [evidence.predictions(r) for r in runs]
        best = [max(_readers(one), key=lambda reader, one=one: one[f"{reader}/explained"].mean()) for one in stored]
        read = [one[f"{reader}/explained"] for reader, one in zip(best, stored, strict=True)]
        explained = f"{percent(np.mean(read))} of the map's squares explained"
        shared = paired.same_images(evidence, runs)
        if paired.span(read, shared=shared)[0] < READS:
            cases.append(Case(NAMES[dataset], None, f"the map was not read: {explained}", records=ids))
            continue
        both = [[one[f"{name}/mse"] for name in READERS[reader]] for reader, one in zip(best, stored, strict=True)]
        low, high = paired.span([off - on for on, off in both], shared=shared)
        on, off = np.mean(both, axis=(0, 2))
        detail = f"{explained}, error {off:.3g} with the map taken off, {on:.3g} without"
        cases.append(Case(NAMES[dataset], True if low > 0 else False if high < 0 else None, detail, records=ids))
    return cases


def _readers(stored: Mapping[str, np.ndarray]) -> list[str]:
    return [reader for reader in READERS if f"{reader}/explained" in stored]


def _larger(evidence: Evidence, key: Key, other: Key) -> int | None:
    """1 if the first error is the larger one, -1 if it is the smaller one, 0 within noise, None on other images."""
    if not evidence.records:
        values = evidence.values((key, other))
        return int(np.sign(values[0] - values[1]))
    both = _pairs(evidence, key, other)
    if both is None:
        return None
    low, high = paired.gap(both)
    return (low > 0) - (high < 0)


def _pairs(evidence: Evidence, key: Key, other: Key) -> paired.Pairs | None:
    return paired.pairs(paired.errors, evidence, paired.sides(evidence, key), paired.sides(evidence, other))


def _errors(evidence: Evidence, rows) -> list[Case]:
    """Cases: the first of two rows of Table I errs more, named by ``rows(name, plain row)``, by inversion and set."""
    cases = []
    for dataset in DATASETS:
        for name, plain in INVERSIONS.items():
            keys, title = tuple(("I", row, dataset) for row in rows(name, plain)), f"{name} on {dataset}"
            values = evidence.values(keys)
            if values is None:
                cases.append(Case(title, None, "not all recorded"))
                continue
            both, sign = _pairs(evidence, *keys), _larger(evidence, *keys)
            ours, other = values if both is None else np.mean([pair.mean(axis=1) for pair in both.by_seed], axis=0)
            detail = f"error {ours:.3g} beside {other:.3g}"
            if both is not None:
                detail += f" on the same {both.by_seed[0].shape[1]} images"
                detail += f" in each of {len(both.by_seed)} seeds" if len(both.by_seed) > 1 else ""
                detail += paired.too_few(both)
            elif sign is None:
                detail += ", of other images"
            cases.append(paired.case(evidence, title, sign > 0 if sign else None, detail, keys))
    return cases


def _split_networks(evidence: Evidence, dataset: str) -> list[list[tuple[list[Side], list[Side]]]]:
    """For each setting, by seed, the attacks on an undefended network and those on the whole method."""
    settings: dict[tuple, dict[int, dict]] = defaultdict(lambda: defaultdict(dict))
    for record in paired.of(evidence, dataset, "inversion"):
        p = record["parameters"]
        alike = (p["size"], p["n_train"], p["n_test"], p["cut"], p["epochs"], p["gamma"], p["mu"])
        attacks = [name for name, found in record["metrics"].items() if "mse" in found and name not in BLIND]
        settings[alike][record["seed"]][p["defense"]] = [Side(record, name) for name in attacks]
    both = [
        [(found["none"], found["pgsl"]) for found in seeds.values() if {"none", "pgsl"} <= found.keys()]
        for seeds in settings.values()
    ]
    return [pairs for pairs in both if pairs]


def _gradients(evidence: Evidence, dataset: str) -> list[list[tuple[list[Side], list[Side]]]]:
    """The same of searches, which attack one network with and without the method."""
    settings = defaultdict(list)
    names = ("dlg", "idlg"), ("jsma dlg", "jsma idlg", "recovered dlg", "recovered idlg")
    for record in paired.of(evidence, dataset, "gradients"):
        sides = tuple([Side(record, name) for name in some if name in record["metrics"]] for some in names)
        settings[str(sorted(record["parameters"].items()))].append(sides)
    return list(settings.values())


def _hidden(evidence: Evidence, name: str, both: list[tuple[list[Side], list[Side]]]) -> Case:
    """Case: the best of the second attacks errs more than the best of the first, in parts of the mean image's."""
    gains, shares, ids = [], [], set()
    for plain, defended in both:
        best = [
            min(sides, key=lambda side: side.record["metrics"][side.condition]["mse"]) for sides in (plain, defended)
        ]
        pair = paired.errors(evidence, *best)
        blind = paired.errors(evidence, best[1], Side(best[1].record, "mean"))
        if pair is None or blind is None:
            continue
        scale = blind[1].mean()
        gains.append((pair[1] - pair[0]) / scale)
        shares.append([one.mean() / scale for one in pair])
        ids |= {side.record["id"] for side in best}
    if not gains:
        return Case(name, None, "not all recorded on the same images")
    shared = paired.same_images(evidence, [plain[0].record for plain, _ in both])
    apart = both[0][0][0].record["id"] != both[0][1][0].record["id"]
    low, high = paired.span(gains, shared=shared, apart=apart)
    before, after = np.mean(shares, axis=0)
    detail = (
        f"the best attack leaves {percent(after)} of the mean image's error, {percent(before)} without the method; "
        f"less than {SLIGHT:.0%} more counts as nothing, {len(gains)} {'seeds' if len(gains) > 1 else 'seed'}"
    )
    holds = True if low > SLIGHT else False if high < SLIGHT else None
    return Case(name, holds, detail, records=tuple(sorted(ids)))
