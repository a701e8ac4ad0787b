"""Chapters 51 and 52 on a reader's own folder: two hospitals of other sizes, names and classes than the study's."""

import numpy as np
import pytest
from PIL import Image

from medtk import settings
from medtk.reproduction import records
from medtk.runner import execute, notebooks

COUNTS = {"north": (14, 6), "south_wing": (30, 8)}  # training and test images of each class


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The folder; pictures of the second class are brighter, and each is of another shape or mode."""
    root, random = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
    for hospital, counts in COUNTS.items():
        for part, count in zip(("train", "test"), counts, strict=True):
            for k, label in enumerate(("well", "zoster")):
                place = root / "HOSPITAL" / hospital / part / label
                place.mkdir(parents=True)
                for i in range(count):
                    pixels = random.integers(60 * k, 180 + 60 * k, (36 + i, 40), np.uint8)
                    Image.fromarray(pixels).convert("RGB" if i % 2 else "L").save(place / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def outputs(outcome):
    """What the cells of an executed notebook say, each cell's text after its source."""
    found = []
    for cell in notebooks.read(outcome.output)["cells"]:
        texts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.get("outputs", [])]
        found.append((cell["source"], "".join("".join(text) for text in texts)))
    return found


@pytest.mark.parametrize("chapter", ["51", "52"])
def test_a_chapter_trains_and_audits_the_readers_hospitals(chapter, own, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTK_CACHE", str(cache))
    given = {"folder": str(own), "rounds": 1}
    # As with the study's settings: even then nothing of the reader's goes into the ledger.
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path / "results"))
    [outcome] = execute.run_all([notebooks.find(chapter)], "quick", given, out=tmp_path / "out")
    assert outcome.state == "ran", outcome.error
    said = outputs(outcome)
    texts = "\n".join(text for _, text in said)
    assert "Hospitals of your own (north, south_wing): folder data, 88 / 0 / 28 images" in texts
    assert "'zoster' counts as ill" in texts and "chest_xray" not in texts
    rows = next(text for source, text in said if "by_class(record)" in source)
    assert "south wing" in rows and "hospital 1" not in rows
    # Wherever a cell reads the ledger, it says whose images that is about.
    for source, text in said:
        if any(name in source for name in ("as_printed(record)", "recorded()", "recorded_gaps()", "tables.claims(")):
            assert "only what is called *this run* is of your images" in text, source
    found = records.read_all(cache / "records")
    assert {record["data"]["source"] for record in found} == {"folder"}
    assert all(record["cells"] == [] for record in found)
    assert {record["parameters"].get("name") for record in found} == {None, *COUNTS}
    assert "the reader's own images instead of the study's" in found[0]["deviations"]
    assert records.verify(cache / "records") == [] and not settings.results_home().exists()


def test_a_folder_that_is_none_ends_in_one_sentence(tmp_path):
    """As papermill gives it to the reader; the other sentences are in tests/unit/test_hospital_own.py."""
    given = {"folder": str(tmp_path / "nowhere")}
    [outcome] = execute.run_all([notebooks.find("52")], "quick", given, out=tmp_path / "out")
    assert outcome.state == "failed"
    assert "DataUnavailable: There is no folder" in outcome.error and "full path" in outcome.error
