"""The server's Flower app: the rounds of `medtk.federated.engine`, with clients that are on other machines."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from flwr.app import Context, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid, ServerApp
from tqdm import tqdm

from medtk.errors import MedtkError
from medtk.federated import checks, state
from medtk.federated.engine import Engine, begun, sound
from medtk.federated.flower import account, messages
from medtk.federated.flower.plan import Plan
from medtk.federated.flower.progress import read, write
from medtk.federated.masks import part
from medtk.federated.result import model_of
from medtk.federated.strategies import Server, start

PAUSE = 0.5  # seconds between two looks for answers
app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the plan of a folder to its end, from the round after the last that is stored there."""
    folder = Path(str(context.run_config["folder"]))
    serve(grid, folder, read(folder, "nodes"))


@dataclass(frozen=True, eq=False)
class Remote(Engine):
    """The engine, with hospitals that are asked by messages; `nodes` has Flower's number of each."""

    grid: Grid
    nodes: Mapping[str, int]
    plan: Plan

    def trained(
        self, names: list[str], number: int, server: Server, private: dict, history: list[dict]
    ) -> Iterator[tuple[dict, dict | None]]:
        """Row and update of each hospital; all train at the same time, and what they keep stays with them."""
        asked = {name: begun(name, number, server) for name in names}
        contents = {
            name: messages.ask(offered, plan=self.plan.text(), round=number) for name, (_, offered) in asked.items()
        }
        sizes = joined(history)
        for name, answer in self.exchange(contents, "train", number):
            row, offered = asked[name]
            yield (
                (row | {"status": "gone", "why": answer}, None)
                if isinstance(answer, str)
                else judged(row, offered, answer, sizes.get(name))
            )

    def evaluation(self, server: Server, private: dict, history: list[dict]) -> tuple[list[dict], dict[str, str]]:
        """Rows of what the hospitals find on their own validation images; and why there is none of some."""
        if not self.plan.validate:
            return [], {}
        uses = {name: model_of(name, server, history) for name in self.members}
        number, text = history[-1]["round"], self.plan.text()
        contents = {name: messages.ask({to: server.models[to]}, plan=text, round=number) for name, to in uses.items()}
        rows, missing = [], {}
        for name, answer in self.exchange(contents, "evaluate", number):
            found = answer if isinstance(answer, str) else evaluated(answer)
            if isinstance(found, str):
                missing[name] = found
            elif found["n"]:
                rows.append(found | {"model": uses[name], "client": name, "on": f"{name}/val"})
        return sorted(rows, key=lambda row: row["client"]), dict(sorted(missing.items()))

    def exchange(
        self, contents: Mapping[str, RecordDict], kind: str, number: int
    ) -> Iterator[tuple[str, RecordDict | str]]:
        """Send to each hospital; name and answer as they come, or a sentence in place of an answer."""
        online = set(self.grid.get_node_ids())
        away = [name for name in contents if self.nodes.get(name) not in online]
        yield from ((name, account.AWAY) for name in away)
        names = [name for name in contents if name not in away]
        sent = [
            Message(contents[name], self.nodes[name], kind, ttl=self.plan.round_timeout + 60, group_id=str(number))
            for name in names
        ]
        waiting = dict(zip(self.grid.push_messages(sent), names, strict=True)) if sent else {}
        end = time.monotonic() + self.plan.round_timeout
        while waiting and time.monotonic() < end:
            replies = list(self.grid.pull_messages(list(waiting)))
            for reply in replies:
                name = waiting.pop(reply.metadata.reply_to_message_id, None)
                if name is not None:
                    yield name, reply.content if reply.has_content() else _reason(reply)
            if waiting and not replies:
                time.sleep(PAUSE)
        yield from ((name, f"it did not answer within {self.plan.round_timeout:g} s") for name in waiting.values())


def _reason(reply: Message) -> str:
    if reply.error.code == ErrorCode.NODE_UNAVAILABLE:
        return "its connection was lost"
    return reply.error.reason or f"Flower's error {reply.error.code}"


def joined(history: list[dict]) -> dict[str, int]:
    """Number of images that each hospital said first. Nobody can check it; but it may not change with the round."""
    found: dict[str, int] = {}
    for entry in history:
        for row in entry["clients"]:
            if row["n"]:
                found.setdefault(row["client"], row["n"])
    return found


def judged(row: dict, offered: Mapping, answer: RecordDict, n_known: int | None) -> tuple[dict, dict | None]:
    """Row and update of a hospital that answered: checked like those of the in-process engine."""
    try:
        model, update, seconds = messages.update_in(answer)
    except Exception as error:  # whatever a stranger sends, it must not stop the round
        return row | {"status": "refused", "why": f"its message cannot be read ({type(error).__name__})"}, None
    row = row | {"model": model, "seconds": seconds if 0 <= seconds < float("inf") else 0.0}
    if model not in offered:
        return row | {"status": "refused", "why": f"it trained {model!r}, which it was not offered"}, None
    if why := checks.fault(update, offered[model], n_known):
        return row | {"status": "refused", "why": why}, None
    return sound(row, offered[model], update)


def evaluated(answer: RecordDict) -> dict | str:
    """Loss, accuracy and number of images of an evaluation, or why it cannot be used; without images ``n`` is 0."""
    try:
        given = dict(answer["metrics"])
    except Exception as error:  # whatever a stranger sends, it must not stop the round
        return f"its evaluation cannot be read ({type(error).__name__})"
    n, found = given.get("n"), checks.known_metrics(given)
    if n == 0:
        return {"n": 0}
    if why := checks.fault_of_size(n):
        return f"of its evaluation, {why}"
    if len(found) < len(checks.METRICS) or not 0 <= found["accuracy"] <= 1:
        return "its evaluation holds no loss and accuracy"
    return found | {"n": int(n)}


def serve(grid: Grid, folder: Path, nodes: Mapping[str, int], tell: Callable[[str], None] = print) -> dict:
    """Run the rounds of a plan; the state is stored after each, and the last one returned.

    Parameters
    ----------
    grid : flwr.serverapp.Grid
        Carries messages to the hospitals.
    folder : Path
        Holds ``plan.json``; the state, the history and the progress are written there.
    nodes : dict of str to int
        Flower's number of each hospital.
    tell : callable
        Gets a sentence a round.

    Raises
    ------
    MedtkError
        If a round has too few good updates, or too few hospitals are there at the start.
    """
    plan = Plan.read((folder / "plan.json").read_text(encoding="utf-8"))
    model, settings = plan.model(), plan.settings()
    mask = plan.mask(model)
    public, own = part(model.get_weights(), mask)
    server = start(public, list(plan.hospitals))
    now = {"server": dict(vars(server)), "private": {}, "pending": [], "history": []}
    now = state.restore(folder / "rounds.npz", lambda found: set(found) == set(now)) or now
    members = dict.fromkeys(sorted(plan.hospitals))
    rule = plan.step_of_server(model)
    engine = Remote(model, members, settings, rule, mask, own, {}, None, {}, False, False, grid, nodes, plan)
    done, drawn = len(now["history"]), max(1, round(settings.fraction * len(members)))
    if done < plan.rounds:
        gather(grid, folder, nodes, plan)
    for number in range(done + 1, plan.rounds + 1):
        if now["server"]["stop"]:
            break
        write(folder, "progress", {"state": "running", "said": f"round {number} of {plan.rounds}"})
        now = engine.round(number, now, drawn, tqdm(disable=True))
        state.save(folder / "rounds.npz", now)
        write(folder, "history", now["history"])
        if plan.noise_multiplier:
            write(folder, "spent", account.by_hospital(plan, now["history"], joined(now["history"])))
        rows = now["history"][-1]["clients"]
        bad = "; ".join(f"{row['client']} {row['status']}: {row['why']}" for row in rows if row["why"])
        unread = "; ".join(f"{name}: {why}" for name, why in now["history"][-1]["unevaluated"].items())
        said = [f"round {number}: {sum(not row['why'] for row in rows)} of {len(rows)} hospitals.", bad]
        tell(" ".join([*said, f"Not evaluated: {unread}." if unread else ""]).strip())
    said = [f"{len(now['history'])} rounds.", now["server"]["stop"]]
    said += [account.in_words(plan, read(folder, "spent"))] if plan.noise_multiplier else []
    write(folder, "progress", {"state": "finished", "said": " ".join(filter(None, said))})
    return now


def gather(grid: Grid, folder: Path, nodes: Mapping[str, int], plan: Plan) -> None:
    """Wait until all hospitals are connected, or until it has taken too long and there are enough."""
    end = time.monotonic() + plan.start_timeout
    while True:
        online = set(grid.get_node_ids())
        missing = [name for name, node in nodes.items() if node not in online]
        if not missing:
            return
        write(folder, "progress", {"state": "waiting", "said": f"for {', '.join(missing)}"})
        if time.monotonic() > end:
            break
        time.sleep(PAUSE)
    if len(nodes) - len(missing) < max(1, plan.min_clients):
        raise MedtkError(
            f"After {plan.start_timeout:g} s only {len(nodes) - len(missing)} hospitals are connected; missing: "
            f"{', '.join(missing)}. Start them with `medtk federate join`, then run `medtk federate up` again."
        )
