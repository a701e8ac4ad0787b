"""The experiment of paper 4: one float network, made smaller in many ways, each measured on the same test images."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np

from medtk import edge
from medtk.data import Dataset
from medtk.edge.measuring import Measured
from medtk.errors import MedtkError
from medtk.lab.edge_spec import EXPERIMENT, PAPER, Spec, record_name, steps
from medtk.lab.session import Run

CALIBRATION = 100  # images


@dataclass(frozen=True, eq=False)
class Start:
    """A trained float network, and what every variant of it is measured on.

    Attributes
    ----------
    spec : Spec
    dataset : Dataset
    model : keras.Model
    conditions : dict of str to ndarray
        Test images made worse, see `medtk.edge.conditions`; the attacked ones by the gradient of `model`.
    seconds : float
        Of training.
    """

    spec: Spec
    dataset: Dataset
    model: keras.Model
    conditions: dict[str, np.ndarray]
    seconds: float

    @property
    def calibration(self) -> np.ndarray:
        """Training images for the ranges of activations, every class among them."""
        labels = self.dataset.train.labels
        order = np.random.default_rng(self.spec.seed).permutation(len(labels))
        return self.dataset.train.images[np.sort(order[:CALIBRATION])]


@dataclass(frozen=True, eq=False)
class Formed:
    """A network after the steps of a form.

    Attributes
    ----------
    form : str
    model : keras.Model
        Plain: what is exported.
    seconds : float
        Of all training behind it.
    """

    form: str
    model: keras.Model
    seconds: float


def started(dataset: Dataset, spec: Spec, *, conditions: bool = True, progress: bool = True) -> Start:
    """Train the float network, or take it from the cache."""
    model = edge.build(
        spec.network, dataset.n_classes, input_shape=dataset.image_shape, weights=spec.weights, seed=spec.seed
    )
    fit = edge.tuned(
        model,
        dataset.train,
        title=spec.network,
        epochs=spec.epochs,
        batch_size=spec.batch_size,
        learning_rate=spec.learning_rate,
        seed=spec.seed,
        progress=progress,
    )
    worse = edge.conditions(fit.model, dataset.test.images, dataset.test.labels) if conditions else {}
    return Start(spec, dataset, fit.model, worse, fit.seconds)


def formed(start: Start, form: str, *, progress: bool = True) -> Formed:
    """Take the steps of a form one after the other, each with some more training.

    Parameters
    ----------
    start : Start
    form : str
        Such as ``sparse0.8`` (share of zeros), ``filters0.5`` (share of filters kept), ``qat8`` (bits), or several with
        a plus between them; ``tuned`` trains on as long as each of these, and is what to compare them with.
    progress : bool

    Returns
    -------
    Formed
    """
    model, seconds = _copy(start.model), start.seconds
    for what, value in steps(form):
        if what == "filters":
            model = edge.without_filters(model, edge.strongest(model, value))
            fit = _trained_on(start, model, f"filters {value:g}", progress=progress)
        elif what == "sparse":
            fit = _trained_on(start, model, f"sparse {value:g}", sparsity=value, progress=progress)
        elif what == "tuned":
            fit = _trained_on(start, model, "tuned", progress=progress)
        else:
            bits = int(value)
            aware = edge.quantization_aware(
                model, start.calibration, weight_bits=bits, activation_bits=8 if bits == 8 else None
            )
            fit = _trained_on(start, aware, f"{bits} bits", progress=progress)
            model = edge.unrounded(model, fit.model)
        seconds += fit.seconds
    return Formed(form, model, seconds)


def files(start: Start, made: Formed, recipes: Sequence[str], folder: Path) -> dict[str, Path]:
    """Files of a form by recipe; ``keras`` is what Keras stores. A recipe that saves nothing is left out, and named."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    found, floats = {}, None
    for recipe in recipes:
        target = folder / (f"{made.form}.keras" if recipe == "keras" else f"{made.form}-{recipe}.tflite")
        try:
            if recipe == "keras":
                # Without the optimiser's state, which would make the file three times as large.
                keras.Model(made.model.input, made.model.output).save(target)
            else:
                floats = floats or edge.export(made.model, folder / f"{made.form}-float32.tflite")
                edge.export(made.model, target, recipe, calibration=start.calibration, float_file=floats)
        except MedtkError as error:
            print(f"{made.form} as {recipe}: {error}", flush=True)
            continue
        found[recipe] = target
    return found


def measured(start: Start, made: Formed, recipe: str, file: Path, **options) -> Measured:
    """One variant measured; options as in `medtk.edge.measure`. A form with zeros is shipped packed."""
    bits = {"float32": 32, "float16": 16, "int8": 8}.get(recipe)
    shipped = None
    if "sparse" in made.form and bits:
        shipped = len(edge.pack([np.asarray(v) for v in edge.folded(made.model).weights], bits=bits))
    test = start.dataset.test
    return edge.measure(
        edge.variant(f"{made.form}-{recipe}", file, made.model, shipped_bytes=shipped),
        test.images,
        test.labels,
        conditions=start.conditions,
        **options,
    )


def recorded(run: Run, start: Start, made: Formed, recipe: str, found: Measured) -> dict:
    """Write the record of a measured variant."""
    spec = start.spec
    return run.record(
        start.dataset,
        spec.network,
        weights=spec.weights,
        experiment=EXPERIMENT,
        paper=PAPER,
        name=record_name(spec, made.form, recipe),
        cells=[],
        parameters=asdict(spec) | {"form": made.form, "recipe": recipe, "n_test": len(start.dataset.test)},
        predictions=found.predictions,
        measurements=found.measurements() | {"network": {"sparsity": [edge.sparsity(made.model)]}},
        seconds=made.seconds,
        peak_memory_mb=found.alone[1]["peak_mb"] if 1 in found.alone else None,
    )


def _trained_on(start: Start, model: keras.Model, title: str, *, sparsity: float | None = None, progress: bool = True):
    spec = start.spec

    def callbacks(first_step, n_steps):
        return [] if sparsity is None else [edge.Pruner(sparsity, steps=n_steps, first_step=first_step)]

    return edge.tuned(
        model,
        start.dataset.train,
        title=title,
        epochs=spec.tune_epochs,
        batch_size=spec.batch_size,
        learning_rate=spec.tune_learning_rate,
        seed=spec.seed,
        settings={"sparsity": sparsity},
        callbacks=callbacks,
        progress=progress,
    )


def _copy(model: keras.Model) -> keras.Model:
    made = keras.models.clone_model(model)
    made.set_weights(model.get_weights())
    return made
