"""Tables of chapters 31, 32 and 34: errors of images, streams by whose label was attacked, the ledger."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import mean

import pandas as pd

from medtk.evaluation.intervals import wilson
from medtk.lab.pgsl_spec import PAPER, STREAM_ROWS
from medtk.lab.robust_tables import change
from medtk.lab.tables import spread
from medtk.reproduction import records
from medtk.reproduction.paired import LEARNED, UNTOLD
from medtk.settings import results_home

MEASURES = {"mse": "MSE, pixels 0 to 1", "psnr": "PSNR in dB", "ssim": "SSIM"}
COMMONEST = "always the commonest class"
# What a training's line in the tables is known by, and a defence's beside its name.
KEY = ("data", "split", "trained on", "cut", "μ", "pixels", "training images", "test images", "epochs")
ERROR = (0.0, float("inf"))  # where a squared error can lie
SETTING = ["data", "pixels", "cut", "training images"]
# What to call the conditions of a record that hold distances between images.
DISTANCES = {
    "attack": "attacked image",
    "attacked": "attacked image",
    "map_taken_off": "map taken off the tensor",
    "first layer": "first layer's input, read from activations",
    "subtracted": "the same, the map read with it taken off",
    "subtracted by reader": "the same, the map of a decoder made for it taken off",
    "plain decoder": "decoder trained on plain images, knows of no attack",
    "decoder": "decoder trained for the image",
}


def distances(record: dict, names: Mapping[str, str] = DISTANCES) -> pd.DataFrame:
    """How near images come to the originals: one line a condition of the record, means over its images."""
    metrics = record["metrics"]
    lines = {}
    for condition, title in names.items():
        if "mse" in metrics.get(condition, {}):
            found = metrics[condition]
            lines[title] = {text: _number(found[name], name) for name, text in MEASURES.items()}
    return pd.DataFrame(lines).T


def by_mu(record: dict) -> pd.DataFrame:
    """Fig. 3 as a table: error of the recovered image for each mu, and of the image that nobody recovered."""
    mus = {name: name.replace("mu=", "recovered, μ = ") for name in record["metrics"] if name.startswith("mu=")}
    return distances(record, {"attacked": "attacked, not recovered", "map_taken_off": "map taken off", **mus})


def streams(record: dict) -> pd.DataFrame:
    """Accuracy of each stream and of all, when the attack on the test images took the true label or a guess."""
    lines = {}
    for row, condition in STREAM_ROWS.items():
        lines[row] = {
            "true label": _share(record["metrics"][condition]),
            "the client's guess": _share(record["metrics"][f"{condition}-guessed"]),
        }
    lines[COMMONEST] = dict.fromkeys(lines["PGSL"], f"{_commonest(record['metrics']['pgsl']):.1%}")
    return pd.DataFrame(lines).T


def networks(found: Mapping[str, dict]) -> pd.DataFrame:
    """Networks in one piece by what they were trained on, tested on attacked images and on plain ones."""
    lines = {}
    for name, record in found.items():
        metrics = record["metrics"]
        conditions = {
            "attacked, true label": "attacked",
            "attacked, guessed label": "attacked-guessed",
            "plain": "unattacked",
        }
        lines[name] = {what: _share(metrics[c]) if c in metrics else "–" for what, c in conditions.items()}
        lines[COMMONEST] = dict.fromkeys(conditions, f"{_commonest(metrics['unattacked']):.1%}")
    return pd.DataFrame({name: lines[name] for name in [*found, COMMONEST]}).T


def under_attack(record: dict, attacks: Mapping[str, str]) -> pd.DataFrame:
    """A network trained on plain images, tested on plain and on attacked ones; `attacks` from condition to title."""
    shown = {"unattacked": "plain", **attacks}
    lines = {title: {"accuracy": _share(record["metrics"][name])} for name, title in shown.items()}
    return pd.DataFrame(lines).T


def recorded() -> pd.DataFrame:
    """Every recorded training of the study, one line a setting, means over seeds; no lines from an empty ledger."""
    columns = [*KEY, "seeds"]
    balanced = "balanced, plain or guessed label"
    shown = {"true label": "attacked", "guessed label": "attacked-guessed", "plain": "unattacked"}
    lines = []
    for key, runs in sorted(_settings().items(), key=str):
        whole = key[KEY.index("trained on")] == "pgsl"
        line = dict(zip(columns, (*key, len(runs)), strict=True))
        names = {**shown, "true label": "pgsl", "guessed label": "pgsl-guessed"} if whole else shown
        for what, condition in names.items():
            line[f"accuracy, {what}"] = _mean(runs, condition, "accuracy")
        untold = next(name for name in UNTOLD if name in runs[0]["metrics"])
        line[balanced] = _mean(runs, untold, "balanced_accuracy")
        line[COMMONEST] = f"{_commonest(runs[0]['metrics'][untold]):.1%}"
        lines.append(line)
    return pd.DataFrame(lines, columns=[*columns, *(f"accuracy, {what}" for what in shown), balanced, COMMONEST])


def learned(dataset: str) -> str:
    """In words: how many recorded networks on a data set have learned it, asked on images whose label nobody told.

    A network has learned if its balanced accuracy is 5 points or more above that of naming one class for all.
    """
    rates, guides, commonest = [], [], 0.0
    for record in _mine():
        metrics = record["metrics"]
        condition = next((name for name in UNTOLD if name in metrics), None)
        if record["data"]["name"] == dataset and condition:
            rates.append(metrics[condition]["balanced_accuracy"] - 1 / len(metrics[condition]["confusion"]))
            guides += [metrics["guide"]["accuracy"]] if "guide" in metrics else []
            commonest = _commonest(metrics[condition])
    if not rates:
        return f"{dataset}: no network is recorded."
    better = sum(rate >= LEARNED for rate in rates)
    said = (
        f"{dataset}: {better} of {len(rates)} recorded networks know the classes better than one answer for all would."
    )
    if guides:
        said += f" The best guide is right on {max(guides):.1%}, the commonest class alone would be on {commonest:.1%}."
    return said


def touched() -> pd.DataFrame:
    """Fig. 3 over the recorded images that the attack has changed; the others have an error of 0 before recovery."""
    lines = []
    for record in _mine():
        if record["experiment"] == "recovery":
            stored = records.load_predictions(record, results_home())
            hit, p = stored["attacked/changed"] > 0, record["parameters"]
            split = p["split"] if p["dataset"] == "mias_paper" else "–"
            line = {"data": p["dataset"], "split": split, "seed": record["seed"]}
            line["touched"] = f"{hit.sum()} of {len(hit)}"
            for name in ("attacked", "map_taken_off", "mu=0.05", "mu=0.55"):
                error = stored[f"{name}/mse"][hit].mean() if hit.any() else float("nan")
                line[DISTANCES.get(name, name.replace("mu=", "recovered, μ = "))] = f"{error:.4f}"
            lines.append(line)
    return pd.DataFrame(lines)


def trade_offs(found: Sequence[dict] | None = None) -> pd.DataFrame:
    """Defences by what the network is worth in use, and by how well a decoder sees through them; a line a record.

    Parameters
    ----------
    found : sequence of dict, optional
        Records of chapter 33; left out, all of the ledger. They hold the server's accuracy, and a decoder that was
        trained on activations of the defended client.
    """
    lines = []
    for record in _mine() if found is None else found:
        p, metrics = record["parameters"], record["metrics"]
        if "ssim" in metrics.get("decoder", {}):
            place = [record["data"]["name"], p["size"], p["cut"], p["n_train"], _defence(p)]
            measured = [metrics["server"]["accuracy"], metrics["decoder"]["ssim"], metrics["decoder"]["mse"]]
            lines.append([*place, record["seed"], metrics["server"]["n"], *measured])
    columns = [*SETTING, "defence", "seed", "test images", "accuracy", "SSIM", "MSE"]
    return pd.DataFrame(lines, columns=columns).sort_values(columns[:6], ignore_index=True)


def defences(points: pd.DataFrame) -> pd.DataFrame:
    """Points of `trade_offs`, a line a defence: means as `spread` writes them, and what differs from no defence.

    The last two columns compare a defence with none on the seeds that both have.
    """
    lines = []
    for (*place, defence), mine in points.groupby([*SETTING, "defence"]):
        alike = (points[SETTING] == place).all(axis=1) & (points["defence"] == "none")
        both = mine[mine["defence"] != "none"].merge(points[alike], on="seed", suffixes=("", " of none"))
        line = dict(zip([*SETTING, "defence"], [*place, defence], strict=True))
        line["seeds"], n = ", ".join(map(str, mine["seed"])), int(mine["test images"].iloc[0])
        line["test images"] = n
        line["accuracy"] = spread(mine["accuracy"], ".1%", n=n, within=(0, 1))
        line["SSIM"] = spread(mine["SSIM"], ".3f", within=(0, 1))
        line["MSE"] = spread(mine["MSE"], ".4f", within=ERROR)
        line["points beside none"] = spread(100 * (both["accuracy"] - both["accuracy of none"]), "+.1f")
        lines.append(line | {"SSIM beside none": spread(both["SSIM"] - both["SSIM of none"], "+.3f")})
    return pd.DataFrame(lines)


def against_none() -> pd.DataFrame:
    """The whole method beside the same network on images that nobody attacks, on common seeds and test images.

    Changes are in points, with the 95 % interval of `medtk.lab.robust_tables.change`. By the ``guessed label`` no image
    carries a trace of the true one.
    """
    found, lines = _settings(), []
    for key, runs in sorted(found.items(), key=str):
        same = {name: value for name, value in zip(KEY, key, strict=True) if name not in ("trained on", "cut", "μ")}
        if key[KEY.index("trained on")] != "pgsl":
            continue
        plain = [run for other, some in found.items() if _is_plain(other, same) for run in some]
        seeds = sorted({run["seed"] for run in plain} & {run["seed"] for run in runs})
        if seeds:
            line = {name: value for name, value in zip(KEY, key, strict=True) if name != "trained on"}
            line["seeds"] = ", ".join(map(str, seeds))
            for what, name in (("guessed", "pgsl-guessed"), ("true", "pgsl")):
                line["no attack"], line[f"PGSL, {what} label, points"] = change(plain, runs, name, "unattacked")
            for what, some, name in (("no attack", plain, "unattacked"), ("PGSL, guessed label", runs, "pgsl-guessed")):
                some = [run for run in some if run["seed"] in seeds]
                line[f"balanced, {what}"] = _mean(some, name, "balanced_accuracy")
            lines.append(line)
    return pd.DataFrame(lines)


def _is_plain(key: tuple, same: Mapping) -> bool:
    found = dict(zip(KEY, key, strict=True))
    return found["trained on"] == "none" and all(found[name] == value for name, value in same.items())


def _defence(parameters: dict) -> str:
    """Name of a defence with its strength, where it has one."""
    return parameters["defense"] + (f" {parameters['strength']:g}" if parameters["strength"] else "")


def _mine() -> list[dict]:
    return [record for record in records.read_all(results_home()) if record["paper"] == PAPER]


def _settings() -> dict[tuple, list[dict]]:
    found = defaultdict(list)
    for record in _mine():
        if record["experiment"] == "streams":
            p = record["parameters"]
            split = p["split"] if p["dataset"] == "mias_paper" else "–"
            sizes = (p["size"], p["n_train"], p["n_test"], p["epochs"])
            key = (p["dataset"], split, p["images"], p["cut"], p["mu"], *sizes)
            found[key].append(record)
    return found


def _mean(runs: list[dict], condition: str, metric: str) -> str:
    if not all(metric in run["metrics"].get(condition, {}) for run in runs):
        return "–"
    return _number(mean(run["metrics"][condition][metric] for run in runs), metric)


def _number(value: float, metric: str) -> str:
    if metric in ("accuracy", "balanced_accuracy"):
        return f"{value:.1%}"
    return {"mse": f"{value:.4f}", "psnr": f"{value:.1f}", "ssim": f"{value:.3f}"}[metric]


def _share(metrics: dict) -> str:
    low, high = wilson(round(metrics["accuracy"] * metrics["n"]), metrics["n"])[:2]
    return f"{metrics['accuracy']:.1%} [{low:.1%}, {high:.1%}], balanced {metrics['balanced_accuracy']:.1%}"


def _commonest(metrics: dict) -> float:
    """Share of the commonest class among the images behind a classifier's metrics."""
    return max(map(sum, metrics["confusion"])) / metrics["n"]
