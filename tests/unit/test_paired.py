"""Balanced accuracy as a mean over images, and how sure a difference of two is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtk.evaluation import metrics
from medtk.evaluation.intervals import bootstrap_weighted
from medtk.reproduction import paired


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=2, max_size=60))
def test_the_mean_of_balanced_values_is_the_balanced_accuracy(images):
    labels, right = (np.array(column) for column in zip(*images, strict=True))
    named = np.where(right, labels, (labels + 1) % 4)
    expected = metrics.balanced_accuracy(metrics.confusion(labels, named, 4))
    assert paired.balanced(labels, right).mean() == pytest.approx(expected)


def test_balanced_values_spread_within_classes_alone():
    labels = np.repeat([0, 1], [900, 100])
    assert paired.balanced(labels, labels == 0) == pytest.approx(0.5)  # one class always right, the other never
    # Mean of two shares: a quarter of the sum of their variances, p(1 - p)/n each.
    right = np.concatenate([np.arange(900) < 450, np.arange(100) < 80])
    variance = paired.balanced(labels, right).var() / len(labels)
    assert variance == pytest.approx((0.25 / 900 + 0.16 / 100) / 4)


def test_the_interval_is_that_of_images_drawn_again():
    random = np.random.default_rng(0)
    labels = random.choice(3, 1500, p=[0.7, 0.2, 0.1])
    ours, theirs = (np.eye(3)[np.where(random.random(1500) < share, labels, (labels + 1) % 3)] for share in (0.85, 0.7))
    gained = (ours.argmax(axis=1) == labels).astype(float) - (theirs.argmax(axis=1) == labels)

    def balanced(weights):
        classes = np.eye(3)[labels]
        return ((weights * gained) @ classes / (weights @ classes)).mean(axis=1)

    drawn = bootstrap_weighted(balanced, range(1500), repeats=4000)
    value, interval = paired.balanced_gap(labels, [ours], [theirs], apart=False)
    assert value == pytest.approx(balanced(np.ones((1, 1500)))[0])
    assert tuple(interval) == pytest.approx(tuple(drawn), abs=0.004) and drawn.high - drawn.low > 0.07
