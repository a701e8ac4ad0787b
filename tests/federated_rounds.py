"""Two federated rounds of small networks on the backend that Keras has: ``python federated_rounds.py STARTS ENDS``.

The starting weights are read from a file, since each backend draws random weights of its own.
"""

import sys
from dataclasses import replace

import numpy as np

from medtk import federated, models
from medtk.data import Split
from medtk.data.hospitals import Hospital
from medtk.training import focal_loss, moved

BATCH = 4
SIZES = {"north": 13, "south": 9, "west": 8}  # the last batches have 1, 1 and 4 images
ADAM = federated.Settings(rounds=2, local_epochs=2, batch_size=BATCH, learning_rate=1e-3, augment=moved)
SGD = replace(ADAM, optimizer="sgd", learning_rate=0.1)
# By name: network, how many of its first layers are frozen, settings.
CASES = {
    "fedavg": ("small", 0, ADAM),
    "fedprox": ("small", 0, replace(ADAM, proximal=1.0)),
    "fedprox, normalised": ("small_bn", 0, replace(SGD, proximal=1.0)),
    "fedavg, normalised, one block frozen": ("small_bn", 6, ADAM),
}


def network(case):
    kind, frozen, _ = CASES[case]
    model = models.build_covid(kind, input_shape=(8, 8, 1), weights="random", filters=6, widths=(8, 7, 6), seed=3)
    for layer in model.layers[:frozen]:
        layer.trainable = False
    return model


def hospitals():
    random = np.random.default_rng(1)
    for name, n in SIZES.items():
        labels = np.arange(n) % 2
        images = 0.6 * random.random((n, 8, 8, 1)) + 0.4 * labels[:, None, None, None]
        yield Hospital(name, Split(images.astype(np.float32), labels))


def trained(case, start):
    """Weights after two rounds, each client's loss while training, and how often the step was compiled."""
    lengths = []

    def loss(scores, labels):
        lengths.append(scores.shape[0])  # Python comes by only when a step is compiled
        return focal_loss(scores, labels)

    model, settings = network(case), replace(CASES[case][2], loss=loss)
    model.set_weights(start)
    result = federated.run(model, list(hospitals()), settings, validate=False, keep=False, progress=False)
    losses = [row["loss"] for entry in result.history for row in entry["clients"]]
    return {"weights": result.weights(), "losses": [np.array(losses)], "compiled": [np.array(len(lengths))]}


def save(path, arrays):
    """Write lists of arrays by name."""
    np.savez(path, **{f"{name}/{i:03}": array for name, each in arrays.items() for i, array in enumerate(each)})


def load(path, name):
    """Read the list of arrays of a name."""
    with np.load(path) as stored:
        return [stored[key] for key in sorted(stored.files) if key.startswith(f"{name}/")]


def main(starts, ends):
    found = {}
    for case in CASES:
        for what, arrays in trained(case, load(starts, case)).items():
            found[f"{case}/{what}"] = arrays
    save(ends, found)


if __name__ == "__main__":
    main(*sys.argv[1:])
