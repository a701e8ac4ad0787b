"""What a run is, in one small file that the server's folder holds and each hospital is sent with every round."""

import dataclasses
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from medtk.errors import BadParameter, UnknownName

STRATEGIES = ("fedavg", "median", "trimmed_mean", "krum", "fedadam")


@dataclass(frozen=True)
class Plan:
    """A run on several machines, in numbers and words only: nothing in it is code.

    Attributes
    ----------
    hospitals : tuple of str
        Names of all that may take part; letters, digits, ``_`` and ``-``.
    class_names : tuple of str
        In the order of the labels; each hospital's folders must use these names.
    network, weights, size : str, str, int
        As in `medtk.models.build_hospital`: base, where its weights come from, side of the images in pixels.
    rounds, local_epochs, batch_size, learning_rate, optimizer, proximal, fraction, min_clients, max_ratio, seed
        As in `medtk.federated.Settings`.
    strategy : {'fedavg', 'median', 'trimmed_mean', 'krum', 'fedadam'}
        What the server does with the updates. FedProx is ``fedavg`` with `proximal` above 0.
    batchnorm : {'average', 'local', 'local_statistics'}
        As in `medtk.federated.shared`. What is not shared is kept in the hospital's own folder.
    validate : bool
        Whether each hospital evaluates the new model on its own validation images after each round.
    noise_multiplier : float
        0, or above it: each hospital trains with DP-SGD (`medtk.privacy.PrivateSgd`), whose noise has this standard
        deviation in units of `clip_norm`. Batch normalisation then stays as it began, and nothing is validated or
        pulled back (`proximal`): those numbers would leave without noise.
    clip_norm : float
        With noise: longest gradient of one image that counts in full, L2 over all weights, above 0.
    delta : float
        With noise: at which epsilon is told, in (0, 1); below one over the images of each hospital.
    round_timeout : float
        Seconds until a round goes on without those that have not answered, above 0.
    start_timeout : float
        Seconds to wait for all hospitals before the first round, 0 or more; then it begins with those that are there.
    run : str
        Identity of the run, made once.
    """

    hospitals: tuple[str, ...]
    class_names: tuple[str, ...]
    network: str = "small"
    weights: str = "auto"
    size: int = 100
    rounds: int = 15
    local_epochs: int = 1
    batch_size: int = 32
    learning_rate: float = 1e-4
    optimizer: str = "adam"
    proximal: float = 0.0
    fraction: float = 1.0
    min_clients: int = 1
    max_ratio: float | None = 20.0
    strategy: str = "fedavg"
    batchnorm: str = "average"
    validate: bool = True
    noise_multiplier: float = 0.0
    clip_norm: float = 1.0
    delta: float = 1e-5
    round_timeout: float = 3600.0
    start_timeout: float = 600.0
    seed: int = 0
    run: str = ""

    def __post_init__(self):
        names = self.hospitals
        if not names or len(set(names)) < len(names) or not all(re.fullmatch(r"[\w-]+", name) for name in names):
            raise BadParameter(
                f"each hospital needs a name of its own, of letters, digits, _ and -, not {', '.join(names) or 'none'}."
            )
        if len(set(self.class_names)) < 2 or len(set(self.class_names)) < len(self.class_names):
            raise BadParameter(f"two classes or more are needed, each with its own name, not {self.class_names}.")
        if self.strategy not in STRATEGIES:
            raise UnknownName("strategy", self.strategy, STRATEGIES)
        if not self.round_timeout > 0 or not self.start_timeout >= 0:
            raise BadParameter("round_timeout must be above 0 and start_timeout 0 or more, in seconds.")
        # Written so that NaN fails too.
        if not 0 <= self.noise_multiplier < math.inf or not 0 < self.clip_norm < math.inf or not 0 < self.delta < 1:
            raise BadParameter(
                "noise_multiplier must be 0 or more, clip_norm above 0 and delta between 0 and 1, not "
                f"{self.noise_multiplier}, {self.clip_norm} and {self.delta}."
            )
        if self.noise_multiplier and (self.validate or self.proximal):
            raise BadParameter(
                "with noise_multiplier above 0, validate must be off and proximal 0: both would tell without noise."
            )

    def text(self) -> str:
        """As JSON, the same for the same plan."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True)

    @classmethod
    def read(cls, text: str) -> "Plan":
        """Plan of a JSON text; `BadParameter` if it is none."""
        try:
            found = json.loads(text)
            return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in found.items()})
        except (ValueError, TypeError, AttributeError) as error:
            raise BadParameter(f"this is not the plan of a federated run of this version of medtk: {error}.") from error

    def settings(self):
        """`medtk.federated.Settings` of this plan."""
        from medtk.federated.settings import Settings

        names = {field.name for field in dataclasses.fields(Settings)} & {f.name for f in dataclasses.fields(self)}
        return Settings(**{name: getattr(self, name) for name in names})

    def model(self, weights: str | None = None):
        """Network with its first weights: the same on every machine, unless told which `weights`."""
        from medtk import models

        shape = (self.size, self.size, 3)
        model = models.build_hospital(
            self.network, len(self.class_names), input_shape=shape, weights=weights or self.weights, seed=self.seed
        )
        if self.noise_multiplier:
            models.freeze_normalisation(model)
        return model

    def private(self):
        """`medtk.privacy.PrivateSgd` of this plan."""
        from medtk.privacy import PrivateSgd

        return PrivateSgd(self.clip_norm, self.noise_multiplier, self.batch_size)

    def mask(self, model) -> list[bool]:
        """Which arrays of the network are shared."""
        from medtk.federated.masks import shared

        return shared(model, self.batchnorm)

    def step_of_server(self, model) -> Callable:
        """Strategy, as `medtk.federated.strategies` has it."""
        from medtk.federated import aggregation, masks, strategies

        if self.strategy == "fedadam":
            return partial(strategies.fedadam, trainable=masks.trainable(model, self.mask(model)))
        return partial(strategies.average, rule=getattr(aggregation, self.strategy))
