"""What was tried on the mammograms: the right place, no woman on both sides, labels that say nothing, the records."""

import numpy as np
import pytest

from medtk import models
from medtk.data import CATALOG, Dataset, Split
from medtk.lab import mammogram_tables, mammograms, pgsl_recording, session
from medtk.reproduction import records

WOMEN = 12


def films(women=range(WOMEN)):
    """Both films of each woman; every second woman has a bright finding in one breast, 8 pixels in radius."""
    images, labels, lines = [], [], []
    random = np.random.default_rng(0)
    for woman in women:
        for side in ("right", "left"):
            image = 0.2 + 0.1 * random.random((256, 256, 1), np.float32)
            ill = woman % 2 == 1 and side == ("right", "left")[woman // 2 % 2]
            x, y = 60 + 8 * (woman % WOMEN), 70 + 9 * (woman % WOMEN)  # from the top left
            if ill:
                image[y - 8 : y + 8, x - 8 : x + 8] = 0.9
            mark = (
                {"x": str(4 * x), "y": str(1024 - 4 * y), "radius": "32"} if ill else {"x": "", "y": "", "radius": ""}
            )
            images.append(image)
            labels.append(1 + woman // 4 % 2 if ill else 0)
            lines.append({"patient_id": f"w{woman:02d}", "side": side, **mark})
    return Split(np.array(images), np.array(labels), np.array([line["patient_id"] for line in lines])), lines


@pytest.mark.parametrize("size", [16, 32])
def test_a_finding_is_cut_out_where_the_table_marks_it(size):
    found = mammograms.shown(*films(), "lesion", size)
    assert found.images.shape == (WOMEN, size, size, 1) and found.labels.tolist() == [1, 0] * (WOMEN // 2)
    middle = slice(3 * size // 8, 5 * size // 8)
    bright = found.images[:, middle, middle].mean(axis=(1, 2, 3))
    assert (bright[found.labels == 1] > 0.85).all() and (bright[found.labels == 0] < 0.4).all()
    # The finding is half of the 32 pixels that are cut, and it lies in the middle.
    np.testing.assert_allclose((found.images[found.labels == 1] > 0.6).mean(axis=(1, 2, 3)), 0.25, atol=0.07)
    assert found.groups.tolist() == sorted(found.groups) and len(set(found.groups)) == WOMEN // 2


def test_a_place_beyond_the_edge_is_black():
    line = {"x": "0", "y": "1024", "radius": "64", "side": "right"}
    cut = mammograms.crop(np.ones((256, 256, 1), np.float32), line, 40)
    assert cut.shape == (40, 40, 1) and cut[:18].max() == 0 and cut[:, :18].max() == 0 and cut[22:, 22:].min() == 1


def test_the_other_views_say_what_is_asked():
    split, lines = films()
    whole, abnormal, difference, severity = (
        mammograms.shown(split, lines, view, 16) for view in ("film", "abnormal", "difference", "severity")
    )
    assert whole.labels.tolist() == split.labels.tolist() and abnormal.labels.tolist() == (split.labels > 0).tolist()
    np.testing.assert_array_equal(whole.images[1], mammograms.resize(split.images[1:2, :, ::-1], 16)[0])  # a left film
    assert severity.labels.tolist() == (split.labels[split.labels > 0] - 1).tolist()
    # What one film has more than the other, the other has less.
    np.testing.assert_allclose(difference.images[0] + difference.images[1], 1, atol=1e-5)
    alone = mammograms.shown(split.take([0, 2, 3]), [lines[i] for i in (0, 2, 3)], "difference", 16)
    assert alone.groups.tolist() == ["w01", "w01"]


def test_both_breasts_with_a_finding_are_no_pair():
    split, lines = films()
    split.labels[lines.index(next(line for line in lines if line["patient_id"] == "w01" and not line["x"]))] = 1
    assert "w01" not in mammograms.shown(split, lines, "lesion", 16).groups


def test_no_woman_is_asked_about_and_learned_from():
    split = mammograms.shown(*films(), "abnormal", 16)
    women = split.groups.reshape(-1, 1)

    def answer(known, labels, asked):
        assert not set(known.ravel()) & set(asked.ravel()) and len(labels) == len(known)
        return np.tile([0.25, 0.75], (len(asked), 1))

    found = mammograms.held_out(women, split, answer)
    np.testing.assert_array_equal(found, np.tile([0.25, 0.75], (len(women), 1)))  # everybody is asked


@pytest.mark.parametrize("within", [True, False])
def test_labels_dealt_anew_keep_what_they_must(within):
    split = mammograms.shown(*films(), "lesion" if within else "abnormal", 16)
    random = np.random.default_rng(0)
    dealt = [mammograms.dealt_anew(split, random, within=within) for _ in range(20)]
    counts = {tuple(np.bincount(one, minlength=2)) for one in dealt}
    assert counts == {tuple(np.bincount(split.labels, minlength=2))} and len({tuple(one) for one in dealt}) > 10
    for labels in dealt:
        kinds = [sorted(labels[split.groups == woman]) for woman in np.unique(split.groups)]
        before = [sorted(split.labels[split.groups == woman]) for woman in np.unique(split.groups)]
        assert (kinds == before) if within else (sorted(kinds) == sorted(before))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Made films in place of the data set, and an empty ledger."""
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path))
    parts = {"train": films(range(8)), "val": films(range(8, WOMEN)), "test": films(range(WOMEN, WOMEN + 4))}
    card = CATALOG["mias_paper"]
    lines = {len(split): found for split, found in parts.values()}
    lines |= {2 * WOMEN: parts["train"][1] + parts["val"][1]}
    splits = {part: split for part, (split, _) in parts.items()}
    whole = Dataset("mias_paper", **splits, class_names=card.class_names, card=card, source="mirror", sha256="0" * 64)
    monkeypatch.setattr(session.Run, "load", lambda run, name, **given: whole)
    monkeypatch.setattr(mammograms, "lines_of", lambda dataset, split: lines[len(split)])
    monkeypatch.setattr(mammograms, "PERMUTATIONS", 5)
    return tmp_path


def test_what_is_tried_is_recorded_and_told(here, capsys):
    pgsl_recording.main(["mammograms", "mias_paper", "--views", "film", "lesion", "--learners", "pixels"])
    pgsl_recording.main(["mammograms", "mias_paper", "--views", "lesion", "--learners", "pixels", "--part", "test"])
    assert records.verify(here) == []
    found = {record["id"].split("/")[-1]: record for record in records.read_all(here)}
    assert sorted(found) == [
        f"mias_paper-{name}-s0" for name in ("film-pixels-cv", "lesion-pixels-cv", "lesion-pixels-test")
    ]
    lesion = found["mias_paper-lesion-pixels-cv-s0"]
    assert lesion["metrics"]["held out"]["balanced_accuracy"] == 1 and lesion["metrics"]["permuted"]["n"] == 5
    assert lesion["metrics"]["permuted"]["balanced_accuracy"] < 0.9
    assert lesion["cells"] == [] and lesion["profile"] == "scaled"
    table = mammogram_tables.tried()
    assert table["asked"].tolist() == ["training women, in turn"] * 2 + ["test women"]
    assert (
        table["women"].tolist() == [WOMEN, WOMEN // 2, 2] and table["balanced accuracy"][1] == "100.0% [100.0%, 100.0%]"
    )
    said = mammogram_tables.what_learns()
    assert said.startswith("1 of 2 recorded settings") and "Of 1 settings with whole films" in said
    capsys.readouterr()
    pgsl_recording.main(["mammograms", "mias_paper", "--views", "lesion", "--learners", "pixels"])
    assert "balanced" not in capsys.readouterr().out  # it is in the ledger already


def test_an_empty_ledger_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path))
    assert mammogram_tables.tried().empty and "No trial" in mammogram_tables.what_learns()


def test_other_images_are_refused():
    with pytest.raises(SystemExit, match="images of mias_paper, not mnist"):
        pgsl_recording.main(["mammograms", "mnist"])


def test_networks_answer_in_probabilities(monkeypatch):
    split = mammograms.shown(*films(range(4)), "lesion", 32)
    monkeypatch.setattr(mammograms, "EPOCHS", 1)
    found = mammograms.network(split.images, split.labels, split.images, seed=1)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(found, mammograms.network(split.images, split.labels, split.images, seed=1))
    build = models.build
    monkeypatch.setattr(models, "build", lambda *given, **more: build(*given, **{**more, "weights": "random"}))
    seen = mammograms.features(split.images, "imagenet")
    assert seen.shape == (len(split), 1280) and np.ptp(seen, axis=0).max() > 0
