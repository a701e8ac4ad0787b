import dataclasses

import numpy as np
import pytest

from medtk import data
from medtk.errors import BadParameter


def make(n_train=200, n_val=40, n_test=60):
    def split(n, key):
        labels = (np.arange(n) % 10 == 0).astype(np.int64) + (np.arange(n) == 0)
        groups = np.array([f"{key}-{i // 2}" for i in range(n)])
        return data.Split(np.arange(n, dtype=np.float32)[:, None, None, None] / n, labels, groups)

    parts = {key: split(n, key) for key, n in (("train", n_train), ("val", n_val), ("test", n_test))}
    card = data.CATALOG["breastmnist"]
    return data.Dataset("made", **parts, class_names=("a", "b", "c"), card=card, source="mirror", sha256="0")


def test_majority_rate_uses_the_training_majority():
    whole = make()
    assert whole.majority_rate == pytest.approx(0.9)
    turned = data.Dataset(
        "turned",
        whole.train.take(whole.train.labels == 1),
        whole.val,
        whole.test,
        ("a", "b", "c"),
        whole.card,
        "mirror",
        "",
    )
    assert turned.majority_rate == pytest.approx(5 / 60)


def test_train_and_val_joins_everything():
    joined = make().train_and_val
    assert len(joined) == len(joined.images) == len(joined.groups) == 240


def test_subset_is_stratified_deterministic_and_says_so():
    whole = make()
    part, again, other = (data.subset(whole, 50, 30, seed) for seed in (0, 0, 1))
    assert (len(part.train), len(part.val), len(part.test)) == (50, 10, 30)
    assert np.bincount(part.train.labels).tolist() == [44, 5, 1]
    assert (part.source, part.sha256) == (whole.source, whole.sha256)
    assert "50 training and 30 test" in part.note
    np.testing.assert_array_equal(part.train.images, again.train.images)
    assert not np.array_equal(part.train.images, other.train.images)
    assert set(part.train.images.ravel()) <= set(whole.train.images.ravel())
    assert len(set(part.train.images.ravel())) == 50


def test_subset_larger_than_the_set_is_the_set():
    whole = make()
    assert data.subset(whole, 10_000, 10_000) is whole


def test_subset_smaller_than_the_number_of_classes():
    assert len(data.subset(make(), 2, 1).train) == 2


@pytest.mark.parametrize("sizes", [(0, 5), (5, 0), (-1, 5)])
def test_subset_refuses_empty_splits(sizes):
    with pytest.raises(BadParameter, match="at least one"):
        data.subset(make(), *sizes)


def test_regroup_keeps_every_group_on_one_side_and_loses_nothing():
    whole = make(200, 40, 60)
    shared = data.Split(whole.test.images, whole.test.labels, np.array([f"train-{i}" for i in range(60)]))
    leaking = dataclasses.replace(whole, test=shared)
    assert data.seen_in_training(leaking).all() and not data.seen_in_training(whole).any()
    honest = data.regroup(leaking)
    splits = (honest.train, honest.val, honest.test)
    groups = [set(split.groups) for split in splits]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    assert sum(len(split) for split in splits) == 300
    assert abs(len(honest.test) - 60) <= 6 and abs(len(honest.val) - 40) <= 6
    assert not data.seen_in_training(honest).any()
    np.testing.assert_array_equal(honest.test.images, data.regroup(leaking).test.images)
    assert not np.array_equal(honest.test.groups, data.regroup(leaking, seed=1).test.groups)


def test_regroup_needs_groups():
    whole = make()
    bare = dataclasses.replace(whole, val=data.Split(whole.val.images, whole.val.labels))
    with pytest.raises(BadParameter, match="belong together"):
        data.regroup(bare)
