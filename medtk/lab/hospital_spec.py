"""Settings of a run of paper 5: what differs from the study, which cells they answer, what its record is called."""

from collections.abc import Mapping
from dataclasses import dataclass

from medtk.data import Dataset
from medtk.errors import UnknownName
from medtk.lab.transfer import unusual
from medtk.reproduction import papers

PAPER, EXPERIMENT = "hospital", "rounds"
# What a server may do with the updates, and the two baselines that the study leaves out.
WAYS = ("fedavg", "fedprox", "fedbn", "silobn", "fedadam", "median", "trimmed_mean", "krum", "local", "centralised")
NAMES = {
    "efficientnetv2s": "EfficientNetV2-S",
    "mobilenetv2_035": "MobileNetV2 of width 0.35",
    "small": "four layers",
    "small_groups": "three layers with group normalisation",
}
# Layers of `medtk.models.build_hospital` by the names of Fig. 1.
LAYERS = {
    "input_layer_3": "image",
    "efficientnetv2-s": "efficientnetv2-s",
    "global_average_pooling2d_1": "pool",
    "dropout_1": "dropout",
    "dense_2": "hidden",
    "dense_3": "logits",
}


@dataclass(frozen=True)
class Spec:
    """One run. The defaults are the study's settings, and our reading where it says nothing.

    Attributes
    ----------
    way : str
        One of `WAYS`. ``local``: each hospital trains alone for as many epochs. ``centralised``: all training images
        in one place, for as many epochs.
    partition, dirichlet_alpha, hospitals
        As in `medtk.data.hospitals.split`.
    network, weights
        As in `medtk.models.build_hospital`.
    size : int
        Side of the images in pixels.
    rounds, local_epochs, batch_size, learning_rate
        As in `medtk.federated.Settings`.
    n_train : int
        Training images of all hospitals together, drawn by the seed; 0 for all that there are.
    seed : int
        Of the partition, the starting weights and the training.
    """

    way: str = "fedavg"
    partition: str = "dirichlet"
    dirichlet_alpha: float = 0.5
    hospitals: int = 3
    network: str = "efficientnetv2s"
    weights: str = "auto"
    size: int = 100
    rounds: int = 15
    local_epochs: int = 1
    batch_size: int = 32
    learning_rate: float = 1e-4
    n_train: int = 0
    seed: int = 0

    def __post_init__(self):
        if self.way not in WAYS:
            raise UnknownName("way to train", self.way, WAYS)


def literal(spec: Spec) -> bool:
    """Whether a run is our reading of the study, whatever its network: its records answer Tables 1 and 2."""
    usual = Spec()
    decisive = ("way", "partition", "dirichlet_alpha", "hospitals", "n_train")
    return all(getattr(spec, name) == getattr(usual, name) for name in decisive)


def deviations(spec: Spec) -> list[str]:
    """Differences from what the study says of its settings, a sentence each."""
    usual, found = Spec(), []
    if spec.network != usual.network:
        found.append(f"{NAMES[spec.network]} instead of {NAMES[usual.network]}")
    if spec.size != usual.size:
        found.append(f"{spec.size} pixels a side instead of {usual.size}")
    if not 10 <= spec.rounds <= 20:
        found.append(f"{spec.rounds} rounds instead of 10 to 20")
    if spec.local_epochs != usual.local_epochs:
        found.append(f"{spec.local_epochs} local epochs instead of {usual.local_epochs}")
    if spec.learning_rate != usual.learning_rate:
        found.append(f"learning rate {spec.learning_rate:g} instead of {usual.learning_rate:g}")
    if spec.n_train:
        found.append(f"{spec.n_train} training images instead of all")
    return found


def cells(dataset: Dataset, spec: Spec, which: str) -> list[dict]:
    """Cells that the record of a hospital (``1``, ``2``, ...) or of all answers; none for another way to train."""
    if not literal(spec) or dataset.name != "chest_xray":
        return []
    found = []
    for cell in papers.load(PAPER).cells:
        place = {"table": cell.table, "row": cell.row, "column": cell.column, "metric": cell.metric}
        if cell.needs.get("hospital") == which:
            found.append(place | {"predictions": "clean"})
        elif cell.row in LAYERS and which == "all" and as_printed(spec):
            found.append(place | {"predictions": cell.row})
    return found


def called(name: str) -> str:
    """A hospital's name in tables and figures: ``hospital 1`` for ``hospital_1``."""
    return name.replace("_", " ")


def hospital_of(record: Mapping) -> str:
    """What to call the hospital of a record: its number, or its name where it is one of the reader's own."""
    found = record["parameters"]
    return called(found.get("name", f"hospital_{found['hospital']}"))


def as_printed(spec: Spec) -> bool:
    """Whether the network is that of Fig. 1."""
    return (spec.network, spec.size) == (Spec.network, Spec.size)


def record_name(spec: Spec, which: str = "all") -> str:
    """File name of a record; settings that are not the usual ones are named in it."""
    alpha = f"{spec.dirichlet_alpha:g}" if spec.partition in ("dirichlet", "quantity_skew") else ""
    weights = "" if spec.weights == "auto" else f"-{spec.weights}"
    changed = unusual(spec, Spec(), ("hospitals", "rounds", "local_epochs", "batch_size", "learning_rate", "n_train"))
    base = f"{spec.partition}{alpha}-{spec.way}-{spec.network}{weights}-{spec.size}px"
    return f"{base}{changed}-{which}-s{spec.seed}"
