"""Recorded adversarial trainings of chapter 13, before and after: as a table, as pairs to draw, by mode of crafting."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pandas as pd

from medtk.lab import robust_tables, transfer
from medtk.lab.robust_tables import accuracy, auc, balanced, single_answers
from medtk.reproduction.answers import reestimated

USUAL = "every layer, 5 + 5 epochs, rate 0.001"  # of an adversarial training; a column of it says "usual"
CHOICES = (*robust_tables.CHOICES, "n_train", "n_test")


@dataclass(frozen=True)
class Trained:
    """Adversarial trainings that differ in nothing but the seed, in one state of their networks.

    Attributes
    ----------
    data, label, network, weights, method, settings, state : str
        `label` is the data set as `medtk.lab.robust_tables.named` calls it; `settings` is ``usual`` for `USUAL`;
        `state` is ``as left`` or ``measured again``.
    ways : dict
        From ``clean``, ``one step`` and ``many steps`` to pairs of metrics (start, after), one a seed; None where a
        side is not recorded.
    """

    data: str
    label: str
    network: str
    weights: str
    method: str
    settings: str
    state: str
    ways: dict[str, list[tuple[dict | None, dict | None]]]


def trained_further(epsilon: float) -> Iterator[Trained]:
    """Every recorded adversarial training with the network that it started from, over the seeds that both have.

    A seed gives another network on another kind of processor, so both records must name the same.

    The networks as training left them, which answer the paper's cells, and with their normalisation statistics
    measured again, which alone meet many steps of `epsilon`.
    """
    transfers = [run for runs in robust_tables.recorded("transfer") for run in runs]
    starts = {_start(run): run["metrics"] for run in transfers}
    at = transfer.condition(epsilon)
    for runs in robust_tables.recorded("adversarial"):
        p = runs[0]["parameters"]
        pairs = [(starts[_start(r)], r["metrics"]) for r in runs if _start(r) in starts]
        for state, named in (("as left", str), ("measured again", reestimated)):
            if not pairs or any(named("clean") not in metrics for pair in pairs for metrics in pair):
                continue
            ways = {name: [(b.get(named(key)), a.get(named(key))) for b, a in pairs]
                    for name, key in (("clean", "clean"), ("one step", at))}  # fmt: skip
            ways["many steps"] = [(a.get(named(f"base-pgd-{at}")), a.get(named(f"pgd-{at}"))) for _, a in pairs]
            start = (robust_tables.named(runs[0]), p["network"], runs[0]["weights"]["source"])
            yield Trained(p["dataset"], *start, method(p), _settings(p), state, ways)


def adversarial_trainings(epsilon: float) -> pd.DataFrame:
    """`trained_further` as a table, a line each.

    Returns
    -------
    DataFrame
        Accuracy, balanced accuracy and AUC before → after; the interval is that of `medtk.lab.robust_tables.accuracy`
        for the second.
    """
    lines = []
    for one in trained_further(epsilon):
        line = {"data": one.label, "network": one.network, "weights": one.weights, "trained further on": one.method}
        line |= {"settings": one.settings, "seeds": len(one.ways["clean"]), "state": one.state}
        line |= {name: _before_after(found, accuracy) for name, found in one.ways.items()}
        for what, say in (("balanced", balanced), ("AUC", auc)):
            line |= {f"{name}, {what}": _before_after(found, say) for name, found in one.ways.items()}
        lines.append(line | {"one answer": single_answers([after for _, after in one.ways["clean"]])})
    return pd.DataFrame(lines)


def crafting_modes(epsilon: float) -> pd.DataFrame:
    """Adversarial trainings that differ only in the mode in which their examples were made, on the seeds of both.

    Returns
    -------
    DataFrame
        A line a data set, network and method: accuracy with the statistics measured again, on clean images and under
        many steps of `epsilon`, when the examples follow the network in use; and the points that examples by the
        statistics of the batch are above it, as `medtk.lab.robust_tables.change` gives them. *Balanced* and *AUC* are
        from the one to the other, *one answer* counts the latter's networks that give every clean image the same.
    """
    found = {robust_tables.setting(runs[0]): runs for runs in robust_tables.recorded("adversarial")}
    at, lines = transfer.condition(epsilon), []
    for runs in found.values():
        p = runs[0]["parameters"]
        if "defense_crafting" not in p or p["trainable"] != "all":
            continue
        same = {name: value for name, value in p.items() if name != "defense_crafting"}
        usual = {run["seed"]: run for run in found.get(robust_tables.setting(runs[0] | {"parameters": same}), [])}
        pairs = [(usual[run["seed"]]["metrics"], run["metrics"]) for run in runs if run["seed"] in usual]
        line = {"data": robust_tables.named(runs[0]), "network": p["network"], "trained further on": method(same)}
        line["seeds"] = len(pairs)
        for name, condition in (("clean", "reestimated"), ("many steps", reestimated(f"pgd-{at}"))):
            line[name], line[f"{name}, change"] = robust_tables.change(list(usual.values()), runs, condition, condition)
            both = [(before[condition], after[condition]) for before, after in pairs]
            for what, say in (("balanced", balanced), ("AUC", auc)):
                line[f"{name}, {what}"] = _before_after(both, say) if both else "–"
        line["one answer"] = single_answers([after["reestimated"] for _, after in pairs])
        lines.append(line)
    return pd.DataFrame(lines)


def _start(record: dict) -> tuple[str, int, str]:
    """What the network that a run starts from depends on."""
    return robust_tables.setting(record, CHOICES), record["seed"], record["hardware"]["processor"]


def method(p: dict) -> str:
    """What a network was trained further on, in words, from the parameters of its record."""
    if p["defense_clean_share"] == 1:
        return "clean images"
    clean = f", {p['defense_clean_share']:.0%} of the images clean" if p["defense_clean_share"] else ""
    mode = f", crafted in {p['defense_crafting']} mode" if "defense_crafting" in p else ""
    return f"{p['defense_method']}, ε = {p['defense_epsilon']:g}{clean}{mode}"


def _settings(p: dict) -> str:
    trained = {"all": "every layer", "frozen_bn": "normalisation held still", "head": "last layer"}[p["trainable"]]
    rate = " then ".join(dict.fromkeys(f"{p[name]:g}" for name in ("learning_rate", "defense_learning_rate")))
    said = f"{trained}, {p['epochs']} + {p['defense_epochs']} epochs, rate {rate}"
    return "usual" if said == USUAL else said


def _before_after(found: list[tuple[dict | None, dict | None]], say: Callable[[list[dict]], str]) -> str:
    """Both sides of pairs of metrics, the interval only of the second; a dash where a side is not recorded."""
    before, after = ([one for one in side if one] for side in zip(*found, strict=True))
    if len(before) < len(found) or len(after) < len(found):
        return "–"
    return f"{say(before).split(' [')[0]} → {say(after)}"
