"""Moving statistics of recorded networks: how much of their start is left, and what measuring them again changes."""

import math
from statistics import mean

import pandas as pd

from medtk.lab import adversarial_tables, robust_tables
from medtk.reproduction.answers import reestimated

# Of the normalisation layers of each network, as `medtk.models.build` makes them.
MOMENTUM = {"densenet121": 0.99, "mobilenetv2": 0.999, "resnet50": 0.99, "plain": 0.9}
NOTHING = 0.01  # a share of the start below this explains nothing


def updates(parameters: dict) -> int:
    """Batches that a recorded network was trained on, those of adversarial training included."""
    epochs = parameters["epochs"] + parameters.get("defense_epochs", 0)
    return epochs * math.ceil(parameters["n_train"] / parameters["batch_size"])


def start_left(network: str, count: int) -> float:
    """Share of the starting value that is in the moving statistics of a network after so many updates."""
    return MOMENTUM[network] ** count


def statistics(experiment: str = "transfer") -> pd.DataFrame:
    """Every recorded network of which all layers were trained: what is left of its start, and what is stale.

    Parameters
    ----------
    experiment : {'transfer', 'adversarial'}

    Returns
    -------
    DataFrame
        A line a setting, means over seeds. Accuracy and AUC go from the network as training left it to the same one
        with its statistics measured again.
    """
    lines = []
    for runs in _measured_again(experiment):
        p, count = runs[0]["parameters"], updates(runs[0]["parameters"])
        line = {"data": robust_tables.named(runs[0]), "network": p["network"], "weights": runs[0]["weights"]["source"]}
        line |= {"otherwise": ", ".join(_otherwise(runs[0])), "momentum": f"{MOMENTUM[p['network']]:g}"}
        line |= {"updates": count, "start left": f"{start_left(p['network'], count):.2%}", "seeds": len(runs)}
        both = [[run["metrics"][name] for run in runs] for name in ("clean", reestimated("clean"))]
        line["accuracy"] = " → ".join(f"{mean(one['accuracy'] for one in found):.1%}" for found in both)
        lines.append(line | {"AUC": " → ".join(map(robust_tables.auc, both))})
    return pd.DataFrame(lines)


def beyond_the_start(experiment: str = "transfer") -> str:
    """Where nothing of the start is left and the statistics are stale all the same, in one or two sentences."""
    found = [run for runs in _measured_again(experiment) for run in runs]
    late = [r for r in found if start_left(r["parameters"]["network"], updates(r["parameters"])) < NOTHING]
    if not late:
        return "No recorded network has lost its start."
    again = reestimated("clean")
    most = max(late, key=lambda run: abs(run["metrics"][again]["accuracy"] - run["metrics"]["clean"]["accuracy"]))
    before, after = (most["metrics"][name]["accuracy"] for name in ("clean", again))
    who = f"{robust_tables.named(most)}, {most['parameters']['network']}, seed {most['seed']}"
    return (
        f"{len(late)} of {len(found)} networks keep less than {NOTHING:.0%} of their start. Among these, measuring the "
        f"statistics again moves {who} most: from {before:.1%} to {after:.1%}. Its start cannot be the cause."
    )


def _measured_again(experiment: str) -> list[list[dict]]:
    """Groups of records that differ in nothing but the seed, with both states of their networks."""
    return [runs for runs in robust_tables.recorded(experiment) if reestimated("clean") in runs[0]["metrics"]]


def _otherwise(record: dict) -> list[str]:
    """How a network was trained, where that is not the plainest reading of the paper."""
    p, said = record["parameters"], robust_tables.departures(record)
    return [adversarial_tables.method(p), *said] if "defense_method" in p else said
