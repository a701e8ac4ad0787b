"""The experiment of paper 1's third table: defend a network, attack it in three ways, keep the predictions."""

from collections.abc import Sequence

import keras
import numpy as np

from medtk import attacks, training
from medtk.data import Dataset, Split
from medtk.defenses import adversarial, distillation
from medtk.lab.session import Run
from medtk.lab.transfer import EPSILONS, TITLES, condition, parameters, reestimated, under_attack, unusual

# Where the attack of many steps is tried: the middle of the paper's range. Each epsilon costs STEPS passes more.
STRONG = (0.003,)
STEPS = 10


def transferred(name: str) -> str:
    """Name of a condition whose images were made on the network that the defence started from."""
    return f"transfer-{name}"


def many_steps(name: str) -> str:
    """Name of a condition whose images were made by `STEPS` steps of projected gradient ascent."""
    return f"pgd-{name}"


def one_step(model: keras.Model, source: keras.Model, split: Split, epsilons: Sequence[float]) -> dict[str, np.ndarray]:
    """Probabilities of a defended network on clean images and under one step, made on itself and on its source.

    Table III does not say whose gradients made the images of its defended rows. The first reading is an attack on the
    defence; the second only asks whether mistakes carry over.

    Parameters
    ----------
    model : keras.Model
        The defended network.
    source : keras.Model
        The network before adversarial training, or the teacher.
    split : Split
        Test images.
    epsilons : sequence of float
        Sizes of the step, without clipping to [0, 1], as in the paper's Eq. (1).

    Returns
    -------
    dict
        From the name of a condition to an array of shape (n, classes).
    """
    carried = attacks.fgsm_path(source, split.images, split.labels, epsilons, clip=False)
    return under_attack(model, split, epsilons) | {
        transferred(condition(e)): model.predict(images, batch_size=256, verbose=0)
        for e, images in zip(epsilons, carried, strict=True)
    }


def ascended(model: keras.Model, split: Split, epsilons: Sequence[float]) -> dict[str, np.ndarray]:
    """Probabilities under `STEPS` steps of projected gradient ascent, which asks whether one step tried hard enough.

    Parameters and result as in `one_step`.
    """
    found = {}
    for epsilon in epsilons:
        images = attacks.pgd(model, split.images, split.labels, epsilon, steps=STEPS, clip=False)
        found[many_steps(condition(epsilon))] = model.predict(images, batch_size=256, verbose=0)
    return found


def adversarially_trained(
    run: Run,
    dataset: Dataset,
    spec: adversarial.Spec,
    epsilons: Sequence[float] = EPSILONS,
    *,
    strong: Sequence[float] = STRONG,
    answers: bool = True,
    compiled: dict[str, keras.Model] | None = None,
) -> tuple[training.Fit, dict]:
    """Train a network further on attacked images (or load it), attack it, and record it.

    When every layer was trained, the network is attacked as it stands and with its normalisation statistics measured
    again; it is returned with the latter. Many steps are tried on the network that is returned, and on the undefended
    one in the same state (``base-pgd-...``), whose own record has one step only.

    Parameters
    ----------
    run : Run
        Writes the record.
    dataset : Dataset
        32 x 32 x 3 images.
    spec : medtk.defenses.adversarial.Spec
    epsilons, strong : sequence of float
        Sizes of the attack in one step, and in many.
    answers : bool
        Whether the record answers cells of the paper.
    compiled : dict, optional
        As in `medtk.lab.transfer.baseline`.

    Returns
    -------
    fit : Fit
    record : dict
    """
    compiled = {} if compiled is None else compiled
    fit = adversarial.fit_or_load(spec, dataset, into=compiled.get("defended"))
    base = training.fit_or_load(spec.base, dataset, into=compiled.get("base")).model
    compiled |= {"defended": fit.model, "base": base}
    predictions = one_step(fit.model, base, dataset.test, epsilons)
    state = str
    if spec.base.trainable == "all":
        for model in (fit.model, base):
            training.statistics_refreshed(model, dataset.train.images)
        state = reestimated
        again = one_step(fit.model, base, dataset.test, epsilons)
        predictions |= {state(name): probabilities for name, probabilities in again.items()}
    for prefix, model in (("", fit.model), ("base-", base)):
        found = ascended(model, dataset.test, strong)
        predictions |= {state(prefix + name): probabilities for name, probabilities in found.items()}
    fields = ("method", "epsilon", "epochs", "steps", "step_size", "beta", "clean_share", "learning_rate")
    settings = {f"defense_{name}": getattr(spec, name) for name in fields}
    if spec.crafting != "inference":
        settings["defense_crafting"] = spec.crafting
    record = run.record(
        dataset,
        spec.base.network,
        weights=spec.base.weights,
        experiment="adversarial",
        paper="robust_transfer",
        name=adversarial_name(dataset.name, spec),
        cells=cells(dataset, spec.base.network, "AT", epsilons) if answers else [],
        parameters=parameters(dataset, spec.base, epsilons) | settings | {"attack_steps": STEPS},
        predictions=predictions,
        seconds=fit.seconds,
        while_training={name: fit.history[-1][name] for name in ("accuracy", "loss")},
    )
    return fit, record


def distilled(
    run: Run,
    dataset: Dataset,
    spec: distillation.Spec,
    epsilons: Sequence[float] = EPSILONS,
    *,
    answers: bool = True,
) -> tuple[training.Fit, dict]:
    """Distil a teacher into a student (or load it), attack the student, and record it.

    A student is small, so the attack of many steps is tried at every epsilon. Parameters and results as in
    `adversarially_trained`; `transferred` conditions are made on the teacher.
    """
    fit = distillation.fit_or_load(spec, dataset)
    teacher = distillation.teacher(spec, dataset)
    predictions = one_step(fit.model, teacher, dataset.test, epsilons) | ascended(fit.model, dataset.test, epsilons)
    predictions["teacher"] = teacher.predict(dataset.test.images, batch_size=256, verbose=0)
    fields = (
        "student",
        "temperature",
        "alpha",
        "teacher_temperature",
        "teacher_statistics",
        "epochs",
        "batch_size",
        "learning_rate",
    )
    settings = {f"student_{name}".replace("student_student", "student"): getattr(spec, name) for name in fields}
    usual = distillation.Spec(spec.teacher).epochs
    longer = [f"{spec.epochs} epochs of the student instead of the {usual} of the other networks"]
    record = run.record(
        dataset,
        spec.teacher.network,
        weights=spec.teacher.weights,
        deviations=longer if spec.epochs != usual else [],
        experiment="distillation",
        paper="robust_transfer",
        name=distilled_name(dataset.name, spec),
        cells=cells(dataset, spec.teacher.network, "KD", epsilons) if answers else [],
        parameters=parameters(dataset, spec.teacher, epsilons) | settings | {"attack_steps": STEPS},
        predictions=predictions,
        seconds=fit.seconds,
        while_training={name: fit.history[-1][name] for name in ("accuracy", "loss")},
    )
    return fit, record


def cells(dataset: Dataset, network: str, defense: str, epsilons: Sequence[float] = EPSILONS) -> list[dict]:
    """Cells of Table III that a defended network answers; none for a row that the paper does not have.

    Parameters
    ----------
    dataset : Dataset
    network : str
        Defended network, or teacher.
    defense : {'AT', 'KD'}
    epsilons : sequence of float
    """
    taught = (("dermamnist", "densenet121"), ("octmnist", "densenet121"))
    pair = (dataset.name, network)
    in_paper = pair in taught if defense == "KD" else network in TITLES and pair != ("breastmnist", "resnet50")
    if not in_paper:
        return []
    row = f"{dataset.card.title.split(':')[0]} / {TITLES[network]} / {defense}"
    columns = {0: "Clean"} | {epsilon: f"ε = {epsilon:g}" for epsilon in epsilons}
    return [
        {"table": "III", "row": row, "column": column, "predictions": condition(epsilon)}
        for epsilon, column in columns.items()
    ]


def adversarial_name(dataset: str, spec: adversarial.Spec) -> str:
    """File name of the record of an adversarial training."""
    usual = adversarial.Spec(spec.base, spec.method)
    changed = unusual(spec, usual, ("epsilon", "epochs", "steps", "beta", "clean_share", "learning_rate"))
    base = f"{spec.base.network}-{spec.base.trainable}-{spec.base.scaling}"
    if spec.crafting != usual.crafting:
        changed += f"-crafting-{spec.crafting}"
    return f"{dataset}-{base}-{spec.method}{changed}-s{spec.seed}"


def distilled_name(dataset: str, spec: distillation.Spec) -> str:
    """File name of the record of a distillation."""
    changed = unusual(spec, distillation.Spec(spec.teacher), ("temperature", "alpha", "epochs", "learning_rate"))
    if spec.teacher_temperature is not None:
        changed += f"-teacher-temperature{spec.teacher_temperature:g}"
    return f"{dataset}-{spec.teacher.network}-{spec.teacher_statistics}-{spec.student}{changed}-s{spec.seed}"
