"""Paper 1's tables from the ledger: no two settings in one line, no praise for a network with one answer."""

import ledger
import matplotlib.pyplot as plt
import pytest

from medtk.lab import adversarial_tables, robust_plots, robust_tables
from medtk.reproduction import provenance

BASE = {"dataset": "breastmnist", "network": "mobilenetv2", "trainable": "all", "scaling": "unit", "epochs": 5,
        "batch_size": 32, "learning_rate": 0.001, "weights": "auto", "n_train": 546, "n_test": 156}  # fmt: skip
DEFENDED = BASE | {"defense_method": "printed", "defense_epsilon": 0.001, "defense_epochs": 5,
                   "defense_clean_share": 0.0, "defense_learning_rate": 0.001}  # fmt: skip
ATTACKED = BASE | {"defense": "none", "attack_pgd": "steps 40", "attack_square": "queries 1000"}
CONSTANT = 114  # all of the commonest class and nothing else, in `ledger.answers`


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path))
    return tmp_path


def transfer(home, right=120, seed=0, again=130, name="base", parameters=BASE, seen=0.96, **changes):
    extra = {"reestimated": again, "epsilon=0.003": right - 20, "reestimated-epsilon=0.003": again - 20}
    ledger.write(home, right, name=f"{name}-s{seed}", seed=seed, experiment="transfer", cells=[], extra=extra,
                 parameters=parameters, while_training={"accuracy": seen}, **changes)  # fmt: skip


def trained_further(home, right=125, seed=0, name="at", parameters=DEFENDED, many=40, **changes):
    again = {"reestimated": right + 5, "reestimated-epsilon=0.003": right - 5, "epsilon=0.003": right - 10}
    strong = {"reestimated-pgd-epsilon=0.003": many, "reestimated-base-pgd-epsilon=0.003": 10}
    ledger.write(home, right, name=f"{name}-s{seed}", seed=seed, experiment="adversarial", cells=[],
                 extra=again | strong, parameters=parameters, **changes)  # fmt: skip


def attacks(home, clean, one, worst, seed=0, name="attacks", parameters=ATTACKED, **changes):
    extra = {"fgsm-epsilon=0.003": one, "worst-epsilon=0.003": worst}
    ledger.write(home, clean, name=f"{name}-s{seed}", seed=seed, experiment="attacks", cells=[], extra=extra,
                 parameters=parameters, **changes)  # fmt: skip


def test_an_empty_ledger_gives_empty_tables():
    assert len(robust_tables.moved()) == 0
    assert len(adversarial_tables.adversarial_trainings(0.003)) == 0
    assert len(robust_tables.strong_attacks(0.003)) == 0
    assert len(adversarial_tables.crafting_modes(0.003)) == 0
    assert robust_tables.attacks_in_words(0.003) == robust_tables.unlearnt() == []


def test_a_choice_is_compared_on_the_seeds_that_both_have(home):
    for seed, right in enumerate((100, 130, 130)):
        transfer(home, right, seed)
    transfer(home, 110, name="head", parameters=BASE | {"trainable": "head"})
    table = robust_tables.moved().set_index("choice")
    assert list(table["seeds"]) == [3, 3, 1, 1]
    # Seed 0 alone has both: 110 against 100, not against the mean of 120.
    head = table.loc["the last layer only"]
    assert head["as left, same seeds"] == f"{100 / 156:.1%}"
    assert head["change"].startswith(f"{1000 / 156:+.1f} [")
    assert head["accuracy"].startswith(f"{110 / 156:.1%} [")
    assert table.loc["as left", "change"] == "" and set(table["printed"]) == {"78.85%"}
    # Over three seeds the interval of the change is that of the seeds: 30, 0, 0 images.
    low, high = table.loc["statistics measured again", "change"].split("[")[1].rstrip("]").split(", ")
    assert float(low) < 0 < float(high)


def test_another_rate_is_another_choice_and_says_so(home):
    transfer(home)
    transfer(home, name="slow", parameters=BASE | {"learning_rate": 0.0001})
    assert set(robust_tables.moved()["choice"]) == {
        "as left",
        "statistics measured again",
        "learning rate 0.0001",
        "learning rate 0.0001, statistics measured again",
    }


def test_a_network_with_one_answer_is_marked(home):
    transfer(home, CONSTANT)
    table = robust_tables.moved().set_index("choice")
    assert table.loc["as left", "one answer"] == "1 of 1" and table.loc["as left", "balanced"] == "50.0%"
    assert table.loc["statistics measured again", "one answer"] == ""
    attacks(home, CONSTANT, CONSTANT, CONSTANT)
    [said] = robust_tables.attacks_in_words(0.003)
    # The accuracy of such a network says little, its AUC still tells.
    assert "same answer" in said and "%" not in said and said.count("AUC 0.500") == 3
    [column] = robust_tables.strong_attacks(0.003).to_dict().values()
    assert column["same answer to every image"] == "1 of 1"
    assert column["worst"].endswith("| 50.0% | 0.500")


def test_the_register_says_where_both_sides_give_one_answer(home):
    transfer(home, CONSTANT)
    transfer(home, CONSTANT, name="head", parameters=BASE | {"trainable": "head"}, seen=0.9)
    transfer(home, CONSTANT, name="still", parameters=BASE | {"trainable": "frozen_bn"}, seen=0.731)
    table = robust_tables.moved().set_index("choice")
    assert table.loc["the last layer only", "change"] == "–"
    assert table.loc["the last layer only", "as left, same seeds"] == f"{CONSTANT / 156:.1%}"
    assert table.loc["statistics measured again", "change"] != "–"
    assert set(table.drop("as left")["one answer, as left"]) == {"1 of 1"}
    assert table.loc["as left", "one answer, as left"] == "" and table.loc["as left", "AUC"] == "0.500"
    # Only what got no further than the commonest class while it trained has learnt nothing.
    [said] = robust_tables.unlearnt()
    assert "normalisation held still: 1 of 1 learnt nothing" in said and "0.001" in said
    transfer(home, CONSTANT, name="again", parameters=BASE | {"dataset": "breastmnist-by-group"}, seen=0.731)
    assert len(robust_tables.unlearnt()) == 2


def test_other_images_than_the_official_ones_are_named_in_every_table(home):
    other = {"data": {"name": "octmnist", "source": "substitute", "sha256": "0" * 64}}
    substitute = "octmnist (substitute, n=156)"
    transfer(home, parameters=BASE | {"dataset": "octmnist"}, **other)
    trained_further(home, parameters=DEFENDED | {"dataset": "octmnist"}, **other)
    by_batch = DEFENDED | {"dataset": "octmnist", "defense_crafting": "training"}
    trained_further(home, name="batch", parameters=by_batch, **other)
    attacks(home, 130, 60, 10, parameters=ATTACKED | {"dataset": "octmnist"}, **other)
    tables = [robust_tables.moved(), robust_tables.choices("octmnist"), adversarial_tables.crafting_modes(0.003)]
    for table in [*tables, adversarial_tables.adversarial_trainings(0.003)]:
        assert len(table) and set(table["data"]) == {substitute}
    assert substitute in robust_tables.attacks_in_words(0.003)[0]
    assert substitute in robust_tables.strong_attacks(0.003).columns[0]
    figure = robust_plots.before_after(list(adversarial_tables.trained_further(0.003)))
    assert figure.axes[0].get_yticklabels()[0].get_text().startswith(substitute)
    plt.close(figure)


def test_strong_attacks_of_other_steps_or_weights_stand_apart(home):
    attacks(home, 130, 60, 10)
    attacks(home, 120, 60, 12, seed=1)
    attacks(home, 130, 60, 50, name="short", parameters=ATTACKED | {"attack_pgd": "steps 2"})
    attacks(home, 130, 60, 50, name="head", parameters=ATTACKED | {"trainable": "head"})
    table = robust_tables.strong_attacks(0.003)
    assert len(table.columns) == len(set(table.columns)) == 3
    columns = list(table.to_dict().values())
    assert sorted(column["images, seeds"] for column in columns) == ["156, 1", "156, 1", "156, 2"]
    [two] = [column for column in columns if column["images, seeds"] == "156, 2"]
    assert two["clean"].startswith(f"{125 / 156:.1%} [") and two["worst"].startswith(f"{11 / 156:.1%} [")
    assert any(said.count("%") == 3 and f"{11 / 156:.1%}" in said for said in robust_tables.attacks_in_words(0.003))


def test_an_adversarial_training_stands_in_both_states_beside_its_own_start(home):
    for seed, right in enumerate((100, 110)):
        transfer(home, right, seed)
        trained_further(home, right + 20, seed)
    transfer(home, 50, 2)  # nobody trained this one further
    transfer(home, 60, name="longer", parameters=BASE | {"epochs": 20})
    trained_further(home, 70, name="at-longer", parameters=DEFENDED | {"epochs": 20})
    trained_further(home, 90, name="control", parameters=DEFENDED | {"defense_clean_share": 1.0})
    table = adversarial_tables.adversarial_trainings(0.003).set_index(["trained further on", "settings", "state"])
    usual = "usual"
    left = table.loc[("printed, ε = 0.001", usual, "as left")]
    assert left["seeds"] == 2 and left["clean"].startswith(f"{105 / 156:.1%} → {125 / 156:.1%} [")
    assert left["many steps"] == "–"
    again = table.loc[("printed, ε = 0.001", usual, "measured again")]
    assert again["clean"].startswith(f"{130 / 156:.1%} → {130 / 156:.1%} [")
    assert again["many steps"].startswith(f"{10 / 156:.1%} → {40 / 156:.1%} [")
    assert again["clean, AUC"].count("0.") == 2
    longer = table.loc[("printed, ε = 0.001", adversarial_tables.USUAL.replace("5 +", "20 +"), "as left")]
    assert longer["clean"].startswith(f"{60 / 156:.1%} → {70 / 156:.1%} [")
    assert table.loc[("clean images", usual, "as left"), "clean"].startswith(f"{100 / 156:.1%} → {90 / 156:.1%} [")
    assert len(table) == 6


def test_a_start_on_another_processor_is_another_network(home, monkeypatch):
    for seed in range(2):
        transfer(home, 100, seed)
    trained_further(home, 120, seed=0)
    here = provenance.hardware()
    monkeypatch.setattr(provenance, "hardware", lambda: here | {"processor": "another"})
    trained_further(home, 90, seed=1)
    (left, again) = adversarial_tables.trained_further(0.003)
    assert len(left.ways["clean"]) == len(again.ways["clean"]) == 1
    assert left.ways["clean"][0][1]["accuracy"] == 120 / 156


def test_modes_of_crafting_are_compared_on_the_seeds_of_both(home):
    by_pgd = DEFENDED | {"defense_method": "pgd"}
    for seed, many in enumerate((40, 80)):
        trained_further(home, 120, seed, "pgd", by_pgd, many)
    trained_further(home, CONSTANT - 5, 1, "batch", by_pgd | {"defense_crafting": "training"}, 95)
    trained_further(home, 110, 1, "trades", by_pgd | {"defense_method": "trades", "defense_crafting": "training"}, 95)
    table = adversarial_tables.crafting_modes(0.003).set_index("trained further on")
    found = table.loc["pgd, ε = 0.001"]
    assert found["seeds"] == 1 and found["many steps"] == f"{80 / 156:.1%}"
    assert found["many steps, change"].startswith(f"{1500 / 156:+.1f} [")
    assert found["clean"] == f"{125 / 156:.1%}" and found["clean, change"].startswith(
        f"{100 * (CONSTANT - 125) / 156:+.1f} ["
    )
    assert found["one answer"] == "1 of 1"
    assert found["many steps, balanced"].count("%") == 2 and " → " in found["many steps, AUC"]
    alone = table.loc["trades, ε = 0.001"]
    assert alone["seeds"] == 0 and set(alone[4:-1]) == {"–"}


def test_three_seeds_give_the_interval_of_one_more_run():
    found = [{"accuracy": value, "n": 156} for value in (0.2, 0.9, 0.9)]
    assert robust_tables.accuracy(found) == "66.7% [0.0%, 100.0%]"
    assert robust_tables.accuracy(found[1:2]).startswith("90.0% [84.")


def test_the_figure_of_trainings_crosses_a_network_with_one_answer(home):
    transfer(home)
    trained_further(home)
    trained_further(home, CONSTANT - 5, name="pgd", parameters=DEFENDED | {"defense_method": "pgd"}, many=CONSTANT)
    found = [one for one in adversarial_tables.trained_further(0.003) if one.state == "measured again"]
    figure = robust_plots.before_after(found)
    clean, one_step, many = figure.axes
    assert [axis.get_title() for axis in figure.axes] == ["clean", "one step", "many steps"]
    named = [label.get_text() for label in clean.get_yticklabels()]
    assert named == [f"breastmnist, mobilenetv2: {way}, ε = 0.001" for way in ("pgd", "printed")]
    for axis in (clean, one_step, many):
        ends = [line.get_marker() for line in axis.lines if line.get_marker() in ("o", "X")]
        assert ends == ["o", "X", "o", "o"]  # before and after, by row
    before = next(line for line in many.lines if line.get_marker() == "o" and line.get_ydata()[0] == 1)
    assert before.get_xdata()[0] == pytest.approx(found[1].ways["many steps"][0][0]["balanced_accuracy"])
    plt.close(figure)
