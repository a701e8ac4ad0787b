"""Figure of chapter 13: every recorded adversarial training, before and after."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np

from medtk.data import card_of
from medtk.lab.adversarial_tables import Trained
from medtk.lab.plots import PALETTE
from medtk.reproduction.quantities import one_answer


def before_after(found: Sequence[Trained]) -> plt.Figure:
    """Balanced accuracy before and after training further, a row a setting and a panel a way to test.

    An open circle is the mean before, a filled one the mean after, and a dot is one seed. A cross takes the place of
    the filled circle where every network gives all clean images the same answer. The short upright line is chance.

    Parameters
    ----------
    found : sequence of Trained
        In one state; settings that hold nothing to compare in a panel are left empty there.
    """
    ways = list(found[0].ways)
    size = (1.6 * len(ways) + 4.2, 0.3 * len(found) + 1.3)
    figure, axes = plt.subplots(1, len(ways), figsize=size, sharey=True, sharex=True, layout="constrained")
    for axis, way in zip(axes, ways, strict=True):
        for row, one in enumerate(found):
            pairs = [pair for pair in one.ways[way] if None not in pair]
            if pairs:
                _row(axis, row, pairs, collapsed=all(one_answer(after) for _, after in one.ways["clean"]))
                chance = 1 / len(card_of(one.data).class_names)
                axis.plot([chance, chance], [row - 0.35, row + 0.35], color="0.6", linewidth=1, zorder=1)
        axis.set(title=way, xlabel="balanced accuracy", xlim=(-0.04, 1.04))
        axis.grid(axis="y", visible=False)
        for row in range(1, len(found)):
            if (found[row].data, found[row].network) != (found[row - 1].data, found[row - 1].network):
                axis.axhline(row - 0.5, color="0.85", linewidth=0.8)
    axes[0].set_yticks(range(len(found)), [_called(one) for one in found], fontsize=8)
    axes[0].set_ylim(len(found) - 0.5, -0.5)
    return figure


def _row(axis: plt.Axes, row: int, pairs: list[tuple[dict, dict]], *, collapsed: bool) -> None:
    before, after = np.array([[side["balanced_accuracy"] for side in pair] for pair in pairs]).T
    color = "0.45" if collapsed else PALETTE[0] if after.mean() >= before.mean() else PALETTE[1]
    axis.plot([before.mean(), after.mean()], [row, row], color=color, linewidth=1.5)
    axis.plot(after, np.full(len(after), row), ".", color=color, markersize=3)
    axis.plot(before.mean(), row, "o", color=color, markerfacecolor="white", markersize=6)
    axis.plot(after.mean(), row, "X" if collapsed else "o", color=color, markersize=8 if collapsed else 6)


def _called(one: Trained) -> str:
    settings = "" if one.settings == "usual" else f" ({one.settings})"
    return f"{one.label}, {one.network}: {one.method}{settings}"
