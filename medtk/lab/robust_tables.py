"""Tables of paper 1 that need no run: recorded choices of the register, and strong attacks."""

import json
from collections.abc import Iterable
from statistics import mean

import numpy as np
import pandas as pd

from medtk import training
from medtk.data import card_of
from medtk.evaluation import intervals
from medtk.reproduction import papers, records
from medtk.reproduction.quantities import one_answer
from medtk.settings import results_home

PAPER = "robust_transfer"
# What a baseline run may differ in from the plainest reading of the paper, and how a table says so.
CHOICES = ("trainable", "scaling", "learning_rate", "epochs", "batch_size")
WORDS = {
    ("trainable", "frozen_bn"): "normalisation held still",
    ("trainable", "head"): "the last layer only",
    ("scaling", "network"): "pixels as the base first saw them",
}


def recorded(experiment: str) -> list[list[dict]]:
    """Records of an experiment, those that differ in nothing but the seed together, by data set and network."""
    groups: dict[str, list[dict]] = {}
    for record in records.read_all(results_home()):
        if (record["paper"], record["experiment"]) == (PAPER, experiment):
            groups.setdefault(setting(record), []).append(record)
    return [groups[key] for key in sorted(groups)]


def setting(record: dict, names: Iterable[str] | None = None) -> str:
    """Everything that may move a number but the seed: sources, profile and parameters, or those of these names."""
    p = record["parameters"]
    first = [p["dataset"], p["network"], record["data"]["source"], record["weights"]["source"], record["profile"]]
    return json.dumps([*first, p if names is None else {name: p.get(name) for name in names}], sort_keys=True)


def named(record: dict) -> str:
    """Data set of a record, for a table. Other images than the official ones are called what they are, and counted."""
    name, source = record["parameters"]["dataset"], record["data"]["source"]
    return name if source == "official" else f"{name} ({source}, n={record['metrics']['clean']['n']})"


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


def auc(found: list[dict]) -> str:
    """Mean area under the ROC curve over seeds; a dash where it is not defined."""
    values = [one["auc"] for one in found]
    return "–" if None in values else f"{mean(values):.3f}"


def single_answers(found: list[dict]) -> str:
    """How many of these networks give every image the same answer; empty for none."""
    same = sum(map(one_answer, found))
    return f"{same} of {len(found)}" if same else ""


def paired(reference: list[dict], runs: list[dict]) -> list[tuple[dict, dict]]:
    """Records of the two sides on the seeds that both have."""
    before, after = ({run["seed"]: run for run in side} for side in (reference, runs))
    return [(before[seed], after[seed]) for seed in sorted(before.keys() & after.keys())]


def change(reference: list[dict], runs: list[dict], condition: str, of: str = "clean") -> tuple[str, str]:
    """Accuracy of the reference, and how far other runs are from it, on the seeds that both have.

    Parameters
    ----------
    reference, runs : list of dict
        Records.
    condition, of : str
        Of the runs and of the reference.

    Returns
    -------
    tuple of str
        Accuracy, and the change in points with its 95 % interval: over seeds if there are three or more, else over
        the test images. Dashes if no seed is common. The change is a dash too where all networks of both sides give
        one answer to every image: that compares two classes, not two choices.
    """
    pairs = paired(reference, runs)
    if not pairs:
        return "–", "–"
    left = f"{mean(before['metrics'][of]['accuracy'] for before, _ in pairs):.1%}"
    if all(one_answer(b["metrics"][of]) and one_answer(a["metrics"][condition]) for b, a in pairs):
        return left, "–"
    each = np.array([_right(after, condition) - _right(before, of) for before, after in pairs])
    low, high = intervals.over_seeds(each.mean(axis=1) if len(pairs) >= 3 else each.mean(axis=0))
    return left, f"{100 * each.mean():+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def _right(record: dict, condition: str) -> np.ndarray:
    kept = records.load_predictions(record, results_home())
    return (kept[condition].argmax(axis=1) == kept["labels"]).astype(float)


def choices(dataset: str) -> pd.DataFrame:
    """Recorded baselines of a data set, a line a run: accuracy while training, in use, and measured again.

    ``re-estimated`` is the same network after its normalisation statistics were measured again on the training
    images, see `medtk.lab.transfer.statistics_refreshed`; ``constant`` is what always answering the commonest class
    of the test images scores.
    """
    columns = ["data", "network", "trained", "pixels", "weights", "seed"]
    scored = ["while training", "test", "balanced", "AUC", "re-estimated", "constant"]
    lines = []
    for record in (record for runs in recorded("transfer") for record in runs):
        p, metrics = record["parameters"], record["metrics"]
        if p["dataset"] == dataset:
            settings = [named(record), p["network"], p["trainable"], p["scaling"], record["weights"]["source"]]
            clean = metrics["clean"]
            scores = [record["while_training"]["accuracy"], clean["accuracy"], clean["balanced_accuracy"], clean["auc"]]
            again = metrics.get("reestimated", {}).get("accuracy", float("nan"))
            counts = np.bincount(records.load_predictions(record, results_home())["labels"])
            lines.append([*settings, record["seed"], *scores, again, counts.max() / counts.sum()])
    return pd.DataFrame(lines, columns=columns + scored).sort_values(columns)


def moved() -> pd.DataFrame:
    """How far each recorded choice of the register moves Table I.

    Returns
    -------
    DataFrame
        A line a data set, network and choice. ``as left, same seeds`` is the plainest reading of the paper: every
        layer trained, [0, 1], as training left it. ``change`` is in points of accuracy on the seeds that both have.
        Its 95 % interval is over these seeds if there are three or more; else it is over the test images, and then
        says nothing of other seeds. ``one answer`` counts the networks that give every image the same, ``one answer,
        as left`` those of them that the change starts from.
    """
    printed = {(c.needs["dataset"], c.needs["network"]): c.text for c in papers.load(PAPER).cells if c.table == "I"}
    images, found, lines = ("n_train", "n_test"), recorded("transfer"), []
    plain = {setting(runs[0], images): runs for runs in found if not _unusual(runs[0])}
    for runs in sorted(found, key=_departures):
        p, reference = runs[0]["parameters"], plain.get(setting(runs[0], images), [])
        said = departures(runs[0])
        for condition in ("clean", "reestimated"):
            if condition not in runs[0]["metrics"]:
                continue
            choice = [*said, *(["statistics measured again"] if condition == "reestimated" else [])]
            shown = [run["metrics"][condition] for run in runs]
            line = {"data": named(runs[0]), "network": p["network"], "weights": runs[0]["weights"]["source"]}
            line |= {"choice": ", ".join(choice) or "as left", "seeds": len(runs), "accuracy": accuracy(shown)}
            beside = change(reference, runs, condition) if choice else ("", "")
            line |= dict(zip(("as left, same seeds", "change"), beside, strict=True))
            line |= {"balanced": balanced(shown), "AUC": auc(shown), "one answer": single_answers(shown)}
            started = paired(reference, runs) if choice else []
            line["one answer, as left"] = single_answers([before["metrics"]["clean"] for before, _ in started])
            lines.append(line | {"printed": printed.get((p["dataset"], p["network"]), "")})
    return pd.DataFrame(lines)


def unlearnt() -> list[str]:
    """A sentence on each recorded choice with a network that learnt nothing while it trained."""
    said = []
    for runs in sorted(recorded("transfer"), key=_departures):
        p, dead = runs[0]["parameters"], sum(map(_learnt_nothing, runs))
        if dead:
            choice = ", ".join(departures(runs[0])) or "as left"
            said.append(
                f"{named(runs[0])}, {p['network']}, {choice}: {dead} of {len(runs)} learnt nothing while training at "
                f"rate {p['learning_rate']:g}. That is no evidence about the choice."
            )
    return said


def _learnt_nothing(record: dict) -> bool:
    """One answer, an AUC of one half, and while training no more right than the commonest class's share."""
    clean, commonest = record["metrics"]["clean"], max(card_of(record["parameters"]["dataset"]).shares, default=0)
    blind = one_answer(clean) and abs(clean["auc"] - 0.5) < 5e-4
    return blind and record["while_training"]["accuracy"] < commonest + 0.005


def departures(record: dict) -> list[str]:
    """In what a network's training departs from the plainest reading of the paper, in words."""
    return [WORDS.get(pair, f"{pair[0].replace('_', ' ')} {pair[1]}") for pair in _unusual(record)]


def _unusual(record: dict) -> list[tuple[str, object]]:
    """Choices in which a baseline run departs from the plainest reading of the paper, with what was chosen."""
    p, usual = record["parameters"], training.Spec(record["parameters"]["network"])
    return [(name, p[name]) for name in CHOICES if p[name] != getattr(usual, name)]


def _departures(runs: list[dict]) -> tuple:
    p = runs[0]["parameters"]
    return p["dataset"], p["network"], runs[0]["weights"]["source"], len(_unusual(runs[0]))


def strong_attacks(epsilon: float) -> pd.DataFrame:
    """Every recorded network under every attack of epsilon, over seeds, a column a network and a line an attack.

    The first lines say what the column is: images, seeds, what was trained, starting weights, how hard the attacks
    tried, and whether the network gives every image the same answer. Then accuracy as `accuracy` gives it, and
    behind bars balanced accuracy and AUC.
    """
    table = {}
    for runs, names in _attacked(epsilon):
        p, metrics = runs[0]["parameters"], [run["metrics"] for run in runs]
        title = f"{p['network']} on {named(runs[0])}, defence {p['defense']}"
        title += f" ({1 + sum(known.startswith(title) for known in table)})" if title in table else ""
        column = {"images, seeds": f"{p['n_test']}, {len(runs)}"}
        column |= {"trained, weights": f"{p['trainable']}, {runs[0]['weights']['source']}"}
        said = ("pgd", "square", "transfer")
        column |= {"attacks": "; ".join(f"{name} {p[f'attack_{name}']}" for name in said if f"attack_{name}" in p)}
        column |= {"same answer to every image": single_answers([one["clean"] for one in metrics]) or "no"}
        for name in names:
            found = [one[name] for one in metrics]
            column[name.split("-epsilon")[0]] = f"{accuracy(found)} | {balanced(found)} | {auc(found)}"
        table[title] = column
    return pd.DataFrame(table).fillna("–")


def attacks_in_words(epsilon: float) -> list[str]:
    """A sentence on each network of `strong_attacks`: what one step leaves, and what the worst case leaves.

    Accuracy; AUC where every image gets the same answer: such a network's scores may still order the images.
    """
    said = []
    for runs, _ in _attacked(epsilon):
        p = runs[0]["parameters"]
        who = f"{p['network']} on {named(runs[0])}, defence {p['defense']}"
        conditions = ("clean", f"fgsm-epsilon={epsilon:g}", f"worst-epsilon={epsilon:g}")
        clean, one, worst = ([run["metrics"][name] for run in runs] for name in conditions)
        if all(map(one_answer, clean)):
            who += ", gives every image the same answer"
            left = (f"AUC {auc(found)}" for found in (clean, one, worst))
        else:
            left = (f"{mean(m['accuracy'] for m in found):.1%} right" for found in (clean, one, worst))
        before, after, least = left
        said.append(
            f"{who}: {before} without an attack, {after} after one step, {least} if each image meets the attack that "
            "is worst for it."
        )
    return said


def _attacked(epsilon: float) -> list[tuple[list[dict], list[str]]]:
    """Groups of records of strong attacks of epsilon, with their conditions: clean, each attack, the worst."""
    suffix, found = f"-epsilon={epsilon:g}", []
    for runs in recorded("attacks"):
        if f"worst{suffix}" in runs[0]["metrics"]:
            found.append((runs, ["clean", *(name for name in runs[0]["metrics"] if name.endswith(suffix))]))
    return found
