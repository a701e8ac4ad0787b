"""Time an epoch of adversarial training beside plain training and ART: ``python benchmarks/defenses.py``.

Small network, random images: speed does not depend on their values.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from saving import save

from medtk import attacks, models
from medtk.defenses import students
from medtk.defenses.steps import compiled_step

EPSILON, STEP_SIZE, RATE = 0.03, 0.01, 1e-3
SHAPE, CLASSES = (32, 32, 3), 7


def network(student: str) -> keras.Model:
    """Return a student, compiled as the defences compile theirs."""
    model = students.build(student, CLASSES, input_shape=SHAPE)
    model.compile(keras.optimizers.Adam(RATE), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
    return model


def contenders(student: str, images: np.ndarray, labels: np.ndarray, batch: int, steps: int) -> dict[str, Callable]:
    """Return one epoch of each kind of training."""
    plain = network(student)
    found = {"plain fit": lambda: plain.fit(images, labels, batch_size=batch, shuffle=False, verbose=0)}
    for method in ("fgsm", "pgd", "trades"):
        found[f"medtk {method}"] = _ours(network(student), method, images, labels, batch, steps)
    found["two calls pgd"] = _two_calls(network(student), images, labels, batch, steps)
    try:
        found["art pgd"] = _art(network(student), images, labels, batch, steps)
    except ImportError:
        print("adversarial-robustness-toolbox is not installed")
    return found


def _ours(model, method, images, labels, batch, steps) -> Callable:
    step = compiled_step(model, method=method, epsilon=EPSILON, steps=steps, step_size=STEP_SIZE)

    def epoch():
        for number, start in enumerate(range(0, len(images), batch)):
            rows = slice(start, start + batch)
            float(step(images[rows], labels[rows], np.array([0, number], np.int32))[0])

    return epoch


def _two_calls(model, images, labels, batch, steps) -> Callable:
    """Make the examples of a batch with `medtk.attacks.pgd`, then call Keras' own ``train_on_batch``."""

    def epoch():
        for start in range(0, len(images), batch):
            x, y = images[start : start + batch], labels[start : start + batch]
            model.train_on_batch(attacks.pgd(model, x, y, EPSILON, steps=steps, step_size=STEP_SIZE), y)

    return epoch


def _art(model, images, labels, batch, steps) -> Callable:
    from art.defences.trainer import AdversarialTrainerMadryPGD
    from art.estimators.classification import TensorFlowV2Classifier

    scores, optimizer = models.logits(model), keras.optimizers.Adam(RATE)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer.build(scores.trainable_variables)

    # Compiled, as a careful user of ART would write it.
    @tf.function(reduce_retracing=True)
    def train_step(found, x, y):
        with tf.GradientTape() as tape:
            value = loss(y, found(x, training=True))
        optimizer.apply(tape.gradient(value, found.trainable_variables), found.trainable_variables)

    classifier = TensorFlowV2Classifier(
        scores, CLASSES, SHAPE, loss_object=loss, train_step=train_step, clip_values=(0.0, 1.0)
    )
    trainer = AdversarialTrainerMadryPGD(
        classifier, nb_epochs=1, batch_size=batch, eps=EPSILON, eps_step=STEP_SIZE, max_iter=steps
    )
    answers = np.eye(CLASSES, dtype=np.float32)[labels]
    return lambda: trainer.fit(images, answers)


def measure(found: dict[str, Callable], repeats: int) -> dict[str, dict]:
    """Time the first call of each, then rounds in which each runs once."""
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(repeats + 1):
        for name, call in found.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    ours = statistics.median(seconds["medtk pgd"][1:])
    plain = statistics.median(seconds["plain fit"][1:])
    return {
        name: {
            "first_call_s": times[0],
            "median_s": statistics.median(times[1:]),
            "fastest_s": min(times[1:]),
            "ratio_to_plain": statistics.median(times[1:]) / plain,
            "ratio_to_medtk_pgd": statistics.median(times[1:]) / ours,
        }
        for name, times in seconds.items()
    }


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--student", default="small", choices=list(students.SIZES))
    parser.add_argument("--images", type=int, default=512, help="images of 32 x 32 x 3 in an epoch")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=7, help="of PGD and TRADES")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/defenses-<student>.json")
    chosen = parser.parse_args()
    random = np.random.default_rng(0)
    images = random.random((chosen.images, *SHAPE), np.float32)
    labels = random.integers(0, CLASSES, chosen.images)
    times = measure(contenders(chosen.student, images, labels, chosen.batch, chosen.steps), chosen.repeats)

    print(f"{chosen.student}, {chosen.images} images an epoch, {chosen.steps} steps, median of {chosen.repeats}")
    print(f"{'':15}{'first call':>12}{'median':>10}{'fastest':>10}{'x plain':>10}{'x medtk pgd':>13}")
    for name, row in times.items():
        print(
            f"{name:15}{row['first_call_s']:>10.2f} s{row['median_s']:>8.3f} s{row['fastest_s']:>8.3f} s"
            f"{row['ratio_to_plain']:>10.2f}{row['ratio_to_medtk_pgd']:>13.2f}"
        )
    if chosen.save:
        save(f"defenses-{chosen.student}", vars(chosen), times)


if __name__ == "__main__":
    main()
