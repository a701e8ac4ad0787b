"""What is left of the start of moving statistics, and where the start cannot be why they are stale."""

import keras
import ledger
import pytest

from medtk import models
from medtk.lab import stale_tables

BASE = {"dataset": "breastmnist", "network": "densenet121", "trainable": "all", "scaling": "unit", "epochs": 5,
        "batch_size": 32, "learning_rate": 0.001, "weights": "auto", "n_train": 546, "n_test": 156}  # fmt: skip
DEFENDED = {"defense_method": "printed", "defense_epsilon": 0.001, "defense_epochs": 5, "defense_clean_share": 0.0}


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path))
    return tmp_path


def write(home, right, again, name="base", seed=0, experiment="transfer", **changed):
    extra = {} if again is None else {"reestimated": again}
    ledger.write(home, right, name=f"{name}-s{seed}", seed=seed, experiment=experiment, cells=[], extra=extra,
                 parameters=BASE | changed)  # fmt: skip


@pytest.mark.parametrize("network", stale_tables.MOMENTUM)
def test_the_momentum_is_that_of_the_network(network):
    layers = models.build(network, 2, weights="random")._flatten_layers()
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {layer.momentum for layer in norms} == {stale_tables.MOMENTUM[network]}


def test_the_start_fades_with_the_updates(home):
    assert len(stale_tables.statistics()) == 0 and "No recorded" in stale_tables.beyond_the_start()
    write(home, 100, 120)
    write(home, 110, 120, seed=1)
    write(home, 60, 130, name="large", n_train=4708)
    write(home, 60, None, name="head", trainable="head")
    write(home, 60, 130, name="at", experiment="adversarial", **DEFENDED)
    table = stale_tables.statistics().set_index("updates")
    assert set(table.index) == {90, 740}
    assert table.loc[90, "start left"] == f"{0.99**90:.2%}" and table.loc[90, "seeds"] == 2
    assert table.loc[90, "accuracy"] == f"{105 / 156:.1%} → {120 / 156:.1%}"
    [defended] = stale_tables.statistics("adversarial").to_dict("records")
    assert defended["updates"] == 180 and defended["otherwise"] == "printed, ε = 0.001"
    said = stale_tables.beyond_the_start()
    assert said.startswith("1 of 3 networks") and f"from {60 / 156:.1%} to {130 / 156:.1%}" in said
    assert "No recorded" in stale_tables.beyond_the_start("adversarial")
