"""The experiment of paper 1's first two tables: train a network, attack its test images, keep the predictions."""

from collections.abc import Sequence

import keras
import numpy as np

from medtk import attacks, training
from medtk.data import Dataset, Split
from medtk.lab.session import Run
from medtk.reproduction.answers import reestimated
from medtk.training import statistics_refreshed

EPSILONS = (0.001, 0.002, 0.003, 0.004, 0.005)
TITLES = {"densenet121": "DenseNet121", "mobilenetv2": "MobileNetV2", "resnet50": "ResNet50"}


def condition(epsilon: float) -> str:
    """Name of a test condition in a record: ``clean`` or ``epsilon=0.001``."""
    return f"epsilon={epsilon:g}" if epsilon else "clean"


def under_attack(model: keras.Model, split: Split, epsilons: Sequence[float] = EPSILONS) -> dict[str, np.ndarray]:
    """Probabilities on the clean images and on FGSM's at each epsilon.

    Parameters
    ----------
    model : keras.Model
        Images to probabilities.
    split : Split
        Test images.
    epsilons : sequence of float
        Sizes of the step; no clipping, as in the paper's Eq. (1).

    Returns
    -------
    dict
        From `condition` to an array of shape (n, classes).
    """
    attacked = attacks.fgsm_path(model, split.images, split.labels, epsilons, clip=False)
    images = {condition(0): split.images} | {condition(e): a for e, a in zip(epsilons, attacked, strict=True)}
    return {name: model.predict(batch, batch_size=256, verbose=0) for name, batch in images.items()}


def cells(dataset: Dataset, network: str, epsilons: Sequence[float] = EPSILONS) -> list[dict]:
    """Cells of Tables I, II and III (rows "Original") that a baseline run answers; none for another network."""
    if network not in TITLES:
        return []
    data, title = dataset.card.title.split(":")[0], TITLES[network]
    answered = [{"table": "I", "row": data, "column": title, "predictions": "clean"}]
    if (dataset.name, network) == ("breastmnist", "resnet50"):
        return answered  # the paper left this network out of Tables II and III
    for table, row in (("II", f"{data} / {title}"), ("III", f"{data} / {title} / Original")):
        for epsilon in (0, *epsilons):
            column = f"ε = {epsilon:g}" if epsilon else "Clean"
            answered.append({"table": table, "row": row, "column": column, "predictions": condition(epsilon)})
    return answered


def record_name(dataset: str, spec: training.Spec) -> str:
    """File name of the record of a baseline run; settings that are not the usual ones are named in it."""
    changed = unusual(spec, training.Spec(spec.network), ("epochs", "batch_size", "learning_rate"))
    return f"{dataset}-{spec.network}-{spec.trainable}-{spec.scaling}{changed}-s{spec.seed}"


def unusual(spec, usual, fields: Sequence[str]) -> str:
    """Part of a file name: the fields in which a specification differs from the usual one, with their values."""
    changed = [(name, getattr(spec, name)) for name in fields if getattr(spec, name) != getattr(usual, name)]
    return "".join(f"-{name.replace('_', '-')}{value:g}" for name, value in changed)


def parameters(dataset: Dataset, spec: training.Spec, epsilons: Sequence[float]) -> dict:
    """Settings of a baseline run, for its record."""
    fields = ("network", "trainable", "scaling", "epochs", "batch_size", "learning_rate", "weights")
    settings = {name: getattr(spec, name) for name in fields}
    sizes = {"n_train": len(dataset.train), "n_test": len(dataset.test)}
    return {"dataset": dataset.name, **settings, "epsilons": list(epsilons), **sizes}


def baseline(
    run: Run,
    dataset: Dataset,
    spec: training.Spec,
    epsilons: Sequence[float] = EPSILONS,
    *,
    answers: bool = True,
    compiled: dict[str, keras.Model] | None = None,
) -> tuple[training.Fit, dict]:
    """Train (or load), attack, and record one network on one data set.

    When every layer was trained, the network is attacked twice: as it stands, and with its normalisation statistics
    measured again (`statistics_refreshed`). The network that is returned has the latter.

    Parameters
    ----------
    run : Run
        Writes the record.
    dataset : Dataset
        32 x 32 x 3 images.
    spec : Spec
        How to train; its seed should be the run's.
    epsilons : sequence of float
        Sizes of the attack.
    answers : bool
        Whether the record answers cells of the paper, or is one of the other choices in the ambiguity register.
    compiled : dict, optional
        Networks of an earlier call of the same form, to be overwritten; this call's are put into it. It spares
        compiling them again for the next seed.

    Returns
    -------
    fit : Fit
    record : dict
    """
    compiled = {} if compiled is None else compiled
    fit = training.fit_or_load(spec, dataset, into=compiled.get("base"))
    compiled["base"] = fit.model
    predictions = under_attack(fit.model, dataset.test, epsilons)
    if spec.trainable == "all":
        statistics_refreshed(fit.model, dataset.train.images)
        again = under_attack(fit.model, dataset.test, epsilons)
        predictions |= {reestimated(name): found for name, found in again.items()}
    record = run.record(
        dataset,
        spec.network,
        weights=spec.weights,
        experiment="transfer",
        paper="robust_transfer",
        name=record_name(dataset.name, spec),
        cells=cells(dataset, spec.network, epsilons) if answers else [],
        parameters=parameters(dataset, spec, epsilons),
        predictions=predictions,
        seconds=fit.seconds,
        while_training={name: fit.history[-1][name] for name in ("accuracy", "loss")},
    )
    return fit, record
