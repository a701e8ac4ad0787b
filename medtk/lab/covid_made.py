"""What a run of paper 2 gave: curves by modality, notes of the server, traffic, and the models at the end."""

from dataclasses import dataclass

import numpy as np

from medtk import federated
from medtk.federated.aggregation import Weights
from medtk.lab.covid_clients import modality_of


@dataclass(frozen=True, eq=False)
class Made:
    """What a run gave.

    Attributes
    ----------
    result : Result
        Of the engine.
    clusters : dict
        Names of the clients of each modality.
    """

    result: federated.Result
    clusters: dict[str, list[str]]

    @property
    def seconds(self) -> float:
        """Of all rounds, also of those that were made earlier."""
        return sum(entry["seconds"] for entry in self.result.history)

    def curve(self, modality: str, metric: str = "accuracy") -> list[float]:
        """Accuracy or (focal) loss on a modality's test images after each round, by the models of its clients."""
        return [self._tested(entry, modality, metric) for entry in self.result.history]

    def _tested(self, entry: dict, modality: str, metric: str) -> float:
        values = {(r["model"], r["client"]): r[metric] for r in entry["evaluation"] if r["on"] == modality}
        used = {row["client"]: row["model"] for row in entry["clients"]} | entry["notes"].get("route", {})
        mine = []
        for client in self.clusters[modality]:
            name = used.get(client)
            mine += [values[key] for key in ((name, client), (name, "")) if key in values]
        return float(np.mean(mine or list(values.values())))  # of clients that were not there, nothing is known

    def training(self, modality: str, metric: str = "accuracy") -> list[float]:
        """Accuracy or loss while training, in the last local epoch of each round, a mean over a modality's clients."""
        found = []
        for entry in self.result.history:
            rows = [row for row in entry["clients"] if modality_of(row["client"]) == modality]
            found.append(float(np.mean([row[metric] for row in rows if row[metric] is not None] or [np.nan])))
        return found

    def notes(self, name: str) -> list:
        """What the strategy noted under a name, round by round; None where it noted nothing."""
        return [entry["notes"].get(name) for entry in self.result.history]

    def megabytes(self, modality: str) -> list[float]:
        """Weights sent in each round by and to the clients of a modality."""
        return [
            sum(r["bytes_up"] + r["bytes_down"] for r in entry["clients"] if modality_of(r["client"]) == modality) / 1e6
            for entry in self.result.history
        ]

    def model_of(self, client: str) -> str:
        """Name of the model that a client has in the end; its own where it keeps arrays to itself."""
        name = federated.model_of(client, self.result.server, self.result.history)
        return f"{name} of {client}" if self.result.private.get(client) else name

    def networks(self) -> dict[str, Weights]:
        """Weights of every model that some client has in the end, by `model_of`."""
        clients = [client for names in self.clusters.values() for client in names]
        return {self.model_of(client): self.result.weights_of(client) for client in clients}
