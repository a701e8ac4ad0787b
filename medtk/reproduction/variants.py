"""Recorded variants of small networks, each beside the float file that it comes from, and how sure a difference is.

Two kinds of chance are kept apart. Which images are in the test set is answered by drawing them again. What else a
machine did while it was timed is answered by files with the same operations, which should take the same time.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import mean

import numpy as np

from medtk.evaluation.intervals import Interval, bootstrap
from medtk.reproduction.evidence import Evidence, points

KEPT = 0.02  # of balanced accuracy: as good
CLEARLY = 0.05  # of balanced accuracy, above naming one class; of a time or a memory, a smaller difference is none
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
        training. Empty where that is not recorded.
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

    def ratio(self, measure: Callable[[dict], float]) -> float:
        """A measure of the variant over that of the float file, means over seeds."""
        return mean(map(measure, self.variant)) / mean(map(measure, self.float))


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
    """Every variant with its float file; none of a float network that is hardly better than naming one class.

    ``tuned`` is no variant: it is what those that were trained on are compared with. All rules share one pairing.
    """
    return evidence.once("pairs of variants", lambda: tuple(_paired(evidence)))


def _paired(evidence: Evidence) -> list[Pair]:
    found = []
    for setting, variants in sorted(_runs(evidence).items(), key=str):
        floats = variants.get(("float", "float32", ()), {})
        for (form, recipe, further), by_seed in sorted(variants.items()):
            if form == "tuned" or (form, recipe) in (("float", "float32"), ("float", "keras")):
                continue
            twins = variants.get(("tuned", "float32", further), {}) if further else floats
            seeds = sorted(by_seed.keys() & floats.keys())
            # A seed without its twin tells nothing of the answers; without any twin, times and sizes are left.
            seeds = [seed for seed in seeds if seed in twins] or seeds
            whole = tuple(floats[seed] for seed in seeds)
            if not seeds or mean(map(quality, whole)) < 1 / len(whole[0]["metrics"]["clean"]["confusion"]) + CLEARLY:
                continue
            dataset, network, _, size = setting[:4]
            name = f"{form} as {recipe}, {network} on {dataset} at {size} pixels"
            twin = tuple(twins[seed] for seed in seeds if seed in twins)
            mine = tuple(by_seed[seed] for seed in seeds)
            found.append(Pair(name, form, recipe, dataset, network, size, mine, whole, twin))
    return found


def noise(evidence: Evidence, measure: Callable[[dict], float]) -> float | None:
    """Largest ratio between files with the same operations, where it should be 1; None where there are no two.

    More training and zeros among the weights change no operation, so ``tuned`` and ``sparse`` are such files of the
    float network, by the same recipe.
    """
    ratios = []
    for variants in _runs(evidence).values():
        for (form, recipe, _), by_seed in variants.items():
            whole = variants.get(("float", recipe, ()), {})
            if form != "float" and same_operations(form):
                both = [(by_seed[seed], whole[seed]) for seed in by_seed.keys() & whole.keys()]
                ratios += [
                    measure(a) / measure(b) for a, b in both if not {"failed"} & {*a["parameters"], *b["parameters"]}
                ]
    return max((max(ratio, 1 / ratio) for ratio in ratios), default=None)


def less(ratio: float, noise: float | None) -> bool | None:
    """Whether a ratio is below 1 by more than the noise and by 5 %; False if it is as clearly above; else None."""
    if noise is None:
        return None
    noise = max(noise, 1 / (1 - CLEARLY))
    return True if ratio <= 1 / noise else False if ratio >= noise else None


def same_operations(form: str) -> bool:
    """Whether a form changes weights alone, so that the device does the same operations as before."""
    return all(step.startswith(("tuned", "sparse", "float")) for step in form.split("+"))


def change(evidence: Evidence, pair: Pair) -> tuple[float, Interval]:
    """Balanced accuracy of the variant minus that of its twin, mean over seeds, and its 95 % interval.

    Images are drawn again, and both networks answer the same draw.
    """
    stored = [evidence.predictions(record) for record in (*pair.variant, *pair.twin)]
    labels = stored[0]["labels"]
    right = np.stack([found["clean"].argmax(axis=1) == labels for found in stored], axis=1).astype(float)
    mine = len(pair.variant)
    gained = right[:, :mine].mean(axis=1) - right[:, mine:].mean(axis=1)

    def balanced(labels, gained):
        counts = np.bincount(labels, minlength=pair.classes)
        sums = np.bincount(labels, weights=gained, minlength=pair.classes)
        return float(np.mean(sums / counts)) if counts.all() else None

    return balanced(labels, gained), bootstrap(labels, gained, balanced, repeats=500)


def kept(evidence: Evidence, pair: Pair) -> tuple[bool | None, str]:
    """Whether at most 2 points of balanced accuracy are lost: at both ends of the interval of the change, or open.

    Several claims ask it of the same pair; images are drawn again for the first of them.
    """
    if not pair.twin:
        return None, UNCOMPARED
    value, (low, high) = evidence.once(("change", pair.name, pair.records), lambda: change(evidence, pair))
    text = f"{points(value)} [{100 * low:+.1f}, {100 * high:+.1f}]"
    return (True if low >= -KEPT else False if high < -KEPT else None), text


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
            if "failed" in p and p["form"] in ("float", "tuned") and p["recipe"] == "float32":
                continue  # there is nothing to compare with
            further = () if p["form"] == "float" else tuple(p[name] for name in FURTHER)
            variants = runs.setdefault(tuple(p[name] for name in SETTING), {})
            variants.setdefault((p["form"], p["recipe"], further), {})[record["seed"]] = record
    return runs
