"""The experiment of chapter 15: every attack on one network, and what each leaves of its accuracy."""

import time
from collections.abc import Callable
from functools import partial

import keras
import numpy as np
from scipy.special import softmax
from tqdm import tqdm

from medtk import attacks, training
from medtk.data import Dataset, Split
from medtk.defenses import adversarial, distillation
from medtk.errors import UnknownName
from medtk.lab.attack_measures import Attacked, conditions, decided
from medtk.lab.session import Run
from medtk.lab.transfer import parameters
from medtk.models.gradients import scores

DEFENSES = ("none", "at", "kd")
UNIVERSAL_IMAGES = 512


def bounded(epsilon: float, *, steps: int = 40, queries: int = 1000, seed: int = 0) -> dict[str, Callable]:
    """Attacks that may move each value by at most epsilon, each called as ``attack(model, images, labels)``."""
    to_and_fro = {"epsilon": epsilon, "steps": steps, "step_size": 2.5 * epsilon / steps}
    automatic = {"epsilon": epsilon, "steps": steps, "seed": seed}
    return {
        "fgsm": partial(attacks.fgsm, epsilon=epsilon, clip=True),
        "bim": partial(attacks.bim, **to_and_fro),
        "pgd": partial(attacks.pgd, **to_and_fro, seed=seed),
        "mi-fgsm": partial(attacks.mi_fgsm, epsilon=epsilon, steps=10, step_size=epsilon / 10),
        "apgd": partial(attacks.apgd, **automatic, loss="cross_entropy"),
        "apgd-margin": partial(attacks.apgd, **automatic, loss="margin"),
        "square": partial(attacks.square, epsilon=epsilon, queries=queries, seed=seed),
    }


def smallest(*, steps: int = 40, queries: int = 1000, seed: int = 0) -> dict[str, Callable]:
    """Attacks without a budget that look for a small change; `attack_measures.MEASURES` says of what."""
    population = min(queries, 100)
    evolution = {"population": population, "generations": max(queries // population - 1, 1), "seed": seed}
    return {
        "deepfool": partial(attacks.deepfool, steps=steps),
        # A border that is crossed by a hair may be uncrossed by rounding; so a hundredth of a score beyond.
        "carlini-wagner": partial(attacks.carlini_wagner, search_steps=6, steps=5 * steps, confidence=0.01),
        "fab": partial(attacks.fab, steps=steps),
        "jsma": partial(attacks.jsma, gamma=min(0.002 * steps, 1.0)),
        "one-pixel": partial(attacks.one_pixel, **evolution),
    }


def answers(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Probabilities from the same compiled scores that the attacks see, so that both agree at the border."""
    return softmax(scores(model, images), axis=1)


def attack_all(
    model: keras.Model,
    dataset: Dataset,
    epsilon: float,
    *,
    source: keras.Model | None = None,
    steps: int = 40,
    queries: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Attacked]:
    """Attack every test image in every way.

    Parameters
    ----------
    model : keras.Model
        Images to probabilities, with a layer ``logits``.
    dataset : Dataset
        Its test images are attacked; up to `UNIVERSAL_IMAGES` of its training images make the universal perturbation.
    epsilon : float
        Largest change of a value for the attacks of `bounded`, ``universal`` and ``transfer``.
    source : keras.Model, optional
        Another network for the same task. The momentum attack on it, shown to `model`, is ``transfer``.
    steps, queries : int
        How hard the attacks with and without gradients try; the settings of each are in its result.
    seed : int
    progress : bool
        Whether to show a bar.

    Returns
    -------
    dict
        From the name of an attack to `Attacked`.
    """
    given = {"steps": steps, "queries": queries, "seed": seed}
    ways = bounded(epsilon, **given) | {"universal": partial(_universal, dataset.train, epsilon, seed)}
    if source is not None:
        momentum = bounded(epsilon, **given)["mi-fgsm"]
        ways["transfer"] = lambda _, images, labels: momentum(source, images, labels)
    ways |= smallest(**given)
    found, split = {}, dataset.test
    for name, way in tqdm(ways.items(), desc="attacks", disable=not progress):
        started = time.perf_counter()
        images = way(model, split.images, split.labels)
        seconds = time.perf_counter() - started
        found[name] = Attacked(images, answers(model, images), _settings(name, way, source), seconds)
    return found


def _universal(train: Split, epsilon: float, seed: int, model, images, labels) -> np.ndarray:
    part = train.take(slice(UNIVERSAL_IMAGES))
    made = attacks.universal_perturbation(model, part.images, part.labels, epsilon, epochs=10, seed=seed)
    return attacks.apply_universal(images, made)


def _settings(name: str, way: Callable, source: keras.Model | None) -> str:
    if name == "universal":
        return f"10 passes over at most {UNIVERSAL_IMAGES} training images"
    if name == "transfer":
        return f"mi-fgsm on {source.name}"
    said = {key: value for key, value in way.keywords.items() if key not in ("epsilon", "seed", "clip")}
    words = [value if isinstance(value, str) else f"{key} {value:.3g}" for key, value in said.items()]
    return ", ".join(words).replace("_", " ") or "1 step"


def network(dataset: Dataset, spec: training.Spec, defense: str = "none", *, progress: bool = True) -> keras.Model:
    """Train (or load) the network that is attacked.

    Parameters
    ----------
    dataset : Dataset
    spec : Spec
        The undefended network: itself, the start of adversarial training, or the teacher.
    defense : {'none', 'at', 'kd'}
        Adversarial training and distillation have the paper's settings, as far as it names any, and the seed of
        `spec`; the epochs of a defence are those of `spec`.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    keras.Model
        If every layer was trained, with its normalisation statistics measured again; a teacher too.
    """
    if defense not in DEFENSES:
        raise UnknownName("defence", defense, DEFENSES)
    settings = {"epochs": spec.epochs, "seed": spec.seed}
    if defense == "kd":
        student = distillation.Spec(spec, teacher_statistics="refreshed", **settings)
        return distillation.fit_or_load(student, dataset, progress=progress).model
    if defense == "at":
        model = adversarial.fit_or_load(adversarial.Spec(spec, **settings), dataset, progress=progress).model
    else:
        model = training.fit_or_load(spec, dataset, progress=progress).model
    if spec.trainable == "all":
        training.statistics_refreshed(model, dataset.train.images)
    return model


def surrogate(dataset: Dataset, spec: training.Spec, source: str = "plain", *, progress: bool = True) -> keras.Model:
    """Train (or load) another network on the same images, with another seed: where transferred images come from."""
    other = training.Spec(source, epochs=spec.epochs, seed=spec.seed + 1)
    return network(dataset, other, progress=progress)


def record(
    run: Run,
    dataset: Dataset,
    spec: training.Spec,
    epsilon: float = 0.003,
    *,
    defense: str = "none",
    source: str = "plain",
    steps: int = 40,
    queries: int = 1000,
    progress: bool = True,
) -> tuple[dict[str, Attacked], dict]:
    """Train (or load) one network, attack it in every way, and record its answers.

    Parameters
    ----------
    run : Run
        Writes the record.
    dataset : Dataset
        32 x 32 x 3 images; its test images are attacked, so take a part of them if there are many.
    spec, defense
        See `network`.
    epsilon, steps, queries, progress
        See `attack_all`.
    source : str
        See `surrogate`.

    Returns
    -------
    found : dict
        Of `attack_all`.
    record : dict
    """
    model = network(dataset, spec, defense, progress=progress)
    settings = {"source": surrogate(dataset, spec, source, progress=progress), "steps": steps, "queries": queries}
    found = attack_all(model, dataset, epsilon, **settings, seed=spec.seed, progress=progress)
    return found, write(run, dataset, spec, defense, epsilon, found, answers(model, dataset.test.images))


def write(
    run: Run,
    dataset: Dataset,
    spec: training.Spec,
    defense: str,
    epsilon: float,
    found: dict[str, Attacked],
    clean: np.ndarray,
) -> dict:
    """Record the answers to attacked images; no cell of the paper asks for them.

    Parameters
    ----------
    run, dataset, spec, defense, epsilon
        See `record`.
    found : dict
        Of `attack_all`.
    clean : ndarray, shape (n, classes)
        Answers without an attack.
    """
    kept = conditions(found, clean, dataset.test, epsilon)
    settings = {f"attack_{name}": one.settings for name, one in found.items()}
    return run.record(
        dataset,
        spec.network,
        weights=spec.weights,
        experiment="attacks",
        paper="robust_transfer",
        name=record_name(dataset.name, len(dataset.test), spec, epsilon, defense),
        cells=[],
        parameters=parameters(dataset, spec, [epsilon]) | {"defense": defense} | settings,
        predictions={name: decided(probabilities) for name, probabilities in kept.items()},
        seconds=sum(one.seconds for one in found.values()),
    )


def record_name(dataset: str, n_test: int, spec: training.Spec, epsilon: float, defense: str) -> str:
    """File name of a record, from the name of the data set and the number of images that were attacked."""
    network = f"{spec.network}-{spec.trainable}-{spec.scaling}"
    return f"{dataset}-{network}-{defense}-epsilon{epsilon:g}-n{n_test}-s{spec.seed}"
