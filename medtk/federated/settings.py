"""What decides a federated run, but the network, the data and the strategy."""

from collections.abc import Callable
from dataclasses import dataclass

from medtk.errors import BadParameter
from medtk.models.gradients import cross_entropy

OPTIMIZERS = ("adam", "sgd")


@dataclass(frozen=True)
class Settings:
    """Numbers of a federated run. The defaults are those of the hospital study, where it gives them.

    Attributes
    ----------
    rounds : int
        At least 1.
    local_epochs : int
        Passes of a client over its own images in a round, at least 1.
    batch_size : int
        At least 1. The study does not say; 32.
    learning_rate : float
        Of the clients' optimizer, above 0.
    optimizer : {'adam', 'sgd'}
        Of the clients. It starts anew in each round: its moments never leave a client, and a client that sits out
        some rounds has none that fit.
    proximal : float
        Strength of the pull back to the round's starting weights, 0 or more; 0 is plain FedAvg (FedProx's mu: T. Li
        et al., "Federated optimization in heterogeneous networks", MLSys 2020, Eq. 2).
    loss : callable
        ``loss(scores, labels)``, written with `keras.ops`, gives one value an image.
    augment : callable or None
        ``augment(images, random)`` changes a training batch; `random` is a NumPy generator.
    fraction : float
        Part of the clients drawn for each round, above 0 to 1; at least one is drawn.
    min_clients : int
        Fewest good updates that a round may end with, 0 or more.
    max_ratio : float or None
        An update this many times longer than the middle one of its round is refused; see
        `medtk.federated.too_long`. None: any length is taken.
    max_delay : int
        Most rounds that an update may come late, 0 or more. 0: each round waits for nobody.
    evaluate_batch : int
        Images a pass when models are evaluated; changes no result but the speed.
    seed : int
        Of the order of images, of augmentation, of dropout, of which clients are drawn.
    """

    rounds: int = 15
    local_epochs: int = 1
    batch_size: int = 32
    learning_rate: float = 1e-4
    optimizer: str = "adam"
    proximal: float = 0.0
    loss: Callable = cross_entropy
    augment: Callable | None = None
    fraction: float = 1.0
    min_clients: int = 1
    max_ratio: float | None = 20.0
    max_delay: int = 0
    evaluate_batch: int = 256
    seed: int = 0

    def __post_init__(self):
        for name in ("rounds", "local_epochs", "batch_size", "evaluate_batch"):
            if getattr(self, name) < 1:
                raise BadParameter(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.optimizer not in OPTIMIZERS:
            raise BadParameter(f"optimizer must be one of {', '.join(OPTIMIZERS)}, not {self.optimizer!r}.")
        # Written so that NaN fails too.
        if not 0 < self.learning_rate < float("inf") or not 0 <= self.proximal < float("inf"):
            raise BadParameter(
                f"learning_rate must be above 0 and proximal 0 or more, not {self.learning_rate} and {self.proximal}."
            )
        if not 0 < self.fraction <= 1 or self.min_clients < 0 or self.max_delay < 0:
            raise BadParameter(
                "fraction must lie above 0 to 1, min_clients and max_delay be 0 or more, not "
                f"{self.fraction}, {self.min_clients} and {self.max_delay}."
            )
        if self.max_ratio is not None and not self.max_ratio > 1:
            raise BadParameter(f"max_ratio must be above 1, or None, not {self.max_ratio}.")
