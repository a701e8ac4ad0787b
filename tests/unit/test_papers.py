from collections import Counter

import pytest

from medtk.errors import UnknownName
from medtk.reproduction import papers

PAPER = papers.load("robust_transfer")


def printed(table, row, column):
    return PAPER.cell(table, row, column).printed


def test_every_cell_of_the_three_tables_is_there():
    assert Counter(cell.table for cell in PAPER.cells) == {"I": 4 * 3, "II": 11 * 6, "III": 24 * 6}
    assert len({cell.key for cell in PAPER.cells}) == len(PAPER.cells)
    rows = {table: {cell.row for cell in PAPER.cells if cell.table == table} for table in PAPER.tables}
    assert {table: len(names) for table, names in rows.items()} == {"I": 4, "II": 11, "III": 24}


def test_some_cells_by_hand():
    assert printed("I", "BreastMNIST", "DenseNet121") == 0.8397
    assert printed("I", "OCTMNIST", "ResNet50") == 0.7556
    assert printed("II", "PneumoniaMNIST / MobileNetV2", "ε = 0.003") == 0.5401
    assert printed("II", "DermaMNIST / ResNet50", "ε = 0.005") == 0.5711
    assert printed("II", "OCTMNIST / MobileNetV2", "ε = 0.005") == 0.2954
    assert printed("III", "BreastMNIST / MobileNetV2 / AT", "ε = 0.001") == 0.7308
    assert printed("III", "DermaMNIST / DenseNet121 / KD", "ε = 0.005") == 0.6873
    assert printed("III", "OCTMNIST / DenseNet121 / KD", "Clean") == 0.7869
    assert printed("III", "PneumoniaMNIST / ResNet50 / AT", "ε = 0.004") == 0.7644


# One sum a row, worked out from the paper's page apart from the transcription, finds a slip in any cell.
SUMS = {
    "BreastMNIST / DenseNet121": 343.58,
    "BreastMNIST / MobileNetV2": 346.80,
    "PneumoniaMNIST / DenseNet121": 421.00,
    "PneumoniaMNIST / MobileNetV2": 367.14,
    "PneumoniaMNIST / ResNet50": 469.23,
    "DermaMNIST / DenseNet121": 359.86,
    "DermaMNIST / MobileNetV2": 364.93,
    "DermaMNIST / ResNet50": 383.84,
    "OCTMNIST / DenseNet121": 318.79,
    "OCTMNIST / MobileNetV2": 261.69,
    "OCTMNIST / ResNet50": 354.16,
}


@pytest.mark.parametrize(("row", "total"), SUMS.items())
def test_rows_of_table_two_add_up_and_return_in_table_three(row, total):
    columns = PAPER.tables["II"]["columns"]
    values = [printed("II", row, column) for column in columns]
    assert 100 * sum(values) == pytest.approx(total, abs=1e-6)
    assert values == [printed("III", f"{row} / Original", column) for column in columns]


def test_missing_numbers_have_a_reason_and_only_they():
    missing = [cell for cell in PAPER.cells if cell.printed is None]
    assert Counter((cell.row, cell.text) for cell in missing) == {
        ("BreastMNIST", "N/A*"): 1,
        ("OCTMNIST / ResNet50 / AT", "—"): 6,
    }
    assert all(bool(cell.missing) == (cell.printed is None) for cell in PAPER.cells)


def test_what_a_cell_needs_follows_from_its_name():
    names = {"Original": "none", "AT": "at", "KD": "kd"}
    for cell in PAPER.cells:
        parts = cell.row.split(" / ")
        assert cell.needs["dataset"] == parts[0].lower()
        assert cell.needs["network"] == (cell.column if cell.table == "I" else parts[1]).lower()
        assert cell.needs["defense"] == (names[parts[2]] if cell.table == "III" else "none")
        epsilon = (
            0.0 if cell.table == "I" or cell.column == "Clean" else float(cell.column.removeprefix("ε = "))
        )
        assert cell.needs["epsilon"] == epsilon
        assert cell.reference == ("Clean" if epsilon else "majority")
        assert cell.n == {"b": 156, "p": 624, "d": 2005, "o": 1000}[cell.needs["dataset"][0]]
        assert cell.needs["dataset"] in cell.command


def test_share_of_the_commonest_class():
    shares = {cell.needs["dataset"]: cell.majority for cell in PAPER.cells}
    assert shares == {
        "breastmnist": 114 / 156,
        "pneumoniamnist": 390 / 624,
        "dermamnist": 1341 / 2005,
        "octmnist": 250 / 1000,
    }


@pytest.mark.parametrize(
    ("text", "value", "decimals"),
    [
        ("83.97%", 0.8397, 4),
        ("25%", 0.25, 2),
        ("50.00%", 0.5, 4),
        ("0.823718", 0.823718, 6),
        ("N/A*", None, 0),
    ],
)
def test_parse(text, value, decimals):
    assert papers.parse(text) == (value, decimals)


def test_all_five_load_and_others_are_refused():
    studies = papers.load_all()
    assert [study.id for study in studies] == list(papers.IDS)
    assert all(study.title and study.citation for study in studies)
    with pytest.raises(UnknownName, match="robust_transfer"):
        papers.load("robust_transfr")
    with pytest.raises(UnknownName, match="BreastMNIST"):
        PAPER.cell("I", "BreastMNST", "DenseNet121")
