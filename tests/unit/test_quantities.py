"""What follows from a confusion matrix, against scikit-learn and against counting."""

import numpy as np
import pytest
from sklearn import metrics as peer

from medtk.evaluation import metrics
from medtk.reproduction import quantities

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 3, 60)
PROBABILITIES = RANDOM.dirichlet(np.ones(3), 60)
CALLED = PROBABILITIES.argmax(axis=1)
FOUND = metrics.classification(LABELS, PROBABILITIES)


@pytest.mark.parametrize("of", range(3))
def test_one_class_against_the_rest(of):
    scores = peer.precision_recall_fscore_support(LABELS, CALLED, labels=[of])[:3]
    for metric, score in zip(("precision", "recall", "f1"), scores, strict=True):
        assert quantities.value(FOUND, metric, of) == pytest.approx(score[0])
    tn, fp, fn, tp = peer.confusion_matrix(of == LABELS, of == CALLED).ravel()
    for metric, count in (("negatives", (tn, fn)), ("positives", (tp, fp))):
        for kind, number in zip(("true", "false"), count, strict=True):
            assert quantities.value(FOUND, f"{kind}_{metric}", of) == number


def test_means_and_all_outputs_together():
    for metric, score in (("mean_precision", peer.precision_score), ("mean_recall", peer.recall_score)):
        assert quantities.value(FOUND, metric) == pytest.approx(score(LABELS, CALLED, average="macro"))
    for metric in ("micro_precision", "micro_recall"):
        assert quantities.value(FOUND, metric) == pytest.approx(np.mean(LABELS == CALLED))
    right = int(np.sum(LABELS == CALLED))
    assert quantities.value(FOUND, "true_positives") == right
    assert quantities.value(FOUND, "false_negatives") == quantities.value(FOUND, "false_positives") == 60 - right
    assert quantities.value(FOUND, "true_negatives") == 2 * 60 - (60 - right)


def test_the_loss_is_scikit_learns():
    assert FOUND["loss"] == pytest.approx(peer.log_loss(LABELS, PROBABILITIES))


def test_a_class_that_is_never_called_has_precision_zero():
    found = metrics.classification([0, 1], [[1.0, 0.0], [1.0, 0.0]])
    assert quantities.value(found, "precision", 1) == quantities.value(found, "f1", 1) == 0
    assert found["loss"] == pytest.approx(np.log(2.0**24) / 2)


def test_what_cannot_be_had():
    with pytest.raises(KeyError):
        quantities.value(FOUND, "mse")
    with pytest.raises(KeyError):
        quantities.value({"mse": 1.0, "n": 3}, "precision", 0)
