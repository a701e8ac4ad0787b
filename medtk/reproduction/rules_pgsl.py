"""Rules for the claims of the study on split learning: Fig. 3, Tables I (squared errors) and II (accuracies)."""

from collections import defaultdict
from statistics import mean

from medtk.reproduction.evidence import Case, Evidence, Key, compare, percent, points

NAMES = {"mias_paper": "MIAS", "mnist": "MNIST"}
DATASETS = ("MIAS", "MNIST")
INVERSIONS = {"DLG": "DLG [23]", "iDLG": "iDLG [24]", "DCGAN": "DCGAN [19]"}
PIXEL_ATTACKS = ("JSMA [28]", "C&W [36]", "BIM [37]", "FGSM [10]")
STATED = {"iDLG [24]": 0.140, "DLG [23]": 0.179, "JSMA [28]": 0.369}
CHANCE = {"MIAS": 1 / 3, "MNIST": 1 / 10}
MUS = tuple(f"μ = {0.05 + 0.1 * i:.2f}" for i in range(10))


def best_mu(evidence: Evidence) -> list[Case]:
    """The recovered image is nearest the original at μ = 0.55, on both data sets."""
    cases = []
    for dataset in DATASETS:
        keys = tuple(("Fig. 3", dataset, mu) for mu in MUS)

        def judge(values):
            best = min(range(len(values)), key=lambda i: values[i])
            return MUS[best] == "μ = 0.55", f"lowest at {MUS[best]}"

        cases.append(compare(evidence, dataset, keys, judge))
    return cases


def jsma_hides(evidence: Evidence) -> list[Case]:
    """Each inversion errs more on images under JSMA than on plain ones."""
    return _errors(evidence, lambda name, plain: (f"JSMA + {name}", plain), larger=True)


def nearer_than_noise(evidence: Evidence) -> list[Case]:
    """Each inversion errs less after proximal-gradient recovery than on images under Laplacian noise."""
    return _errors(evidence, lambda name, plain: (f"Ours ({name})", f"[8] + {name}"), larger=False)


def defends(evidence: Evidence) -> list[Case]:
    """Each inversion errs more with the whole method in place than against no defence."""
    return _errors(evidence, lambda name, plain: (f"Ours ({name})", plain), larger=True)


def hardest_attack(evidence: Evidence) -> list[Case]:
    """Of the four pixel attacks JSMA leaves the lowest accuracy on MIAS and C&W on MNIST."""
    strongest = {"MIAS": "JSMA [28]", "MNIST": "C&W [36]"}
    return [_beats(evidence, dataset, row, PIXEL_ATTACKS, lowest=True) for dataset, row in strongest.items()]


def attacks_near_chance(evidence: Evidence) -> list[Case]:
    """Every pixel attack brings the accuracy within 20 points of guessing, 1 in 3 on MIAS and 1 in 10 on MNIST."""
    cases = []
    for dataset in DATASETS:
        for row in PIXEL_ATTACKS:

            def judge(values, chance=CHANCE[dataset]):
                return values[0] - chance <= 0.20, percent(values[0])

            cases.append(compare(evidence, f"{row} on {dataset}", (_accuracy(row, dataset),), judge))
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


def gains_as_stated(evidence: Evidence) -> list[Case]:
    """On MIAS the method is ahead of iDLG, DLG and JSMA by the points that the abstract states, to 3 points."""
    cases = []
    for row, stated in STATED.items():

        def judge(values, stated=stated):
            gain = values[0] - values[1]
            return abs(gain - stated) <= 0.03, f"{points(gain)}, stated {points(stated)}"

        cases.append(compare(evidence, row, (_accuracy("PGSL", "MIAS"), _accuracy(row, "MIAS")), judge))
    return cases


def early_cut(evidence: Evidence) -> list[Case]:
    """The whole method is more accurate cut behind the second convolution than behind any other that was tried."""
    cases = []
    for dataset in NAMES:
        runs = defaultdict(lambda: defaultdict(list))
        for record in _whole_method(evidence, dataset):
            p = record["parameters"]
            alike = tuple(p[name] for name in ("split", "size", "n_train", "n_test", "epochs", "batch_size", "mu"))
            runs[alike][p["cut"]].append(record)
        tried = {alike: cuts for alike, cuts in runs.items() if 2 in cuts and len(cuts) > 1}
        if not tried:
            cases.append(Case(NAMES[dataset], None, "not all recorded"))
        for cuts in tried.values():
            found = {cut: mean(r["metrics"]["pgsl"]["accuracy"] for r in group) for cut, group in sorted(cuts.items())}
            holds = all(found[2] > share for cut, share in found.items() if cut != 2)
            detail = ", ".join(f"cut {cut}: {percent(share)}" for cut, share in found.items())
            ids = tuple(record["id"] for group in cuts.values() for record in group)
            cases.append(Case(NAMES[dataset], holds, detail, records=ids))
    return cases


def map_withheld(evidence: Evidence) -> list[Case]:
    """A server that reads image and map from the activations comes no nearer by taking the map off."""
    cases = []
    for dataset in NAMES:
        runs = [
            record
            for record in evidence.records
            if record["parameters"].get("dataset") == dataset and "subtracted" in record["metrics"]
        ]
        if not runs:
            cases.append(Case(NAMES[dataset], None, "not all recorded"))
            continue
        with_map, without = (mean(r["metrics"][name]["mse"] for r in runs) for name in ("subtracted", "unaware"))
        detail = f"error {with_map:.3g} with the map taken off, {without:.3g} without"
        cases.append(Case(NAMES[dataset], with_map >= without, detail, records=tuple(r["id"] for r in runs)))
    return cases


def _whole_method(evidence: Evidence, dataset: str) -> list[dict]:
    return [
        record
        for record in evidence.records
        if record["experiment"] == "streams"
        and (record["parameters"]["dataset"], record["parameters"]["images"]) == (dataset, "pgsl")
    ]


def _accuracy(row: str, dataset: str) -> Key:
    return "II", row, dataset


def _beats(evidence: Evidence, dataset: str, row: str, rivals, *, lowest: bool = False) -> Case:
    """Case: a row of Table II is above (or below) each of its rivals."""
    others = [rival for rival in rivals if rival != row]

    def judge(values):
        ours, best = values[0], (min if lowest else max)(values[1:])
        rival = others[values[1:].index(best)]
        return (ours < best if lowest else ours > best), f"{row} {percent(ours)}, {rival} {percent(best)}"

    keys = (_accuracy(row, dataset), *(_accuracy(rival, dataset) for rival in others))
    return compare(evidence, dataset, keys, judge)


def _errors(evidence: Evidence, rows, *, larger: bool) -> list[Case]:
    """Cases about two rows of Table I, which ``rows(name, plain row)`` names, for each inversion and data set."""
    cases = []
    for dataset in DATASETS:
        for name, plain in INVERSIONS.items():
            keys = tuple(("I", row, dataset) for row in rows(name, plain))

            def judge(values):
                ours, other = values
                return (ours > other if larger else ours < other), f"error {ours:g} beside {other:g}"

            cases.append(compare(evidence, f"{name} on {dataset}", keys, judge))
    return cases
