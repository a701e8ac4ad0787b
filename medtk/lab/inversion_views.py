"""Tables and figures of chapter 33, from records of `medtk.lab.inversion` and `medtk.lab.inversion_more`."""

from collections.abc import Mapping, Sequence
from statistics import mean

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from medtk.data import Dataset
from medtk.evaluation import intervals
from medtk.lab import pgsl_plots
from medtk.lab.inversion_spec import DEFENSES
from medtk.lab.pgsl_spec import PAPER
from medtk.lab.plots import MARKERS, PALETTE, stamp
from medtk.reproduction import records
from medtk.settings import results_home

READS = 0.05  # a decoder that explains less of a map's squares has not read it
FIRST_LAYER = "decoder of the first layer's input"
LINE = "straight line to the first layer's input"
ACTIVATIONS = {
    "decoder": "decoder that knows the defence",
    "ridge": "straight line from 3 x 3 places, knows the defence",
    "plain decoder": "decoder trained on plain images, knows of no attack",
    "plain decoder recovered": "decoder trained on plain images, then recovery",
    "dcgan": "generator",
    "dcgan recovered": "generator, then recovery",
    "first layer": FIRST_LAYER,
    "first layer recovered": f"{FIRST_LAYER}, then recovery",
    "unaware": FIRST_LAYER,  # as earlier records call it
    "unaware recovered": f"{FIRST_LAYER}, then recovery",
    "subtracted": f"{FIRST_LAYER}, its map taken off",
    "subtracted by reader": f"{FIRST_LAYER}, map of the map reader taken off",
    "first layer by ridge": LINE,
    "first layer by ridge recovered": f"{LINE}, then recovery",
    "subtracted by ridge": f"{LINE}, its map taken off",
    "attacked": "no inversion: the attacked image itself",
    "mean": "no inversion: the mean image",
    "zero": "no inversion: black",
}
GRADIENTS = {
    "dlg": "DLG",
    "idlg": "iDLG",
    "jsma idlg": "iDLG, image attacked by the client",
    "recovered idlg": "the same, then recovery",
    "noise idlg": "iDLG, noise on the image",
    "noised idlg": "iDLG, noise on the gradient",
    "pruned 0.9 idlg": "iDLG, nine tenths pruned",
    "pruned 0.9 idlg, known": "the same, by who knows it",
    "clipped idlg": "iDLG, clipped to half its length",
    "clipped idlg, known": "the same, by who knows it",
    "mean": "no inversion: the mean image",
    "zero": "no inversion: black",
}


def ledger(experiment: str, dataset: str) -> list[dict]:
    """Records of one experiment of the chapter on one data set, ordered by id."""
    return [
        record
        for record in records.read_all(results_home())
        if (record["paper"], record["experiment"], record["data"]["name"]) == (PAPER, experiment, dataset)
    ]


def attacks(found: Sequence[dict], titles: Mapping[str, str]) -> pd.DataFrame:
    """One line an attack: errors of what it rebuilds, means over images and seeds.

    Parameters
    ----------
    found : sequence of dict
        Records that differ in nothing but the seed.
    titles : mapping
        From the names of measurements to those of the lines: `ACTIVATIONS` or `GRADIENTS`. Others are left out.
    """
    lines = []
    for name, title in titles.items():
        runs = [record["metrics"][name] for record in found if "mse" in record["metrics"].get(name, {})]
        if runs:
            line = {"attack": title, "images": runs[0]["n"], "seeds": len(runs)}
            line |= {"MSE, 0 to 1": _mean(runs, "mse", ".4f"), "PSNR, dB": _mean(runs, "psnr", ".1f")}
            lines.append(line | {"SSIM": _mean(runs, "ssim", ".3f")})
    return pd.DataFrame(lines, columns=["attack", "images", "seeds", "MSE, 0 to 1", "PSNR, dB", "SSIM"])


def by_defense(found: Sequence[dict]) -> pd.DataFrame:
    """One line a defence: its accuracy beside always naming the commonest class, what the best attack rebuilds, and
    who can still read that.

    ``read`` is the accuracy of the undefended network on images that the decoder rebuilt: do they still show the
    class? Interval: Wilson's for one run; with several seeds their mean without one.
    """
    groups: dict[tuple, list[dict]] = {}
    for record in found:
        p = record["parameters"]
        groups.setdefault((p["defense"], p["strength"], p["cut"]), []).append(record["metrics"])
    lines = []
    for (defense, strength, cut), runs in sorted(
        groups.items(), key=lambda item: (DEFENSES.index(item[0][0]), item[0])
    ):
        best = {name: mean(run[name]["ssim"] for run in runs) for name in ACTIVATIONS if _rebuilt(runs[0], name)}
        strongest = max(best, key=best.get)
        lines.append(
            {
                "defence": defense + (f" {strength:g}" if strength else ""),
                "cut behind": cut,
                "seeds": len(runs),
                "accuracy": _accuracy(runs, "server"),
                "balanced": f"{mean(run['server']['balanced_accuracy'] for run in runs):.1%}",
                "commonest class": f"{max(map(sum, runs[0]['server']['confusion'])) / runs[0]['server']['n']:.1%}",
                "nearest attack": ACTIVATIONS[strongest],
                "SSIM": f"{best[strongest]:.3f}",
                "MSE, 0 to 1": _mean([run[strongest] for run in runs], "mse", ".4f"),
                "read": _accuracy(runs, "read decoder"),
            }
        )
    return pd.DataFrame(lines)


def points(found: Sequence[dict]) -> pd.DataFrame:
    """Points of `medtk.lab.pgsl_plots.trade_off` from records of this chapter, one a record."""
    lines = []
    for record in found:
        p, metrics = record["parameters"], record["metrics"]
        name = p["defense"] + (f" {p['strength']:g}" if p["strength"] else "")
        lines.append({"defence": name, "accuracy": metrics["server"]["accuracy"], "SSIM": metrics["decoder"]["ssim"]})
    return pd.DataFrame(lines, columns=["defence", "accuracy", "SSIM"])


def verdict(record: dict) -> str:
    """What the map gives away, in words, from one record of the whole method; numbers are those of the record."""
    found = record["metrics"]
    error = {name: one["mse"] for name, one in found.items() if "mse" in one}
    gone = 1 - error["decoder"] / error["mean"]
    lines = [
        f"The client's own attack moved its images by {error['attacked']:.4f} of squared error.",
        f"A decoder that knows the method leaves {error['decoder']:.4f}, {gone:.0%} less than the mean image.",
        f"A decoder trained on plain images, which knows of no attack, leaves {error['plain decoder']:.4f}.",
        f"A decoder of what the first layer sees leaves the attack in the image: {error['first layer']:.4f}.",
    ]
    readers = [("map", "decodes with the rest", "first layer", "subtracted")]
    readers.append(("map reader", "reads with a decoder made for it", "first layer", "subtracted by reader"))
    readers.append(("map ridge", "reads with straight lines", "first layer by ridge", "subtracted by ridge"))
    for name, how, attacked, subtracted in (one for one in readers if one[0] in found):
        explained, alike = found[name]["explained"], found[name]["correlation"]
        lines.append(
            f"The map that he {how} explains {explained:.1%} of the true one's squares, correlation {alike:.2f}:"
        )
        if explained < READS:
            lines.append("  he reads nothing of it. That is an attack that failed, not a proof that the map is safe.")
        else:
            lines.append(f"  taking it off brings the error from {error[attacked]:.4f} to {error[subtracted]:.4f}.")
    return "\n".join(lines)


def depth(found: Sequence[dict], *, dataset: Dataset | None = None) -> plt.Figure:
    """Squared error and similarity of a decoder behind each layer, seeds as points, beside the mean image.

    Parameters
    ----------
    found : sequence of dict
        Records of `medtk.lab.inversion_more.depth` on one data set.
    dataset : Dataset, optional
        Marks the figure if the data are synthetic.
    """
    cuts = sorted({cut for record in found for cut in record["parameters"]["cuts"]})
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.2))
    for axis, metric, label in zip(axes, ("mse", "ssim"), ("MSE, pixels from 0 to 1", "SSIM"), strict=True):
        values = [[r["metrics"][f"cut {c}"][metric] for r in found if c in r["parameters"]["cuts"]] for c in cuts]
        axis.plot(cuts, [mean(one) for one in values], marker=MARKERS[0], color=PALETTE[0], label="decoder")
        for cut, each in zip(cuts, values, strict=True):
            axis.plot([cut] * len(each), each, ".", color=PALETTE[0], alpha=0.5)
        blind = mean(r["metrics"]["mean"][metric] for r in found)
        axis.axhline(blind, color="0.3", linestyle=":", label="mean image")
        axis.axvline(2, color="0.7", linewidth=1)
        axis.set(xlabel="convolutions at the client", ylabel=label)
        axis.set_xticks(cuts)
        axis.set_ylim(bottom=0)
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    return stamp(figure, dataset)


def attributes(found: Sequence[dict]) -> pd.DataFrame:
    """Accuracy of attribute inference by place, a line an attribute and defence; 95 % Wilson intervals for one seed."""
    groups: dict[tuple, list[dict]] = {}
    for record in found:
        p = record["parameters"]
        groups.setdefault((p["attribute"], p["defense"], p["strength"]), []).append(record)
    lines = []
    for (attribute, defense, strength), runs in groups.items():
        line = {"attribute": attribute, "of": ", ".join(runs[0]["parameters"]["names"])}
        line["defence"] = defense + (f" {strength:g}" if strength else "")
        line["always the commonest"] = f"{runs[0]['parameters']['commonest']:.1%}"
        metrics = [run["metrics"] for run in runs]
        lines.append(line | {name: _accuracy(metrics, name) for name in metrics[0]})
    return pd.DataFrame(lines)


def panels(rows: Mapping[str, np.ndarray], *, columns: int = 8, dataset: Dataset | None = None) -> plt.Figure:
    """Originals and what was made of them, one row a stage, each image below its original."""
    return pgsl_plots.rows({name: np.clip(images[:columns], 0, 1) for name, images in rows.items()}, dataset=dataset)


def _rebuilt(run: dict, name: str) -> bool:
    return name in run and not ACTIVATIONS[name].startswith("no inversion")


def _mean(runs: Sequence[dict], metric: str, form: str) -> str:
    return f"{mean(run[metric] for run in runs):{form}}"


def _accuracy(runs: Sequence[dict], name: str) -> str:
    share, n = mean(run[name]["accuracy"] for run in runs), runs[0][name]["n"]
    if len(runs) > 1:
        return f"{share:.1%}"
    low, high = intervals.wilson(round(share * n), n)[:2]
    return f"{share:.1%} [{low:.1%}, {high:.1%}]"
