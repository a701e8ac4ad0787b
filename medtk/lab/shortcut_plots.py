"""Figures of chapters 21 and 24: maps over images, twins, the parting of two modalities by round."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np

from medtk.data import Dataset
from medtk.lab.plots import MARKERS, PALETTE, stamp


def twins(dataset: Dataset, rows: np.ndarray, nearest: np.ndarray, same: np.ndarray) -> plt.Figure:
    """Test images above, the nearest training image of each below; the title says whether the patient is the same.

    Parameters
    ----------
    dataset : Dataset
    rows : ndarray of int, shape (n,)
        Test images to show.
    nearest, same : ndarray
        Of `medtk.lab.shortcuts.nearest`, for all test images.
    """
    figure, axes = plt.subplots(2, len(rows), figsize=(1.5 * len(rows), 3.5), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for column, row in enumerate(rows):
        axes[0, column].imshow(dataset.test.images[row].squeeze(), cmap="gray", vmin=0, vmax=1)
        axes[1, column].imshow(dataset.train.images[nearest[row]].squeeze(), cmap="gray", vmin=0, vmax=1)
        axes[0, column].set_title("test", fontsize=8)
        axes[1, column].set_title(f"train, {'same patient' if same[row] else 'other patient'}", fontsize=8)
    figure.tight_layout()
    return stamp(figure, dataset)


def maps(
    images: np.ndarray,
    found: Mapping[str, np.ndarray],
    titles: Sequence[str],
    *,
    dataset: Dataset | None = None,
) -> plt.Figure:
    """Images in the first row, and a row for each kind of map over them, each map on a scale of its own.

    Parameters
    ----------
    images : ndarray, shape (n, height, width, 1)
    found : mapping
        From a name to maps, shape (n, height, width); what is below 0 is not drawn.
    titles : sequence of str
        One an image.
    dataset : Dataset, optional
        Marks the figure if the data are synthetic.
    """
    figure, axes = plt.subplots(
        1 + len(found), len(images), figsize=(1.5 * len(images), 1.65 * (1 + len(found))), squeeze=False
    )
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.grid(visible=False)
    for column, (image, title) in enumerate(zip(images, titles, strict=True)):
        axes[0, column].set_title(title, fontsize=8)
        for row in range(1 + len(found)):
            axes[row, column].imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1)
        for row, values in enumerate(found.values(), start=1):
            positive = np.maximum(values[column], 0)
            axes[row, column].imshow(positive, cmap="cividis", alpha=0.65, vmin=0, vmax=max(positive.max(), 1e-9))
    for row, name in enumerate(("image", *found)):
        axes[row, 0].set_ylabel(name, fontsize=8)
    figure.tight_layout()
    return stamp(figure, dataset)


def parting(
    loss: Mapping[str, Sequence[float]],
    notes: Mapping[str, Sequence[float]],
    marks: Mapping[str, int | None],
    *,
    dataset: Dataset | None = None,
) -> plt.Figure:
    """Fig. 5 with its red line: test loss, distance and cosine of the modalities by round, and the rounds of the rules.

    Parameters
    ----------
    loss : mapping
        Test loss by name of a run.
    notes : mapping
        ``distance`` and ``cosine``, one value a round.
    marks : mapping
        From the name of a rule to its round, or None.
    dataset : Dataset, optional
        Marks the figure if the data are synthetic.
    """
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.2))
    for k, (name, values) in enumerate(loss.items()):
        every = max(1, len(values) // 8)
        axes[0].plot(range(1, len(values) + 1), values, color=PALETTE[k], marker=MARKERS[k], markevery=every,
                     markersize=4, label=name)  # fmt: skip
    for axis, (name, values), colour in zip(axes[1:], notes.items(), (PALETTE[0], PALETTE[2]), strict=True):
        axis.plot(range(1, len(values) + 1), values, color=colour)
        axis.set(title=name, xlabel="round")
    axes[2].axhline(0, color="0.3", linewidth=0.8)
    for k, (name, number) in enumerate(marks.items()):
        if number is not None:
            for axis in axes:
                label = f"{name}: round {number}" if axis is axes[1] else None
                axis.axvline(number, color=PALETTE[1], linestyle=("-", "--", ":")[k % 3], label=label)
    axes[0].set(title="test loss", xlabel="round")
    axes[0].legend(fontsize=7)
    if axes[1].get_legend_handles_labels()[0]:
        axes[1].legend(fontsize=7)
    figure.tight_layout()
    return stamp(figure, dataset)


def by_tick(curves: Mapping[str, tuple[Sequence[int], Sequence[float]]], ylabel: str, *, dataset=None) -> plt.Figure:
    """Curves against time: from a name to the times and the values.

    Parameters
    ----------
    curves : mapping
    ylabel : str
    dataset : Dataset, optional
        Marks the figure if the data are synthetic.
    """
    figure, axis = plt.subplots(figsize=(6.4, 3.6))
    for k, (name, (ticks, values)) in enumerate(curves.items()):
        axis.plot(ticks, values, color=PALETTE[k], marker=MARKERS[k], markersize=4, label=name)
    axis.set(xlabel="time, in rounds of a fast client", ylabel=ylabel)
    axis.legend(fontsize=8)
    figure.tight_layout()
    return stamp(figure, dataset)


def payload(rounds: np.ndarray, weights: Mapping[str, float], images: Mapping[str, float]) -> plt.Figure:
    """Megabytes sent up to each round by network, against what the images weigh, on two logarithmic axes.

    Parameters
    ----------
    rounds : ndarray of int
    weights : mapping
        Megabytes a round, by network.
    images : mapping
        Megabytes, by form.
    """
    figure, axis = plt.subplots(figsize=(6.4, 3.8))
    for k, (name, each) in enumerate(weights.items()):
        axis.plot(rounds, each * rounds, color=PALETTE[k], marker=MARKERS[k], markevery=0.2, label=f"weights, {name}")
    for k, (form, weight) in enumerate(images.items()):
        axis.axhline(weight, color="0.25", linestyle=("-", "--", ":")[k % 3], label=f"images once, {form}")
    axis.set(xscale="log", yscale="log", xlabel="rounds", ylabel="megabytes sent")
    axis.legend(fontsize=7)
    figure.tight_layout()
    return figure
