"""Time FGSM beside ART, Foolbox and the floor: ``python benchmarks/fgsm.py``.

The floor is one compiled pass forward and backward through the bare network, without which no FGSM can be had.
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

EPSILON = 0.005


def contenders(network: keras.Model, images: np.ndarray, labels: np.ndarray) -> dict[str, Callable]:
    """Return what is timed: each gives the attacked images, but the floor, which gives the gradient."""
    scores = models.logits(network)
    tensors = tf.constant(images), tf.constant(labels)

    @tf.function(reduce_retracing=True)
    def gradient(x, y):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            logits = scores(x, training=False)
            loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
        return tape.gradient(loss, x)

    found = {
        "floor": lambda: gradient(*tensors).numpy(),
        "medtk": lambda: attacks.fgsm(network, images, labels, EPSILON, clip=True, batch_size=len(images)),
    }
    try:
        import foolbox

        wrapped = foolbox.TensorFlowModel(scores, bounds=(0.0, 1.0))
        attack = foolbox.attacks.LinfFastGradientAttack(random_start=False)
        found["foolbox"] = lambda: attack(wrapped, *tensors, epsilons=EPSILON)[0].numpy()
    except ImportError:
        print("foolbox is not installed")
    try:
        from art.attacks.evasion import FastGradientMethod
        from art.estimators.classification import TensorFlowV2Classifier

        classifier = TensorFlowV2Classifier(
            scores,
            nb_classes=network.output_shape[-1],
            input_shape=images.shape[1:],
            loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            clip_values=(0.0, 1.0),
        )
        method = FastGradientMethod(classifier, eps=EPSILON, eps_step=EPSILON, batch_size=len(images))
        found["art"] = lambda: method.generate(images, labels)
    except ImportError:
        print("adversarial-robustness-toolbox is not installed")
    return found


def measure(found: dict[str, Callable], repeats: int) -> dict[str, dict]:
    """Time each contender in turn, so that a busy moment of the machine hits all of them."""
    first, seconds, results = {}, {name: [] for name in found}, {}
    for name, call in found.items():
        start = time.perf_counter()
        results[name] = call()
        first[name] = time.perf_counter() - start
    for _ in range(repeats):
        for name, call in found.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    floor = statistics.median(seconds["floor"])
    return {
        name: {
            "first_call_s": first[name],
            "median_s": statistics.median(times),
            "fastest_s": min(times),
            "ratio_to_floor": statistics.median(times) / floor,
            "equal_to_medtk": None
            if name == "floor"
            else float(np.mean(np.isclose(results[name], results["medtk"], atol=1e-6))),
        }
        for name, times in seconds.items()
    }


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="mobilenetv2", choices=list(models.NETWORKS))
    parser.add_argument("--images", type=int, default=128, help="images of 32 x 32 x 3, in one batch")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/fgsm-<network>.json")
    chosen = parser.parse_args()
    random = np.random.default_rng(0)
    images = random.random((chosen.images, 32, 32, 3), np.float32)
    labels = random.integers(0, 2, chosen.images)
    network = models.build(chosen.network, 2, weights="random")
    times = measure(contenders(network, images, labels), chosen.repeats)

    print(f"{chosen.network}, {chosen.images} images of 32 x 32 x 3, median of {chosen.repeats}")
    print(f"{'':10}{'first call':>12}{'median':>10}{'fastest':>10}{'x floor':>10}{'pixels as medtk':>18}")
    for name, row in times.items():
        same = "" if row["equal_to_medtk"] is None else f"{row['equal_to_medtk']:.3%}"
        print(
            f"{name:10}{row['first_call_s']:>10.2f} s{row['median_s']:>8.3f} s{row['fastest_s']:>8.3f} s"
            f"{row['ratio_to_floor']:>10.2f}{same:>18}"
        )
    if chosen.save:
        save(f"fgsm-{chosen.network}", vars(chosen), times)


if __name__ == "__main__":
    main()
