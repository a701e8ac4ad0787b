"""What every attack needs: checked arguments, what counts as success, and the strongest point seen."""

import numbers
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from medtk.data.preprocessing import check_range
from medtk.errors import BadParameter
from medtk.models.gradients import class_ids, cross_entropy


def toward(scores, targets):
    """Minus the cross-entropy of a target class: rises as the scores come nearer to the target, shape (n,)."""
    return -cross_entropy(scores, targets)


def margin(scores, labels):
    """Best other score minus the labelled class's, shape (n,): above 0 the network no longer says the label."""
    labelled = ops.one_hot(labels, scores.shape[-1])
    others = ops.where(labelled > 0, -float("inf"), scores)
    return ops.max(others, axis=1) - ops.sum(labelled * scores, axis=1)


def target_margin(scores, targets):
    """Target's score minus the best other's, shape (n,): above 0 the network says the target."""
    return -margin(scores, targets)


def gaps(scores, wanted):
    """Scores of ``wanted[:, 1:]`` minus the score of ``wanted[:, 0]``, shape (n, classes wanted - 1)."""
    return ops.take_along_axis(scores, wanted[:, 1:], axis=1) - ops.take_along_axis(scores, wanted[:, :1], axis=1)


@dataclass(frozen=True)
class Goal:
    """What an attack wants of each image: to be anything but its label, or to be its target.

    Attributes
    ----------
    classes : ndarray of int32, shape (n,)
        The labels, or the targets.
    targeted : bool
    """

    classes: np.ndarray
    targeted: bool

    @property
    def loss(self):
        """Loss of the scores that rises towards the goal."""
        return toward if self.targeted else cross_entropy

    @property
    def margin(self):
        """Difference of scores that is above 0 where the goal is reached."""
        return target_margin if self.targeted else margin

    def losses(self, scores: np.ndarray) -> np.ndarray:
        """`loss` of scores that are arrays."""
        shifted = scores - scores.max(axis=1, keepdims=True)
        loss = np.log(np.exp(shifted).sum(axis=1)) - self._own(shifted)
        return -loss if self.targeted else loss

    def margins(self, scores: np.ndarray) -> np.ndarray:
        """`margin` of scores that are arrays."""
        others = scores.copy()
        others[np.arange(len(scores)), self.classes] = -np.inf
        margin = others.max(axis=1) - self._own(scores)
        return -margin if self.targeted else margin

    def _own(self, scores: np.ndarray) -> np.ndarray:
        return scores[np.arange(len(scores)), self.classes]

    def of(self, chosen: np.ndarray) -> "Goal":
        """Goal of the `chosen` images."""
        return Goal(self.classes[chosen], self.targeted)

    def reached(self, scores: np.ndarray, chosen=slice(None)) -> np.ndarray:
        """Whether the scores of the `chosen` images say what the attack wants, shape (n,) of bool."""
        return (scores.argmax(axis=1) == self.classes[chosen]) == self.targeted


def prepared(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    targets: np.ndarray | None = None,
    *,
    clip: bool = True,
) -> tuple[np.ndarray, Goal]:
    """Images as float32 and the goal, after a check of images, labels and targets."""
    images, n_classes = np.asarray(images, np.float32), model.output_shape[-1]
    if n_classes < 2:
        raise BadParameter("An attack needs a score for each class: give the network two outputs instead of one.")
    expected = model.input_shape[1:]
    fits = (found == wanted for found, wanted in zip(images.shape[1:], expected, strict=False) if wanted is not None)
    if images.ndim != len(expected) + 1 or not all(fits):
        raise BadParameter(f"images must have shape (n, {', '.join(map(str, expected))}), not {images.shape}.")
    if clip:  # of images in another range the attack would seem to fail
        check_range(images, beyond=1e-6)
    labels = class_ids(model, images, labels)
    if targets is None:
        return images, Goal(labels, False)
    return images, Goal(class_ids(model, images, targets, "targets"), True)


def at_least(low: float, **settings: float) -> None:
    """Raise `BadParameter` unless each setting is a finite number of at least `low`."""
    for name, value in settings.items():
        if not isinstance(value, numbers.Real) or not low <= value < float("inf"):
            raise BadParameter(f"{name} must be a finite number, {low:g} or more, not {value!r}.")


def whole(low: int, **settings: int) -> None:
    """Raise `BadParameter` unless each setting is a whole number of at least `low`."""
    for name, value in settings.items():
        if not isinstance(value, numbers.Integral) or value < low:
            raise BadParameter(f"{name} must be a whole number, {low} or more, not {value!r}.")


def length(difference: np.ndarray) -> np.ndarray:
    """Euclidean length of each image of a difference, shape (n, 1, 1, 1)."""
    return np.sqrt(np.square(difference).sum(axis=(-3, -2, -1), keepdims=True))


def within_range(images: np.ndarray, clip: bool) -> np.ndarray:
    """Images clipped to [0, 1] if so wished."""
    return np.clip(images, 0.0, 1.0) if clip else images


class Strongest:
    """The strongest point seen of each image: one that reaches the goal before one that does not, then by loss."""

    def __init__(self, images: np.ndarray, goal: Goal):
        self.goal = goal
        self.images = images.copy()
        self.reached = np.zeros(len(images), bool)
        self.loss = np.full(len(images), -np.inf, np.float32)

    def offer(self, points: np.ndarray, scores: np.ndarray, losses: np.ndarray, chosen=None) -> np.ndarray:
        """Keep the `points` (of the `chosen` images: ids, else all) that are stronger; returns which, (n,) bool."""
        chosen = np.arange(len(self.images)) if chosen is None else chosen
        reached = self.goal.reached(scores, chosen)
        stronger = (reached > self.reached[chosen]) | ((reached == self.reached[chosen]) & (losses > self.loss[chosen]))
        at = chosen[stronger]
        self.images[at], self.reached[at], self.loss[at] = points[stronger], reached[stronger], losses[stronger]
        return stronger
