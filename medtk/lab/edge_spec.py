"""Settings of a run of paper 4: the network, the steps that make it smaller, the file, and the name of its record."""

import re
from dataclasses import dataclass

from medtk.edge.exporting import RECIPES
from medtk.errors import BadParameter
from medtk.lab.transfer import unusual

PAPER, EXPERIMENT = "lightweight", "edge"
NAMES = {
    "mobilenetv2": "MobileNetV2",
    "mobilenetv2_035": "MobileNetV2 of width 0.35",
    "mobilenetv3small": "MobileNetV3-Small",
    "shufflenetv2": "ShuffleNetV2",
    "shufflenetv2_050": "ShuffleNetV2 of width 0.5",
    "medium": "student of four convolutions",
    "small": "student of three convolutions",
    "tiny": "student of two convolutions",
}
# What a network is made of before the export, and the files that are made of it. ``keras``: not exported.
PLAN = {
    "float": ("keras", *RECIPES),
    "tuned": ("float32", "int8"),  # as much more training as a form of one step gets, and nothing else
    "tuned+tuned": ("float32",),  # as much as a form of two steps gets
    "qat8": ("int8",),
    "qat4": ("weights_int4",),
    "sparse0.5": ("float32", "int8"),
    "sparse0.8": ("float32", "int8"),
    "sparse0.9": ("float32", "int8"),
    "filters0.75": ("float32", "int8"),
    "filters0.5": ("float32", "int8"),
    "filters0.25": ("float32", "int8"),
    "filters0.5+qat8": ("int8",),
    "filters0.5+sparse0.8": ("int8",),
}
STEP = re.compile(r"(qat|sparse|filters)([0-9.]+)|(tuned)")


@dataclass(frozen=True)
class Spec:
    """The float network that the variants start from. The paper names no value; these are ours.

    Attributes
    ----------
    dataset, network, weights
        See `medtk.data.names` and `medtk.edge.build`.
    size : int
        Side of the images in pixels.
    epochs, learning_rate
        Of the float network.
    tune_epochs, tune_learning_rate
        Of each step that trains on: quantization-aware training, pruning, recovery from lost filters.
    batch_size : int
    seed : int
        Of the starting weights and the order of the images.
    """

    dataset: str = "chest_xray"
    network: str = "mobilenetv2_035"
    weights: str = "auto"
    size: int = 100
    epochs: int = 6
    learning_rate: float = 5e-4
    tune_epochs: int = 3
    tune_learning_rate: float = 5e-4
    batch_size: int = 32
    seed: int = 0


def steps(form: str) -> list[tuple[str, float]]:
    """Steps of a form in their order: ``filters0.5+qat8`` gives filters 0.5, then qat 8; ``float`` gives none.

    Raises
    ------
    BadParameter
        On another form, and where a step follows ``sparse``: its training would fill the zeros again.
    """
    if form == "float":
        return []
    found = [STEP.fullmatch(part) for part in form.split("+")]
    if not all(found):
        raise BadParameter(f"A form is 'float' or steps such as filters0.5+sparse0.8, not {form!r}.")
    made = [(match[1] or "tuned", float(match[2] or 0)) for match in found]
    if "sparse" in [what for what, _ in made[:-1]]:
        raise BadParameter(
            f"In the form {form!r} training goes on after zeros were made, and would fill them again: "
            "make zeros once and last, as in filters0.5+sparse0.8."
        )
    return made


def record_name(spec: Spec, form: str, recipe: str) -> str:
    """File name of a record; settings that are not the usual ones are named in it."""
    weights = "" if spec.weights == "auto" else f"-{spec.weights}"
    fields = ("epochs", "learning_rate", "tune_epochs", "tune_learning_rate", "batch_size")
    base = f"{spec.dataset}-{spec.network}{weights}-{spec.size}px{unusual(spec, Spec(), fields)}"
    return f"{base}-{form}-{recipe}-s{spec.seed}"
