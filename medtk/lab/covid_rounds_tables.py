"""Tables of chapter 24, from runs at hand and from the ledger."""

from collections.abc import Mapping
from statistics import mean

import numpy as np
import pandas as pd

from medtk.data import Dataset
from medtk.evaluation import fairness
from medtk.evaluation.metrics import confusion, macro_f1
from medtk.lab import covid_communication, covid_rounds
from medtk.lab.covid_made import Made
from medtk.lab.covid_rounds import LATE, MEMBERS, TREATMENTS
from medtk.lab.covid_spec import PAPER, TITLES
from medtk.privacy import attack_success
from medtk.reproduction import records
from medtk.settings import results_home


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


def scores(answers: Mapping[str, Mapping[str, np.ndarray]], images: Mapping[str, Dataset]) -> pd.DataFrame:
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


def recorded_parting() -> pd.DataFrame:
    """The ledger's long runs of all three set-ups: where rules find that the modalities part, and what came after."""
    lines, home = [], results_home()
    for split in ("frame", "patient"):
        for record in covid_rounds.of_run(home, way="specialised", split=split):
            p = record["parameters"]
            kept = records.load_predictions(record, home)
            shared = [r for r in covid_rounds.of_run(home, way="clustered", split=split)
                      if r["parameters"] == p | {"way": "clustered"} and r["seed"] == record["seed"]]  # fmt: skip
            if p["rounds"] < 9 or "rounds/distance" not in kept or not shared:
                continue
            loss = records.load_predictions(shared[0], home)["rounds/loss"]
            found = covid_rounds.parting({name: kept[f"rounds/{name}"] for name in ("distance", "cosine")})
            line = {"network": f"{p['network']}, {p['size']} px", "split by": split, "rounds": p["rounds"],
                    "seed": record["seed"]} | {rule: number or "none" for rule, number in found.items()}  # fmt: skip
            line["lowest loss of Algorithm 1, X-ray"] = covid_rounds.best_round(covid_rounds.smoothed(loss))
            lines.append(line)
    return pd.DataFrame(lines)


def recorded_late() -> pd.DataFrame:
    """The ledger's runs with a slow client: balanced accuracy after the same time, means over seeds."""
    groups: dict[tuple, dict[str, list[float]]] = {}
    for record in ledger(LATE):
        p = record["parameters"]
        key = (p["split"], p["rounds"], p["treatment"])
        groups.setdefault(key, {}).setdefault(p["modality"], []).append(record["metrics"]["clean"]["balanced_accuracy"])
    lines = []
    for (split, rounds, treatment), found in sorted(groups.items()):
        line = {"split by": split, "time": rounds, "the server": TREATMENTS[treatment]}
        line |= {TITLES[m]: f"{mean(found[m]):.1%}" for m in TITLES if m in found}
        lines.append(line | {"seeds": max(len(values) for values in found.values())})
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


def _recognised(modality: str, members: np.ndarray, others: np.ndarray) -> dict:
    found = attack_success(-members, -others)
    line = {"modality": modality, "loss, trained on": f"{members.mean():.3f}", "loss, others": f"{others.mean():.3f}"}
    return line | {
        "area under the curve": f"{found.auc:.3f} [{found.auc_interval.low:.3f}, {found.auc_interval.high:.3f}]"
    }


def recorded_payload() -> pd.DataFrame:
    """The ledger's traffic: rounds after which weights have cost as much as the images, by network and form."""
    lines = []
    for record in ledger(covid_communication.EXPERIMENT):
        found = record["metrics"]
        a_round = sum(found[way]["megabytes"] * found[way]["n"] for way in ("up", "down"))
        line = {"network": record["parameters"]["network"], "a round, MB": f"{a_round:.1f}"}
        forms = covid_communication.break_evens(record)
        lines.append(line | {f"{form.replace('_', ' ')}, rounds": f"{n:.2f}" for form, n in forms.items()})
    return pd.DataFrame(lines)
