"""Tables and figures of chapter 33, from records of `medtk.lab.inversion` and `medtk.lab.inversion_more`."""

from collections.abc import Mapping, Sequence
from itertools import chain
from statistics import mean

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from medtk.data import Dataset
from medtk.lab import pgsl_plots, pgsl_tables, tables
from medtk.lab.inversion_spec import DEFENSES
from medtk.lab.pgsl_spec import PAPER, SIZES
from medtk.lab.pgsl_tables import ERROR
from medtk.lab.plots import MARKERS, PALETTE, stamp
from medtk.reproduction import records
from medtk.settings import results_home

READS = 0.05  # a decoder that explains less of a map's squares has not read it
# Who reads the map, and the name of the image from which it is then taken.
READERS = {
    "map": ("decodes with the rest", "first layer", "subtracted"),
    "map reader": ("reads with a decoder made for it", "first layer", "subtracted by reader"),
    "map ridge": ("reads with straight lines", "first layer by ridge", "subtracted by ridge"),
}
FEW_FAILED = 10  # a mean error this many times the median is made by a few images
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


def missing(experiment: str, dataset: str) -> str:
    """In words, that nothing is recorded; empty where something is."""
    return "" if ledger(experiment, dataset) else f"{dataset}: no record of {experiment} yet."


def recorded_defenses() -> pd.DataFrame:
    """Seeds of the ledger for each defence on each data set; where it has none, it says so."""
    points = pgsl_tables.trade_offs()
    names = sorted({*DEFENSES, *points["defence"]}, key=lambda name: (DEFENSES.index(name.split(" ")[0]), name))
    held = {name.split(" ")[0] for name in points["defence"] if " " in name}
    lines = {}
    for name in (name for name in names if name not in held):
        mine = points[points["defence"] == name]
        each = {dataset: sorted(set(mine.loc[mine["data"] == dataset, "seed"])) for dataset in SIZES}
        lines[name] = {
            d: f"seeds {', '.join(map(str, seeds))}" if seeds else "not recorded" for d, seeds in each.items()
        }
    return pd.DataFrame(lines).T


def attacks(found: Sequence[dict], titles: Mapping[str, str], home=None) -> pd.DataFrame:
    """One line an attack: errors of what it rebuilds, means and median over images and seeds.

    An attack that was tried on more images than another has a second line: the same on the first images alone, which
    all of them share.

    Parameters
    ----------
    found : sequence of dict
        Records that differ in nothing but the seed.
    titles : mapping
        From the names of measurements to those of the lines: `ACTIVATIONS` or `GRADIENTS`. Others are left out.
    home : path, optional
        Where the records are kept; left out, the ledger.
    """
    stored = [records.load_predictions(record, home or results_home()) for record in found]
    tried = {name: [one for one in stored if f"{name}/mse" in one] for name in titles}
    sizes = {name: len(runs[0][f"{name}/mse"]) for name, runs in tried.items() if runs}
    lines = []
    for name, n in sizes.items():
        lines.append(_errors(titles[name], tried[name], name, n))
        if n > (least := min(sizes.values())):
            lines.append(_errors(f"{titles[name]}, first {least} images", tried[name], name, least))
    columns = ["attack", "images", "seeds", "MSE, 0 to 1", "median MSE", "PSNR, dB", "SSIM"]
    return pd.DataFrame(lines, columns=columns)


def _errors(title: str, runs: Sequence[dict], name: str, n: int) -> dict:
    each = {what: np.concatenate([run[f"{name}/{what}"][:n] for run in runs]) for what in ("mse", "psnr", "ssim")}
    line = {"attack": title, "images": n, "seeds": len(runs)}
    line |= {"MSE, 0 to 1": _small(each["mse"].mean()), "median MSE": _small(np.median(each["mse"]))}
    return line | {"PSNR, dB": f"{each['psnr'].mean():.1f}", "SSIM": f"{each['ssim'].mean():.3f}"}


def nearer(found: Sequence[dict], home=None) -> str:
    """In words: which of DLG and iDLG comes nearer to the images, by the mean and image by image."""
    stored = [records.load_predictions(record, home or results_home()) for record in found]
    dlg, idlg = (np.concatenate([one[f"{name}/mse"] for one in stored]) for name in ("dlg", "idlg"))
    said = f"{found[0]['data']['name']}: iDLG is nearer than DLG on {int((idlg < dlg).sum())} of {len(dlg)} images;"
    said += f" mean error {_small(idlg.mean())} beside {_small(dlg.mean())},"
    said += f" median {_small(np.median(idlg))} beside {_small(np.median(dlg))}."
    if max(one.mean() / max(np.median(one), 1e-12) for one in (dlg, idlg)) > FEW_FAILED:
        said += " A mean so far above its median is made by the few searches that went wrong."
    return said


def by_defense(found: Sequence[dict]) -> pd.DataFrame:
    """One line a defence: its accuracy beside always naming the commonest class, what the best attack rebuilds, and
    who can still read that.

    ``read`` is the accuracy of the undefended network on images that the decoder rebuilt: do they still show the
    class? Means with their spread as `medtk.lab.tables.spread` writes it. The best attack is one that all seeds of
    the defence have: records of different days may have tried different ones.
    """
    groups: dict[tuple, list[dict]] = {}
    for record in found:
        p = record["parameters"]
        groups.setdefault((p["defense"], p["strength"], p["cut"]), []).append(record["metrics"])
    lines = []
    for (defense, strength, cut), runs in sorted(
        groups.items(), key=lambda item: (DEFENSES.index(item[0][0]), item[0])
    ):
        best = {name: mean(run[name]["ssim"] for run in runs) for name in ACTIVATIONS if _rebuilt(runs, name)}
        strongest = max(best, key=best.get, default=None)
        nearest = [run[strongest] for run in runs] if best else []
        lines.append(
            {
                "defence": defense + (f" {strength:g}" if strength else ""),
                "cut behind": cut,
                "seeds": len(runs),
                "accuracy": _accuracy(runs, "server"),
                "balanced": f"{mean(run['server']['balanced_accuracy'] for run in runs):.1%}",
                "commonest class": f"{max(map(sum, runs[0]['server']['confusion'])) / runs[0]['server']['n']:.1%}",
                "nearest attack": ACTIVATIONS.get(strongest, "none that all seeds have"),
                "SSIM": tables.spread((one["ssim"] for one in nearest), ".3f", within=(0, 1)),
                "MSE, 0 to 1": tables.spread((one["mse"] for one in nearest), ".4f", within=ERROR),
                "read": _accuracy(runs, "read decoder"),
            }
        )
    return pd.DataFrame(lines)


def verdict(found: Sequence[dict]) -> str:
    """What the map gives away, in words: one line for all seeds, then details, means over seeds.

    Parameters
    ----------
    found : sequence of dict
        Records of the whole method on one data set that differ in nothing but the seed; numbers are theirs.
    """
    every = [record["metrics"] for record in found]
    if not every:
        return "No attack on the whole method is recorded."
    best = [max((name for name in READERS if name in one), key=lambda name: one[name]["explained"]) for one in every]
    read = [(one, reader) for one, reader in zip(every, best, strict=True) if one[reader]["explained"] >= READS]
    seeds, shown = f"{len(every)} seed{'s' * (len(every) > 1)}", [one for one, _ in read] or every
    left = {name: _mse(shown, name) for name in ("first layer", "decoder", "mean")}
    said = f"{found[0]['data']['name']}: the map was read in {len(read)} of {seeds}. "
    if read:
        on, off = (
            tables.spread((one[READERS[reader][place]]["mse"] for one, reader in read), ".4f", within=ERROR)
            for place in (1, 2)
        )
        said += f"There the error is {off} with the map taken off and {on} without;"
    else:
        said += "These attacks failed; that proves no map safe. "
        said += f"With the attack left in, the error is {left['first layer']};"
    said += f" {left['decoder']} straight from the activations, with no map; {left['mean']} for the mean image."
    return "\n".join([said, *(f"  {line}" for line in _details(every))])


def _details(every: Sequence[dict]) -> list[str]:
    left = tables.spread((one["decoder"]["mse"] / one["mean"]["mse"] for one in every), ".0%", within=ERROR)
    lines = [
        f"The client's own attack moved its images by {_mse(every, 'attacked')} of squared error.",
        f"A decoder that knows the method leaves {left} of the mean image's error.",
        f"A decoder trained on plain images, which knows of no attack, leaves {_mse(every, 'plain decoder')}.",
    ]
    for name, (how, _, subtracted) in READERS.items():
        runs = [one for one in every if name in one and subtracted in one]
        share = mean(one[name]["explained"] for one in runs) if runs else 0.0
        alike = tables.spread((one[name]["correlation"] for one in runs), ".2f")
        much = "nothing" if abs(share) < 0.0005 else "less than nothing" if share < 0 else f"{share:.1%}"
        line = f"The map that he {how} explains {much} of the true one's squares, correlation {alike};"
        lines += [f"{line} taking it off leaves {_mse(runs, subtracted)}."] if runs else []
    return lines


def _mse(every: Sequence[dict], name: str) -> str:
    """Squared error of an attack over the seeds that have it, a dash where none has."""
    return tables.spread((one[name]["mse"] for one in every if name in one), ".4f", within=ERROR)


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
    """Accuracy of attribute inference by place, as `medtk.lab.tables.spread` writes it.

    A line an attribute and defence; a dash for places that were not asked with it.
    """
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
        lines.append(line | {name: _accuracy(metrics, name) for name in dict.fromkeys(chain(*metrics))})
    return pd.DataFrame(lines).fillna("–")


def panels(rows: Mapping[str, np.ndarray], *, columns: int = 8, dataset: Dataset | None = None) -> plt.Figure:
    """Originals and what was made of them, one row a stage, each image below its original."""
    return pgsl_plots.rows({name: np.clip(images[:columns], 0, 1) for name, images in rows.items()}, dataset=dataset)


def _rebuilt(runs: Sequence[dict], name: str) -> bool:
    return all(name in run for run in runs) and not ACTIVATIONS[name].startswith("no inversion")


def _small(error: float) -> str:
    """A squared error; failed searches and good ones are many powers of ten apart."""
    return f"{error:.4f}" if error >= 0.001 else f"{error:.1e}"


def _accuracy(runs: Sequence[dict], name: str) -> str:
    some = [run[name] for run in runs if name in run]
    return tables.spread((one["accuracy"] for one in some), ".1%", n=some[0]["n"] if some else 0, within=(0, 1))
