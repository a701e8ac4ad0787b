"""One function that measures every small network alike: what it answers, and what it costs."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from scipy.ndimage import gaussian_filter

from medtk import attacks
from medtk.defenses.inputs import jpeg
from medtk.edge import runtime
from medtk.edge.cost import macs
from medtk.evaluation import intervals, metrics
from medtk.evaluation.intervals import McNemar

CLEAN = "clean"


@dataclass(frozen=True)
class Variant:
    """A network in the form in which it would be shipped.

    Attributes
    ----------
    name : str
    file : Path
        A ``.tflite`` file, or a ``.keras`` file for the network before it is exported.
    parameters, macs : int
        Of the Keras network that was exported; see `variant`.
    shipped_bytes : int, optional
        Size of the weights in the format of `medtk.edge.pack`, which knows of zeros; else that of `file`. The format is
        one for the way: no runtime opens it, so that tables compare compressed files instead.
    """

    name: str
    file: Path
    parameters: int
    macs: int
    shipped_bytes: int | None = None


@dataclass(frozen=True)
class Measured:
    """What `measure` found.

    Attributes
    ----------
    variant : Variant
    predictions : dict of str to ndarray, shape (n, classes)
        Probabilities by condition: ``clean`` and those that were given.
    quality : dict of str to tuple of float
        Value, low and high end of a 95 % interval: ``accuracy``, ``balanced_accuracy``, ``precision``, ``recall``,
        ``f1`` (the last three are means over the classes) and ``auc``.
    against_float : McNemar or None
        Images that only the float network gets right, images that only this one does, and the exact p value.
    bytes, deflated_bytes, shipped_bytes : int
        Of the file, of the file compressed as in a zip archive, and of the packed weights where there are any.
    alone : dict of int to dict
        By number of threads, what `medtk.edge.runtime.alone` found.
    """

    variant: Variant
    predictions: dict[str, np.ndarray]
    quality: dict[str, tuple[float, float, float]]
    against_float: McNemar | None
    bytes: int
    deflated_bytes: int
    shipped_bytes: int
    alone: dict[int, dict]

    def measurements(self) -> dict[str, dict]:
        """What is no prediction, in the form of `medtk.reproduction.records.write`.

        ``best-threads=1`` holds the lowest block: on a machine that does other work the one that was disturbed least.
        """
        size = {"bytes": [self.bytes], "deflated_bytes": [self.deflated_bytes], "shipped_bytes": [self.shipped_bytes]}
        found = {"size": size | {"parameters": [self.variant.parameters], "macs": [self.variant.macs]}}
        for threads, numbers in self.alone.items():
            times = {what: numbers[what] for what in ("median_ms", "p95_ms")}
            found[f"threads={threads}"] = times
            found[f"best-threads={threads}"] = {what: [min(values)] for what, values in times.items()}
            found[f"start-threads={threads}"] = {w: [numbers[w]] for w in ("cold_ms", "before_mb", "peak_mb")}
        return found


def variant(name: str, file: Path, model: keras.Model, *, shipped_bytes: int | None = None) -> Variant:
    """Variant from a file and the Keras network that it was exported from."""
    return Variant(name, Path(file), model.count_params(), macs(model), shipped_bytes)


def measure(
    variant: Variant,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    float_probabilities: np.ndarray | None = None,
    conditions: Mapping[str, np.ndarray] | None = None,
    threads: Sequence[int] = (1, 2),
    repeats: int = 5,
    runs: int = 30,
) -> Measured:
    """Measure one variant.

    Parameters
    ----------
    variant : Variant
    images : ndarray of float32, shape (n, height, width, channels)
        Test images in [0, 1].
    labels : ndarray of int, shape (n,)
    float_probabilities : ndarray, shape (n, classes), optional
        Answers of the float network to the same images, for McNemar's test.
    conditions : mapping, optional
        The same images under other conditions, see `conditions`.
    threads : sequence of int
        Numbers of threads at which it is timed; empty: not timed.
    repeats, runs : int
        See `medtk.edge.runtime.alone`. Time depends on what else the machine does.

    Returns
    -------
    Measured
    """
    answer = _answering(variant.file)
    predictions = {name: answer(changed) for name, changed in {CLEAN: images, **(conditions or {})}.items()}
    content = Path(variant.file).read_bytes()
    compared = None
    if float_probabilities is not None:
        compared = intervals.mcnemar(labels, float_probabilities, predictions[CLEAN])
    return Measured(
        variant=variant,
        predictions=predictions,
        quality=quality(labels, predictions[CLEAN]),
        against_float=compared,
        bytes=len(content),
        deflated_bytes=len(zlib.compress(content, 9)),
        shipped_bytes=len(content) if variant.shipped_bytes is None else variant.shipped_bytes,
        alone={count: runtime.alone(variant.file, threads=count, repeats=repeats, runs=runs) for count in threads},
    )


def _answering(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    if Path(file).suffix == ".keras":
        model = keras.saving.load_model(file, compile=False)
        return lambda images: model.predict(images, verbose=0)
    return lambda images: runtime.predict(file, images)


def quality(
    labels: np.ndarray, probabilities: np.ndarray, *, repeats: int = 500, seed: int = 0
) -> dict[str, tuple[float, float, float]]:
    """Value and 95 % interval of each measure: Wilson's for accuracy, by bootstrap over images for the others."""
    values = scores(labels, probabilities)
    n = len(labels)
    found = {"accuracy": (values["accuracy"], *intervals.wilson(round(values["accuracy"] * n), n))}
    for name in ("balanced_accuracy", "precision", "recall", "f1", "auc"):
        if values[name] is None:
            continue

        def score(drawn_labels, drawn, name=name):
            return scores(drawn_labels, drawn, auc=name == "auc")[name]

        found[name] = (values[name], *intervals.bootstrap(labels, probabilities, score, repeats=repeats, seed=seed))
    return found


def scores(labels: np.ndarray, probabilities: np.ndarray, *, auc: bool = True) -> dict[str, float | None]:
    """Accuracy, balanced accuracy, means over the classes of precision, recall and F1, and AUC.

    Precision of a class that is never named counts as 0, and so does the recall of one that does not occur.
    """
    counts = metrics.confusion(labels, np.argmax(probabilities, axis=1), probabilities.shape[1])
    means = {name: float(np.mean(values)) for name, values in metrics.per_class(counts).items()}
    return {
        "accuracy": float(np.trace(counts) / counts.sum()),
        "balanced_accuracy": metrics.balanced_accuracy(counts),
        **means,
        "auc": metrics.auc(labels, probabilities) if auc else None,
    }


def conditions(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    epsilon: float = 0.005,
    noise: float = 0.05,
    blur: float = 1.0,
    quality: int = 30,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Test images as a device may meet them: noisy, blurred, stored coarsely, attacked.

    Parameters
    ----------
    model : keras.Model
        The float network. Its gradient makes the attacked images, which then meet every variant: an attacker has the
        published network, and the device another one.
    images, labels : ndarray
    epsilon : float
        Step of FGSM in each pixel.
    noise, blur : float
        Standard deviation of the noise in pixel values of [0, 1], and of the blur in pixels.
    quality : int
        Of JPEG.
    seed : int
        Of the noise.

    Returns
    -------
    dict
        ``noise``, ``blur``, ``jpeg``, ``fgsm``, each of the shape of `images`, in [0, 1].
    """
    images = np.asarray(images, np.float32)
    random = np.random.default_rng(seed).standard_normal(images.shape, np.float32)
    return {
        "noise": np.clip(images + np.float32(noise) * random, 0, 1),
        "blur": gaussian_filter(images, (0, blur, blur, 0)),
        "jpeg": jpeg(images, quality),
        "fgsm": attacks.fgsm(model, images, labels, epsilon, clip=True),
    }
