"""What a rule may look at, how it answers, and the comparisons that several rules share."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import mean
from types import MappingProxyType

from medtk.reproduction import papers, records

EPSILONS = (0.001, 0.002, 0.003, 0.004, 0.005)
NETWORKS = ("densenet121", "mobilenetv2", "resnet50")
# The pairs that the paper trained: it leaves ResNet50 out on BreastMNIST.
PAIRS = {
    "breastmnist": NETWORKS[:2],
    "pneumoniamnist": NETWORKS,
    "dermamnist": NETWORKS,
    "octmnist": NETWORKS,
}
# It did not train ResNet50 adversarially on OCTMNIST.
DEFENDED = {**PAIRS, "octmnist": NETWORKS[:2]}
NAMES = {
    "breastmnist": "BreastMNIST",
    "pneumoniamnist": "PneumoniaMNIST",
    "dermamnist": "DermaMNIST",
    "octmnist": "OCTMNIST",
    "densenet121": "DenseNet121",
    "mobilenetv2": "MobileNetV2",
    "resnet50": "ResNet50",
}
# Paper 1: data set, network, defense, epsilon. The others: table, row, column.
Key = tuple
SETTINGS = ("dataset", "network", "defense", "epsilon")
# A smaller difference is one of a few images: 1 point is one or two of the smallest test set.
SLIGHT = 0.01


@dataclass(frozen=True)
class Case:
    """One instance of a claim: its subject, whether it holds, the numbers.

    ``holds`` is None where a number is missing, or where what was found leaves the question open.
    """

    name: str
    holds: bool | None
    detail: str
    keys: tuple[Key, ...] = ()
    records: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """One recorded value: the record's id, its seed, the value, and whether training started from random weights."""

    record: str
    seed: int
    value: float
    random: bool = False


@dataclass(frozen=True)
class Evidence:
    """Numbers that a rule may ask for.

    Attributes
    ----------
    runs : dict of `Key` to tuple of `Run`
        The key as `key_of` gives it; a printed number is the record ``"printed"``.
    records : list of dict
        All records that count; empty for printed numbers.
    predictions : callable
        ``predictions(record)`` gives the arrays of a record.
    derived : dict
        What `once` has kept.
    """

    runs: dict[Key, tuple[Run, ...]]
    records: list[dict] = field(default_factory=list)
    predictions: Callable[[dict], Mapping] | None = None
    derived: dict = field(default_factory=dict, repr=False, compare=False)

    def once(self, name: Hashable, make: Callable):
        """What several rules derive from the same evidence: ``make()`` for the first that asks, the same for others."""
        if name not in self.derived:
            self.derived[name] = make()
        return self.derived[name]

    def values(self, keys: tuple[Key, ...]) -> list[float] | None:
        """Mean at each key over the seeds that all of them have; None where they have none in common.

        Seeds that only one of two conditions was recorded with would compare the seeds, not the conditions.
        """
        found = [{run.seed: run.value for run in self.runs.get(key, ())} for key in keys]
        seeds = set.intersection(*map(set, found))
        return [mean(values[seed] for seed in seeds) for values in found] if seeds else None


def reading(home) -> Callable[[dict], Mapping]:
    """Function that gives the predictions of a record: read once, then shared by all claims, which cannot change them.

    Parameters
    ----------
    home : path
        Folder of records.
    """
    kept = {}

    def read(record: dict) -> Mapping:
        if record["id"] not in kept:
            stored = records.load_predictions(record, home)
            for values in stored.values():
                values.setflags(write=False)
            kept[record["id"]] = MappingProxyType(stored)
        return kept[record["id"]]

    return read


def key_of(cell: papers.Cell) -> Key:
    """Data set, network, defense and epsilon of a cell where it has them, else its table, row and column."""
    return tuple(cell.needs[name] for name in SETTINGS) if cell.needs.keys() >= set(SETTINGS) else cell.key


def printed(paper: papers.Paper) -> Evidence:
    """Evidence made of the paper's own numbers."""
    runs = {}
    for cell in paper.cells:
        if cell.printed is not None:
            runs[key_of(cell)] = (Run("printed", 0, cell.printed),)
    return Evidence(runs)


def pairs_of(table: dict[str, tuple[str, ...]]) -> Iterable[tuple[str, str]]:
    """Every data set with each of its networks, from `PAIRS` or `DEFENDED`."""
    return ((dataset, network) for dataset, networks in table.items() for network in networks)


def keys_of(dataset: str, network: str, defense: str, epsilons: Iterable[float]) -> tuple[Key, ...]:
    """Keys of one network for several epsilons."""
    return tuple((dataset, network, defense, epsilon) for epsilon in epsilons)


def compare(evidence: Evidence, name: str, keys: tuple[Key, ...], judge: Callable) -> Case:
    """Case from the mean values at ``keys``; ``judge(values)`` gives whether it holds and the numbers.

    The case stays open where not all keys were recorded with a common seed, or where some started from random
    weights and others did not: such a comparison is one of starting weights.
    """
    values = evidence.values(keys)
    if values is None:
        return Case(name, None, "not all recorded")
    holds, detail = judge(values)
    runs = [run for key in keys for run in evidence.runs[key]]
    if len({run.random for run in runs}) > 1:
        used = tuple(sorted({run.record for run in runs}))
        return Case(name, None, f"{detail}, but some start from random weights and others do not", (), used)
    return Case(name, bool(holds), detail, keys)


def margin(evidence: Evidence) -> float:
    """`SLIGHT` for recorded accuracies; nothing for printed ones, which a paper compares as they stand."""
    return SLIGHT if evidence.records else 0.0


def falls(values) -> tuple[bool, str]:
    """Whether each value is below the one before, and the last below the first by more than `SLIGHT`."""
    down = all(b < a for a, b in pairwise(values)) and values[-1] < values[0] - SLIGHT
    return down, " → ".join(percent(value) for value in values)


def drops(values) -> tuple[bool, str]:
    """Whether the second of two values is below the first by more than `SLIGHT`."""
    return values[1] < values[0] - SLIGHT, " → ".join(percent(value) for value in values)


def gains(values) -> tuple[bool, str]:
    """Whether the second of two values is above the first by more than `SLIGHT`."""
    return values[1] > values[0] + SLIGHT, " → ".join(percent(value) for value in values)


def percent(value: float) -> str:
    """Fraction as text in percent."""
    return f"{100 * value:.2f} %"


def points(value: float) -> str:
    """Difference of two fractions as text in percentage points."""
    return f"{100 * value:+.1f} points"
