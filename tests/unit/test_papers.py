from collections import Counter
from pathlib import Path

import pytest

from medtk import data
from medtk.errors import UnknownName
from medtk.reproduction import papers, quantities, rulebook
from medtk.runner import execute

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
        epsilon = 0.0 if cell.table == "I" or cell.column == "Clean" else float(cell.column.removeprefix("ε = "))
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
        ("plotted", None, 0),
        ("20,331,360", 20331360.0, 0),
        ("7.86", 7.86, 2),
        ("110.0", 110.0, 1),
    ],
)
def test_parse(text, value, decimals):
    assert papers.parse(text) == (value, decimals)


# Cells of each table, and how many of them have a printed number.
SIZES = {
    "clustered_covid": {"I": (8, 8), "III": (36, 36), "Fig. 4": (18, 0)},
    "pgsl": {"Fig. 3": (20, 0), "I": (26, 26), "II": (22, 22)},
    "lightweight": {},
    "hospital": {"Fig. 1": (6, 6), "1": (9, 9), "2": (27, 27)},
}


@pytest.mark.parametrize(("paper", "sizes"), SIZES.items())
def test_every_cell_of_the_other_papers_is_there(paper, sizes):
    study = papers.load(paper)
    counted = Counter(cell.table for cell in study.cells)
    numbers = Counter(cell.table for cell in study.cells if cell.printed is not None)
    assert {table: (counted[table], numbers[table]) for table in study.tables} == sizes
    assert len({cell.key for cell in study.cells}) == len(study.cells)


# One sum a column, worked out from the papers' pages apart from the transcription.
COLUMNS = [
    ("clustered_covid", "I", "Training Data (80%)", 1686),
    ("clustered_covid", "I", "Test Data (20%)", 423),
    ("clustered_covid", "III", "Specialised / Precision", 3.55),
    ("clustered_covid", "III", "Specialised / Recall", 3.65),
    ("clustered_covid", "III", "Specialised / F1-Score", 3.60),
    ("clustered_covid", "III", "Multi-modal / Precision", 2.75),
    ("clustered_covid", "III", "Multi-modal / Recall", 3.05),
    ("clustered_covid", "III", "Multi-modal / F1-Score", 2.76),
    ("clustered_covid", "III", "Clustered / Precision", 3.47),
    ("clustered_covid", "III", "Clustered / Recall", 3.51),
    ("clustered_covid", "III", "Clustered / F1-Score", 3.49),
    ("pgsl", "I", "MIAS", 42.992),
    ("pgsl", "I", "MNIST", 3.681),
    ("pgsl", "II", "MIAS", 6.886),
    ("pgsl", "II", "MNIST", 9.085),
    ("hospital", "Fig. 1", "Param #", 20372418),
    ("hospital", "1", "Loss", 0.402406),
    ("hospital", "2", "Loss", 1.2072),
    ("hospital", "2", "Accuracy", 2.4711),
    ("hospital", "2", "F1 Avg", 2.4253),
    ("hospital", "2", "FN", 110),
    ("hospital", "2", "TP", 514),
]


@pytest.mark.parametrize(("paper", "table", "column", "total"), COLUMNS)
def test_columns_of_the_other_papers_add_up(paper, table, column, total):
    cells = [c for c in papers.load(paper).cells if (c.table, c.column) == (table, column)]
    assert sum(cell.printed for cell in cells) == pytest.approx(total, abs=1e-9)


def test_some_cells_of_the_other_papers_by_hand():
    covid, pgsl, hospital = (papers.load(name) for name in ("clustered_covid", "pgsl", "hospital"))
    assert covid.cell("III", "X-ray / COVID-19", "Multi-modal / Precision").text == "0.30"
    assert covid.cell("III", "Ultrasound / Healthy", "Clustered / Recall").printed == 0.80
    assert covid.cell("I", "X-ray / Healthy", "Test Data (20%)").printed == 269
    assert pgsl.cell("I", "[8] + DCGAN", "MIAS").printed == 7.86
    assert pgsl.cell("I", "Ours (iDLG)", "MNIST").decimals == 3
    assert pgsl.cell("II", "PGSL", "MIAS").printed == 0.832
    # One 2.34 shows that the column of 0.12 is not of pixels from 0 to 1 either.
    assert all("impossible" in pgsl.cell("I", "DLG [23]", column).given for column in ("MIAS", "MNIST"))
    assert not pgsl.cell("I", "JSMA + DLG", "MIAS").given  # its side of DLG can be judged
    assert hospital.cell("2", "Hospital 2", "F1 Avg").text == "0.8210"
    assert hospital.cell("Fig. 1", "efficientnetv2-s", "Param #").printed == 20_331_360


def test_what_a_share_is_taken_of():
    covid, hospital = papers.load("clustered_covid"), papers.load("hospital")
    row = "X-ray / COVID-19"
    assert [covid.cell("III", row, f"Clustered / {m}").of for m in ("Precision", "Recall")] == [None, 44]
    assert covid.cell("III", row, "Clustered / Recall").n == 313
    assert hospital.cell("1", "Global Model", "Accuracy").of == 624
    assert hospital.cell("2", "Hospital 1", "Accuracy").of == 208
    assert hospital.cell("1", "Global Model", "FN").of == 624
    assert hospital.cell("1", "Global Model", "Loss").n == 624
    assert hospital.cell("Fig. 1", "dense_2", "Param #").n is None
    assert {cell.n for cell in papers.load("pgsl").cells if cell.metric == "mse"} == {None}


def test_the_constant_answer_is_known_in_every_metric_that_refers_to_it():
    for study in map(papers.load, papers.IDS):
        for cell in study.cells:
            assert cell.metric in quantities.METRICS
            if cell.reference == "majority":
                assert 0 < cell.majority < 1, cell.key
            elif cell.reference:
                assert study.reference_of(cell).metric == cell.metric
    f1 = papers.load("hospital").cell("1", "Global Model", "F1 Avg")
    assert f1.majority == pytest.approx((2 * 390 / (2 * 390 + 234) + 0) / 2)  # 390 right, 234 wrong, of one class


def test_references_to_a_row_and_to_a_column():
    pgsl, covid = papers.load("pgsl"), papers.load("clustered_covid")
    assert pgsl.reference_of(pgsl.cell("I", "JSMA + DLG", "MNIST")).key == ("I", "DLG [23]", "MNIST")
    cell = covid.cell("III", "X-ray / Healthy", "Clustered / Recall")
    assert covid.reference_of(cell).key == ("III", "X-ray / Healthy", "Multi-modal / Recall")


def test_data_sets_are_those_of_the_catalogue_and_their_classes_add_up():
    for study in map(papers.load, papers.IDS):
        assert study.datasets.keys() <= set(data.names())
        for facts in study.datasets.values():
            assert sum(facts.get("classes", {"all": facts["n_test"]}).values()) == facts["n_test"]
            assert facts["majority"] == max(facts.get("classes", {"": facts["majority"]}).values())


def test_every_missing_number_has_a_reason():
    for study in map(papers.load, papers.IDS):
        assert all(bool(cell.missing) == (cell.printed is None) for cell in study.cells)


# Claims that wait for an experiment, and for the rule that reads its records. Take a name out with its rule.
WAITING = {}


def test_every_rule_is_a_function_or_known_to_be_missing():
    for study in map(papers.load, papers.IDS):
        missing = [c.rule for c in study.claims if not c.untestable and rulebook.find(study.id, c.rule) is None]
        assert missing == WAITING.get(study.id, "").split()
        assert len({claim.id for claim in study.claims}) == len(study.claims) > 0


@pytest.mark.parametrize(
    ("value", "metric", "text"),
    [
        (0.8397, "accuracy", "83.97 %"),
        (20_331_360, "parameters", "20,331,360"),
        (0.402406, "loss", "0.4024"),
        (7.86, "mse", "7.86"),
        (31.25, "psnr", "31.25 dB"),
        (110.0, "false_negatives", "110"),
        (0.0, "parameters", "0"),
    ],
)
def test_how_a_quantity_is_written(value, metric, text):
    assert quantities.shown(value, metric) == text


def test_all_five_load_and_others_are_refused():
    studies = list(map(papers.load, papers.IDS))
    assert [study.id for study in studies] == list(papers.IDS)
    assert all(study.title and study.citation for study in studies)
    with pytest.raises(UnknownName, match="robust_transfer"):
        papers.load("robust_transfr")
    with pytest.raises(UnknownName, match="BreastMNIST"):
        PAPER.cell("I", "BreastMNST", "DenseNet121")


def test_every_command_of_the_study_on_split_learning_can_be_run():
    home = Path(__file__).parents[2] / "notebooks"
    for cell in papers.load("pgsl").cells:
        words = cell.command.split()
        assert words[:2] == ["medtk", "run"] and words[3:5] == ["--profile", "paper"]
        given = dict(zip(words[6::3], words[7::3], strict=True))
        assert given == {"dataset": cell.needs["dataset"], "size": str(cell.needs["size"])}
        ((path, values),) = execute.plan(home.glob(f"{words[2]}_*.ipynb"), "paper", given)
        assert values["dataset"] == cell.needs["dataset"] and values["n_train"] == 0 and int(values["size"]) in (28, 64)
        inverted = cell.table == "I" or cell.row in ("DLG [23]", "iDLG [24]", "DCGAN [19]")
        assert path.name[:2] == ("32" if cell.table == "Fig. 3" else "33" if inverted else "34")
