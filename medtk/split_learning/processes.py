"""Clients as processes of their own, on this machine: the engine's calls as messages, their content Flower's records.

A client is started with ``python -m medtk.split_learning.processes``; it reads from its standard input where to call
and the key that lets it in, so that neither stands in the list of processes. Messages hold arrays and plain settings
only: nothing that is sent can be run. Every step is the one that `LocalClient` takes.
"""

import contextlib
import importlib.util
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Client as connect
from multiprocessing.connection import Connection, Listener
from pathlib import Path

import numpy as np

from medtk.errors import MedtkError

PATIENCE = 120  # seconds: a client imports TensorFlow first


def packed(kind: str, arrays: Sequence[np.ndarray] = (), **about: str | int) -> bytes:
    """A message as bytes: what it is, its arrays, and settings."""
    from flwr.app import ArrayRecord, ConfigRecord, RecordDict
    from flwr.common.serde import recorddict_to_proto

    records = {"arrays": ArrayRecord([np.asarray(array) for array in arrays])}
    content = RecordDict(records | {"about": ConfigRecord({"kind": kind, **about})})
    return recorddict_to_proto(content).SerializeToString()


def unpacked(message: bytes) -> tuple[str, list[np.ndarray], dict]:
    """Kind, arrays and settings of a message."""
    from flwr.common.serde import recorddict_from_proto
    from flwr.proto.recorddict_pb2 import RecordDict as Proto

    content = recorddict_from_proto(Proto.FromString(message))
    about = dict(content["about"])
    return about.pop("kind"), content["arrays"].to_numpy_ndarrays(), about


class RemoteClient:
    """A client in another process, as the engine sees it; see `medtk.split_learning.Client`.

    Attributes
    ----------
    bytes_received, bytes_sent : int
        Of whole messages, with what Flower adds to the arrays.
    """

    def __init__(self, name: str, line: Connection):
        self.name, self._line = name, line
        self.bytes_received = self.bytes_sent = 0
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def plan(self, **settings) -> None:
        """Tell it which network to build, where to cut it, and where its images are."""
        self._n = self._ask("plan", settings=json.dumps(settings))[1]["n"]

    def start(self, seed: int, turn: int) -> None:
        """See `Client`."""
        self._ask("start", seed=seed, turn=turn)

    def forward(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Client`."""
        activations, labels = self._ask("forward", [rows])[0]
        return activations, labels

    def backward(self, gradient: np.ndarray) -> None:
        """See `Client`."""
        self._ask("backward", [gradient])

    def state(self) -> list[np.ndarray]:
        """See `Client`."""
        return self._ask("state")[0]

    def take(self, state: Sequence[np.ndarray]) -> None:
        """See `Client`."""
        self._ask("take", state)

    def _ask(self, kind: str, arrays: Sequence[np.ndarray] = (), **about) -> tuple[list[np.ndarray], dict]:
        message = packed(kind, arrays, **about)
        try:
            self._line.send_bytes(message)
            if not self._line.poll(PATIENCE):
                raise MedtkError(f"{self.name} has not answered {kind!r} for {PATIENCE} seconds.")
            reply = self._line.recv_bytes()
        except (EOFError, OSError) as error:
            raise MedtkError(f"{self.name} has ended before it answered {kind!r}; see what it printed.") from error
        self.bytes_sent, self.bytes_received = self.bytes_sent + len(message), self.bytes_received + len(reply)
        answer, found, said = unpacked(reply)
        if answer == "refused":
            raise MedtkError(f"{self.name}: {said['why']}")
        return found, said


@contextlib.contextmanager
def remote_clients(folders: dict[str, Path], *, cut_layer: str, **network) -> Iterator[list[RemoteClient]]:
    """Start a process for each client, and end them all at the end.

    Parameters
    ----------
    folders : dict of str to Path
        For each client, the npz file with its ``images`` and ``labels``, which only its own process opens.
    cut_layer : str
    **network
        Arguments of `medtk.split_learning.build`. All processes build the same network from them.

    Yields
    ------
    list of RemoteClient
        For `medtk.split_learning.run_epoch`.

    Raises
    ------
    MedtkError
        If Flower is not installed, or if a client does not call, ends early or refuses what it is told.
    """
    if importlib.util.find_spec("flwr") is None:
        raise MedtkError("Clients in processes of their own need Flower: `pip install 'medtk[federated]'`.")
    key, clients = secrets.token_bytes(32), []
    with contextlib.ExitStack() as last:
        listener = last.enter_context(Listener(("127.0.0.1", 0), authkey=key))
        listener._listener._socket.settimeout(PATIENCE)  # accept() has no limit of its own
        for name, path in folders.items():
            child = subprocess.Popen(
                [sys.executable, "-m", "medtk.split_learning.processes"], stdin=subprocess.PIPE, env=dict(os.environ)
            )
            last.callback(_end, child)
            child.stdin.write(f"{listener.address[1]} {key.hex()}\n".encode())
            child.stdin.close()
            try:
                line = last.enter_context(listener.accept())
            except OSError as error:
                raise MedtkError(f"The process of {name} has not called within {PATIENCE} seconds.") from error
            client = RemoteClient(name, line)
            client.plan(path=str(path), cut_layer=cut_layer, **network)
            clients.append(client)
        yield clients


def _end(child: subprocess.Popen) -> None:
    child.terminate()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def serve(line: Connection) -> None:
    """A client's side: answer every message until the line is closed."""
    client = None
    while True:
        try:
            kind, arrays, about = unpacked(line.recv_bytes())
        except EOFError:
            return
        try:
            if kind == "plan":
                client = planned(**json.loads(about["settings"]))
                reply = packed("done", n=len(client))
            elif kind == "forward":
                reply = packed("done", client.forward(*arrays))
            elif kind == "backward":
                reply = packed("done", client.backward(*arrays) or ())
            elif kind == "start":
                reply = packed("done", client.start(**about) or ())
            elif kind == "state":
                reply = packed("done", client.state())
            elif kind == "take":
                reply = packed("done", client.take(arrays) or ())
            else:
                reply = packed("refused", why=f"a message of the kind {kind!r} is not known")
        except (MedtkError, OSError, KeyError, ValueError) as error:
            reply = packed("refused", why=f"{type(error).__name__}: {error}")
        line.send_bytes(reply)


def planned(path: str, cut_layer: str, n_classes: int, input_shape: Sequence[int], **network):
    """The client of a plan, in its own process."""
    with np.load(path, allow_pickle=False) as file:
        images, labels = file["images"], file["labels"]
    from medtk import split_learning, training
    from medtk.data import Split

    training.be_deterministic()
    model = split_learning.build(n_classes, tuple(input_shape), **network)
    split = Split(images, labels)
    return split_learning.LocalClient(Path(path).stem, split_learning.split_at(model, cut_layer)[0], split)


if __name__ == "__main__":
    port, secret = sys.stdin.readline().split()
    with connect(("127.0.0.1", int(port)), authkey=bytes.fromhex(secret)) as called:
        serve(called)
