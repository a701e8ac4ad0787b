import contextlib
import io
import re
from pathlib import Path

import pytest

from medtk import data
from medtk.data import looks
from medtk.errors import UnknownName

CARDS = list(data.CATALOG.values())
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("card", CARDS, ids=data.names())
def test_card_is_complete_and_consistent(card):
    assert card.look in looks.LOOKS
    assert card.kind in ("medmnist", "keras", "folder")
    assert card.task in ("binary", "multi-class", "ordinal")
    assert (card.task == "binary") == (card.n_classes == 2)
    assert set(card.counts) == {"train", "val", "test"}
    assert card.licence and card.citation and card.url.startswith("http")
    assert card.cautions and all(sentence.endswith(".") for sentence in card.cautions)
    assert card.shape[2] in (1, 3)
    if card.shares:
        assert len(card.shares) == card.n_classes
        assert sum(card.shares) == pytest.approx(1, abs=1e-3)
    for place in card.places:
        assert place.source in ("official", "mirror", "substitute")
        assert not place.md5 or re.fullmatch("[0-9a-f]{32}", place.md5)
        assert not place.sha256 or re.fullmatch("[0-9a-f]{64}", place.sha256)
        assert place.source != "substitute" or place.note.endswith(".")


def test_medmnist_cards_agree_with_its_authors():
    with contextlib.redirect_stdout(io.StringIO()):  # it asks for torch, which we do not need
        from medmnist.info import INFO
    checked = 0
    for card in CARDS:
        flag, _, side = card.name.partition("_")
        if flag not in INFO or (side and not side.isdigit()):
            continue
        info = INFO[flag]
        key = f"_{side}" if side else ""
        assert card.md5 == info[f"MD5{key}"]
        assert card.download == info[f"url{key}"]
        assert card.counts == info["n_samples"]
        assert card.n_classes == len(info["label"])
        assert card.shape[2] == info["n_channels"]
        checked += 1
    assert checked == 12


def test_order_of_classes_where_confusing_it_would_be_silent():
    assert data.CATALOG["breastmnist"].class_names == ("malignant", "normal or benign")
    assert data.CATALOG["chest_xray"].class_names == ("normal", "pneumonia")
    assert data.CATALOG["oct_cnv_normal"].class_names[0] == "normal"
    assert data.CATALOG["oct_subset"].class_names[3] == "normal"


def test_substitutes_that_may_be_compared():
    assert data.CATALOG["dermamnist"].comparable
    assert not data.CATALOG["octmnist"].comparable
    assert not data.CATALOG["oct_subset"].comparable


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownName, match="breastmnist"):
        data.load("breastmist")
    with pytest.raises(UnknownName):
        data.find("nothing like it")


def test_every_citation_is_in_the_book():
    keys = set(re.findall(r"^@\w+\{([^,\s]+)", (ROOT / "book" / "references.bib").read_text("utf-8"), re.MULTILINE))
    assert {card.citation for card in CARDS} <= keys
