"""Knowledge distillation: a small network learns what a large one answers."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from medtk import models, training
from medtk.data import Dataset, Split
from medtk.defenses import students
from medtk.defenses.losses import distillation_loss
from medtk.errors import BadParameter, UnknownName
from medtk.models.gradients import scores

STATISTICS = ("moving", "refreshed")
# Part of every cache key: raise it when a change here changes what training gives.
RECIPE = 1


@dataclass(frozen=True)
class Spec:
    """Everything that decides what distillation gives, but the data.

    The defaults are the robust-transfer paper's own: the Kullback-Leibler divergence on the teacher's class
    probabilities and nothing else (section III-C). It gives no temperature and no weight.

    Attributes
    ----------
    teacher : medtk.training.Spec
        A network trained as usual.
    student : str
        See `medtk.defenses.students.build`.
    temperature : float
        Both softmaxes are taken of scores divided by it; above 0. The student answers at 1.
    alpha : float
        Weight of the teacher's answers, 0 to 1; the rest is cross-entropy with the true labels.
    teacher_temperature : float, optional
        Of the teacher alone; `temperature` unless given. At 1 the student must reach the teacher's probabilities
        through a softmax at `temperature`, and its scores grow that many times larger: that is defensive distillation
        (Papernot et al. 2016), whose gradients vanish when the student answers at 1.
    teacher_statistics : {'moving', 'refreshed'}
        Whether the teacher answers as it stands after training or with its batch normalisation's statistics measured
        again on the training images (`medtk.training.statistics_refreshed`). As it stands is what the paper would have
        done; a teacher that sits at the majority class then teaches just that.
    epochs, batch_size : int
        At least 1.
    learning_rate : float
        Of Adam.
    seed : int
        Of the student's weights and of the order of the images.
    """

    teacher: training.Spec
    student: str = "small"
    temperature: float = 1.0
    alpha: float = 1.0
    teacher_temperature: float | None = None
    teacher_statistics: str = "moving"
    epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self):
        if self.teacher_statistics not in STATISTICS:
            raise UnknownName("kind of teacher's statistics", self.teacher_statistics, STATISTICS)
        _refuse_nonsense(
            self.temperature, self.teacher_temperature, self.alpha, self.epochs, self.batch_size, self.learning_rate
        )


def fit_or_load(spec: Spec, dataset: Dataset, *, progress: bool = True) -> training.Fit:
    """Train a student on its teacher's answers to the training images, or load it.

    The teacher is trained first, unless it is in the cache; it answers once, and only if the student is not done.

    Parameters
    ----------
    spec : Spec
    dataset : Dataset
        Its training split is used.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    Fit
        Of the student; `history` and `seconds` are those of distillation alone.
    """

    def teacher_scores():
        return scores(teacher(spec, dataset, progress=progress), dataset.train.images)

    training.be_deterministic()
    return distil(
        students.build(spec.student, dataset.n_classes, input_shape=dataset.image_shape, seed=spec.seed),
        teacher_scores,
        dataset.train,
        tag=f"{training.key(spec.teacher, dataset)} {spec.teacher_statistics} {spec.student}",
        temperature=spec.temperature,
        alpha=spec.alpha,
        teacher_temperature=spec.teacher_temperature,
        epochs=spec.epochs,
        batch_size=spec.batch_size,
        learning_rate=spec.learning_rate,
        seed=spec.seed,
        progress=progress,
    )


def teacher(spec: Spec, dataset: Dataset, *, progress: bool = True) -> keras.Model:
    """Return the network whose answers the student learns, its statistics as `spec` says."""
    model = training.fit_or_load(spec.teacher, dataset, progress=progress).model
    if spec.teacher_statistics == "refreshed":
        training.statistics_refreshed(model, dataset.train.images)
    return model


def distil(
    student: keras.Model,
    teacher_scores: Callable[[], np.ndarray],
    train: Split,
    *,
    tag: str,
    temperature: float = 1.0,
    alpha: float = 1.0,
    teacher_temperature: float | None = None,
    epochs: int = 5,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    seed: int = 0,
    progress: bool = True,
) -> training.Fit:
    """Train any student on any teacher's scores, resumable and cached.

    Parameters
    ----------
    student : keras.Model
        Images to probabilities, with a layer ``logits``; trained in place from the weights that it has.
    teacher_scores : callable
        Gives the teacher's scores of `train.images`, shape (n, classes); the logarithm of its probabilities serves as
        well. Called once, and only if an epoch is left to train.
    train : Split
        Images and true labels.
    tag : str
        Names the teacher and the architecture of the student. It is part of the cache key, with the student's
        starting weights, the data and the parameters below.
    temperature, alpha, teacher_temperature, epochs, batch_size, learning_rate, seed
        See `Spec`.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    Fit
        With `student` itself; loss while training is that of `medtk.defenses.losses.distillation_loss`.

    Raises
    ------
    BadParameter
        On a parameter out of its range or scores of another shape.
    """
    _refuse_nonsense(temperature, teacher_temperature, alpha, epochs, batch_size, learning_rate)
    training.be_deterministic()
    network = models.logits(student)

    # Keras' fit carries one array of targets: the teacher's scores with the label as one more column.
    def loss(targets, found):
        labels, temperatures = ops.cast(targets[:, -1], "int32"), (temperature, teacher_temperature)
        return distillation_loss(found, targets[:, :-1], labels, *temperatures, alpha=alpha)

    def accuracy(targets, found):
        said, labels = (ops.cast(x, "int32") for x in (ops.argmax(found, axis=-1), targets[:, -1]))
        return ops.cast(said == labels, "float32")

    @functools.cache
    def targets():
        said = np.asarray(teacher_scores(), np.float32)
        if said.shape != (len(train), network.output_shape[-1]) or not np.all(np.isfinite(said)):
            raise BadParameter(
                f"A teacher must give finite scores of {len(train)} images and {network.output_shape[-1]} classes; "
                f"these have shape {said.shape}."
            )
        return np.column_stack([said, train.labels.astype(np.float32)])

    parts = {
        "defence": "distillation",
        "recipe": RECIPE,
        "tag": tag,
        "start": training.digest_of_arrays(*student.get_weights()),
        "data": training.digest_of_arrays(train.images, train.labels),
        "settings": [temperature, alpha, teacher_temperature, epochs, batch_size, learning_rate, seed],
        "keras": [keras.__version__, keras.backend.backend()],
    }
    network.compile(keras.optimizers.Adam(learning_rate), loss=loss, metrics=[accuracy])
    fit = training.train_or_load(
        network,
        training.digest_of(parts),
        lambda epoch, bar: training.fit_one_epoch(
            network, train.images, targets(), batch_size=batch_size, seed=seed, epoch=epoch, bar=bar
        ),
        epochs=epochs,
        steps_per_epoch=-(-len(train) // batch_size),
        title=f"student {student.name}",
        progress=progress,
    )
    return dataclasses.replace(fit, model=student)


def _refuse_nonsense(temperature, teacher_temperature, alpha, epochs, batch_size, learning_rate) -> None:
    infinity = float("inf")
    for name, value, holds, range_ in (
        ("temperature", temperature, 0 < temperature < infinity, "above 0"),
        (
            "teacher_temperature",
            teacher_temperature,
            teacher_temperature is None or 0 < teacher_temperature < infinity,
            "above 0, or None",
        ),
        ("alpha", alpha, 0 <= alpha <= 1, "from 0 to 1"),
        ("epochs", epochs, epochs >= 1, "at least 1"),
        ("batch_size", batch_size, batch_size >= 1, "at least 1"),
        ("learning_rate", learning_rate, 0 < learning_rate < infinity, "above 0"),
    ):
        if not holds:
            raise BadParameter(f"{name} of distillation must be {range_}, not {value}.")
