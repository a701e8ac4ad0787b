"""Time each attack of medtk beside ART's and Foolbox's at the same settings: ``python benchmarks/attacks.py``.

All tools get the same network, images, labels (the network's own answers), budget, steps and step size.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from saving import save

from medtk import attacks, models
from medtk.data import CATALOG, synthetic
from medtk.models import gradients

# isort: split
import keras
import tensorflow as tf
from keras import layers

CLASSES = CATALOG["dermamnist"].n_classes
LINF, STEPS, STEP_SIZE = 0.05, 20, 0.01  # FGSM: one step of the whole radius
L2, L2_STEP = 1.5, 0.3
CW = {"steps": 20, "confidence": 0.0}
CW_SEARCHES, CW_FIRST, CW_RATE = 3, 1.0, 0.01
JSMA = {"theta": 1.0, "gamma": 0.02}
QUERIES = 100
PIXELS, GENERATIONS = 5, 10  # of 400 candidates each, as many as ART draws for five pixels
UNIVERSAL = 0.15


def small_cnn() -> keras.Model:
    """Three convolutions, trained for some seconds on synthetic images."""
    keras.utils.set_random_seed(0)
    images = keras.Input((32, 32, 3))
    x = images
    for filters in (16, 32, 64):
        x = layers.ReLU()(layers.Conv2D(filters, 3, strides=2, padding="same")(x))
    scores = layers.Dense(CLASSES, name="logits")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(images, layers.Softmax()(scores), name="cnn")
    model.compile(keras.optimizers.Adam(3e-3), loss="sparse_categorical_crossentropy")
    train = synthetic.draw(CATALOG["dermamnist"], 32)[0]["train"]
    model.fit(train.images / np.float32(255), train.labels, epochs=20, verbose=0)
    return model


def ours(network, images, labels, targets) -> dict[str, Callable]:
    steps = {"steps": STEPS, "step_size": STEP_SIZE}
    searches = {"search_steps": CW_SEARCHES, "initial_c": CW_FIRST, "learning_rate": CW_RATE}
    found = {
        "fgsm": partial(attacks.fgsm, epsilon=LINF, clip=True),
        "bim": partial(attacks.bim, epsilon=LINF, **steps),
        "pgd": partial(attacks.pgd, epsilon=LINF, **steps),
        "pgd-l2": partial(attacks.pgd, epsilon=L2, norm="l2", steps=STEPS, step_size=L2_STEP),
        "mi-fgsm": partial(attacks.mi_fgsm, epsilon=LINF, **steps),
        "apgd": partial(attacks.apgd, epsilon=LINF, steps=STEPS),
        "deepfool": attacks.deepfool,
        "carlini-wagner": partial(attacks.carlini_wagner, **searches, **CW),
        "jsma": partial(attacks.jsma, targets=targets, **JSMA),
        "square": partial(attacks.square, epsilon=LINF, queries=QUERIES),
        "one-pixel": partial(attacks.one_pixel, pixels=PIXELS, population=400, generations=GENERATIONS),
        "universal": universal,
    }
    return {name: partial(attack, network, images, labels, batch_size=len(images)) for name, attack in found.items()}


def universal(network, images, labels, batch_size) -> np.ndarray:
    found = attacks.universal_perturbation(network, images, labels, UNIVERSAL, batch_size=batch_size)
    return attacks.apply_universal(images, found)


def foolbox(network, images, labels) -> dict[str, Callable]:
    try:
        import foolbox as fb
    except ImportError:
        print("foolbox is not installed")
        return {}
    wrapped = fb.TensorFlowModel(models.logits(network), bounds=(0.0, 1.0))
    tensors, tried = (tf.constant(images), tf.constant(labels)), fb.attacks
    steps = {"steps": STEPS, "abs_stepsize": STEP_SIZE}
    searches = {"binary_search_steps": CW_SEARCHES, "initial_const": CW_FIRST, "stepsize": CW_RATE}
    found = {
        "fgsm": (tried.LinfFastGradientAttack(random_start=False), LINF),
        "bim": (tried.LinfPGD(random_start=False, **steps), LINF),
        "pgd": (tried.LinfPGD(**steps), LINF),
        "pgd-l2": (tried.L2PGD(steps=STEPS, abs_stepsize=L2_STEP), L2),
        "mi-fgsm": (tried.LinfMomentumIterativeFastGradientMethod(**steps), LINF),
        "deepfool": (tried.L2DeepFoolAttack(), None),
        "carlini-wagner": (tried.L2CarliniWagnerAttack(**searches, **CW), None),
    }
    return {
        name: lambda attack=attack, size=size: attack(wrapped, *tensors, epsilons=size)[1].numpy()
        for name, (attack, size) in found.items()
    }


def art(network, images, labels, targets) -> dict[str, Callable]:
    try:
        from art.attacks import evasion
        from art.estimators.classification import TensorFlowV2Classifier
    except ImportError:
        print("adversarial-robustness-toolbox is not installed")
        return {}
    n, classes = len(images), network.output_shape[-1]
    about = {"nb_classes": classes, "input_shape": images.shape[1:], "clip_values": (0.0, 1.0)}
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    wrapped = TensorFlowV2Classifier(models.logits(network), loss_object=crossentropy, **about)
    quiet = {"batch_size": n, "verbose": False}
    pgd = partial(evasion.ProjectedGradientDescent, wrapped, max_iter=STEPS, **quiet)
    searches = {"binary_search_steps": CW_SEARCHES, "initial_const": CW_FIRST, "learning_rate": CW_RATE}
    found = {
        "fgsm": evasion.FastGradientMethod(wrapped, eps=LINF, eps_step=LINF, batch_size=n),
        "bim": pgd(eps=LINF, eps_step=STEP_SIZE),
        "pgd": pgd(eps=LINF, eps_step=STEP_SIZE, num_random_init=1),
        "pgd-l2": pgd(norm=2, eps=L2, eps_step=L2_STEP, num_random_init=1),
        "apgd": evasion.AutoProjectedGradientDescent(
            wrapped, eps=LINF, eps_step=2 * LINF, max_iter=STEPS, nb_random_init=1, **quiet
        ),
        "deepfool": evasion.DeepFool(wrapped, max_iter=50, epsilon=0.02, nb_grads=classes, **quiet),
        "carlini-wagner": evasion.CarliniL2Method(
            wrapped, confidence=CW["confidence"], max_iter=CW["steps"], **searches, **quiet
        ),
        # medtk's JSMA follows probabilities, too. ART stops once the budget is passed: one pair of values less.
        "jsma": evasion.SaliencyMapMethod(
            TensorFlowV2Classifier(network, **about), JSMA["theta"], JSMA["gamma"] - 2 / images[0].size, **quiet
        ),
        "square": evasion.SquareAttack(wrapped, eps=LINF, max_iter=QUERIES, **quiet),
        "one-pixel": evasion.PixelAttack(wrapped, th=PIXELS, es=1, max_iter=GENERATIONS),
        # Another method: it adds up DeepFool's steps, image by image, in at most two passes.
        "universal": evasion.UniversalPerturbation(
            wrapped, "deepfool", {"max_iter": 3, "verbose": False}, 0.1, 2, UNIVERSAL, np.inf, **quiet
        ),
    }
    one_hot = np.eye(classes, dtype=np.float32)
    return {
        name: partial(attack.generate, images, one_hot[targets if name == "jsma" else labels])
        for name, attack in found.items()
    }


def measure(calls: dict[str, Callable], repeats: int) -> dict[str, dict]:
    """Run the tools in turn, once to compile and then `repeats` times; the fastest counts, for all of them."""
    seconds, results = {tool: [] for tool in calls}, {}
    for _ in range(1 + repeats):
        for tool, call in calls.items():
            start = time.perf_counter()
            results[tool] = call()
            seconds[tool].append(time.perf_counter() - start)
    medtk = min(seconds["medtk"][1:])
    return {
        tool: {"first_s": times[0], "fastest_s": min(times[1:]), "ratio_to_medtk": min(times[1:]) / medtk}
        | {"result": results[tool]}
        for tool, times in seconds.items()
    }


def main() -> None:
    """Read the command line, measure, print."""
    names = list(ours(None, (), None, None))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="cnn", choices=["cnn", *models.NETWORKS])
    parser.add_argument("--images", type=int, default=32, help="images of 32 x 32 x 3, in one batch")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--attacks", nargs="+", default=names, choices=names)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/attacks-<network>.json")
    chosen = parser.parse_args()
    if chosen.save and set(chosen.attacks) != set(names):
        parser.error("--save writes the whole table; it does not go with a choice of --attacks.")
    network = small_cnn() if chosen.network == "cnn" else models.build(chosen.network, CLASSES, weights="random")
    test = synthetic.draw(CATALOG["dermamnist"], 32)[0]["test"]
    images = test.images[: chosen.images] / np.float32(255)
    found = gradients.scores(network, images)
    labels, targets = found.argmax(axis=1), found.argsort(axis=1)[:, -2]
    tools = {
        "medtk": ours(network, images, labels, targets),
        "foolbox": foolbox(network, images, labels),
        "art": art(network, images, labels, targets),
    }
    print(f"{chosen.network}, {len(images)} images of 32 x 32 x 3, fastest of {chosen.repeats} after the first call")
    print(f"{'attack':16}{'tool':9}{'first call':>12}{'fastest':>12}{'x medtk':>9}{'success':>9}{'mean L2':>9}")
    rows = []
    for name in chosen.attacks:
        calls = {tool: found[name] for tool, found in tools.items() if name in found}
        for tool, row in measure(calls, chosen.repeats).items():
            attacked = row.pop("result")
            turned = gradients.scores(network, attacked).argmax(axis=1) != labels
            lengths = np.sqrt(np.square(attacked - images).sum(axis=(1, 2, 3)))[turned]
            distance = float(lengths.mean()) if turned.any() else None
            row |= {"success": float(turned.mean()), "mean_l2": distance}
            rows.append({"attack": name, "tool": tool, **row})
            print(
                f"{name:16}{tool:9}{row['first_s']:>10.2f} s{row['fastest_s']:>10.4f} s{row['ratio_to_medtk']:>9.2f}"
                f"{row['success']:>9.0%}{'' if distance is None else f'{distance:.4f}':>9}",
                flush=True,
            )
    if chosen.save:
        save(f"attacks-{chosen.network}", vars(chosen), rows)


if __name__ == "__main__":
    main()
