"""Figures of chapters 51 and 52: who holds which images, curves by round, rates by hospital, calibration."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np

from medtk.data import Dataset
from medtk.data.hospitals import Hospital
from medtk.evaluation import calibration, fairness
from medtk.lab.hospital_spec import called
from medtk.lab.plots import MARKERS, PALETTE, stamp

HATCHES = ("", "///", "...", "xx")


def shares(partitions: Mapping[str, Sequence[Hospital]], dataset: Dataset) -> plt.Figure:
    """Training images of each hospital by class, one panel a partition."""
    figure, axes = plt.subplots(1, len(partitions), figsize=(2.6 * len(partitions), 2.9), sharey=True, squeeze=False)
    for axis, (title, members) in zip(axes.flat, partitions.items(), strict=True):
        counts = np.array([np.bincount(m.train.labels, minlength=dataset.n_classes) for m in members])
        bottom = np.zeros(len(members))
        for c, name in enumerate(dataset.class_names):
            axis.bar(range(len(members)), counts[:, c], bottom=bottom, hatch=HATCHES[c % 4], label=name)
            bottom += counts[:, c]
        for place, total in enumerate(counts.sum(axis=1)):
            axis.text(place, total, f"{total}", ha="center", va="bottom", fontsize=7)
        axis.set_xticks(range(len(members)), [member.name.removeprefix("hospital_") for member in members])
        axis.margins(y=0.12)
        axis.set_title(title, fontsize=9)
        axis.grid(axis="x", visible=False)
    axes[0, 0].set(ylabel="training images", xlabel="hospital")
    axes[0, -1].legend(fontsize=8)
    figure.tight_layout()
    return stamp(figure, dataset)


def curves(
    runs: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    ylabel: str = "accuracy, own test images",
    floor: float | None = None,
    dataset: Dataset | None = None,
) -> plt.Figure:
    """Value after each round, one panel a way to train and one line a hospital.

    Parameters
    ----------
    runs : mapping
        From the title of a panel to values by hospital, one a round.
    ylabel : str
    floor : float, optional
        Accuracy of the constant predictor.
    dataset : Dataset, optional
        Marks the figure if the data are synthetic.
    """
    figure, axes = plt.subplots(1, len(runs), figsize=(3.3 * len(runs), 3.2), sharey=True, squeeze=False)
    for axis, (title, found) in zip(axes.flat, runs.items(), strict=True):
        for k, (name, values) in enumerate(found.items()):
            rounds = np.arange(1, len(values) + 1)
            axis.plot(rounds, values, marker=MARKERS[k % 7], color=PALETTE[k % 7], markersize=4, label=called(name))
        if floor is not None:
            axis.axhline(floor, color="0.3", linestyle=":", label="constant predictor")
        axis.set(title=title, xlabel="round")
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_ylabel(ylabel)
    axes[0, -1].legend(fontsize=8)
    figure.tight_layout()
    return stamp(figure, dataset)


def heatmap(rates: Mapping[str, Mapping[str, fairness.Rate]], *, dataset: Dataset | None = None) -> plt.Figure:
    """Hospitals by metrics; each field has the value and, below it, its 95 % interval.

    Parameters
    ----------
    rates : mapping
        From a hospital to its shares by metric.
    dataset : Dataset, optional
        Marks the figure if the data are synthetic.
    """
    rows, columns = list(rates), list(next(iter(rates.values())))
    values = np.array([[np.nan if rates[r][c].value is None else rates[r][c].value for c in columns] for r in rows])
    figure, axis = plt.subplots(figsize=(1.7 * len(columns) + 1.6, 0.75 * len(rows) + 1))
    drawn = axis.imshow(values, vmin=0, vmax=1, cmap="cividis", aspect="auto")
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            rate, light = rates[row][column], values[i, j] > 0.5
            text = "–" if rate.value is None else f"{rate.value:.1%}\n[{rate.interval[0]:.0%}, {rate.interval[1]:.0%}]"
            axis.text(j, i, text, ha="center", va="center", fontsize=9, color="black" if light else "white")
    axis.set_xticks(range(len(columns)), columns)
    axis.set_yticks(range(len(rows)), rows)
    axis.grid(visible=False)
    figure.colorbar(drawn, ax=axis, label="share")
    figure.tight_layout()
    return stamp(figure, dataset)


def reliability(groups: Mapping[str, tuple], *, bins: int = 5, dataset: Dataset | None = None) -> plt.Figure:
    """Accuracy against confidence, one line a hospital, with the 95 % Wilson interval of each bin.

    Parameters
    ----------
    groups : mapping
        From a hospital to labels and probabilities.
    bins : int
        Of equal width over [0, 1]; with two classes the lower half is empty.
    dataset : Dataset, optional
        Marks the figure if the data are synthetic.
    """
    figure, axis = plt.subplots(figsize=(5.2, 4.2))
    axis.plot([0, 1], [0, 1], color="0.3", linestyle=":", label="as sure as right")
    for k, (name, (labels, probabilities)) in enumerate(groups.items()):
        found = calibration.reliability(labels, probabilities, bins)
        filled = found["count"] > 0
        x, y, n = (found[what][filled] for what in ("confidence", "accuracy", "count"))
        rates = [fairness.rate(round(share * count), count) for share, count in zip(y, n, strict=True)]
        ends = np.abs(np.array([rate.interval[:2] for rate in rates]).T - y)
        # A little to the side, so that hospitals do not hide each other.
        style = {"marker": MARKERS[k % 7], "color": PALETTE[k % 7], "capsize": 3}
        axis.errorbar(x + 0.004 * (k - 1), y, ends, label=name, **style)
    axis.set(xlabel="mean confidence in the bin", ylabel="share right in the bin", xlim=(0.45, 1.02), ylim=(0, 1.02))
    axis.legend(fontsize=8)
    figure.tight_layout()
    return stamp(figure, dataset)
