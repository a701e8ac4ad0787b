"""Tables of paper 1 that need no run: recorded choices of the register, adversarial trainings and strong attacks."""

import json
from collections.abc import Callable, Iterable
from statistics import mean

import numpy as np
import pandas as pd

from medtk import training
from medtk.evaluation import intervals
from medtk.lab import transfer
from medtk.reproduction import papers, records
from medtk.reproduction.quantities import one_answer
from medtk.settings import results_home

PAPER = "robust_transfer"
# What a baseline run may differ in from the plainest reading of the paper, and how a table says so.
CHOICES = ("trainable", "scaling", "learning_rate", "epochs", "batch_size")
USUAL = "every layer, 5 + 5 epochs, rate 0.001"  # of an adversarial training; a column of it says "usual"
WORDS = {
    ("trainable", "frozen_bn"): "normalisation held still",
    ("trainable", "head"): "the last layer only",
    ("scaling", "network"): "pixels as the base first saw them",
}


def _recorded(experiment: str) -> list[list[dict]]:
    """Records of an experiment, those that differ in nothing but the seed together, by data set and network."""
    groups: dict[str, list[dict]] = {}
    for record in records.read_all(results_home()):
        if (record["paper"], record["experiment"]) == (PAPER, experiment):
            groups.setdefault(_setting(record), []).append(record)
    return [groups[key] for key in sorted(groups)]


def _setting(record: dict, names: Iterable[str] | None = None) -> str:
    """Everything that may move a number but the seed: sources, profile and parameters, or those of these names."""
    p = record["parameters"]
    first = [p["dataset"], p["network"], record["data"]["source"], record["weights"]["source"], record["profile"]]
    return json.dumps([*first, p if names is None else {name: p.get(name) for name in names}], sort_keys=True)


def accuracy(found: list[dict]) -> str:
    """Mean accuracy over seeds with a 95 % interval, in words.

    Parameters
    ----------
    found : list of dict
        Metrics of one condition, one a seed. With three or more the interval is where one more run would fall, else
        Wilson's for the test images, which says nothing of other seeds.
    """
    values, n = [one["accuracy"] for one in found], found[0]["n"]
    seeds = len(values) >= 3
    low, high = intervals.over_seeds(values, kind="new_run") if seeds else intervals.wilson(mean(values) * n, n)
    return f"{mean(values):.1%} [{max(low, 0.0):.1%}, {min(high, 1.0):.1%}]"


def balanced(found: list[dict]) -> str:
    """Mean balanced accuracy over seeds."""
    return f"{mean(one['balanced_accuracy'] for one in found):.1%}"


def single_answers(found: list[dict]) -> str:
    """How many of these networks give every image the same answer; empty for none."""
    same = sum(map(one_answer, found))
    return f"{same} of {len(found)}" if same else ""


def choices(dataset: str) -> pd.DataFrame:
    """Recorded baselines of a data set, a line a run: accuracy while training, in use, and measured again.

    ``re-estimated`` is the same network after its normalisation statistics were measured again on the training
    images, see `medtk.lab.transfer.statistics_refreshed`; ``constant`` is what always answering the commonest class
    of the test images scores.
    """
    columns = ["network", "trained", "pixels", "weights", "seed", "while training", "test", "balanced", "re-estimated"]
    lines = []
    for record in (record for runs in _recorded("transfer") for record in runs):
        p, metrics = record["parameters"], record["metrics"]
        if p["dataset"] == dataset:
            settings = [p["network"], p["trainable"], p["scaling"], record["weights"]["source"], record["seed"]]
            clean = metrics["clean"]
            scores = [record["while_training"]["accuracy"], clean["accuracy"], clean["balanced_accuracy"]]
            again = metrics.get("reestimated", {}).get("accuracy", float("nan"))
            counts = np.bincount(records.load_predictions(record, results_home())["labels"])
            lines.append([*settings, *scores, again, counts.max() / counts.sum()])
    return pd.DataFrame(lines, columns=[*columns, "constant"]).sort_values(columns[:5])


def moved() -> pd.DataFrame:
    """How far each recorded choice of the register moves Table I.

    Returns
    -------
    DataFrame
        A line a data set, network and choice. ``as left, same seeds`` is the plainest reading of the paper: every
        layer trained, [0, 1], as training left it. ``change`` is in points of accuracy on the seeds that both have.
        Its 95 % interval is over these seeds if there are three or more; else it is over the test images, and then
        says nothing of other seeds.
    """
    printed = {(c.needs["dataset"], c.needs["network"]): c.text for c in papers.load(PAPER).cells if c.table == "I"}
    images, found, lines = ("n_train", "n_test"), _recorded("transfer"), []
    plain = {_setting(runs[0], images): runs for runs in found if not _unusual(runs[0])}
    for runs in sorted(found, key=_departures):
        p, reference = runs[0]["parameters"], plain.get(_setting(runs[0], images), [])
        said = [WORDS.get(pair, f"{pair[0].replace('_', ' ')} {pair[1]}") for pair in _unusual(runs[0])]
        for condition in ("clean", "reestimated"):
            if condition not in runs[0]["metrics"]:
                continue
            choice = [*said, *(["statistics measured again"] if condition == "reestimated" else [])]
            shown = [run["metrics"][condition] for run in runs]
            line = {"data": p["dataset"], "network": p["network"], "weights": runs[0]["weights"]["source"]}
            line |= {"choice": ", ".join(choice) or "as left", "seeds": len(runs), "accuracy": accuracy(shown)}
            beside = _change(reference, runs, condition) if choice else ("", "")
            line |= dict(zip(("as left, same seeds", "change"), beside, strict=True))
            line |= {"balanced": balanced(shown), "one answer": single_answers(shown)}
            lines.append(line | {"printed": printed.get((p["dataset"], p["network"]), "")})
    return pd.DataFrame(lines)


def _unusual(record: dict) -> list[tuple[str, object]]:
    """Choices in which a baseline run departs from the plainest reading of the paper, with what was chosen."""
    p, usual = record["parameters"], training.Spec(record["parameters"]["network"])
    return [(name, p[name]) for name in CHOICES if p[name] != getattr(usual, name)]


def _departures(runs: list[dict]) -> tuple:
    p = runs[0]["parameters"]
    return p["dataset"], p["network"], runs[0]["weights"]["source"], len(_unusual(runs[0]))


def _change(reference: list[dict], runs: list[dict], condition: str, of: str = "clean") -> tuple[str, str]:
    """Accuracy of the reference `of` a condition, and the points that `condition` is above it; on common seeds."""
    before, after = ({run["seed"]: run for run in side} for side in (reference, runs))
    seeds = sorted(before.keys() & after.keys())
    if not seeds:
        return "–", "–"
    left = mean(before[seed]["metrics"][of]["accuracy"] for seed in seeds)
    each = np.array([_right(after[s], condition) - _right(before[s], of) for s in seeds])
    low, high = intervals.over_seeds(each.mean(axis=1) if len(seeds) >= 3 else each.mean(axis=0))
    return f"{left:.1%}", f"{100 * each.mean():+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def _right(record: dict, condition: str) -> np.ndarray:
    kept = records.load_predictions(record, results_home())
    return (kept[condition].argmax(axis=1) == kept["labels"]).astype(float)


def adversarial_trainings(epsilon: float) -> pd.DataFrame:
    """Every recorded adversarial training beside the network that it started from, over the seeds that both have.

    Parameters
    ----------
    epsilon : float
        Size of the attacks.

    Returns
    -------
    DataFrame
        Two lines a setting where every layer was trained: the networks as training left them, which answer the
        paper's cells, and with their normalisation statistics measured again, which alone meet many steps. Accuracy
        and balanced accuracy before → after; the interval is that of `accuracy` for the second. *Settings* are
        ``usual`` where they are `USUAL`.
    """
    starts = {(_start(run), run["seed"]): run["metrics"] for runs in _recorded("transfer") for run in runs}
    at, lines = transfer.condition(epsilon), []
    for runs in _recorded("adversarial"):
        p = runs[0]["parameters"]
        pairs = [(starts[_start(r), r["seed"]], r["metrics"]) for r in runs if (_start(r), r["seed"]) in starts]
        for state, named in (("as left", str), ("measured again", transfer.reestimated)):
            if not pairs or any(named("clean") not in metrics for pair in pairs for metrics in pair):
                continue
            ways = {name: [(b.get(named(key)), a.get(named(key))) for b, a in pairs]
                    for name, key in (("clean", "clean"), ("one step", at))}  # fmt: skip
            ways["many steps"] = [(a.get(named(f"base-pgd-{at}")), a.get(named(f"pgd-{at}"))) for _, a in pairs]
            line = {"data": p["dataset"], "network": p["network"], "weights": runs[0]["weights"]["source"]}
            line |= {"trained further on": _method(p), "settings": _settings(p), "seeds": len(pairs), "state": state}
            line |= {name: _before_after(found, accuracy) for name, found in ways.items()}
            line |= {f"{name}, balanced": _before_after(found, balanced) for name, found in ways.items()}
            line["one answer"] = single_answers([after for _, after in ways["clean"]])
            lines.append(line)
    return pd.DataFrame(lines)


def crafting_modes(epsilon: float) -> pd.DataFrame:
    """Adversarial trainings that differ only in the mode in which their examples were made, on the seeds of both.

    Returns
    -------
    DataFrame
        A line a data set, network and method: accuracy with the statistics measured again, on clean images and under
        many steps of `epsilon`, when the examples follow the network in use; and the points that examples by the
        statistics of the batch are above it, with the interval of `moved`. *Balanced* is from the one to the other,
        *one answer* counts the latter's networks that give every image the same, which no attack can change.
    """
    found = {_setting(runs[0]): runs for runs in _recorded("adversarial")}
    at, lines = transfer.condition(epsilon), []
    for runs in found.values():
        p = runs[0]["parameters"]
        if "defense_crafting" not in p or p["trainable"] != "all":
            continue
        same = {name: value for name, value in p.items() if name != "defense_crafting"}
        usual = {run["seed"]: run for run in found.get(_setting(runs[0] | {"parameters": same}), [])}
        pairs = [(usual[run["seed"]]["metrics"], run["metrics"]) for run in runs if run["seed"] in usual]
        line = {"data": p["dataset"], "network": p["network"], "trained further on": _method(same)}
        line["seeds"] = len(pairs)
        for name, condition in (("clean", "reestimated"), ("many steps", transfer.reestimated(f"pgd-{at}"))):
            line[name], line[f"{name}, change"] = _change(list(usual.values()), runs, condition, condition)
            both = [(before[condition], after[condition]) for before, after in pairs]
            line[f"{name}, balanced"] = _before_after(both, balanced) if both else "–"
        line["one answer"] = single_answers([after["reestimated"] for _, after in pairs])
        lines.append(line)
    return pd.DataFrame(lines)


def _start(record: dict) -> str:
    return _setting(record, (*CHOICES, "n_train", "n_test"))


def _method(p: dict) -> str:
    if p["defense_clean_share"] == 1:
        return "clean images"
    clean = f", {p['defense_clean_share']:.0%} of the images clean" if p["defense_clean_share"] else ""
    mode = f", examples made in {p['defense_crafting']} mode" if "defense_crafting" in p else ""
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


def strong_attacks(epsilon: float) -> pd.DataFrame:
    """Every recorded network under every attack of epsilon, over seeds, a column a network and a line an attack.

    The first lines say what the column is: images, seeds, what was trained, starting weights, how hard the attacks
    tried, and whether the network gives every image the same answer. Then accuracy as `accuracy` gives it, and
    balanced accuracy behind the bar.
    """
    table = {}
    for runs, names in _attacked(epsilon):
        p, metrics = runs[0]["parameters"], [run["metrics"] for run in runs]
        title = f"{p['network']} on {p['dataset']}, defence {p['defense']}"
        title += f" ({1 + sum(known.startswith(title) for known in table)})" if title in table else ""
        column = {"images, seeds": f"{p['n_test']}, {len(runs)}"}
        column |= {"trained, weights": f"{p['trainable']}, {runs[0]['weights']['source']}"}
        said = ("pgd", "square", "transfer")
        column |= {"attacks": "; ".join(f"{name} {p[f'attack_{name}']}" for name in said if f"attack_{name}" in p)}
        column |= {"same answer to every image": single_answers([one["clean"] for one in metrics]) or "no"}
        for name in names:
            found = [one[name] for one in metrics]
            column[name.split("-epsilon")[0]] = f"{accuracy(found)} | {balanced(found)}"
        table[title] = column
    return pd.DataFrame(table).fillna("–")


def attacks_in_words(epsilon: float) -> list[str]:
    """A sentence on each network of `strong_attacks`: what one step leaves, and what the worst case leaves."""
    said = []
    for runs, _ in _attacked(epsilon):
        p, clean = runs[0]["parameters"], [run["metrics"]["clean"] for run in runs]
        who = f"{p['network']} on {p['dataset']}, defence {p['defense']}"
        if all(map(one_answer, clean)):
            said.append(f"{who}: gives every image the same answer. No attack can change it, and nothing is measured.")
            continue
        one, worst = (
            mean(run["metrics"][f"{name}-epsilon={epsilon:g}"]["accuracy"] for run in runs)
            for name in ("fgsm", "worst")
        )
        known = mean(m["accuracy"] for m in clean)
        said.append(
            f"{who}: {known:.1%} right without an attack, {one:.1%} after one step, {worst:.1%} if each image "
            "meets the attack that is worst for it."
        )
    return said


def _attacked(epsilon: float) -> list[tuple[list[dict], list[str]]]:
    """Groups of records of strong attacks of epsilon, with their conditions: clean, each attack, the worst."""
    suffix, found = f"-epsilon={epsilon:g}", []
    for runs in _recorded("attacks"):
        if f"worst{suffix}" in runs[0]["metrics"]:
            found.append((runs, ["clean", *(name for name in runs[0]["metrics"] if name.endswith(suffix))]))
    return found
