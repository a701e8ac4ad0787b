"""The hospital's Flower app: the client step of `medtk.federated.client`, on images that stay where they are."""

import functools
import json
import secrets
import time
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from medtk.data.hospitals import Hospital
from medtk.errors import BadParameter
from medtk.federated import client, state
from medtk.federated.aggregation import Weights
from medtk.federated.flower import account, messages
from medtk.federated.flower.plan import Plan
from medtk.federated.flower.site import Source, invitation
from medtk.federated.masks import join, part
from medtk.federated.private import train_privately

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train on the hospital's own images from a model that it is offered; shared arrays leave, others are kept."""
    began, about, folder = time.perf_counter(), message.content["about"], Path(str(context.node_config["folder"]))
    member, (model, plan, mask, own) = images(folder), _agreed(folder, str(about["plan"]))
    settings, number = plan.settings(), int(about["round"])
    private = _kept(folder, plan) or own
    offered = {name: join(w, private, mask) for name, w in messages.models_in(message.content).items()}
    if plan.noise_multiplier:
        chosen, update = _noised(folder, plan, number, offered)
    else:
        chosen = client.choose(model, offered, member.train, settings)
        seed = client.client_seed(settings.seed, number, member.name)
        update = client.train(model, offered[chosen], member.train, settings, seed)
    public, private = part(update.weights, mask)
    if private:
        state.save(_place(folder, plan), {"private": private})
    seconds = time.perf_counter() - began
    return Message(messages.answer(chosen, update._replace(weights=public), seconds), reply_to=message)


def _noised(folder: Path, plan: Plan, number: int, offered: dict[str, Weights]) -> tuple[str, client.Update]:
    """Name of the one offered model, and the update of DP-SGD from it; the round is in the account before it begins."""
    if len(offered) != 1:
        raise BadParameter("with noise one model can be offered: a choice among several would tell of the images.")
    member, source, model = images(folder), _source(folder), prepared(plan.text())[0]
    account.spend(folder, plan, len(member.train), source.max_epsilon)
    seed = secrets.randbits(128)
    if source.noise_seed is not None:
        seed = client.client_seed(source.noise_seed, number, member.name)
    ((name, weights),) = offered.items()
    return name, train_privately(model, weights, member.train, plan.settings(), seed, private=plan.private())


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Evaluate a model, with the hospital's own arrays, on its validation images; ``n`` is 0 without any."""
    folder = Path(str(context.node_config["folder"]))
    member, (model, plan, mask, own) = images(folder), _agreed(folder, str(message.content["about"]["plan"]))
    found = {"loss": 0.0, "accuracy": 0.0, "n": 0}
    if member.val is not None and len(member.val):
        (public,) = messages.models_in(message.content).values()
        settings, weights = plan.settings(), join(public, _kept(folder, plan) or own, mask)
        found = client.evaluate(model, weights, member.val, settings.loss, settings.evaluate_batch)
    return Message(messages.numbers(found), reply_to=message)


@functools.lru_cache(maxsize=1)
def images(folder: Path) -> Hospital:
    """Images of this hospital, read once: whoever invited it says which classes and which size."""
    asked = invitation(folder)
    return _source(folder).load(asked["name"], tuple(asked["class_names"]), asked["size"])


def _source(folder: Path) -> Source:
    return Source(**json.loads((folder / "hospital.json").read_text(encoding="utf-8")))


@functools.lru_cache(maxsize=1)
def prepared(text: str) -> tuple:
    """Network, plan, mask and first private arrays; the network is built and compiled once a run."""
    plan = Plan.read(text)
    # Where everything is shared the first weights come from the server, and need not be had here.
    model = plan.model("random" if plan.batchnorm == "average" else None)
    mask = plan.mask(model)
    return model, plan, mask, part(model.get_weights(), mask)[1]


def _agreed(folder: Path, text: str) -> tuple:
    """What is `prepared` for a plan that asks for what this hospital was invited to."""
    plan, asked = Plan.read(text), invitation(folder)
    if [list(plan.class_names), plan.size] != [asked["class_names"], asked["size"]]:
        raise BadParameter("the server asks for other classes or another size than it invited this hospital to.")
    if _source(folder).max_epsilon is not None and not plan.noise_multiplier:
        raise BadParameter("the server asks for training without noise, which this hospital does not allow.")
    return prepared(text)


def _place(folder: Path, plan: Plan) -> Path:
    return folder / f"private-{plan.run}.npz"


def _kept(folder: Path, plan: Plan) -> Weights:
    """Arrays that this hospital keeps to itself, from the last round that it trained in."""
    found = state.restore(_place(folder, plan), lambda content: set(content) == {"private"})
    return found["private"] if found else []
