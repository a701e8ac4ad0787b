"""Recorded variants of small networks, each beside the float file that it comes from, and how sure a difference is.

Three kinds of chance are kept apart. Which images are in the test set is answered by how far answers spread within
a class. What a network owes to its seed is answered by several seeds, where two networks were trained apart. What else
a machine did while it was timed is answered by files with the same operations, which should take the same time.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import mean

import numpy as np

from medtk.evaluation.intervals import Interval
from medtk.reproduction.evidence import Evidence, points
from medtk.reproduction.paired import FEWEST_SEEDS, balanced_gap

KEPT = 0.02  # of balanced accuracy: as good
WORKS = 0.15  # of balanced accuracy, above naming one class: a network that has learnt its task
CLEARLY = 0.05  # of a time or a memory: a smaller difference is none
SETTING = ("dataset", "network", "weights", "size", "epochs", "learning_rate")
FURTHER = ("tune_epochs", "tune_learning_rate")  # of what comes after the float network
UNCOMPARED = "the float network after as much more training is not recorded"


@dataclass(frozen=True)
class Pair:
    """Records of one variant and of what it is compared with, by seed and in that order.

    Attributes
    ----------
    name, form, recipe, dataset, network, size
        See `medtk.lab.edge_spec`.
    variant, float : tuple of dict
        Of the variant, and of the float file of the network that it comes from: for sizes and times.
    twin : tuple of dict
        For the answers: the float file again, or where the variant was trained on, the float file after as much more
        training, step for step. Empty where that is not recorded.
    """

    name: str
    form: str
    recipe: str
    dataset: str
    network: str
    size: int
    variant: tuple[dict, ...]
    float: tuple[dict, ...]
    twin: tuple[dict, ...]

    @property
    def records(self) -> tuple[str, ...]:
        """Ids of all records behind it."""
        return tuple(dict.fromkeys(r["id"] for r in (*self.variant, *self.float, *self.twin)))

    @property
    def failed(self) -> str:
        """Why there is no file, or none that answers; empty where there is one."""
        return next((r["parameters"]["failed"] for r in self.variant if "failed" in r["parameters"]), "")

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.float[0]["metrics"]["clean"]["confusion"])

    @property
    def learnt(self) -> bool:
        """Whether the float network has learnt its task: else it has nothing to lose, and nothing follows from it."""
        return mean(map(quality, self.float)) >= 1 / self.classes + WORKS

    @property
    def apart(self) -> bool:
        """Whether the variant was trained on, so that it and its twin differ by the chance of two trainings too."""
        return self.form != "float"

    def ratio(self, size: Callable[[dict], float]) -> float:
        """A size of the variant over that of the float file, means over seeds."""
        return mean(map(size, self.variant)) / mean(map(size, self.float))

    def measured_ratio(self, measure: Callable[[dict], float]) -> float | None:
        """As `ratio`, of a time or a memory: from seeds that had both on one kind of processor, None without any."""
        both = [(a, b) for a, b in zip(self.variant, self.float, strict=True) if processor(a) == processor(b)]
        return mean(measure(a) for a, _ in both) / mean(measure(b) for _, b in both) if both else None


def processor(record: dict) -> str:
    """What a record was timed on."""
    return record["hardware"]["processor"]


def quality(record: dict) -> float:
    """Balanced accuracy on the unchanged test images."""
    return record["metrics"]["clean"]["balanced_accuracy"]


def time(record: dict) -> float:
    """Milliseconds of an answer on one thread, in the block that was disturbed least."""
    return record["metrics"]["best-threads=1"]["median_ms"]


def memory(record: dict) -> float:
    """Megabytes that the process took on top of what it had before the network was opened."""
    found = record["metrics"]["start-threads=1"]
    return found["peak_mb"] - found["before_mb"]


def size_of(what: str) -> Callable[[dict], float]:
    """Measure of a size: ``deflated_bytes`` of the file compressed, as it would be sent, ``bytes``, ``macs``."""
    return lambda record: record["metrics"]["size"][what]


def pairs(evidence: Evidence) -> tuple[Pair, ...]:
    """Every variant with its float file. All rules share one pairing.

    ``tuned`` is no variant: it is what those that were trained on are compared with. Each step of a form trains on, so
    that a form of two steps is compared with ``tuned+tuned``.
    """
    return evidence.once("pairs of variants", lambda: tuple(_paired(evidence)))


def _paired(evidence: Evidence) -> list[Pair]:
    found = []
    for setting, variants in sorted(_runs(evidence).items(), key=str):
        floats = variants.get(("float", "float32", ()), {})
        for (form, recipe, further), by_seed in sorted(variants.items()):
            as_long = trained_as_long(form)
            if form == as_long and (form != "float" or recipe in ("float32", "keras")):
                continue
            twins = variants.get((as_long, "float32", further), {})
            seeds = sorted(by_seed.keys() & floats.keys())
            # A seed without its twin tells nothing of the answers; without any twin, times and sizes are left.
            seeds = [seed for seed in seeds if seed in twins] or seeds
            if not seeds:
                continue
            whole = tuple(floats[seed] for seed in seeds)
            dataset, network, _, size = setting[:4]
            name = f"{form} as {recipe}, {network} on {dataset} at {size} pixels"
            twin = tuple(twins[seed] for seed in seeds if seed in twins)
            mine = tuple(by_seed[seed] for seed in seeds)
            found.append(Pair(name, form, recipe, dataset, network, size, mine, whole, twin))
    return found


def trained_as_long(form: str) -> str:
    """Form of the float network after as much more training as another form had: a step of ``tuned`` for each step."""
    return form if form == "float" else "+".join("tuned" for _ in form.split("+"))


def noise(evidence: Evidence, measure: Callable[[dict], float]) -> float | None:
    """Largest ratio between files with the same operations, where it should be 1; None where there are no two.

    More training and zeros among the weights change no operation, so ``tuned`` and ``sparse`` are such files of the
    float network, by the same recipe. Only files that were timed on the same kind of processor are compared.
    """
    ratios = []
    for variants in _runs(evidence).values():
        for (form, recipe, _), by_seed in variants.items():
            whole = variants.get(("float", recipe, ()), {})
            if form != "float" and same_operations(form):
                both = [(by_seed[seed], whole[seed]) for seed in by_seed.keys() & whole.keys()]
                ratios += [
                    measure(a) / measure(b)
                    for a, b in both
                    if processor(a) == processor(b) and not {"failed"} & {*a["parameters"], *b["parameters"]}
                ]
    return max((max(ratio, 1 / ratio) for ratio in ratios), default=None)


def less(ratio: float | None, noise: float | None) -> bool | None:
    """Whether a ratio is below 1 by more than the noise and by 5 %; False if it is as clearly above; else None."""
    if ratio is None or noise is None:
        return None
    noise = max(noise, 1 / (1 - CLEARLY))
    return True if ratio <= 1 / noise else False if ratio >= noise else None


def same_operations(form: str) -> bool:
    """Whether a form changes weights alone, so that the device does the same operations as before."""
    return all(step.startswith(("tuned", "sparse", "float")) for step in form.split("+"))


def change(evidence: Evidence, pair: Pair) -> tuple[float, Interval]:
    """Balanced accuracy of the variant less that of its twin, and its interval; see `paired.balanced_gap`."""
    mine, twins = ([evidence.predictions(record) for record in side] for side in (pair.variant, pair.twin))
    answers = ([found["clean"] for found in side] for side in (mine, twins))
    return balanced_gap(mine[0]["labels"], *answers, apart=pair.apart)


def at_least(interval: Interval, bound: float) -> bool | None:
    """Whether a difference is a bound or more, by both ends of its interval; None where it holds both answers."""
    return True if interval.low >= bound else False if interval.high < bound else None


def in_points(value: float, interval: Interval, seeds: int) -> str:
    """A difference as text with its interval, or with what keeps it from having one."""
    if np.isinf(interval.low):
        return f"{points(value)}; networks trained apart take {FEWEST_SEEDS} seeds, not {seeds}"
    return f"{points(value)} [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"


def kept(evidence: Evidence, pair: Pair) -> tuple[bool | None, str]:
    """Whether at most 2 points of balanced accuracy are lost: at both ends of the interval of the change, or open."""
    if not pair.twin:
        return None, UNCOMPARED
    value, interval = change(evidence, pair)
    return at_least(interval, -KEPT), in_points(value, interval, len(pair.variant))


def all_of(parts: Iterable[bool | None]) -> bool | None:
    """False if one part is; None if one is open and none is False."""
    parts = list(parts)
    return False if False in parts else None if None in parts else True


def _runs(evidence: Evidence) -> dict[tuple, dict[tuple, dict[int, dict]]]:
    """Records of variants: by setting of the float network, then by form, recipe and further training, then by seed."""
    runs: dict[tuple, dict[tuple, dict[int, dict]]] = {}
    for record in evidence.records:
        p = record["parameters"]
        if record["experiment"] == "edge" and p.get("recipe"):
            if "failed" in p and {*p["form"].split("+")} <= {"float", "tuned"} and p["recipe"] == "float32":
                continue  # there is nothing to compare with
            further = () if p["form"] == "float" else tuple(p[name] for name in FURTHER)
            variants = runs.setdefault(tuple(p[name] for name in SETTING), {})
            variants.setdefault((p["form"], p["recipe"], further), {})[record["seed"]] = record
    return runs
