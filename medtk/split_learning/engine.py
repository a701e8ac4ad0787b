"""Split training with one or several clients, in relay; the clients may sit in this process or in others."""

import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Protocol

import keras
import numpy as np

from medtk.data import Split
from medtk.errors import BadParameter
from medtk.split_learning.network import reseed
from medtk.split_learning.parts import Answer, client_forward, server_step
from medtk.training import epoch_order

State = list[np.ndarray]


class Client(Protocol):
    """Whoever holds images and the first part of the network: `LocalClient`, or another process."""

    name: str

    def __len__(self) -> int:
        """Number of training images."""

    def start(self, seed: int, turn: int) -> None:
        """Begin a turn: dropout before the cut, if any, draws from these numbers."""

    def forward(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Activations and labels of a batch."""

    def backward(self, gradient: np.ndarray) -> None:
        """Take the gradient of the batch just sent."""

    def state(self) -> State:
        """Weights and optimizer, to be passed on."""

    def take(self, state: State) -> None:
        """Go on from what another client passed on."""


class LocalClient:
    """A client in this process.

    Parameters
    ----------
    name : str
    client : keras.Model
        The first part, from `medtk.split_learning.split_at`.
    split : Split
        Its images and labels, which stay here; labels go to the server with each batch.
    """

    def __init__(self, name: str, client: keras.Model, split: Split):
        self.name, self.client, self.split = name, client, split
        self._backward: Callable | None = None

    def __len__(self) -> int:
        return len(self.split)

    def start(self, seed: int, turn: int) -> None:
        """See `Client`."""
        reseed(self.client, seed, turn)

    def forward(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Client`."""
        activations, self._backward = client_forward(self.client, self.split.images[rows])
        return activations, self.split.labels[rows]

    def backward(self, gradient: np.ndarray) -> None:
        """See `Client`."""
        self._backward(gradient)
        self._backward = None

    def state(self) -> State:
        """See `Client`."""
        return state_of(self.client)

    def take(self, state: State) -> None:
        """See `Client`."""
        put_state(self.client, state)


def run_epoch(
    clients: Sequence[Client],
    server: keras.Model,
    *,
    step: Callable[[keras.Model, np.ndarray, np.ndarray], Answer] = server_step,
    epoch: int,
    batch_size: int = 32,
    seed: int = 0,
    tick: Callable[[], object] = lambda: None,
) -> dict:
    """Train for one epoch: client after client, each going on from the weights that the one before has passed on.

    With one copy of the client's part going round, every batch updates the same network, as if all images were in one
    place and came in this order. So it equals training that is not split.

    Parameters
    ----------
    clients : sequence of Client
    server : keras.Model
        The second part.
    step : callable
        ``step(server, activations, labels)``: what the server does with a batch.
    epoch : int
        From 0. The order of each client's images depends on it, on `seed` and on the client's place.
    batch_size, seed : int
    tick : callable
        Called after each batch.

    Returns
    -------
    dict
        ``loss`` and ``accuracy`` while training, ``seconds``, and what crossed the line in bytes of arrays:
        ``bytes_up`` (activations and labels), ``bytes_down`` (gradients), ``bytes_relayed`` (states passed on).

    Raises
    ------
    BadParameter
        If `batch_size` is less than 1 or there is no image.
    """
    total = sum(len(client) for client in clients)
    if batch_size < 1 or not total:
        raise BadParameter(f"batch_size must be 1 or more, and a client must have images; not {batch_size}, {total}.")
    begun, losses, right = time.perf_counter(), 0.0, 0
    sent = dict.fromkeys(("bytes_up", "bytes_down", "bytes_relayed"), 0)
    for place, client in enumerate(clients):
        if len(clients) > 1:
            state = clients[place - 1].state()
            client.take(state)
            sent["bytes_relayed"] += _bytes(state)
        turn = epoch * len(clients) + place
        client.start(seed, turn)
        reseed(server, seed, turn)
        order = epoch_order(len(client), seed, turn)
        for start in range(0, len(order), batch_size):
            activations, labels = client.forward(order[start : start + batch_size])
            answer = step(server, activations, labels)
            client.backward(answer.gradient)
            losses, right = losses + answer.loss * len(labels), right + answer.right
            sent["bytes_up"] += _bytes([activations, labels])
            sent["bytes_down"] += _bytes([answer.gradient])
            tick()
    return {"loss": losses / total, "accuracy": right / total, "seconds": time.perf_counter() - begun} | sent


def state_of(part: keras.Model) -> State:
    """Weights and optimizer of a part of a network."""
    return [np.array(v) for v in (*part.weights, *part.optimizer.variables)]


def put_state(part: keras.Model, state: State) -> None:
    """Overwrite weights and optimizer of a part; `BadParameter` if the state is that of another network."""
    variables = [*part.weights, *part.optimizer.variables]
    if [np.shape(value) for value in state] != [tuple(v.shape) for v in variables]:
        raise BadParameter("This state belongs to another network: its arrays have other shapes.")
    for variable, value in zip(variables, state, strict=True):
        variable.assign(value)


def as_one(*parts: keras.Model) -> SimpleNamespace:
    """Parts of a network as `medtk.training.train_or_load` needs a model: all weights, and all optimizers as one."""
    optimizer = SimpleNamespace(
        variables=[variable for part in parts for variable in part.optimizer.variables],
        build=lambda variables: None,  # `split_at` has done it
    )
    return SimpleNamespace(
        weights=[weight for part in parts for weight in part.weights],
        get_weights=lambda: [array for part in parts for array in part.get_weights()],
        trainable_variables=[variable for part in parts for variable in part.trainable_variables],
        optimizer=optimizer,
        parts=parts,
    )


def _bytes(arrays: Sequence[np.ndarray]) -> int:
    return sum(np.asarray(array).nbytes for array in arrays)
