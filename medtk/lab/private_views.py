"""Tables and figures of chapter 53, from records of `medtk.lab.private` and from updates of hospitals."""

import math
from collections.abc import Mapping, Sequence
from statistics import mean

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from medtk import privacy
from medtk.data import Dataset
from medtk.evaluation import intervals
from medtk.lab.plots import MARKERS, PALETTE, stamp
from medtk.privacy.dp_fedavg import shares
from medtk.reproduction import records
from medtk.reproduction.rules_hospital_privacy import promised
from medtk.settings import results_home

PROMISES = {"none": "none", "record": "each image", "client": "each hospital"}

# A record and the arrays behind it.
Kept = tuple[dict, dict[str, np.ndarray]]


def ledger(dataset: str) -> list[Kept]:
    """Every recorded run on a data set, the strongest promise last."""
    home = results_home()
    found = [
        record
        for record in records.read_all(home)
        if (record["paper"], record["experiment"], record["data"]["name"]) == ("hospital", "privacy", dataset)
    ]
    return [(record, records.load_predictions(record, home)) for record in sorted(found, key=_order)]


def _order(record: dict) -> tuple:
    p = record["parameters"]
    return list(PROMISES).index(p["level"]), -_epsilon(record), record["seed"]


def _epsilon(record: dict) -> float:
    return math.inf if record["parameters"]["epsilon"] is None else record["parameters"]["epsilon"]


def promise(parameters: dict) -> str:
    """What a recorded run hides, in words."""
    level = PROMISES[parameters["level"]]
    return level if parameters["epsilon"] or level == "none" else f"none: {level} clipped, no noise"


def membership(kept: dict[str, np.ndarray], *, against: str = "others", repeats: int = 200) -> privacy.Success:
    """How well the loss tells images that were trained on from others.

    Parameters
    ----------
    kept : dict
        Arrays behind a record.
    against : {'others', 'test'}
        Images of the same hospitals that were set aside; or the test images, which differ in more than that.
    repeats : int
        Of the bootstrap behind the intervals.
    """
    return privacy.attack_success(-kept["members/loss"], -kept[f"{against}/loss"], repeats=repeats)


def auc_bound(epsilon: float, delta: float = 0.0) -> float:
    """Largest area under the curve of any membership test: the area under `medtk.privacy.power_bound`.

    Parameters
    ----------
    epsilon : float
        0 or more, may be infinite.
    delta : float
        In [0, 1].
    """
    # The bound is made of straight lines; at this false-positive rate its two steep ones meet.
    corner = (1 - delta) * math.exp(-epsilon) / (1 + math.exp(-epsilon))
    return float(np.trapezoid([delta, 1 - corner, 1, 1], [0, corner, 1 - delta, 1]))


def by_promise(runs: Sequence[Kept]) -> list[list[Kept]]:
    """Runs that differ in nothing but the seed, together."""
    same: dict[tuple, list[Kept]] = {}
    for record, kept in runs:
        same.setdefault(promised(record["parameters"]), []).append((record, kept))
    return list(same.values())


def utility_and_leak(runs: Sequence[Kept]) -> pd.DataFrame:
    """One line a promise: what it costs on the test images, and what the attack on membership finds.

    In brackets a 95 % interval where there is one run (Wilson's for accuracy, bootstrap for the attack), else the
    lowest and the highest of the seeds beside their mean. The bound is for promises about images only: the attack
    asks for an image, and a hospital's promise is about the hospital.
    """
    lines = []
    for together in by_promise(runs):
        record, p = together[0][0], together[0][0]["parameters"]
        tests = [one["metrics"]["global"] for one, _ in together]
        found = [membership(kept) for _, kept in together]
        noise = max(p["noise_multipliers"].values())
        right = [mean(one["metrics"][name]["accuracy"] for one, _ in together) for name in ("members", "others")]
        lines.append(
            {
                "hidden": promise(p),
                "ε": f"{_epsilon(record):g}".replace("inf", "∞"),
                "noise multiplier": f"{noise:.2f}" if noise else "–",
                "seeds": len(together),
                "test accuracy": _ranged([t["accuracy"] for t in tests], _interval(tests[0]), ".1%"),
                "balanced": f"{mean(t['balanced_accuracy'] for t in tests):.1%}",
                "network's AUC": f"{mean(t['auc'] for t in tests):.3f}",
                "seen / set aside": " / ".join(f"{share:.1%}" for share in right),
                "attack's AUC": _ranged([one.auc for one in found], found[0].auc_interval, ".3f"),
                "bound": f"{auc_bound(_epsilon(record), p['delta']):.3f}"
                if p["level"] == "record" and p["epsilon"]
                else "–",
            }
        )
    return pd.DataFrame(lines)


def _interval(test: dict) -> intervals.Interval:
    return intervals.wilson(round(test["accuracy"] * test["n"]), test["n"])


def _ranged(values: list[float], interval: intervals.Interval, form: str) -> str:
    low, high = (interval.low, interval.high) if len(values) == 1 else (min(values), max(values))
    return f"{mean(values):{form}} [{low:{form}}, {high:{form}}]"


def panels(runs: Mapping[str, Sequence[Kept]], *, dataset: Dataset | None = None) -> plt.Figure:
    """Accuracy on the test images, and the attack's AUC beside what the promise allows; a column a data set.

    Parameters
    ----------
    runs : mapping
        From the name of a data set to its runs, as `ledger` gives them.
    dataset : Dataset, optional
        Marks the figure if the data are synthetic.
    """
    figure, axes = plt.subplots(2, len(runs), figsize=(4.6 * len(runs), 6.2), squeeze=False, sharey="row")
    for (name, recorded), (above, below) in zip(runs.items(), axes.T, strict=True):
        ticks = []
        for place, together in enumerate(by_promise(recorded)):
            level, epsilon = together[0][0]["parameters"]["level"], _epsilon(together[0][0])
            noise = "no noise" if math.isinf(epsilon) else f"ε = {epsilon:g}"
            ticks.append("plain" if level == "none" else f"{PROMISES[level].removeprefix('each ')}\n{noise}")
            look = {"color": PALETTE[list(PROMISES).index(level)], "marker": MARKERS[list(PROMISES).index(level)]}
            for number, (record, kept) in enumerate(together):
                beside, test = place + 0.15 * (number - (len(together) - 1) / 2), record["metrics"]["global"]
                _point(above, beside, test["accuracy"], _interval(test), look)
                found = membership(kept)
                _point(below, beside, found.auc, found.auc_interval, look)
            if level == "record" and not math.isinf(epsilon):
                bound = auc_bound(epsilon, together[0][0]["parameters"]["delta"])
                below.plot(place, bound, "_", color="0.2", markersize=22, markeredgewidth=2)
        commonest = np.bincount(recorded[0][1]["labels"]).max() / len(recorded[0][1]["labels"])
        above.axhline(commonest, color="0.3", linestyle=":")
        below.axhline(0.5, color="0.3", linestyle=":")
        above.set(title=name, ylim=(0, 1))
        below.set(ylim=(0.4, 1.03))
        for axis in (above, below):
            axis.set_xticks(range(len(ticks)), ticks, fontsize=7)
            axis.set_xlim(-0.5, len(ticks) - 0.5)
    axes[0, 0].set_ylabel("test accuracy")
    axes[1, 0].set_ylabel("AUC of the attack")
    figure.tight_layout()
    return stamp(figure, dataset)


def _point(axis, place: float, value: float, interval, look: dict) -> None:
    ends = [[value - interval.low], [interval.high - value]]
    axis.errorbar([place], [value], np.maximum(ends, 0), capsize=3, **look)


def accounts(rate: float, steps: int, rounds: Sequence[int], noises: Sequence[float], delta: float) -> plt.Figure:
    """Epsilon against the number of rounds, a line a noise multiplier; the first also without sampling.

    Parameters
    ----------
    rate, steps : float, int
        Of one round at one hospital, as `medtk.privacy.sampling` gives them.
    rounds : sequence of int
        Where to compute.
    noises : sequence of float
        Noise multipliers.
    delta : float
    """
    figure, axis = plt.subplots(figsize=(8.4, 3.6))
    for number, noise in enumerate(noises):
        spent = [privacy.epsilon(noise, rate, steps * n, delta) for n in rounds]
        axis.plot(rounds, spent, marker=MARKERS[number], color=PALETTE[number], label=f"noise {noise:g}")
    spent = [privacy.epsilon(noises[0], 1.0, steps * n, delta) for n in rounds]
    axis.plot(rounds, spent, ":", color="0.3", label=f"noise {noises[0]:g},\nevery image in every step")
    axis.set(xlabel="rounds", ylabel="ε spent", yscale="log")
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.02, 1))
    figure.tight_layout()
    return figure


def noise_against_signal(
    updates: Sequence[Sequence[np.ndarray]],
    sizes: Sequence[int],
    *,
    epsilons: Sequence[float],
    rounds: int,
    delta: float,
    clip_norm: float,
) -> pd.DataFrame:
    """What hiding a whole hospital takes, counted with real updates.

    Parameters
    ----------
    updates : sequence of lists of ndarray
        New weights minus old ones, one a hospital.
    sizes : sequence of int
        Images of each.
    epsilons : sequence of float
        Promises over all rounds.
    rounds : int
        All hospitals in each.
    delta, clip_norm : float

    Returns
    -------
    DataFrame
        ``noise / signal`` is the length of the noise on the mean over the length of the mean of the clipped updates.
        ``hospitals`` of equal size would make the two equal, if their mean update were as long as this one.
    """
    clipped = [privacy.clip_update(update, clip_norm)[0] for update in updates]
    released = [
        sum(w * array for w, array in zip(shares(sizes), arrays, strict=True)) for arrays in zip(*clipped, strict=True)
    ]
    numbers = sum(array.size for array in released)
    signal = math.sqrt(sum(float(np.sum(array**2)) for array in released))
    lines = []
    for epsilon in epsilons:
        z = privacy.noise_for(epsilon, 1.0, rounds, delta)
        noise = z * privacy.sensitivity(sizes, clip_norm) * math.sqrt(numbers)
        enough = math.ceil(z * clip_norm * math.sqrt(numbers) / signal)
        lines.append({"ε": f"{epsilon:g}", "noise multiplier": f"{z:.2f}", "length of the signal": f"{signal:.2f}",
                      "length of the noise": f"{noise:.0f}", "noise / signal": f"{noise / signal:.0f}",
                      "hospitals": enough})  # fmt: skip
    return pd.DataFrame(lines)


def what_the_server_sees(plain: np.ndarray, masked: np.ndarray) -> plt.Figure:
    """Histograms of one hospital's numbers before and after masking, both as shares of the whole range.

    Parameters
    ----------
    plain, masked : ndarray of uint32, shape (d,)
        From `medtk.privacy.to_integers`, and what arrives.
    """
    figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharex=True)
    for axis, numbers, title in zip(axes, (plain, masked), ("the update", "what arrives"), strict=True):
        # Numbers above one half stand for negative ones.
        axis.hist((numbers.astype(np.int32) / 2**31), bins=41, range=(-1, 1), color=PALETTE[0])
        axis.set(title=title, xlabel="value, as a share of the range")
    axes[0].set(ylabel="weights")
    figure.tight_layout()
    return figure
