"""Tables of chapters 22 and 23: Table III on both splits, every recorded run, traffic, and where curves turn."""

import inspect
from collections.abc import Mapping
from statistics import mean

import numpy as np
import pandas as pd

from medtk import federated
from medtk.data.modalities import SPLITS
from medtk.lab import shortcut_tables, tables, which_hospital
from medtk.lab.covid_made import Made
from medtk.lab.covid_spec import DATASETS, EXPERIMENT, PAPER, SETTING, TITLES, WAYS
from medtk.reproduction import papers, records
from medtk.reproduction.quantities import value
from medtk.reproduction.rules_clustered_covid import overall_f1
from medtk.settings import results_home

# Conditions of the records of thumbnails that stand beside a set-up of Table III.
VIEW_OF = {"specialised": "thumbnail", "multi_modal": "joint"}


def kept() -> list[dict]:
    """Records of the set-ups in the ledger."""
    return [r for r in records.read_all(results_home()) if (r["paper"], r["experiment"]) == (PAPER, EXPERIMENT)]


def scores(metrics: Mapping) -> dict[str, float]:
    """What the tables show of one condition, as shares of 1.

    ``overall`` is the mean F1 of the classes, each counted by its images: the average that the study's gains are in.
    """
    return {"overall": overall_f1(metrics), "balanced": metrics["balanced_accuracy"], "auc": metrics["auc"]}


def everything() -> pd.DataFrame:
    """One line a record: its setting, backend, way, split, modality and seed, and its `scores` by condition."""
    columns = [*SETTING, "backend", "split", "way", "modality", "seed", "overall", "balanced", "auc", "confident", "id"]
    lines = []
    for record in kept():
        p, metrics = record["parameters"], record["metrics"]
        line = {name: p[name] for name in (*SETTING, "split", "way", "modality")} | scores(metrics["clean"])
        line["backend"] = record["backend"]  # each draws starting weights of its own, so runs of two are no pair
        line["confident"] = metrics["confident"]["balanced_accuracy"] if "confident" in metrics else np.nan
        lines.append(line | {"seed": record["seed"], "id": record["id"]})
    return pd.DataFrame(lines, columns=columns)


def recorded() -> pd.DataFrame:
    """Every recorded way to train, means over seeds; no lines from an empty ledger.

    F1 is the overall one, *balanced* the mean recall of the two classes when the image goes to the model of its own
    modality, *AUC* the area under the curve, *untold* balanced accuracy when the surest model answers (where there are
    several models).
    """
    lines = []
    decide = [*SETTING, "backend", "split", "way"]
    for key, runs in everything().groupby(decide, sort=False):
        p = dict(zip(decide, key, strict=True))
        line = {"setting": tables.federated_setting(p, p["backend"]), "split": p["split"], "way": WAYS[p["way"]]}
        line["seeds"] = runs["seed"].nunique()
        for modality, title in TITLES.items():
            own = runs[runs["modality"] == modality]
            shown = {"F1": own["overall"].mean(), "balanced": own["balanced"].mean(), "AUC": own["auc"].mean()}
            shown["untold"] = own["confident"].mean()
            line |= {f"{title} {what}": _percent(share) for what, share in shown.items()}
        lines.append(line)
    columns = ["setting", "split", "way", "seeds"]
    columns += [f"{title} {what}" for title in TITLES.values() for what in ("F1", "balanced", "AUC", "untold")]
    order = list(WAYS.values())
    found = pd.DataFrame(lines, columns=columns)
    return found.sort_values(
        ["setting", "split", "way"], key=lambda c: c.map(order.index) if c.name == "way" else c
    ).reset_index(drop=True)


def table_iii(found: Mapping[str, Mapping[str, dict]] | None = None) -> pd.DataFrame:
    """Table III: printed, recorded by frame and by patient (means over seeds, the same settings), and of this run.

    The last two lines of each class are a logistic regression on 64 grey values of each image, from its records: one
    for each modality under *specialised*, one for both under *multi-modal*. Nothing of it is federated. The last line
    of all, where it is recorded, is that regression asked for the source of an image in place of its class, with 95 %
    intervals over patients (`medtk.lab.which_hospital`).

    Parameters
    ----------
    found : mapping, optional
        Records of this run: by way, then by modality.
    """
    judged = {(cell["table"], cell["row"], cell["column"]): cell for cell in tables.cells(PAPER)}
    by_id = {record["id"]: record for record in kept()}
    lines: dict[tuple[str, str], dict[str, str]] = {}
    thumbnails = shortcut_tables.ledger()
    for cell in (cell for cell in papers.load(PAPER).cells if cell.table == "III"):
        modality = next(name for name, dataset in DATASETS.items() if dataset == cell.needs["dataset"])
        facts = papers.load(PAPER).datasets[cell.needs["dataset"]]["classes"]
        of = sorted(facts, reverse=True).index(cell.needs["class"])  # healthy is class 0, covid class 1
        behind = [by_id[name] for name in judged[cell.key]["records"] if name in by_id]
        by_patient = [r for r in by_id.values() if any(_same_but_split(r, other) for other in behind)]
        mine = ((found or {}).get(cell.needs["setup"]) or {}).get(modality)
        sources = {
            "printed": cell.printed,
            "recorded, by frame": _mean(behind, cell.metric, of),
            "recorded, by patient": _mean(by_patient, cell.metric, of),
            "this run": _mean([mine] if mine else [], cell.metric, of),
        }
        for split in SPLITS:
            grey = thumbnails.get((modality, split), []) if cell.needs["setup"] in VIEW_OF else []
            sources[f"64 grey values, by {split}"] = _mean(grey, cell.metric, of, VIEW_OF.get(cell.needs["setup"], ""))
        for source, number in sources.items():
            shown = "–" if number is None else f"{number:.2f}"
            lines.setdefault((cell.row, source), {})[cell.column] = shown
    if probes := which_hospital.recorded():
        asked = {f"Specialised / {metric}": str(share) for metric, share in which_hospital.shares(probes).items()}
        lines[which_hospital.ROW] = dict.fromkeys(next(iter(lines.values())), "–") | asked
    return pd.DataFrame(lines.values(), index=pd.MultiIndex.from_tuples(lines))


def _same_but_split(record: dict, other: dict) -> bool:
    names = [*SETTING, "way", "modality"]
    mine, theirs = record["parameters"], other["parameters"]
    same = all(mine[name] == theirs[name] for name in names)
    same = same and all(record[name] == other[name] for name in ("seed", "backend"))
    return same and (mine["split"], theirs["split"]) == ("patient", "frame")


def _mean(found: list[dict], metric: str, of: int, condition: str = "clean") -> float | None:
    return mean(value(record["metrics"][condition], metric, of) for record in found) if found else None


def cuts() -> pd.DataFrame:
    """The ledger's runs that find clusters from updates: the first cut, and what clusters there were in the end.

    The round of the first cut stands beside the first one allowed. *Models in the end* are those that some client has;
    the clusters are the modalities if there are two, each of one modality and all of it.
    """
    allowed = inspect.signature(federated.sattler).parameters["first"].default
    runs: dict[tuple, dict[str, dict]] = {}
    for record in kept():
        p = record["parameters"]
        if p["way"] == "sattler":
            setting = tables.federated_setting(p, record["backend"])
            stored = records.load_predictions(record, results_home())
            runs.setdefault((setting, p["split"], record["seed"]), {})[p["modality"]] = stored
    lines = []
    for (setting, split, seed), stored in sorted(runs.items()):
        if set(stored) != set(TITLES):
            continue
        after = np.flatnonzero(stored["xray"]["rounds/models"] > 1)  # models that were tested at the end of a round
        owned = [set(one["models/clients"].tolist()) for one in stored.values()]
        models = len(set.union(*owned))
        lines.append({
            "setting": setting, "split": split, "seed": seed,
            "round of the first cut": int(after[0]) + 1 if len(after) else "none", "first round allowed": allowed,
            "models in the end": models,
            "clusters are the modalities": "yes" if models == sum(map(len, owned)) == len(owned) else "no",
        })  # fmt: skip
    return pd.DataFrame(lines)


def turning(curves: Mapping[str, Mapping[str, np.ndarray]]) -> pd.DataFrame:
    """Where overfitting would show: the round with the lowest test loss, and what came after it.

    Parameters
    ----------
    curves : mapping
        By name: ``loss`` (test) and ``training_loss`` after each round, shape (rounds,).
    """
    lines = {}
    for name, found in curves.items():
        test, training = np.asarray(found["loss"]), np.asarray(found["training_loss"])
        best = int(test.argmin())
        lines[name] = {
            "rounds": len(test),
            "lowest test loss in round": best + 1,
            "test loss there": f"{test[best]:.4f}",
            "test loss at the end": f"{test[-1]:.4f}",
            "training loss there": f"{training[best]:.4f}",
            "training loss at the end": f"{training[-1]:.4f}",
        }
    return pd.DataFrame(lines).T


def curves_of(made: Mapping[str, Made], modality: str) -> dict[str, dict[str, np.ndarray]]:
    """Curves of several runs of this page on one modality, for `turning` and the figures."""
    return {
        WAYS[way]: {
            "loss": np.array(one.curve(modality, "loss")),
            "training_loss": np.array(one.training(modality, "loss")),
            "accuracy": np.array(one.curve(modality)),
        }
        for way, one in made.items()
    }


def recorded_curves(modality: str, split: str, network: str) -> dict[str, dict[str, np.ndarray]]:
    """The same from the ledger: of each way the longest recorded run of a network, means over seeds."""
    groups: dict[str, dict[tuple, list[dict]]] = {}
    for record in kept():
        p = record["parameters"]
        if (p["modality"], p["split"], p["network"]) == (modality, split, network):
            key = (p["rounds"], *(str(p[name]) for name in SETTING))
            groups.setdefault(p["way"], {}).setdefault(key, []).append(record)
    found = {}
    for way in [name for name in WAYS if name in groups]:
        stored = [records.load_predictions(r, results_home()) for r in groups[way][max(groups[way])]]
        found[WAYS[way]] = {
            what: np.mean([one[f"rounds/{what}"] for one in stored], axis=0)
            for what in ("loss", "training_loss", "accuracy")
        }
    return found


def setups(found: Mapping[str, Mapping[str, dict]]) -> pd.DataFrame:
    """Runs of this page beside each other: by way, shares of each modality by condition.

    Parameters
    ----------
    found : mapping
        Records by way, then by modality.
    """
    lines = {}
    for way, each in found.items():
        line = {}
        for modality, title in TITLES.items():
            metrics = each[modality]["metrics"]
            shown = scores(metrics["clean"])
            for what, score in (("F1", "overall"), ("balanced", "balanced"), ("AUC", "auc")):
                line[f"{title} {what}"] = _percent(shown[score])
            for condition, what in (("confident", "untold"), ("swapped", "wrong model")):
                share = metrics[condition]["balanced_accuracy"] if condition in metrics else np.nan
                line[f"{title} {what}"] = _percent(share)
        lines[WAYS[way]] = line
    return pd.DataFrame(lines).T


def _percent(share: float) -> str:
    return "–" if share is None or np.isnan(share) else f"{share:.1%}"
