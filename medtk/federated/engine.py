"""Federated learning in one process: rounds, with a record of each, that go on after a kill."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from tqdm import tqdm

from medtk.data import Split
from medtk.data.hospitals import Hospital, Share
from medtk.errors import BadParameter, MedtkError
from medtk.federated import checks, client, state
from medtk.federated import secure as masked
from medtk.federated.aggregation import Weights
from medtk.federated.masks import join, part
from medtk.federated.result import Result, model_of
from medtk.federated.settings import Settings
from medtk.federated.strategies import Received, Server, Strategy, average, start
from medtk.settings import cache_home


def run(
    model: keras.Model,
    clients: Sequence[Hospital],
    settings: Settings | None = None,
    *,
    strategy: Strategy = average,
    server: Server | None = None,
    mask: Sequence[bool] | None = None,
    steps: Mapping[str, Callable] | None = None,
    delays: Callable[[str, int], int] | None = None,
    evaluate_on: Mapping[str, Split | Share] | None = None,
    validate: bool = True,
    secure: bool = False,
    keep: bool = True,
    progress: bool = True,
) -> Result:
    """Run rounds: draw clients, let each train, check what they send, aggregate, evaluate, store.

    The result depends on `settings.seed` and not on the order of the clients, nor on whether the run was stopped and
    gone on with. A client that raises an error, comes too late or sends what cannot be used is named in the round's
    rows with the reason, and the round goes on without it.

    Parameters
    ----------
    model : keras.Model
        A classifier with a layer ``logits``; its weights are the start, and are in it again at the end.
    clients : sequence of Hospital
        Each with a name of its own, training images and, for `validate`, validation images.
    settings : Settings, optional
    strategy : callable
        What the server does, see `medtk.federated.strategies`.
    server : Server, optional
        To start from, when there is more than one model (`medtk.federated.start`); shared arrays only.
    mask : sequence of bool, optional
        Which arrays are shared (`medtk.federated.shared`); all, unless told.
    steps : dict, optional
        Client step of some clients by name, called like `medtk.federated.train`, which all others use.
    delays : callable, optional
        ``delays(name, round)``: how many rounds late the update of a client begins to be if it starts in that round.
        Above `settings.max_delay` it is lost; else it is delivered at the end of that round, and the client starts
        nothing before the next: one that is always d rounds late needs d + 1 for each of its own.
    evaluate_on : dict, optional
        Images by name, on which every model is evaluated after each round. Where arrays are private, there is
        no complete global model: each client's own is evaluated.
    validate : bool
        Whether each client's own model is evaluated on its validation images after each round.
    secure : bool
        Whether the server sees nothing but the sum of masked updates (`medtk.federated.secure`). For plain FedAvg of
        one model, without `max_ratio` and `delays`.
    keep : bool
        Whether each round is stored in the cache and a run that is stopped goes on from there.
    progress : bool
        Whether to show a bar, one step a client and round.

    Returns
    -------
    Result

    Raises
    ------
    BadParameter
        If names of clients repeat, a route leads nowhere, or something does not fit the network.
    MedtkError
        If fewer than `settings.min_clients` good updates come in a round. The rounds before are kept.
    """
    settings, steps, evaluate_on = settings or Settings(), dict(steps or {}), dict(evaluate_on or {})
    members = {member.name: member for member in sorted(clients, key=lambda member: member.name)}
    initial = model.get_weights()
    mask = [True] * len(initial) if mask is None else list(mask)
    if not members or len(members) != len(clients):
        raise BadParameter("each client needs a name of its own, and there must be one at least.")
    if len(mask) != len(initial) or not set(steps) <= set(members):
        raise BadParameter(f"the mask needs {len(initial)} entries, and steps names of clients, not {list(steps)}.")
    public, own = part(initial, mask)
    server = start(public, list(members)) if server is None else start(server.models, list(members), server.route)
    if secure:
        masked.allowed(strategy, settings, server, delays)
    now = {"server": dict(vars(server)), "private": {}, "pending": [], "history": []}
    path, done = None, 0
    if keep:
        parts = {
            "settings": settings, "strategy": strategy, "server": server, "mask": mask, "steps": steps,
            "delays": delays, "evaluate_on": evaluate_on,
            "clients": {name: [m.train, m.val if validate else None] for name, m in members.items()},
        } | ({"secure": True} if secure else {})  # fmt: skip
        path = cache_home() / "federated" / f"{state.key(model, parts)}.npz"
        now = state.restore(path, lambda found: set(found) == set(now)) or now
        done = len(now["history"])
    drawn = max(1, round(settings.fraction * len(members)))
    engine = Engine(model, members, settings, strategy, mask, own, steps, delays, evaluate_on, validate, secure)
    bar = tqdm(total=settings.rounds * drawn, initial=done * drawn, unit="client", desc="rounds", disable=not progress)
    try:
        for number in range(done + 1, settings.rounds + 1):
            if now["server"]["stop"]:
                break
            now = engine.round(number, now, drawn, bar)
            if path:
                state.save(path, now)
    finally:
        bar.close()
        client.put(model, initial)
    history = now["history"]
    return Result(as_server(now["server"]), history, now["private"], mask, initial, len(history) == done)


@dataclass(frozen=True, eq=False)
class Engine:
    """What stays the same from round to round. Another engine is this one with other clients: `trained`."""

    model: keras.Model
    members: Mapping[str, Hospital]
    settings: Settings
    strategy: Strategy
    mask: list[bool]
    own: Weights
    steps: Mapping[str, Callable]
    delays: Callable[[str, int], int] | None
    evaluate_on: Mapping[str, Split | Share]
    validate: bool
    secure: bool

    def round(self, number: int, before: dict, drawn: int, bar: tqdm) -> dict:
        """State after a round, from the state before it, which is not changed."""
        began = time.perf_counter()
        server, private, pending = as_server(before["server"]), dict(before["private"]), list(before["pending"])
        # Who delivers at the end of this round is still at work when it begins.
        busy = {update["client"] for update in pending}
        arriving = [update for update in pending if update["due"] <= number]
        pending = [update for update in pending if update["due"] > number]
        rows = []
        names = self.drawn(number, drawn, busy)
        for row, update in self.trained(names, number, server, private, before["history"]):
            rows.append(row)
            if update is not None:
                (arriving if update["due"] <= number else pending).append(update)
            bar.update()
        good = self.received(arriving, rows, number)
        if len(good) < self.settings.min_clients:
            reasons = "; ".join(f"{row['client']}: {row['why']}" for row in rows if row["why"])
            raise MedtkError(
                f"Round {number} has {len(good)} good updates and needs {self.settings.min_clients}. "
                f"{reasons or 'None was due.'} The rounds before it are kept."
            )
        if self.secure:
            server = masked.masked_average(server, good, {name: len(self.members[name].train) for name in names})
        else:
            server = self.strategy(server, good)
        history = before["history"]
        entry = {"round": number, "clients": rows, "notes": server.notes, "stop": server.stop}
        entry["evaluation"], entry["unevaluated"] = self.evaluation(server, private, [*history, entry])
        entry["seconds"] = time.perf_counter() - began
        if entry["evaluation"]:
            bar.set_postfix(round=number, accuracy=f"{entry['evaluation'][-1]['accuracy']:.3f}")
        return {"server": dict(vars(server)), "private": private, "pending": pending, "history": [*history, entry]}

    def drawn(self, number: int, drawn: int, busy: set[str]) -> list[str]:
        """Names of the clients that begin in a round, sorted."""
        order = np.random.default_rng((self.settings.seed, number)).permutation(list(self.members))
        return sorted(str(name) for name in order[:drawn] if name not in busy)

    def trained(
        self, names: list[str], number: int, server: Server, private: dict, history: list[dict]
    ) -> Iterator[tuple[dict, dict | None]]:
        """Row of each client, and its update if there is one to come; what it keeps goes into `private`."""
        for name in names:
            yield self.let_train(name, number, server, private)

    def let_train(self, name: str, number: int, server: Server, private: dict) -> tuple[dict, dict | None]:
        """Row and update of one client, trained in this process."""
        row, offered = begun(name, number, server)
        late = max(0, self.delays(name, number)) if self.delays else 0
        if late > self.settings.max_delay:
            return row | {"status": "late", "why": f"it would come {late} rounds late"}, None
        began = time.perf_counter()
        mine = private.get(name, self.own)
        whole = {to: join(weights, mine, self.mask) for to, weights in offered.items()}
        member, step = self.members[name], self.steps.get(name, client.train)
        seed = client.client_seed(self.settings.seed, number, name)
        try:
            row["model"] = client.choose(self.model, whole, member.train, self.settings)
            sent = step(self.model, whole[row["model"]], member.train, self.settings, seed)
        except Exception as error:  # a client is another's machine: whatever breaks there is its own
            return row | {"status": "gone", "why": f"{type(error).__name__}: {error}"}, None
        row["seconds"] = time.perf_counter() - began
        if why := checks.fault(sent, whole[row["model"]], len(member.train)):
            return row | {"status": "refused", "why": why}, None
        public, kept = part([np.asarray(array) for array in sent[0]], self.mask)
        if self.secure and (why := masked.fault(public, offered[row["model"]])):
            return row | {"status": "refused", "why": why}, None
        if kept:
            private[name] = kept
        return sound(row, offered[row["model"]], client.Update(public, *sent[1:]), late)

    def received(self, arriving: list[dict], rows: list[dict], number: int) -> list[Received]:
        """Updates that are sound, sorted by client; what happened to each is written into the rows."""
        arriving = sorted(arriving, key=lambda update: update["client"])
        long = checks.too_long(
            {u["client"]: (u["weights"], u["start"]) for u in arriving},
            {name: len(member.train) for name, member in self.members.items() if member is not None},
            self.settings.max_ratio,
        )
        for update in arriving:
            if update["began"] < number:
                late = {"why": f"begun in round {update['began']}", "seconds": 0.0, "bytes_down": 0, "bytes_up": 0}
                row = {k: update[k] for k in ("client", "model", "began", "n")}
                rows.append(update["metrics"] | row | late | {"status": "arrived"})
        for row in rows:
            if row["client"] in long and row["status"] in ("ok", "arrived"):
                row |= {"status": "refused", "why": long[row["client"]]}
        rows.sort(key=lambda row: (row["client"], row["began"]))
        return [
            Received(**{k: v for k, v in update.items() if k != "due"})
            for update in arriving
            if update["client"] not in long
        ]

    def evaluation(self, server: Server, private: dict, history: list[dict]) -> tuple[list[dict], dict[str, str]]:
        """Rows of every model on every set of images; and of clients that gave none that can be used, the reason."""
        tasks = []
        if self.validate:
            tasks = [
                (model_of(name, server, history), name, f"{name}/val", member.val)
                for name, member in self.members.items()
                if member.val is not None and len(member.val)
            ]
        owners = list(self.members) if self.own else [None]
        for on, split in self.evaluate_on.items():
            for owner in owners:
                names = server.models if owner is None else [model_of(owner, server, history)]
                tasks += [(name, owner, on, split) for name in names]
        rows = []
        for name, owner, on, split in tasks:
            weights = join(server.models[name], private.get(owner, self.own), self.mask)
            found = client.evaluate(self.model, weights, split, self.settings.loss, self.settings.evaluate_batch)
            rows.append({"model": name, "client": owner or "", "on": on} | found)
        return rows, {}


def begun(name: str, number: int, server: Server) -> tuple[dict, dict[str, Weights]]:
    """Row of a client that begins in a round, and the models that it is offered, by name."""
    offered = {to: server.models[to] for to in server.route[name]}
    row = {"client": name, "status": "ok", "why": "", "model": "", "began": number, "n": 0}
    row |= {"loss": None, "accuracy": None, "seconds": 0.0, "bytes_up": 0}
    return row | {"bytes_down": sum(checks.bytes_of(weights) for weights in offered.values())}, offered


def sound(row: dict, start: Weights, sent: client.Update, late: int = 0) -> tuple[dict, dict]:
    """Row and update of a client that sent what can be used: shared arrays only."""
    metrics = checks.known_metrics(sent.metrics)
    row = row | metrics | {"n": int(sent.n), "bytes_up": checks.bytes_of(sent.weights)}
    update = {name: row[name] for name in ("client", "model", "began", "n")}
    update |= {"start": start, "weights": sent.weights, "metrics": metrics, "due": row["began"] + late}
    return row | {"status": "ok" if late == 0 else "under way"}, update


def as_server(stored: Mapping) -> Server:
    """Server of a state, which may come from a file."""
    return Server(**{**stored, "route": {name: tuple(to) for name, to in stored["route"].items()}})
