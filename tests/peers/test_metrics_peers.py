import numpy as np
import pytest
from medmnist.evaluator import getACC, getAUC
from sklearn import metrics as peer

from medtk.evaluation import metrics


@pytest.fixture(params=[(2, 156, 0), (2, 624, 1), (4, 1000, 2), (7, 2005, 3)], ids=str)
def table(request):
    """Labels and probabilities of a classifier that is right more often than not, every class present."""
    k, n, seed = request.param
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(k), random.integers(0, k, n - k)])
    probabilities = random.dirichlet(np.ones(k), n) + 0.3 * np.eye(k)[labels]
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)


def test_equals_the_medmnist_evaluator(table):
    labels, probabilities = table
    task = "binary-class" if probabilities.shape[1] == 2 else "multi-class"
    ours = metrics.classification(labels, probabilities)
    truth = labels[:, None]
    # Its binary metrics take the second class's column alone.
    scores = probabilities[:, 1:] if task == "binary-class" else probabilities
    assert ours["auc"] == pytest.approx(getAUC(truth, scores, task), abs=1e-12)
    assert ours["accuracy"] == pytest.approx(getACC(truth, scores, task), abs=1e-12)


def test_equals_scikit_learn(table):
    labels, probabilities = table
    ours = metrics.classification(labels, probabilities)
    predicted = probabilities.argmax(axis=1)
    one_hot = np.eye(probabilities.shape[1])[labels]
    scores = probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities
    expected = {
        "accuracy": peer.accuracy_score(labels, predicted),
        "balanced_accuracy": peer.balanced_accuracy_score(labels, predicted),
        "auc": peer.roc_auc_score(labels, scores, multi_class="ovr", average="macro"),
        "macro_f1": peer.f1_score(labels, predicted, average="macro"),
        "brier": probabilities.shape[1] * peer.mean_squared_error(one_hot, probabilities),
    }
    assert {key: ours[key] for key in expected} == pytest.approx(expected, abs=1e-12)
    assert np.array_equal(
        metrics.confusion(labels, predicted, probabilities.shape[1]),
        peer.confusion_matrix(labels, predicted),
    )


def test_each_class_equals_scikit_learn_also_where_one_is_never_named(table):
    labels, probabilities = table
    k = probabilities.shape[1]
    for predicted in (probabilities.argmax(axis=1), np.zeros(len(labels), int), (labels + 1) % k):
        ours = metrics.per_class(metrics.confusion(labels, predicted, k))
        theirs = peer.precision_recall_fscore_support(labels, predicted, labels=range(k), zero_division=0)
        for mine, expected in zip((ours["precision"], ours["recall"], ours["f1"]), theirs[:3], strict=True):
            np.testing.assert_allclose(mine, expected, atol=1e-12)


def test_equals_scikit_learn_with_ties_as_float16_makes_them():
    random = np.random.default_rng(4)
    score = np.round(random.uniform(0, 1, 500), 1)
    labels = random.integers(0, 2, 500)
    probabilities = np.column_stack([1 - score, score])
    assert metrics.auc(labels, probabilities) == pytest.approx(peer.roc_auc_score(labels, score), abs=1e-12)
