"""Averaging that waits for nobody: updates come late or never, old ones count less, a buffer keeps the pace even."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from medtk.errors import BadParameter
from medtk.federated.aggregation import Weights
from medtk.federated.strategies import Received, Server

NEVER = 10**6  # rounds: later than any run waits


def buffered(
    server: Server,
    received: Sequence[Received],
    buffer_size: int = 2,
    age_exponent: float = 0.5,
    trainable: Sequence[bool] | None = None,
    images: int | None = None,
) -> Server:
    """Keep the updates of each model until there are `buffer_size`, then move the model by their weighted mean.

    With s(age) = (1 + age) ** -age_exponent, the model w moves by the sum of n / `images` s(age) (sent - started from).
    The age of an update is how often the model moved from when the client took it until the round of its arrival began:
    what moves in that very round makes nobody old. Nobody late and `images` those of all clients: what is trained moves
    as in FedAvg, whatever the size of the buffer, if all of it is used up. Notes ``age`` by client, ``waiting``
    (updates in the buffers) and ``moved`` (how often each model has moved so far).

    Parameters
    ----------
    server, received
        As in every strategy; updates of a round fill the buffer in the order in which they are received.
    buffer_size : int
        At least 1; 1 moves the model with every single update.
    age_exponent : float
        0 or more; 0 lets old updates count like new ones. The authors use 0.5.
    trainable : sequence of bool, optional
        For each shared array, whether it is trained. The others (moving statistics) go towards what was sent by the
        same parts: adding up differences could make a variance negative. See `medtk.federated.trainable`.
    images : int, optional
        Training images of all clients of a model: each update counts as in FedAvg, and a round in which all of them
        come is one step in all, however small the buffer. Unless told, the images behind each full buffer: every one
        is a whole step, so that with a buffer of one a round has as many steps as clients, and a client with few
        images counts like one with many. The authors leave the length of steps to a rate of the server.

    Raises
    ------
    BadParameter
        If a number is out of its range.

    References
    ----------
    J. Nguyen, K. Malik, H. Zhan, A. Yousefpour, M. Rabbat, M. Malek, D. Huba, "Federated learning with buffered
    asynchronous aggregation", AISTATS 2022, algorithm 1 and section 5 (there all clients count the same).
    """
    if buffer_size < 1 or not 0 <= age_exponent < float("inf"):
        raise BadParameter(
            f"buffer_size must be at least 1 and age_exponent 0 or more, not {buffer_size} and {age_exponent}."
        )
    if images is not None and not images >= 1:
        raise BadParameter(f"images must be 1 or more, those of all clients, not {images}.")
    # moves[k]: how often each model had moved when round k + 1 began.
    memory = server.memory.get("asynchronous", {"moves": [dict.fromkeys(server.models, 0)], "buffers": {}})
    moves, now = memory["moves"], dict(memory["moves"][-1])
    buffers = {name: list(kept) for name, kept in memory["buffers"].items()}
    models, ages = dict(server.models), {}
    for r in received:
        ages[r.client] = moves[-1][r.model] - moves[r.began - 1][r.model]
        part = (1 + ages[r.client]) ** -age_exponent
        kept = buffers.setdefault(r.model, [])
        kept.append({"start": r.start, "weights": r.weights, "n": r.n, "part": part})
        if len(kept) == buffer_size:
            models[r.model] = _moved(models[r.model], buffers.pop(r.model), trainable, images)
            now[r.model] += 1
    waiting = {name: len(buffers.get(name, [])) for name in models}
    memory = {"moves": [*moves, now], "buffers": buffers}
    notes = {"age": ages, "waiting": waiting, "moved": now}
    return replace(server, models=models, memory=server.memory | {"asynchronous": memory}, notes=notes)


def _moved(current: Weights, kept: Sequence[Mapping], trainable: Sequence[bool] | None, images: int | None) -> Weights:
    """Model after a full buffer."""
    total = images or sum(update["n"] for update in kept)
    parts = [update["n"] / total * update["part"] for update in kept]
    new = []
    for i, array in enumerate(current):
        sent = [np.asarray(update["weights"][i], np.float64) for update in kept]
        if trainable is None or trainable[i]:
            steps = [weights - update["start"][i] for weights, update in zip(sent, kept, strict=True)]
        else:
            steps = [weights - array for weights in sent]
        new.append((array + sum(p * step for p, step in zip(parts, steps, strict=True))).astype(array.dtype))
    return new


def delays(
    name: str, number: int, late: Mapping[str, int], lost: Mapping[str, float] | None = None, seed: int = 0
) -> int:
    """How many rounds late the update of a client is: for ``run(delays=partial(delays, late=..., lost=...))``.

    0 is on time: a client that needs d rounds for one of its own is d - 1 rounds late.

    Parameters
    ----------
    name : str
        Of the client.
    number : int
        Round in which it begins.
    late : mapping
        Rounds by client; who is not in it is on time.
    lost : mapping, optional
        By client the probability, 0 to 1, that the update of a round never arrives.
    seed : int
        Of what is lost.

    Returns
    -------
    int
        `NEVER` for a lost update: more than any `Settings.max_delay`, so that the engine drops it.
    """
    random = np.random.default_rng((seed, number, zlib.crc32(name.encode())))
    return NEVER if random.random() < (lost or {}).get(name, 0.0) else late.get(name, 0)
