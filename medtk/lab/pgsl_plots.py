"""Figures of chapters 31, 32 and 34: errors by mu, steps of the method on an image, and accuracy against privacy."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from medtk.data import Dataset
from medtk.lab.plots import MARKERS, PALETTE, stamp

CORNER = 0.12  # of SSIM and of accuracy below the best: what the second panel of the trade-off shows


def errors_by_mu(found: Mapping[str, dict], *, metric: str = "mse", dataset: Dataset | None = None) -> plt.Figure:
    """Fig. 3: error of recovered images against mu, one panel a data set; dotted is the image as attacked.

    Parameters
    ----------
    found : mapping
        From the title of a panel to a record of `medtk.lab.pgsl_images.recovery`.
    metric : {'mse', 'psnr', 'ssim'}
    dataset : Dataset, optional
        Marks the figure if the data are synthetic.
    """
    figure, axes = plt.subplots(1, len(found), figsize=(4.2 * len(found), 3.2), squeeze=False)
    for axis, (title, record) in zip(axes.flat, found.items(), strict=True):
        metrics = record["metrics"]
        mus = sorted(float(name.removeprefix("mu=")) for name in metrics if name.startswith("mu="))
        values = [metrics[f"mu={mu:g}"][metric] for mu in mus]
        axis.plot(mus, values, marker=MARKERS[0], color=PALETTE[0], label="recovered")
        for k, (name, label) in enumerate((("attacked", "as attacked"), ("map_taken_off", "map taken off"))):
            axis.axhline(metrics[name][metric], linestyle=(":", "--")[k], color=PALETTE[1 + k], label=label)
        axis.axvline(0.55, color="0.6", linewidth=1)
        axis.set(title=title, xlabel="μ", ylabel=metric.upper())
        axis.set_ylim(bottom=0)
    axes[0, 0].legend(fontsize=8)
    figure.tight_layout()
    return stamp(figure, dataset)


def rows(pictures: Mapping[str, np.ndarray], *, dataset: Dataset | None = None) -> plt.Figure:
    """One row of images a stage, one column an example.

    Parameters
    ----------
    pictures : mapping
        From the name of a row to grey images, shape (n, height, width, 1); a map may be negative.
    dataset : Dataset, optional
        Marks the figure if the data are synthetic.
    """
    n = min(len(images) for images in pictures.values())
    figure, axes = plt.subplots(len(pictures), n, figsize=(1.15 * n + 1.3, 1.2 * len(pictures)), squeeze=False)
    for line, (name, images) in zip(axes, pictures.items(), strict=True):
        low = -1 if np.min(images) < 0 else 0
        for axis, image in zip(line, images, strict=False):
            axis.imshow(np.squeeze(image), cmap="gray" if low == 0 else "PuOr", vmin=low, vmax=1)
            axis.set_xticks([])
            axis.set_yticks([])
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    figure.tight_layout()
    return stamp(figure, dataset)


def learning(histories: Mapping[str, Sequence[dict]], *, dataset: Dataset | None = None) -> plt.Figure:
    """Loss while training, one line a way to train."""
    figure, axis = plt.subplots(figsize=(5.4, 3.2))
    for k, (name, history) in enumerate(histories.items()):
        losses = [entry["loss"] for entry in history]
        axis.plot(range(1, len(losses) + 1), losses, marker=MARKERS[k], color=PALETTE[k], label=name, alpha=0.8)
    axis.set(xlabel="epoch", ylabel="loss while training")
    axis.set_ylim(bottom=0)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend(fontsize=8)
    figure.tight_layout()
    return stamp(figure, dataset)


def trade_off(points: pd.DataFrame, *, dataset: Dataset | None = None) -> plt.Figure:
    """Accuracy in use against SSIM of what a decoder rebuilds: up and to the left is better.

    Left on the whole scale, where what protects would stand apart; right its crowded corner. Each seed is a small
    point. A large one is the mean over the seeds that all drawn defences have, with bars for their range; without such
    seeds there is none.

    Parameters
    ----------
    points : DataFrame
        Columns ``defence``, ``seed``, ``accuracy`` and ``SSIM``, as of `medtk.lab.pgsl_tables.trade_offs`.
    dataset : Dataset, optional
        Marks the figure if the data are synthetic.
    """
    figure, (whole, corner) = plt.subplots(1, 2, figsize=(8.6, 4.0))
    for axis in (whole, corner):
        _defences(axis, points)
        axis.set(xlabel="SSIM of the rebuilt test images\n(lower: more private)", ylabel="accuracy in use")
    whole.set(xlim=(0, 1.02), title="whole scale")
    whole.set_ylim(top=1.02)
    corner.set_title("its crowded corner")
    if len(points):
        near = points[["SSIM", "accuracy"]] > points[["SSIM", "accuracy"]].max() - CORNER
        crowd = points[near.all(axis=1)] if near.all(axis=1).any() else points
        for limits, values in ((corner.set_xlim, crowd["SSIM"]), (corner.set_ylim, crowd["accuracy"])):
            margin = 0.1 * (values.max() - values.min()) + 0.002
            limits(values.min() - margin, values.max() + margin)
        corner.locator_params(axis="x", nbins=5)
        whole.legend(fontsize=8, loc="best")
    figure.tight_layout()
    return stamp(figure, dataset)


def _defences(axis: plt.Axes, points: pd.DataFrame) -> None:
    seeds = points.groupby("defence")["seed"].agg(set)
    common = points[points["seed"].isin(set.intersection(*seeds) if len(seeds) else set())]
    kinds = list(dict.fromkeys(name.split(" ")[0] for name in points["defence"]))
    for k, kind in enumerate(kinds):
        names = [name for name in seeds.index if name.split(" ")[0] == kind]
        # Once the colours are used up, each meets another marker.
        style = {"marker": MARKERS[(k + k // len(PALETTE)) % len(MARKERS)], "color": PALETTE[k % len(PALETTE)]}
        mine = points[points["defence"].isin(names)]
        axis.plot(mine["SSIM"], mine["accuracy"], linestyle="", markersize=3.5, alpha=0.6, **style)
        # Points of several defences may lie on each other: the legend names a single one, labels only strengths.
        axis.plot([], [], linestyle="", markersize=7, label=names[0] if len(names) == 1 else kind, **style)
        shown = [(name, common.loc[common["defence"] == name, ["SSIM", "accuracy"]]) for name in names]
        for name, each in ((name, each) for name, each in shown if len(each)):
            centre = each.mean()
            bars = [[[centre[w] - each[w].min()], [each[w].max() - centre[w]]] for w in ("SSIM", "accuracy")]
            axis.errorbar(*centre, xerr=bars[0], yerr=bars[1], markersize=7, linewidth=1, capsize=2, **style)
            if len(names) > 1:
                axis.annotate(
                    name.partition(" ")[2],
                    centre,
                    fontsize=7,
                    xytext=(4, 4),
                    textcoords="offset points",
                    annotation_clip=True,
                )
