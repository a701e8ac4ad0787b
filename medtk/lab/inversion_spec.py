"""Settings of chapter 33: who is attacked, how they are defended, and which cells of Tables I and II that answers."""

from collections.abc import Iterable
from dataclasses import dataclass

from medtk import inversion
from medtk.data import Dataset
from medtk.errors import BadParameter, UnknownName
from medtk.lab import pgsl_spec
from medtk.lab.pgsl_images import ATTACKS
from medtk.lab.transfer import unusual

# ``jsma``, ``cw``, ``bim`` and ``fgsm``: images under that attack, its map stays at the client. ``pgsl``: the study's
# method, map and all.
STRENGTHS = {"none": 0.0, "laplace": 1.0, "nopeek": 5.0} | dict.fromkeys((*ATTACKS, "pgsl"), 0.0)
DEFENSES = tuple(STRENGTHS)
COLUMNS = {"mnist": "MNIST", "mias_paper": "MIAS"}
ATTACKER = "the attacker is another client of the same study: he has the client's part and its training images"


@dataclass(frozen=True)
class Spec:
    """One split network and the attacks on it.

    Attributes
    ----------
    defense : str
        One of `DEFENSES`.
    strength : float
        Scale of the noise of ``laplace``, weight of the distance correlation of ``nopeek``; 0 for the others.
    cut : int
        Number of convolutions at the client; the study has 2 of 7.
    epochs, batch_size : int
        Of the split network.
    gamma : float
        Largest share of pixels that the client's own attack changes, see `medtk.attacks.jsma`.
    mu : float
        Relaxation of the recovery, for pixels from 0 to 1.
    decoder_epochs, gan_epochs, latent_steps : int
        Effort of the attacker.
    seed : int
    """

    defense: str = "none"
    strength: float = 0.0
    cut: int = 2
    epochs: int = 5
    batch_size: int = 32
    gamma: float = 0.1
    mu: float = 0.55
    decoder_epochs: int = 20
    gan_epochs: int = 20
    latent_steps: int = 150
    seed: int = 0

    def __post_init__(self):
        if self.defense not in DEFENSES:
            raise UnknownName("defense", self.defense, DEFENSES)
        if (self.strength > 0) != (STRENGTHS[self.defense] > 0):
            raise BadParameter(f"{self.defense} cannot have the strength {self.strength:g}.")
        if not 1 <= self.cut <= 6:
            raise BadParameter(f"The network has 7 convolutions and can be cut behind the first six, not {self.cut}.")

    @property
    def cut_layer(self) -> str:
        """Name of the last layer of the client."""
        return f"bn_{self.cut}"

    @property
    def on_activations(self) -> inversion.Defense:
        """What is done to activations; nothing, where the defence changes the images."""
        noise = self.strength if self.defense == "laplace" else 0.0
        return inversion.Defense(noise, self.strength if self.defense == "nopeek" else 0.0)

    @property
    def on_images(self) -> str:
        """Attack of the client on its own images, one of `medtk.lab.pgsl_images.ATTACKS`; empty where there is none."""
        return "jsma" if self.defense == "pgsl" else self.defense if self.defense in ATTACKS else ""

    @property
    def title(self) -> str:
        """Defence with its strength: ``laplace 1``."""
        return f"{self.defense} {self.strength:g}" if self.strength else self.defense


def named(titles: Iterable[str]) -> list[tuple[str, float]]:
    """Defences with their strengths, from names such as ``pgsl`` or ``laplace-0.5``; without a number the usual one.

    Raises
    ------
    UnknownName, BadParameter
        At the first name or number that cannot be; nothing has been trained by then.
    """
    found = []
    for title in titles:
        defense, _, text = title.partition("-")
        if defense not in DEFENSES:
            raise UnknownName("defense", defense, DEFENSES)
        try:
            strength = float(text) if text else STRENGTHS[defense]
        except ValueError:
            raise BadParameter(f"The strength of {title} must be a number, as in laplace-0.5.") from None
        Spec(defense, strength)
        found.append((defense, strength))
    return found


def checked_size(size: int) -> int:
    """The side of the images, in pixels; a decoder and a generator enlarge twice by 2.

    Raises
    ------
    BadParameter
        If it is below 16 or no multiple of 4.
    """
    if size < 16 or size % 4:
        raise BadParameter(f"size must be a multiple of 4 and 16 or more, not {size}: try {max(16, size // 4 * 4)}.")
    return size


def batch_of(n: int) -> int:
    """Images of a batch of the attacker's decoders, and half of one of his generator.

    Fewer than 32 for fewer than 1,024 images: what a decoder learns goes by its steps, and few images make few of them.
    """
    return min(32, max(8, n // 32))


def deviations(dataset: Dataset, spec: Spec) -> list[str]:
    """Differences from what the study says, and readings of what it does not say, a sentence each."""
    return [ATTACKER, *pgsl_spec.deviations(as_study(spec), dataset)]


def as_study(spec: Spec) -> pgsl_spec.Spec:
    """The same settings for `medtk.lab.pgsl`: mammograms by patient, or the attacker would know the victims' films."""
    same = ("epochs", "batch_size", "cut", "mu", "gamma", "seed")
    return pgsl_spec.Spec("pgsl", "patient", **{name: getattr(spec, name) for name in same})


def cells(dataset: Dataset, rows: Iterable[tuple[str, str, str, str]]) -> list[dict]:
    """Cells of the data set's column: from (table, row, predictions, metric); none for a data set that has none."""
    column = COLUMNS.get(dataset.name)
    keys = ("table", "row", "predictions", "metric")
    return [] if column is None else [dict(zip(keys, row, strict=True)) | {"column": column} for row in rows]


def record_name(dataset: str, size: int, spec: Spec) -> str:
    """File name of the record of a split network; settings that are not the usual ones are named in it."""
    strength = f"{spec.strength:g}" if spec.strength else ""
    fields = ("cut", "epochs", "batch_size", "gamma", "mu", "decoder_epochs", "gan_epochs", "latent_steps")
    return f"{dataset}-{size}px-{spec.defense}{strength}{unusual(spec, Spec(), fields)}-s{spec.seed}"
