"""More of chapter 33: gradients that are sent, where the network is cut, and what else activations say."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from medtk import inversion, split_learning
from medtk.data import Dataset, Split
from medtk.lab import mammograms
from medtk.lab.inversion import seen, undefended, victim
from medtk.lab.inversion_spec import Spec, as_study, batch_of, cells, deviations
from medtk.lab.pgsl_images import NETWORK, attacked, guide_network
from medtk.lab.pgsl_spec import PAPER
from medtk.lab.session import Run

CUTS = (1, 2, 3, 5, 7)
IMAGE_NOISE = 0.1  # Laplacian, on pixels: the study says that it corrupted the images
# A search that leaves more than half of the gradient's squared length is lost on a plain where all sigmoids are 0 or 1.
# The attacker sees that, and starts again.
LOST = 0.5
# What a client may do to a gradient before it is sent; noise and length in units of the gradient's own length.
GRADIENT_DEFENSES: dict[str, Callable] = {
    "pruned 0.9": lambda message, seed: inversion.prune(message, 0.9),
    "clipped": lambda message, seed: inversion.clip(message, 0.5 * _length(message)),
    "noised": lambda message, seed: inversion.laplace(message, 0.01 * _length(message) / _count(message) ** 0.5, seed),
}
# What an attacker changes who knows of the defence.
KNOWN = {"pruned": "nonzero_only", "clipped": "scale_free"}


def gradients(
    run: Run,
    dataset: Dataset,
    *,
    iterations: int = 300,
    restarts: int = 1,
    n_defended: int = 20,
    spec: Spec | None = None,
    progress: bool = True,
) -> tuple[dict[str, np.ndarray], dict]:
    """Rebuild test images from their gradients in an untrained network, plain and defended, and record it.

    The gradient is that of all weights by one image, as `medtk.inversion.lenet` gives it: the network that these
    attacks were published with, and that the study says it used. Conditions are named as in the records: ``dlg`` and
    ``idlg`` of every test image; of the first `n_defended` images ``jsma dlg`` (attacked by the client first, measured
    against the original), ``recovered dlg`` (the same after the study's recovery), ``noise dlg`` (Laplacian noise on
    the pixels), each also for ``idlg``; and ``idlg`` after each of `GRADIENT_DEFENSES`, ``known``: by who
    knows of it. An image whose search is lost (`LOST`) is searched `restarts` times at most; ``losses`` are what each
    image's best search leaves. The predictions ``read dlg`` and ``read idlg`` are those of the undefended network,
    trained on originals, to the rebuilt images.

    Returns
    -------
    images : dict of ndarray
        Rebuilt images by condition.
    record : dict
    """
    began, spec = time.perf_counter(), spec or Spec(seed=run.seed)
    helper = undefended(dataset, spec, progress=progress)
    images, labels = dataset.test.images, dataset.test.labels
    model = inversion.lenet(dataset.n_classes, dataset.image_shape, seed=run.seed)
    few = slice(0, min(n_defended, len(images)))
    noise = inversion.laplace([images[few]], IMAGE_NOISE, run.seed)[0] - images[few]
    guide = guide_network(dataset, as_study(spec), progress=progress)
    shown = {
        "jsma ": attacked(guide, dataset, as_study(spec)).guessed[few],
        "noise ": np.clip(images[few] + noise, 0, 1),
    }
    how = {"iterations": iterations, "restarts": restarts, "enough": LOST, "seed": run.seed, "progress": progress}
    plain, made = inversion.gradient_of_each(model, images, labels), {}
    for attack in (inversion.dlg, inversion.idlg):
        name = attack.__name__
        made[name] = attack(model, plain, **how)
        for what, changed in shown.items():
            sent = inversion.gradient_of_each(model, changed, labels[few])
            made[what + name] = attack(model, sent, **how)
    for number, (what, defense) in enumerate(GRADIENT_DEFENSES.items()):
        sent = [defense(message, (run.seed, number, i)) for i, message in enumerate(plain[few])]
        made[what + " idlg"] = inversion.idlg(model, sent, **how)
        if knows := KNOWN.get(what.partition(" ")[0]):
            made[what + " idlg, known"] = inversion.idlg(model, sent, **{knows: True}, **how)
    found = {name: one.images for name, one in made.items()}
    for name in ("dlg", "idlg"):
        found["recovered " + name] = np.clip(split_learning.recovered(found["jsma " + name], spec.mu), 0, 1)
    measured = {name: inversion.errors(rebuilt, images[: len(rebuilt)]) for name, rebuilt in found.items()}
    for name, one in made.items():
        measured[name]["losses"] = one.losses
    for name in ("dlg", "idlg"):
        measured[name]["right_label"] = made[name].labels == labels
    measured |= inversion.baselines(dataset.train.images, images)
    predictions = {
        f"read {name}": helper.predict(split_learning.to_channels(found[name]), batch_size=256, verbose=0)
        for name in ("dlg", "idlg")
    }
    side = dataset.image_shape[0]
    run.deviations += [one for one in deviations(dataset, spec) if one not in run.deviations]
    run.deviations.append("gradients are those of an untrained network of sigmoids, one image at a time")
    run.deviations.append("rebuilt images are shown to a network that was trained on originals, not on rebuilt ones")
    record = run.record(
        dataset,
        NETWORK,
        experiment="gradients",
        paper=PAPER,
        name=gradients_name(dataset.name, side, len(images), iterations, restarts, run.seed),
        cells=cells(dataset, _gradient_rows()),
        parameters={
            "dataset": dataset.name,
            "size": side,
            "network": "lenet",
            "iterations": iterations,
            "restarts": restarts,
            "n_defended": len(images[few]),
            "n_test": len(images),
            "n_train": len(dataset.train),
            "gamma": spec.gamma,
            "mu": spec.mu,
            "image_noise": IMAGE_NOISE,
            "epochs": spec.epochs,
        },
        predictions=predictions,
        measurements=measured,
        seconds=time.perf_counter() - began,
    )
    return found, record


def gradients_name(dataset: str, size: int, n: int, iterations: int, restarts: int, seed: int) -> str:
    """File name of a record of `gradients`."""
    again = f"-r{restarts}" if restarts > 1 else ""
    return f"{dataset}-{size}px-n{n}-i{iterations}{again}-s{seed}"


def depth(
    run: Run, dataset: Dataset, spec: Spec, *, cuts: tuple[int, ...] = CUTS, progress: bool = True
) -> tuple[dict[str, np.ndarray], dict]:
    """Train one decoder behind each of several layers of one undefended network, and record what they rebuild.

    Without a defence a network answers the same wherever it is cut, so accuracy does not depend on the cut; the
    record's predictions (``server``) belong to all of them. Measurements are named ``cut 1``, ``cut 2``, ...

    Returns
    -------
    images : dict of ndarray
        Rebuilt test images, by name of the measurement.
    record : dict
    """
    began = time.perf_counter()
    model = undefended(dataset, spec, progress=progress)
    public, originals = dataset.train.images, dataset.test.images
    known, now = split_learning.to_channels(public), split_learning.to_channels(originals)
    found, measured = {}, inversion.baselines(public, originals)
    for cut in cuts:
        client, _ = split_learning.split_at(model, f"bn_{cut}")
        how = {"epochs": spec.decoder_epochs, "batch_size": batch_of(len(public)), "seed": spec.seed}
        decoder = inversion.train_decoder(inversion.observe(client, known), public, **how, progress=progress)
        found[f"cut {cut}"] = inversion.decode(decoder, inversion.observe(client, now))
        measured[f"cut {cut}"] = inversion.errors(found[f"cut {cut}"], originals)
    side = dataset.image_shape[0]
    run.deviations += [one for one in deviations(dataset, spec) if one not in run.deviations]
    record = run.record(
        dataset,
        NETWORK,
        experiment="depth",
        paper=PAPER,
        name=f"{dataset.name}-{side}px-s{run.seed}",
        cells=[],
        parameters={
            "dataset": dataset.name,
            "size": side,
            "cuts": list(cuts),
            "epochs": spec.epochs,
            "decoder_epochs": spec.decoder_epochs,
            "n_train": len(public),
            "n_test": len(originals),
        },
        predictions={"server": model.predict(now, batch_size=256, verbose=0)},
        measurements=measured,
        seconds=time.perf_counter() - began,
    )
    return found, record


def mammogram_attributes(dataset: Dataset, column: str) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """What the table of the mammograms says of each image of a split beside its label.

    Parameters
    ----------
    dataset : Dataset
        ``mias`` or ``mias_paper``, as loaded.
    column : {'side', 'tissue'}
        Left or right breast; or how dense its tissue is: D dense, F fatty, G fatty and glandular.

    Returns
    -------
    names : tuple of str
        What the ids stand for.
    ids : dict of ndarray of int
        For ``train`` (training and validation images) and ``test``.

    Raises
    ------
    DataUnavailable
        If the table is not on this machine: synthetic mammograms have no such attributes.
    BadParameter
        If the images are not those of the table, in its order.
    """
    lines = {part: mammograms.lines_of(dataset, getattr(dataset, part)) for part in ("train", "test")}
    names = tuple(sorted({line[column] for mine in lines.values() for line in mine}))
    return names, {part: np.array([names.index(line[column]) for line in mine]) for part, mine in lines.items()}


def attribute(run: Run, dataset: Dataset, spec: Spec, column: str, *, progress: bool = True) -> dict:
    """Infer an attribute of each mammogram from what the server receives under the defence of `spec`, and record it.

    The record's labels are the attribute; its predictions are named ``images`` (from the pixels themselves, the most
    that there is to find in this way) and ``cut 1``, ``cut 2``, ... for the last convolution at the client: each of
    `CUTS` without a defence, and with one the cut that its client was trained for. The attacker knows the defence.
    """
    began = time.perf_counter()
    names, ids = mammogram_attributes(dataset, column)
    known, now = dataset.train.images, dataset.test.images
    predictions = {"images": inversion.infer_attribute(known, ids["train"], now, cells=16, seed=spec.seed)}
    for cut, (mine, theirs) in _received(dataset, spec, progress):
        predictions[f"cut {cut}"] = inversion.infer_attribute(mine, ids["train"], theirs, seed=spec.seed)
    told = Split(dataset.test.images, ids["test"], dataset.test.groups)
    relabelled = replace(dataset, test=told, class_names=names)
    run.deviations += [one for one in deviations(dataset, spec) if one not in run.deviations]
    return run.record(
        relabelled,
        NETWORK,
        experiment="attributes",
        paper=PAPER,
        name=attribute_name(dataset.name, dataset.image_shape[0], column, spec),
        cells=[],
        parameters={
            "dataset": dataset.name,
            "size": dataset.image_shape[0],
            "attribute": column,
            "defense": spec.defense,
            "strength": spec.strength,
            "names": list(names),
            "commonest": float(np.bincount(ids["test"], minlength=len(names)).max() / len(ids["test"])),
            "epochs": spec.epochs,
        },
        predictions=predictions,
        seconds=time.perf_counter() - began,
    )


def attribute_name(dataset: str, size: int, column: str, spec: Spec) -> str:
    """File name of a record of `attribute`."""
    return f"{dataset}-{size}px-{column}-{spec.title.replace(' ', '')}-s{spec.seed}"


def _received(dataset: Dataset, spec: Spec, progress: bool) -> Iterator[tuple[int, list[np.ndarray]]]:
    """What the server receives of training and test images, by cut."""
    if spec.defense != "none":
        target = victim(dataset, spec, progress=progress)
        yield spec.cut, [seen(target, spec, part) for part in ("train", "test")]
        return
    model = undefended(dataset, spec, progress=progress)
    tensors = [split_learning.to_channels(one) for one in (dataset.train.images, dataset.test.images)]
    for cut in CUTS:
        client, _ = split_learning.split_at(model, f"bn_{cut}")
        yield cut, [inversion.observe(client, one) for one in tensors]


def _gradient_rows() -> list[tuple[str, str, str, str]]:
    printed = {"dlg": "DLG", "idlg": "iDLG"}
    numbers = {"dlg": "[23]", "idlg": "[24]"}
    rows = []
    for name, title in printed.items():
        rows += [
            ("I", f"{title} {numbers[name]}", name, "mse"),
            ("I", f"JSMA + {title}", f"jsma {name}", "mse"),
            ("I", f"[8] + {title}", f"noise {name}", "mse"),
            ("I", f"Ours ({title})", f"recovered {name}", "mse"),
            ("II", f"{title} {numbers[name]}", f"read {name}", "accuracy"),
        ]
    return rows


def _length(message: list[np.ndarray]) -> float:
    return float(np.sqrt(sum(np.sum(np.square(part, dtype=np.float64)) for part in message)))


def _count(message: list[np.ndarray]) -> int:
    return sum(part.size for part in message)
