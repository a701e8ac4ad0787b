"""Tables of chapter 24, from runs at hand and from the ledger."""

import inspect
from collections.abc import Mapping
from statistics import mean

import numpy as np
import pandas as pd

from medtk import federated
from medtk.data import Dataset
from medtk.data.modalities import SPLITS
from medtk.evaluation import fairness
from medtk.evaluation.metrics import confusion, macro_f1
from medtk.lab import covid, covid_communication, covid_rounds, tables
from medtk.lab.covid_made import Made
from medtk.lab.covid_rounds import LATE, MEMBERS, TREATMENTS
from medtk.lab.covid_spec import COLUMNS, PAPER, SETTING, TITLES, WAYS
from medtk.privacy import attack_success
from medtk.reproduction import records
from medtk.reproduction.rules_clustered_covid_rounds import round_megabytes
from medtk.settings import results_home

COIN = np.log(2)  # cross-entropy of giving each of two classes one half


def ledger(experiment: str) -> list[dict]:
    """Records of one experiment of paper 2."""
    return [r for r in records.read_all(results_home()) if (r["paper"], r["experiment"]) == (PAPER, experiment)]


def gains(rounds: Mapping[str, int | None], losses: Mapping[str, list[float]]) -> pd.DataFrame:
    """What training past each rule's round brought: smoothed test loss there, at its lowest later, at the end.

    Parameters
    ----------
    rounds : mapping
        Of `medtk.lab.covid_rounds.parting`.
    losses : mapping
        Test loss of each round, by modality.
    """
    lines = []
    for rule, number in rounds.items():
        line = {"rule": rule, "round": number or "none"}
        for modality, loss in losses.items() if number else ():
            values = covid_rounds.after(loss, number)
            line[TITLES[modality]] = " / ".join(f"{value:.3f}" for value in values.values())
        lines.append(line)
    return pd.DataFrame(lines).fillna("–")


def answered(answers: Mapping[str, Mapping[str, np.ndarray]], images: Mapping[str, Dataset]) -> pd.DataFrame:
    """Balanced accuracy and macro F1 by modality, one line a way.

    Parameters
    ----------
    answers : mapping
        Probabilities for the test images of each modality, by way.
    images : mapping
        Data sets by modality.
    """
    lines = {}
    for way, by_modality in answers.items():
        lines[way] = {}
        for modality, p in by_modality.items():
            labels = images[modality].test.labels
            recalls = [fairness.true_positive_rate(labels, p, c) for c in range(p.shape[1])]
            counts = confusion(labels, p.argmax(axis=1), p.shape[1])
            lines[way][f"{TITLES[modality]}, balanced"] = f"{mean(r for r in recalls if r is not None):.1%}"
            lines[way][f"{TITLES[modality]}, macro F1"] = f"{macro_f1(counts):.3f}"
    return pd.DataFrame(lines).T


def traffic(runs: Mapping[str, Made]) -> pd.DataFrame:
    """Rounds and megabytes of each run, all clients, both ways."""
    lines = {}
    for name, made in runs.items():
        sent = sum(sum(made.megabytes(modality)) for modality in made.clusters)
        lines[name] = {"rounds": len(made.result.history), "megabytes": f"{sent:.1f}", "why": made.result.server.stop}
    return pd.DataFrame(lines).T


def recorded_traffic() -> pd.DataFrame:
    """The ledger's ways to train: what a client sends and gets in a round, and what all of them do in a whole run.

    Means over seeds and splits, which change nothing but the numbers of images.
    """
    groups: dict[tuple, dict[str, list[np.ndarray]]] = {}
    for record in ledger(covid.EXPERIMENT):
        p = record["parameters"]
        key = (tuple(p[name] for name in SETTING), record["backend"], p["way"])
        kept = records.load_predictions(record, results_home())
        groups.setdefault(key, {}).setdefault(p["modality"], []).append(kept["rounds/megabytes"])
    lines = []
    for (setting, backend, way), found in sorted(
        groups.items(), key=lambda item: (str(item[0][:2]), list(WAYS).index(item[0][2]))
    ):
        p = dict(zip(SETTING, setting, strict=True))
        by_modality = [np.mean(runs, axis=0) for runs in found.values()]
        total = sum(rounds.sum() for rounds in by_modality)
        clients = len(by_modality) * p["clients"]
        lines.append({"setting": tables.federated_setting(p, backend), "way": WAYS[way],
                      "a client and round, MB": f"{total / clients / p['rounds']:.3f}",
                      "all clients and rounds, MB": f"{total:.1f}"})  # fmt: skip
    return pd.DataFrame(lines)


def recorded_parting() -> pd.DataFrame:
    """The ledger's runs of all three set-ups: where rules find that the modalities part, and where the loss was lowest.

    Cosines are of updates to one shared model, averaged in the conventional way or by Algorithm 1; the specialised
    models stand at different weights, so that a cosine of theirs would compare two places. The distance is that of the
    specialised models, as in the study. The last columns are the rounds of the lowest test loss of Algorithm 1, means
    over five rounds.
    """
    lines = []
    for split in SPLITS:
        for record, stored in covid_rounds.together(results_home(), split):
            p = record["parameters"]
            if p["rounds"] < 9:
                continue
            line = {"network": f"{p['network']}, {p['size']} px", "split by": split,
                    "rounds": f"{p['rounds']} of {p['local_epochs']}", "seed": record["seed"]}  # fmt: skip
            for way, name in (("multi_modal", "FedAvg"), ("clustered", "Algorithm 1")):
                cosine = {"cosine": stored[way, "xray"]["rounds/cosine"]}
                line[f"cosine not above 0, {name}"] = federated.conflict(cosine) or "none"
            distance = {"distance": stored["specialised", "xray"]["rounds/distance"]}
            bend = federated.bend(distance["distance"])
            line["the distance grows faster"] = federated.drift(distance) or "none"
            line["the distance bends"] = bend.round if bend else "none"
            for modality, title in TITLES.items():
                loss = covid_rounds.smoothed(stored["clustered", modality]["rounds/loss"])
                line[f"lowest loss, {title}"] = covid_rounds.best_round(loss)
            lines.append(line)
    return pd.DataFrame(lines)


def too_early(parted: pd.DataFrame) -> str:
    """A sentence on how often stopping at a cosine of 0 would have missed the lowest loss, from `recorded_parting`."""
    if parted.empty:
        return "No run of all three set-ups is recorded yet."
    lowest = parted[[f"lowest loss, {title}" for title in TITLES.values()]].max(axis=1)
    fired = pd.to_numeric(parted["cosine not above 0, Algorithm 1"], errors="coerce")
    first = inspect.signature(federated.conflict).parameters["window"].default
    early, at_once, runs = int((fired < lowest).sum()), int((fired == first).sum()), len(parted)
    most = f", {(lowest - fired).max():g} rounds before at the most" if early else ""
    return (
        f"In {early or 'none'} of {runs} runs of Algorithm 1 the rule on the cosine fires before the later of the two "
        f"modalities had its lowest test loss{most}. In {at_once or 'none'} of {runs} it fires in round {first}, "
        f"the first in which it can: it takes a mean over {first} rounds."
    )


def recorded_fig_5() -> tuple[str, dict, dict, dict] | None:
    """Fig. 5 from the longest recorded run of all three set-ups, for `medtk.lab.shortcut_plots.parting`.

    Returns
    -------
    tuple or None
        The setting in words; test loss by set-up and modality (means over five rounds); distance of the specialised
        models and cosine of the updates to one shared model; round by rule. None without such a run.
    """
    runs = [one for split in SPLITS for one in covid_rounds.together(results_home(), split)]
    if not runs:
        return None
    record, stored = max(runs, key=lambda run: run[0]["parameters"]["rounds"])
    p = record["parameters"]
    loss = {
        f"{COLUMNS[way]}, {TITLES[m]}": covid_rounds.smoothed(stored[way, m]["rounds/loss"])
        for way in ("multi_modal", "clustered")
        for m in TITLES
    }
    distance, cosine = (stored[way, "xray"][f"rounds/{what}"]
                        for way, what in (("specialised", "distance"), ("multi_modal", "cosine")))  # fmt: skip
    notes = {"distance of the specialised models": distance, "cosine of the updates, one shared model": cosine}
    marks = covid_rounds.parting({"distance": distance, "cosine": cosine})
    setting = tables.federated_setting(p, record["backend"])
    return f"{setting}, split by {p['split']}, seed {record['seed']}", loss, notes, marks


def recorded_late() -> pd.DataFrame:
    """The ledger's runs with a slow client: balanced accuracy after the same time.

    Over the seeds that every treatment of a setting has, since one seed's images are easier than another's, as
    `medtk.lab.tables.spread` writes them.
    """
    groups: dict[tuple, dict[str, dict[int, dict[str, float]]]] = {}
    for record in ledger(LATE):
        p = record["parameters"]
        key = (tables.federated_setting(p, record["backend"]), p["split"], f"{p['slow']}, {p['delay']} rounds")
        runs = groups.setdefault(key, {}).setdefault(p["treatment"], {})
        runs.setdefault(record["seed"], {})[p["modality"]] = record["metrics"]["clean"]["balanced_accuracy"]
    lines = []
    for (setting, split, slow), found in sorted(groups.items()):
        seeds = sorted(set.intersection(*({s for s in runs if set(runs[s]) == set(TITLES)} for runs in found.values())))
        for treatment in (name for name in TREATMENTS if name in found and seeds):
            line = {"setting": setting, "split by": split, "slow client": slow, "the server": TREATMENTS[treatment]}
            for m in TITLES:
                line[TITLES[m]] = tables.spread((found[treatment][seed][m] for seed in seeds), ".1%", within=(0, 1))
            lines.append(line | {"seeds": ", ".join(map(str, seeds))})
    return pd.DataFrame(lines)


def recognised(losses: Mapping[str, Mapping[str, np.ndarray]]) -> pd.DataFrame:
    """How well the loss tells training images from test images, by modality: this run.

    Parameters
    ----------
    losses : mapping
        Of `medtk.lab.covid_rounds.members_and_others`.
    """
    return pd.DataFrame([_recognised(TITLES[m], found["members"], found["others"]) for m, found in losses.items()])


def recorded_recognised() -> pd.DataFrame:
    """The same from the ledger."""
    lines = []
    for record in ledger(MEMBERS):
        p, kept = record["parameters"], records.load_predictions(record, results_home())
        line = _recognised(TITLES[p["modality"]], kept["members/loss"], kept["others/loss"])
        lines.append({"split by": p["split"], "rounds": p["rounds"], "seed": record["seed"]} | line)
    return pd.DataFrame(lines)


def beside_a_coin() -> str:
    """A sentence on the loss that the networks which the ledger's attacks asked have on their own training images.

    One with more than half of a coin's loss there is unsure of its answers, though it may rank the images well.
    """
    unsure, others = [], 0
    for record in ledger(MEMBERS):
        p, loss = record["parameters"], records.load_predictions(record, results_home())["members/loss"].mean()
        if loss > COIN / 2:
            unsure.append(f"{TITLES[p['modality']]} by {p['split']} (seed {record['seed']}): {loss:.3f}")
        else:
            others += 1
    if not unsure and not others:
        return "No attack is recorded yet."
    coin = f"A coin between two classes has a loss of ln 2 = {COIN:.3f}."
    if not unsure:
        return f"{coin} All {others} networks attacked have less than half of that on the images they were trained on."
    return (
        f"{coin} In {len(unsure)} of {len(unsure) + others} cases the network attacked has more than half of that on "
        f"the very images it was trained on, so there it is unsure of its answers: {'; '.join(unsure)}."
    )


def _recognised(modality: str, members: np.ndarray, others: np.ndarray) -> dict:
    found = attack_success(-members, -others)
    line = {"modality": modality, "loss of a coin": f"{COIN:.3f}"}
    line |= {"loss, trained on": f"{members.mean():.3f}", "loss, others": f"{others.mean():.3f}"}
    return line | {
        "area under the curve": f"{found.auc:.3f} [{found.auc_interval.low:.3f}, {found.auc_interval.high:.3f}]"
    }


def recorded_payload() -> pd.DataFrame:
    """The ledger's traffic: rounds after which weights have cost as much as the images, by network and form."""
    lines = []
    for record in ledger(covid_communication.EXPERIMENT):
        line = {"network": record["parameters"]["network"], "a round, MB": f"{round_megabytes(record):.1f}"}
        forms = covid_communication.break_evens(record)
        lines.append(line | {f"{form.replace('_', ' ')}, rounds": f"{n:.2f}" for form, n in forms.items()})
    return pd.DataFrame(lines)
