"""The experiment of paper 4: one float network, made smaller in many ways, each measured on the same test images."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np

from medtk import edge, training
from medtk.data import Dataset
from medtk.edge.measuring import Measured
from medtk.errors import MedtkError
from medtk.lab.edge_spec import EXPERIMENT, PAPER, Spec, record_name, steps
from medtk.lab.session import Run


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
        return edge.calibration(self.dataset.train, seed=self.spec.seed)


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
        a plus between them. ``tuned`` trains on as long as one such step and does nothing else: it is what a form of
        one step is compared with, and ``tuned+tuned`` is that for two steps.
    progress : bool

    Returns
    -------
    Formed

    Raises
    ------
    BadParameter
        See `medtk.lab.edge_spec.steps`.
    MedtkError
        If fewer weights are zero in the end than the form says.
    """
    model, seconds = _copy(start.model), start.seconds
    for what, value in steps(form):
        if what == "filters":
            model = edge.without_filters(model, edge.strongest(model, value))
            fit = _trained_on(start, model, f"filters {value:g}", progress=progress)
        elif what == "sparse":
            fit = _trained_on(start, model, f"sparse {value:g}", sparsity=value, progress=progress)
            must_be_sparse(model, value)
        elif what == "tuned":
            fit = _trained_on(start, model, "tuned", progress=progress)
        else:
            bits, seen = int(value), start.calibration
            aware = edge.quantization_aware(model, seen, weight_bits=bits, activation_bits=8 if bits == 8 else None)
            # The ranges are no weights: without the images behind them the cache would not know them apart.
            settings = {"calibration": training.digest_of_arrays(seen)}
            fit = _trained_on(start, aware, f"{bits} bits", settings=settings, progress=progress)
            model = edge.unrounded(model, fit.model)
        seconds += fit.seconds
    return Formed(form, model, seconds)


def must_be_sparse(model: keras.Model, share: float) -> None:
    """`MedtkError` if a large kernel has fewer zeros than the share that was asked for."""
    for layer in edge.prunable(model):
        kernel = np.asarray(layer.kernel)
        wanted = round(share * kernel.size)
        if kernel.size - np.count_nonzero(kernel) < wanted:
            raise MedtkError(
                f"{layer.name} has {kernel.size - np.count_nonzero(kernel):,} zeros of {kernel.size:,} weights, and "
                f"{wanted:,} were asked for: train for more steps, so that the schedule comes to its end."
            )


def file_of(start: Start, made: Formed, recipe: str, folder: Path) -> Path:
    """File of a form by a recipe; ``keras`` is what Keras stores. `MedtkError` where the recipe saves nothing."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if recipe == "keras":
        target = folder / f"{made.form}.keras"
        # Without the optimiser's state, which would make the file three times as large.
        keras.Model(made.model.input, made.model.output).save(target)
        return target
    floats = folder / f"{made.form}-float32.tflite"
    if not floats.is_file():
        edge.export(made.model, floats)
    target = folder / f"{made.form}-{recipe}.tflite"
    return edge.export(made.model, target, recipe, calibration=start.calibration, float_file=floats)


def files(start: Start, made: Formed, recipes: Sequence[str], folder: Path) -> dict[str, Path]:
    """Files of a form by recipe, see `file_of`. A recipe that saves nothing is left out, and named."""
    found = {}
    for recipe in recipes:
        try:
            found[recipe] = file_of(start, made, recipe, folder)
        except MedtkError as error:
            print(f"{made.form} as {recipe}: {error}", flush=True)
    return found


def measured(start: Start, made: Formed, recipe: str, file: Path, **options) -> Measured:
    """One variant measured; options as in `medtk.edge.measure`. The weights of a form with zeros are packed besides."""
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
    return _written(
        run,
        start,
        made,
        recipe,
        predictions=found.predictions,
        measurements=found.measurements() | {"network": {"sparsity": [edge.sparsity(made.model)]}},
        peak_memory_mb=found.alone[1]["peak_mb"] if 1 in found.alone else None,
    )


def recorded_failure(run: Run, start: Start, made: Formed, recipe: str, reason: str) -> dict:
    """Write the record of a variant of which there is no file, or none that answers, so that it is counted too."""
    found = {"predictions": {}, "measurements": {"file": {"answers": [0]}}}
    return _written(run, start, made, recipe, failed=reason, **found)


def _written(run: Run, start: Start, made: Formed, recipe: str, *, failed: str = "", **found) -> dict:
    spec = start.spec
    parameters = asdict(spec) | {"form": made.form, "recipe": recipe, "n_test": len(start.dataset.test)}
    return run.record(
        start.dataset,
        spec.network,
        weights=spec.weights,
        experiment=EXPERIMENT,
        paper=PAPER,
        name=record_name(spec, made.form, recipe),
        cells=[],
        parameters=parameters | ({"failed": failed} if failed else {}),
        seconds=made.seconds,
        **found,
    )


def _trained_on(
    start: Start,
    model: keras.Model,
    title: str,
    *,
    sparsity: float | None = None,
    settings: dict | None = None,
    progress: bool = True,
):
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
        settings={"sparsity": sparsity} | (settings or {}),
        callbacks=callbacks,
        progress=progress,
    )


def _copy(model: keras.Model) -> keras.Model:
    made = keras.models.clone_model(model)
    made.set_weights(model.get_weights())
    return made
