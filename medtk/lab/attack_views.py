"""Tables and figures of chapter 15, from what `medtk.lab.stronger` found."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from medtk.data import Dataset
from medtk.evaluation import intervals, metrics
from medtk.lab.attack_measures import MEASURES, Attacked, conditions, limited, sizes
from medtk.lab.plots import MARKERS, PALETTE, gallery, stamp

LEVELS = 255
# What an attack has seen of the network; the others see its gradients.
SEES = {"square": "answers", "one-pixel": "answers", "universal": "gradients, other images", "transfer": "nothing"}
UNITS = {"rms": "root mean square", "linf": "largest", "share": "share of values"}


def within_budget(found: dict[str, Attacked], clean: np.ndarray, dataset: Dataset, epsilon: float) -> pd.DataFrame:
    """What is still right under each attack that keeps to epsilon, and under the worst of all for each image.

    AUC stands beside it: it also falls where every image keeps the one answer that a network gives.

    Parameters
    ----------
    found : dict
        Of `medtk.lab.stronger.attack_all`.
    clean : ndarray, shape (n, classes)
        Answers to the test images.
    dataset : Dataset
    epsilon : float
    """
    split = dataset.test
    kept = conditions(found, clean, split, epsilon)
    lines = [{"attack": "none", "sees": "", "settings": "", **_scored(clean, split.labels)}]
    for name, one in found.items():
        if name not in MEASURES:
            lines.append({"attack": name, "sees": SEES.get(name, "gradients"), "settings": one.settings,
                          **_scored(one.probabilities, split.labels), "seconds": f"{one.seconds:.1f}"})  # fmt: skip
    worst = _scored(kept[f"worst-epsilon={epsilon:g}"], split.labels)
    lines.append({"attack": "worst of all", "sees": "", "settings": "per image", **worst})
    return pd.DataFrame(lines).fillna("")


def _scored(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, str]:
    area = metrics.auc(labels, probabilities)
    return {"still right": share_right(probabilities, labels), "AUC": "–" if area is None else f"{area:.3f}"}


def smallest_changes(found: dict[str, Attacked], clean: np.ndarray, dataset: Dataset, epsilon: float) -> pd.DataFrame:
    """What each smallest-change attack needs, in grey levels, over the images that were right before it.

    Parameters as in `within_budget`. The median counts images that were not turned as needing more than any.
    """
    split, lines = dataset.test, []
    right = clean.argmax(axis=1) == split.labels
    for name, one in found.items():
        if name in MEASURES:
            turned = right & (one.probabilities.argmax(axis=1) != split.labels)
            change = one.images - split.images
            needed = {m: np.where(turned, sizes(change, m), np.inf)[right] for m in UNITS}
            limit = limited(one, clean, split.images, "linf", epsilon)
            lines.append(
                {
                    "attack": name,
                    "sees": SEES.get(name, "gradients"),
                    "settings": one.settings,
                    "turned": f"{turned.sum()} of {right.sum()}",
                    "median change, rms": _levels(needed["rms"]),
                    "median change, largest": _levels(needed["linf"]),
                    "median share of values": _median(needed["share"], "{:.1%}"),
                    f"still right if no value may move by more than {epsilon:g}": share_right(limit, split.labels),
                    "seconds": f"{one.seconds:.1f}",
                }
            )
    return pd.DataFrame(lines)


def share_right(probabilities: np.ndarray, labels: np.ndarray) -> str:
    """Accuracy with its 95 % Wilson interval, in words."""
    right = int(np.sum(probabilities.argmax(axis=1) == labels))
    low, high = intervals.wilson(right, len(labels))[:2]
    return f"{right / len(labels):.1%} [{low:.1%}, {high:.1%}]"


def _levels(needed: np.ndarray) -> str:
    return _median(needed * LEVELS, "{:.3g}")


def _median(values: np.ndarray, form: str) -> str:
    if not len(values):
        return "–"
    # Not an average of the middle two, one of which may be infinite.
    middle = np.sort(values)[len(values) // 2]
    return form.format(middle) if np.isfinite(middle) else "more than it found"


def rising(
    images: np.ndarray,
    confidence: np.ndarray,
    epsilons: Sequence[float],
    *,
    said: Sequence[str],
    truth: str,
    dataset: Dataset,
    times: float = 50,
) -> list[plt.Figure]:
    """Frames of a living figure: one image as epsilon rises.

    Parameters
    ----------
    images : ndarray, shape (k, height, width, channels)
        The image under each epsilon; the first is clean.
    confidence : ndarray, shape (k,)
        Probability of the true class.
    epsilons : sequence of k float
    said : sequence of k str
        The network's answers.
    truth : str
        Name of the true class.
    dataset : Dataset
        Marks the frames if the data are synthetic.
    times : float
        How much larger the change is shown than it is.
    """
    stored = np.round(np.clip(images, 0, 1) * LEVELS)
    return [
        stamp(_frame(images, stored, confidence, epsilons, said[k], truth, times, k), dataset)
        for k in range(len(images))
    ]


def _frame(images, stored, confidence, epsilons, said, truth, times, k) -> plt.Figure:
    figure, (seen, change, file, curve) = plt.subplots(1, 4, figsize=(9.6, 2.9), width_ratios=(1, 1, 1.25, 1.3))
    for axis in (seen, change, file):
        axis.set_xticks([])
        axis.set_yticks([])
    seen.imshow(np.clip(images[k], 0, 1).squeeze(), cmap="gray", vmin=0, vmax=1)
    seen.set_title(f"ε = {epsilons[k]:g}\nanswer: {said}", fontsize=9)
    change.imshow(np.clip(0.5 + times * (images[k] - images[0]), 0, 1).squeeze(), cmap="gray", vmin=0, vmax=1)
    change.set_title(f"the change,\n× {times:g}", fontsize=9)
    levels = stored[k] - stored[0]
    shown = file.imshow(levels[..., 0], cmap="PuOr", vmin=-6, vmax=6)
    figure.colorbar(shown, ax=file, shrink=0.75).ax.tick_params(labelsize=7)
    file.set_title(f"grey levels after 8 bits:\n{np.mean(levels != 0):.0%} of the values differ", fontsize=9)
    places = range(len(epsilons))
    curve.plot(places, confidence, color=PALETTE[0], alpha=0.6)
    curve.plot([k], [confidence[k]], marker="o", markersize=9, color=PALETTE[1])
    curve.set_xticks(places, [f"{e:g}" for e in epsilons], rotation=90, fontsize=7)
    curve.tick_params(axis="y", labelsize=7)
    curve.set_ylim(0, 1)
    curve.set_title(f"probability of\n“{truth}”: {confidence[k]:.0%}", fontsize=9)
    figure.tight_layout()
    return figure


def each_attack(found: dict[str, Attacked], dataset: Dataset, chosen: int, columns: int = 7) -> plt.Figure:
    """One test image as each attack left it, and below it the change, stretched to the full scale.

    Parameters
    ----------
    found : dict
        Of `medtk.lab.stronger.attack_all`.
    dataset : Dataset
        Its test images were attacked.
    chosen : int
        Number of the test image.
    columns : int
        Attacks a row.
    """
    original, names = dataset.test.images[chosen], list(found)
    names += [""] * (-len(names) % columns)
    pictures, titles = [], []
    for start in range(0, len(names), columns):
        row = names[start : start + columns]
        left = [found[name].images[chosen] if name else np.ones_like(original) for name in row]
        largest = [np.abs(image - original).max() if name else 0.0 for name, image in zip(row, left, strict=True)]
        said = [dataset.class_names[found[name].probabilities[chosen].argmax()] if name else "" for name in row]
        pictures += left
        titles += [f"{name}\n{word[:14]}".strip() for name, word in zip(row, said, strict=True)]
        for name, image, size in zip(row, left, largest, strict=True):
            pictures.append(0.5 + 0.5 * (image - original) / max(size, 1e-9) if name else image)
            titles.append(f"largest {LEVELS * size:.3g}" if name else "")
    return gallery(np.stack(pictures), titles, columns=columns, dataset=dataset)


def survival(found: dict[str, Attacked], clean: np.ndarray, dataset: Dataset, epsilon: float) -> plt.Figure:
    """Share still right against the size of change that is allowed, for the attacks that seek the smallest one.

    Parameters as in `within_budget`; `epsilon` is marked.
    """
    figure, axis = plt.subplots(figsize=(6.4, 3.8))
    allowed = np.geomspace(0.02, LEVELS, 120) / LEVELS
    for number, name in enumerate(name for name in found if MEASURES.get(name) in ("rms", "linf")):
        limits = [limited(found[name], clean, dataset.test.images, MEASURES[name], a) for a in allowed]
        right = [np.mean(p.argmax(axis=1) == dataset.test.labels) for p in limits]
        label = f"{name} ({UNITS[MEASURES[name]]})"
        axis.plot(LEVELS * allowed, right, marker=MARKERS[number], markevery=20, label=label)
    axis.axvline(LEVELS * epsilon, color="0.3", linestyle=":", label=f"ε = {epsilon:g}")
    axis.set(xscale="log", xlabel="change allowed, grey levels of 255", ylabel="share still right", ylim=(0, 1))
    axis.legend(fontsize=8)
    figure.tight_layout()
    return stamp(figure, dataset)


def loss_surface(surface: dict[str, np.ndarray], epsilon: float, *, dataset: Dataset | None = None) -> plt.Figure:
    """Mean loss around the images, along the sign of the gradient and along random signs.

    Parameters
    ----------
    surface : dict
        ``distances`` (k,) and ``loss`` (k, k), rows along the gradient, as `medtk.defenses.adaptive` gives it.
    epsilon : float
        The attack's budget, marked by a square.
    dataset : Dataset, optional
        Marks the figure if the data are synthetic.
    """
    at, loss = LEVELS * np.asarray(surface["distances"], float), surface["loss"]
    figure, (flat, lines) = plt.subplots(1, 2, figsize=(8.4, 3.5))
    shown = flat.contourf(at, at, loss, levels=12, cmap="viridis")
    figure.colorbar(shown, ax=flat, label="loss")
    edge = LEVELS * epsilon
    flat.plot([-edge, edge, edge, -edge, -edge], [-edge, -edge, edge, edge, -edge], color="white", linestyle="--")
    flat.set(xlabel="along random signs, grey levels", ylabel="along the gradient's signs, grey levels")
    middle = len(at) // 2
    lines.plot(at, loss[:, middle], marker=MARKERS[0], label="along the gradient")
    lines.plot(at, loss[middle], marker=MARKERS[1], label="along random signs")
    lines.set(xlabel="distance, grey levels", ylabel="loss")
    lines.legend(fontsize=8)
    figure.tight_layout()
    return stamp(figure, dataset)
