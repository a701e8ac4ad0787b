"""What a server does with a round's updates: from the state of the server and what it received to its new state.

A *strategy* is a plain function ``strategy(server, received) -> server``. The engine knows nothing else of it, so
all of these are strategies, none of them a change of the engine:

- **FedAvg and its robust kin**: `average` with a rule of `medtk.federated.aggregation`; FedProx is `average` with
  ``Settings(proximal=...)``; FedBN is `average` with a mask of what is shared (`medtk.federated.shared`).
- **Known clusters**: `average` again, on a server that starts with several models and a route to one of them for each
  client (`start`). Algorithm 1 of the clustered study averages inside the clusters and then the means into one model:
  a server with one model, and a strategy that holds the clusters as a parameter.
- **Clusters that are found** (Sattler et al.): the updates of clients that started from a model are
  ``minus(r.weights, r.start)``; where the strategy decides to split, it returns a server with two models in place of
  one and with new routes. What it must remember goes into ``memory``, numbers for the log into ``notes``.
- **Clients that choose** (IFCA): a route to several models. The engine lets the client take the one with the lowest
  loss on its own images, and counts the bytes of all that it was offered.
- **Asynchronous**: ``run(delays=...)`` lets updates arrive rounds after they were begun. Each names the round that it
  began in and holds the weights that it started from, so a strategy can weigh by age and keep a buffer in ``memory``.
- **A rule to stop**: a strategy that wraps another and sets ``stop`` to a sentence.

``memory`` holds what JSON can hold, and arrays: it is stored with each round, and a run that is resumed goes on with
it (tuples as lists). A strategy with parameters is passed as `functools.partial` of a function that stands by itself,
so that the run has a name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from medtk.errors import BadParameter
from medtk.federated.aggregation import Weights, fedavg, server_adam


@dataclass(frozen=True)
class Server:
    """State of a server between two rounds.

    Attributes
    ----------
    models : dict of str to list of ndarray
        Weights by the model's name; only arrays that are shared.
    route : dict of str to tuple of str
        For each client, the names of the models that it is offered.
    memory : dict
        What the strategy remembers.
    notes : dict
        What the strategy says of this round, for the history: numbers, words, lists of them.
    stop : str
        A sentence that says why the run ends here; empty to go on.
    """

    models: dict[str, Weights]
    route: dict[str, tuple[str, ...]]
    memory: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    stop: str = ""


@dataclass(frozen=True)
class Received:
    """One client's update, as the server got it and found it sound.

    Attributes
    ----------
    client : str
        Name of the client.
    model : str
        Name of the model that it trained.
    began : int
        Round in which it began; the current one unless it came late.
    start, weights : list of ndarray
        What it started from and what it sent.
    n : int
        Its training images.
    metrics : dict of float
    """

    client: str
    model: str
    began: int
    start: Weights
    weights: Weights
    n: int
    metrics: dict[str, float]


Strategy = Callable[[Server, Sequence[Received]], Server]


def start(
    weights: Weights | Mapping[str, Weights],
    clients: Sequence[str],
    route: Mapping[str, str | Sequence[str]] | None = None,
) -> Server:
    """Server before the first round.

    Parameters
    ----------
    weights : list of ndarray, or dict of them
        One model, named ``global``, or several by name.
    clients : sequence of str
        Names of all clients.
    route : dict, optional
        For each client, the name of its model or the names that it may choose from; else it is offered every model.

    Raises
    ------
    BadParameter
        If a client has no route, or one to a model that is not there.
    """
    named = dict(weights) if isinstance(weights, Mapping) else {"global": list(weights)}
    route = {client: tuple(named) for client in clients} if route is None else dict(route)
    route = {client: (to,) if isinstance(to, str) else tuple(to) for client, to in route.items()}
    for client in clients:
        if not route.get(client) or not set(route[client]) <= set(named):
            raise BadParameter(f"{client} needs a route to one of {', '.join(named)}, not {route.get(client)}.")
    return Server(named, route)


def average(server: Server, received: Sequence[Received], rule: Callable = fedavg) -> Server:
    """Each model becomes what `rule` makes of the updates that began from it; without any, it stays."""
    new = dict(server.models)
    for name, mine in by_model(received).items():
        new[name] = rule([r.weights for r in mine], [r.n for r in mine])
    return replace(server, models=new, notes={})


def fedadam(
    server: Server,
    received: Sequence[Received],
    learning_rate: float = 0.01,
    beta_1: float = 0.9,
    beta_2: float = 0.99,
    tau: float = 1e-3,
    trainable: Sequence[bool] | None = None,
) -> Server:
    """Each model takes a step of `server_adam` towards the mean of its updates.

    Parameters
    ----------
    server, received
        As in every strategy.
    learning_rate, beta_1, beta_2, tau : float
        Of the server.
    trainable : sequence of bool, optional
        For each shared array, whether it is trained; the others (moving statistics) become the plain mean. A step of
        Adam could make a moving variance negative. See `medtk.federated.trainable`.
    """
    new, memory = dict(server.models), dict(server.memory)
    for name, mine in by_model(received).items():
        mean = fedavg([r.weights for r in mine], [r.n for r in mine])
        stepped, memory[name] = server_adam(
            server.models[name],
            mean,
            memory.get(name),
            learning_rate=learning_rate,
            beta_1=beta_1,
            beta_2=beta_2,
            tau=tau,
        )
        adaptive = [True] * len(mean) if trainable is None else trainable
        new[name] = [s if yes else m for s, m, yes in zip(stepped, mean, adaptive, strict=True)]
    return replace(server, models=new, memory=memory, notes={})


def by_model(received: Sequence[Received]) -> dict[str, list[Received]]:
    """Updates by the model that they began from."""
    found: dict[str, list[Received]] = {}
    for update in received:
        found.setdefault(update.model, []).append(update)
    return found
