"""The probe in the numbers of Table III: against scikit-learn, with a planted source, and without the images."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support
from test_shortcuts import films, split

from medtk.evaluation import intervals
from medtk.lab import covid_tables, session, shortcuts, which_hospital
from medtk.lab.shortcuts import Probe

NAMES = ("a.org", "b.org")


def probe(seed=0, patients=30, frames=2, shift=0.3):
    """Half of the patients are of either source, and the scores lean to it by `shift`."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(patients) % 2, frames)
    scores = np.clip(random.random(len(labels)) + shift * (labels - 0.5), 0, 1)
    return Probe(NAMES, labels, scores, np.repeat([f"p{k}" for k in range(patients)], frames))


def test_means_are_those_of_scikit_learn():
    probes = [probe(seed) for seed in (0, 1)]
    each = [precision_recall_fscore_support(p.labels, p.scores > 0.5, average="macro")[:3] for p in probes]
    for metric, wanted in zip(which_hospital.METRICS, np.mean(each, axis=0), strict=True):
        share = which_hospital.shares(probes)[metric]
        assert share.mean == pytest.approx(wanted) and share.ends.low < wanted < share.ends.high
        assert str(share) == f"{wanted:.2f} [{share.ends.low:.2f}, {share.ends.high:.2f}]"


def test_intervals_are_over_patients_and_another_seed_is_no_other_patient():
    one = probe(patients=20, frames=8)
    recall = which_hospital.shares([one])["Recall"].ends
    twice = which_hospital.shares([one, one])["Recall"].ends
    assert twice == pytest.approx(recall, abs=1e-9)

    def balanced(labels, scores):
        if len(set(labels)) < 2:
            return None
        return float(np.mean([((scores > 0.5) == labels)[labels == c].mean() for c in (0, 1)]))

    wanted = intervals.bootstrap(one.labels, one.scores, balanced, repeats=3000, groups=one.groups)
    assert which_hospital.shares([one], repeats=3000)["Recall"].ends == pytest.approx(wanted, abs=0.015)


def test_the_sentence_follows_the_interval():
    told, not_told = [probe(shift=1.0, patients=60)], [probe(shift=0.0)]
    assert "60 patients" in which_hospital.said(told) and "a.org or b.org" in which_hospital.said(told)
    assert "the grey values tell where" in which_hospital.said(told)
    assert "not told apart here" in which_hospital.said(not_told)
    unknown = [told[0]._replace(groups=None)]
    assert which_hospital.shares(unknown)["Recall"].ends is None and "[" not in str(
        which_hospital.shares(unknown)["Recall"]
    )
    assert "no interval" in which_hospital.said(unknown)


@pytest.fixture
def planted(monkeypatch, tmp_path):
    """A ledger whose sick X-rays of one source are brighter, and the pool that they are from."""
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path))
    pool = films(patients=90, frames=2)
    sick = sorted(set(pool.train.groups[pool.train.labels == 1]))
    sites = {name: NAMES[k % 2] for k, name in enumerate(sick)}
    bright = np.isin(pool.train.groups, [name for name, site in sites.items() if site == NAMES[1]])
    marked = np.clip(pool.train.images + 0.3 * bright[:, None, None, None], 0, 1).astype(np.float32)
    pool = replace(pool, train=replace(pool.train, images=marked))
    monkeypatch.setattr(shortcuts, "_sites", lambda _: sites)
    monkeypatch.setattr(which_hospital.data, "load", lambda *_, **__: pool)
    return pool


def record(pool, seeds=(0, 1)):
    for seed in seeds:
        images = {"xray": split(pool, "patient", seed), "ultrasound": split(films("ultrasound", patients=18))}
        shortcuts.recorded(session.start("21", seed=seed, profile="scaled"), images, "patient", seed)


def found_or_missing(monkeypatch, source):
    monkeypatch.setattr(which_hospital.data, "find", lambda _: type("Found", (), {"source": source}))


def test_the_line_stands_in_table_iii_with_the_patients_of_the_record(planted, monkeypatch):
    found_or_missing(monkeypatch, "mirror")
    assert which_hospital.recorded() == [] and which_hospital.said([]).startswith("No record")
    without = covid_tables.table_iii()
    record(planted)
    probes = which_hospital.recorded()
    for seed, one in enumerate(probes):
        again = shortcuts.which_source(split(planted, "patient", seed), seed=seed)
        assert one.names == again.names == NAMES
        np.testing.assert_array_equal(one.groups, again.groups)
        np.testing.assert_allclose(one.scores, again.scores, atol=1e-6)
    table = covid_tables.table_iii()
    assert len(probes) == 2 and len(table) == len(without) + 1 and table.index[-1] == which_hospital.ROW
    line = table.iloc[-1]
    assert line["Specialised / Recall"] == str(which_hospital.shares(probes)["Recall"]) and "[" in line.iloc[0]
    assert set(line[3:]) == {"–"}


def test_without_the_images_or_with_others_there_is_no_interval(planted, monkeypatch):
    record(planted, seeds=(0,))
    found_or_missing(monkeypatch, "missing")
    (gone,) = which_hospital.recorded()
    found_or_missing(monkeypatch, "mirror")
    monkeypatch.setattr(which_hospital.data, "load", lambda *_, **__: films(patients=30))
    (other,) = which_hospital.recorded()
    for one in (gone, other):
        assert one.groups is None and len(one.labels) == 60
        assert "[" not in str(which_hospital.shares([one])["Recall"])
