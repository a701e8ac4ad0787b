"""Rules for the claims of the study on small networks that are about bits, pruning, size, speed and mobile networks.

The study prints no number, so every case is a set of records of ours: a variant and the float network that it comes
from, on the same test images, means over seeds. A float network that is hardly better than naming one class has nothing
to lose, and its variants are no evidence.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import mean

from medtk.evaluation.intervals import mcnemar
from medtk.reproduction.evidence import Case, Evidence, percent, points

KEPT = 0.02  # of balanced accuracy: as good
CLEARLY = 0.05  # of balanced accuracy, above naming one class; and of a time, below the other
MUCH = 0.5  # of the bytes of the float file, at most: much smaller
REAL_TIME, MEMORY = 100.0, 256.0  # milliseconds of the slow answers, megabytes: what a small device may have
TASKS = {
    "skin lesions": ("dermamnist",),
    "diabetic retinopathy": ("retinamnist",),
    "chest X-rays": ("pneumoniamnist", "chest_xray"),
}
FEW_BITS = ("int8", "weights_int8", "dynamic_int8", "weights_int4", "dynamic_int4", "dynamic_int2")
SETTING = ("dataset", "network", "weights", "size", "epochs", "learning_rate")
FURTHER = ("tune_epochs", "tune_learning_rate")  # of what comes after the float network


@dataclass(frozen=True)
class Pair:
    """Records of one variant and of the float file that it comes from, by seed and in that order."""

    name: str
    form: str
    recipe: str
    dataset: str
    network: str
    variant: tuple[dict, ...]
    float: tuple[dict, ...]

    def change(self, what: str, metric: str) -> float:
        """Variant minus float."""
        return _mean(self.variant, what, metric) - _mean(self.float, what, metric)

    def ratio(self, what: str, metric: str) -> float:
        """Variant over float."""
        return _mean(self.variant, what, metric) / _mean(self.float, what, metric)

    @property
    def lost(self) -> float:
        """Change of balanced accuracy on the unchanged test images."""
        return self.change("clean", "balanced_accuracy")

    @property
    def time(self) -> float:
        """Time of an answer on one thread, over that of the float file; the least disturbed block of each."""
        return self.ratio("best-threads=1", "median_ms")


def quantization_shrinks(evidence: Evidence) -> list[Case]:
    """A file of few bits is smaller than the float file, and answers in at most 95 % of its time on one thread."""

    def judge(pair):
        smaller = pair.ratio("size", "bytes")
        return smaller < 1 and pair.time <= 1 - CLEARLY, f"{smaller:.2f} of the bytes, {pair.time:.2f} of the time"

    return _cases(pairs(evidence), lambda p: p.form == "float" and p.recipe in FEW_BITS, judge)


def bit_widths(evidence: Evidence) -> list[Case]:
    """With 8 and with 4 bits the time falls by 5 % or more, and balanced accuracy by no more than 2 points."""

    def judge(pair):
        text = f"{pair.time:.2f} of the time, {points(pair.lost)}"
        return pair.time <= 1 - CLEARLY and pair.lost >= -KEPT, text

    def wanted(pair):
        return pair.form in ("float", "qat8", "qat4") and pair.recipe.endswith(("int8", "int4"))

    return _cases(pairs(evidence), wanted, judge)


def pruning_shrinks(evidence: Evidence) -> list[Case]:
    """What is shipped is at most half, fewer multiplications are done, and at most 2 points are lost."""

    def judge(pair):
        shipped, macs = pair.ratio("size", "shipped_bytes"), pair.ratio("size", "macs")
        text = f"{shipped:.2f} of the bytes, {macs:.2f} of the multiplications, {points(pair.lost)}"
        return shipped <= MUCH and macs < 1 and pair.lost >= -KEPT, text

    return _cases(pairs(evidence), _pruned, judge)


def pruning_kinds(evidence: Evidence) -> list[Case]:
    """Without single weights, and without filters, the time falls by 5 % or more and at most 2 points are lost."""

    def judge(pair):
        text = f"{pair.time:.2f} of the time, {points(pair.lost)}"
        return pair.time <= 1 - CLEARLY and pair.lost >= -KEPT, text

    return _cases(pairs(evidence), _pruned, judge)


def accuracy_kept(evidence: Evidence) -> list[Case]:
    """Every variant is at most 2 points of balanced accuracy below its float network."""
    return _cases(pairs(evidence), lambda p: True, lambda p: (p.lost >= -KEPT, points(p.lost)))


def accuracy_rises(evidence: Evidence) -> list[Case]:
    """A variant is more accurate than its float network, and McNemar's exact test gives p below 0.05 in each seed."""
    if evidence.predictions is None:
        return []

    def judge(pair):
        tests = []
        for variant, whole in zip(pair.variant, pair.float, strict=True):
            kept, before = evidence.predictions(variant), evidence.predictions(whole)
            tests.append(mcnemar(kept["labels"], before["clean"], kept["clean"]))
        rises = all(test.only_b > test.only_a and test.p < 0.05 for test in tests)
        return rises, f"{points(pair.change('clean', 'accuracy'))}, p {', '.join(f'{test.p:.2g}' for test in tests)}"

    return _cases(pairs(evidence), lambda p: True, judge)


def faster(evidence: Evidence) -> list[Case]:
    """A variant answers in at most 95 % of the time of the float file, both by the same runtime on one thread."""
    return _cases(pairs(evidence), lambda p: True, lambda p: (p.time <= 1 - CLEARLY, f"{p.time:.2f} of the time"))


def mobile_families(evidence: Evidence) -> list[Case]:
    """An int8 MobileNet or ShuffleNet beats naming one class, in 0.1 s (95th percentile) and 256 MB, on our machine."""

    def judge(pair):
        quality = _mean(pair.variant, "clean", "balanced_accuracy")
        slow = _mean(pair.variant, "threads=1", "p95_ms")
        memory = _mean(pair.variant, "start-threads=1", "peak_mb")
        classes = len(pair.variant[0]["metrics"]["clean"]["confusion"])
        good = quality >= 1 / classes + CLEARLY and slow <= REAL_TIME and memory <= MEMORY
        return good, f"balanced accuracy {percent(quality)}, {slow:.1f} ms, {memory:.0f} MB"

    def wanted(pair):
        return pair.network.startswith(("mobilenet", "shufflenet")) and (pair.form, pair.recipe) == ("float", "int8")

    return _cases(pairs(evidence), wanted, judge)


def three_tasks(evidence: Evidence) -> list[Case]:
    """For each task some int8 variant is at least 5 points of balanced accuracy above naming one class."""
    cases = []
    for task, datasets in TASKS.items():
        found = [pair for pair in pairs(evidence) if pair.dataset in datasets and pair.recipe == "int8"]
        if not found:
            cases.append(Case(task, None, "no data set of it could be had"))
            continue
        best = max(found, key=lambda pair: _mean(pair.variant, "clean", "balanced_accuracy"))
        quality = _mean(best.variant, "clean", "balanced_accuracy")
        classes = len(best.variant[0]["metrics"]["clean"]["confusion"])
        text = f"{best.name}: balanced accuracy {percent(quality)}, one class gives {percent(1 / classes)}"
        cases.append(Case(task, quality >= 1 / classes + CLEARLY, text, records=tuple(r["id"] for r in best.variant)))
    return cases


def pairs(evidence: Evidence) -> list[Pair]:
    """Every variant with its float file; none of a float network that is hardly better than naming one class."""
    runs: dict[tuple, dict[tuple, dict[int, dict]]] = {}
    for record in evidence.records:
        if record["experiment"] == "edge" and record["parameters"].get("recipe"):
            p = record["parameters"]
            setting = tuple(p[name] for name in SETTING)
            further = () if p["form"] == "float" else tuple(p[name] for name in FURTHER)
            variants = runs.setdefault(setting, {})
            variants.setdefault((p["form"], p["recipe"], further), {})[record["seed"]] = record
    found = []
    for setting, variants in sorted(runs.items(), key=str):
        floats = variants.get(("float", "float32", ()), {})
        for (form, recipe, _), by_seed in sorted(variants.items()):
            seeds = sorted(by_seed.keys() & floats.keys())
            if (form, recipe) in (("float", "float32"), ("float", "keras")) or not seeds:
                continue
            whole = tuple(floats[seed] for seed in seeds)
            classes = len(whole[0]["metrics"]["clean"]["confusion"])
            if _mean(whole, "clean", "balanced_accuracy") < 1 / classes + CLEARLY:
                continue
            dataset, network, _, size = setting[:4]
            name = f"{form} as {recipe}, {network} on {dataset} at {size} pixels"
            found.append(Pair(name, form, recipe, dataset, network, tuple(by_seed[s] for s in seeds), whole))
    return found


def _cases(found: Iterable[Pair], wanted: Callable, judge: Callable) -> list[Case]:
    cases = []
    for pair in found:
        if wanted(pair):
            holds, text = judge(pair)
            cases.append(
                Case(pair.name, bool(holds), text, records=tuple(r["id"] for r in (*pair.variant, *pair.float)))
            )
    return cases


def _pruned(pair: Pair) -> bool:
    return pair.form.startswith(("sparse", "filters")) and "+" not in pair.form and pair.recipe == "float32"


def _mean(records: Iterable[dict], what: str, metric: str) -> float:
    return mean(record["metrics"][what][metric] for record in records)
