"""Figures of chapters 22 and 23: curves by round, Fig. 4 beside our numbers, similarities of updates."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np

from medtk.data import Dataset
from medtk.lab import tables
from medtk.lab.covid_spec import COLUMNS, PAPER, TITLES
from medtk.lab.plots import MARKERS, PALETTE, stamp
from medtk.reproduction import papers
from medtk.reproduction.quantities import value

METRICS = {"Precision": "mean_precision", "Recall": "mean_recall", "F1-Score": "macro_f1"}


def curves(
    found: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]],
    what: str = "loss",
    *,
    dataset: Dataset | None = None,
) -> plt.Figure:
    """Test curves by round, one panel a modality and one line a way; the training loss dashed in the same colour.

    Parameters
    ----------
    found : mapping
        By modality: curves by name of a way, as `medtk.lab.covid_tables.curves_of` gives them.
    what : {'loss', 'accuracy'}
    dataset : Dataset, optional
        Marks the figure if the data are synthetic.
    """
    figure, axes = plt.subplots(1, len(found), figsize=(4.2 * len(found), 3.4), squeeze=False)
    for axis, (modality, ways) in zip(axes.flat, found.items(), strict=True):
        for k, (name, values) in enumerate(ways.items()):
            rounds = np.arange(1, len(values[what]) + 1)
            axis.plot(rounds, values[what], color=PALETTE[k % 7], marker=MARKERS[k % 7], markersize=4, label=name)
            if what == "loss":
                axis.plot(rounds, values["training_loss"], color=PALETTE[k % 7], linestyle="--", linewidth=1)
        axis.set(title=TITLES.get(modality, modality), xlabel="round")
        axis.xaxis.get_major_locator().set_params(integer=True)
        if what == "loss":
            axis.set_yscale("log")
    axes[0, 0].set_ylabel("focal loss, log scale" if what == "loss" else "accuracy, test images")
    axes[0, -1].legend(fontsize=7)
    figure.tight_layout()
    return stamp(figure, dataset)


def figure_4(found: Mapping[str, Mapping[str, dict]] | None = None, *, dataset: Dataset | None = None) -> plt.Figure:
    """Fig. 4: mean precision, recall and F1 of the two classes, as the printed table gives them and as recorded.

    The study's bars have no numbers; those of *printed* are plain means of its Table III. *Recorded* is the ledger's.

    Parameters
    ----------
    found : mapping, optional
        Records of this run, by way and modality, drawn as crosses.
    dataset : Dataset, optional
        Marks the figure if the data are synthetic.
    """
    judged = {(c["table"], c["row"], c["column"]): c["ours"] for c in tables.cells(PAPER)}
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.4), sharey=True)
    for axis, (modality, title) in zip(axes, TITLES.items(), strict=True):
        for k, (way, column) in enumerate(COLUMNS.items()):
            place = np.arange(len(METRICS)) + 0.27 * (k - 1)
            printed = [_printed(title, f"{column} / {what}") for what in METRICS]
            ours = [judged["Fig. 4", title, f"{column} / {what}"] for what in METRICS]
            axis.bar(place, printed, 0.25, color=PALETTE[k], alpha=0.35, label=f"{column}, printed")
            axis.plot(place, [np.nan if v is None else v for v in ours], linestyle="", marker=MARKERS[k],
                      color=PALETTE[k], label=f"{column}, recorded")  # fmt: skip
            if mine := ((found or {}).get(way) or {}).get(modality):
                now = [value(mine["metrics"]["clean"], metric) for metric in METRICS.values()]
                axis.plot(place, now, linestyle="", marker="x", color="black")
        axis.set_xticks(range(len(METRICS)), METRICS)
        axis.set(title=title, ylim=(0, 1.02))
        axis.grid(axis="x", visible=False)
    axes[0].set_ylabel("mean over the two classes")
    axes[1].legend(fontsize=7, loc="lower right")
    figure.tight_layout()
    return stamp(figure, dataset)


def _printed(title: str, column: str) -> float:
    """Plain mean of the two classes of Table III."""
    paper = papers.load(PAPER)
    return float(np.mean([paper.cell("III", f"{title} / {name}", column).printed for name in ("COVID-19", "Healthy")]))


def similarities(
    found: Mapping[str, np.ndarray], names: Sequence[str], *, dataset: Dataset | None = None
) -> plt.Figure:
    """Cosines of the angles between the clients' updates, one panel a moment.

    Parameters
    ----------
    found : mapping
        From the title of a panel to a table of shape (clients, clients).
    names : sequence of str
        Of the clients.
    dataset : Dataset, optional
        Marks the figure if the data are synthetic.
    """
    figure, axes = plt.subplots(1, len(found), figsize=(3.7 * len(found), 3.5), squeeze=False)
    for axis, (title, values) in zip(axes.flat, found.items(), strict=True):
        axis.imshow(values, vmin=-1, vmax=1, cmap="cividis")
        for i, j in np.ndindex(*values.shape):
            light = values[i, j] > 0.3
            axis.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", color="black" if light else "white")
        axis.set_xticks(range(len(names)), [name.replace("_", " ") for name in names], rotation=30, ha="right")
        axis.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        axis.set_title(title)
        axis.grid(visible=False)
    figure.tight_layout()
    return stamp(figure, dataset)
