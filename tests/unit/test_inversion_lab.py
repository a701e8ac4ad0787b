"""The experiments of chapter 33 on small images: what is attacked, what is recorded, what the tables say of it."""

import csv
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from medtk import lab, split_learning
from medtk.data import CATALOG, Dataset, Split
from medtk.errors import BadParameter, DataUnavailable, UnknownName
from medtk.lab import inversion, inversion_more, inversion_recording, inversion_views, pgsl_images
from medtk.lab.inversion_spec import (
    STRENGTHS,
    Spec,
    as_study,
    batch_of,
    cells,
    checked_size,
    deviations,
    named,
    record_name,
)
from medtk.reproduction import papers, records

SMALL = {"epochs": 1, "decoder_epochs": 2, "gan_epochs": 1, "latent_steps": 3}


def dataset(n=32, n_test=6, size=12):
    random = np.random.default_rng(0)
    parts = {}
    for part, count in (("train", n), ("val", 0), ("test", n_test)):
        labels = np.arange(count) % 10
        images = 0.3 * random.random((count, size, size, 1), np.float32)
        images[np.arange(count), labels, labels] = 0.9
        parts[part] = Split(images, labels.astype(np.int64))
    card = CATALOG["mnist"]
    return Dataset("mnist", **parts, class_names=card.class_names, card=card, source="mirror", sha256="0" * 64)


@pytest.fixture(scope="module")
def home(made):
    """Folder of the records of `made`."""
    return made["home"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One run of each experiment, with what it rebuilt and its record."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDTK_CACHE", str(tmp_path_factory.mktemp("cache")))
        run, images = lab.start("33", profile="reader"), dataset()
        spec = Spec("pgsl", **SMALL)
        found = {"pgsl": inversion.defended(run, images, spec, progress=False)}
        none = Spec(**SMALL)
        found["depth"] = inversion_more.depth(run, images, none, cuts=(1, 2), progress=False)
        few = replace(images, test=images.test.take(slice(0, 2)))
        found["gradients"] = inversion_more.gradients(
            run, few, iterations=4, restarts=2, n_defended=1, spec=none, progress=False
        )
        assert records.verify(run.home) == []
        return found | {"home": run.home}


def test_the_whole_method_is_attacked_and_recorded(made):
    images, record, target = made["pgsl"]
    test = dataset().test.images
    assert {name for name in images if name not in inversion.MAPS} <= set(inversion_views.ACTIVATIONS)
    for name, rebuilt in images.items():
        assert rebuilt.shape == (test.shape if name not in inversion.MAPS else (6, 6, 6, 1))
        assert rebuilt.min() >= 0 and (name in inversion.MAPS or rebuilt.max() <= 1)
    # What the first layer sees is the attacked image and the sum of what was added to each block.
    attacked, total = split_learning.parted(target.tensors["test"])
    np.testing.assert_array_equal(attacked, target.attacked["test"])
    np.testing.assert_allclose(total, split_learning.to_channels(attacked - test).sum(axis=-1, keepdims=True))
    assert set(record["metrics"]) >= {"server", "read decoder", "read dcgan", "mean", "zero", "attacked", "map"}
    assert set(record["metrics"]) >= {"plain decoder", "first layer", "map reader", "subtracted by reader"}
    linear = {"ridge", "first layer by ridge", "first layer by ridge recovered", "map ridge", "subtracted by ridge"}
    assert set(record["metrics"]) >= linear | {"read ridge"}
    assert record["metrics"]["ridge"]["n"] == 6 and "explained" in record["metrics"]["map ridge"]
    assert record["parameters"]["recovery_descent"] == split_learning.EARLY["descent"]
    blind = np.mean((dataset().train.images.mean(axis=0) - test) ** 2)
    assert record["metrics"]["mean"]["mse"] == pytest.approx(blind, rel=1e-4)
    rows = {(cell["table"], cell["row"]) for cell in record["cells"]}
    assert rows == {("I", "JSMA + DCGAN"), ("I", "Ours (DCGAN)")}
    assert any("another client" in one for one in record["deviations"])


@pytest.mark.parametrize("name", pgsl_images.ATTACKS)
def test_images_under_each_pixel_attack_are_sent_with_a_guessed_label(name, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTK_CACHE", str(tmp_path))
    images, spec = dataset(), Spec(name, **SMALL)
    target = inversion.victim(images, spec, progress=False)
    study = replace(as_study(spec), images=name)
    guide = pgsl_images.guide_network(images, study, progress=False)
    test = images.test
    guess, truth = (pgsl_images.attack(guide, test.images, labels, study)
                    for labels in (guide.predict(test.images, verbose=0).argmax(axis=1), test.labels))  # fmt: skip
    np.testing.assert_allclose(target.attacked["test"], guess, atol=1e-5)
    assert not np.allclose(guess, truth, atol=1e-3) and not np.allclose(guess, test.images, atol=1e-3)
    # No map is sent along: the client's first layer sees the pixels of the attacked image and nothing else.
    np.testing.assert_array_equal(target.tensors["test"], split_learning.to_channels(target.attacked["test"]))


def test_a_record_of_another_pixel_attack_has_its_own_line_and_strength(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTK_CACHE", str(tmp_path))
    run, images = lab.start("33", profile="reader"), dataset()
    found, record, _ = inversion.defended(run, images, Spec("fgsm", **SMALL), progress=False)
    assert records.verify(run.home) == []
    assert {"decoder", "first layer", "plain decoder", "dcgan"} <= found.keys() and not found.keys() & {*inversion.MAPS}
    assert record["metrics"]["attacked"]["mse"] == pytest.approx(record["parameters"]["epsilon"] ** 2, rel=0.5)
    assert record["cells"] == [] and record["id"].startswith("pgsl/inversion/mnist-12px-fgsm-")
    other = {**record, "parameters": record["parameters"] | {"defense": "cw"}}
    assert inversion_views.by_defense([record, other])["defence"].tolist() == ["cw", "fgsm"]
    assert "epsilon" not in inversion.parameters(images, Spec("jsma", **SMALL))


def test_the_command_line_knows_every_defence():
    chosen = inversion_recording.parsed(["inversion", "mnist", "--defenses", "cw", "bim", "fgsm"])
    names = [name for name, _, _ in inversion_recording.planned("inversion", "mnist", chosen)]
    assert names == [f"mnist-28px-{name}-epochs4-s0" for name in ("cw", "bim", "fgsm")]
    every = inversion_recording.parsed(["inversion", "mnist"])
    assert set(pgsl_images.ATTACKS) < set(every.defenses)  # so the line of `make record` has them all


def test_a_client_that_takes_images_rearranges_them_as_the_room_does(made):
    target = made["pgsl"][2]
    images = dataset().test.images
    through = inversion._from_images(target.client, images.shape[1:])
    tensors = split_learning.with_map(images, np.zeros_like(images))
    np.testing.assert_allclose(through.predict(images, verbose=0), target.client.predict(tensors, verbose=0), atol=1e-5)


def test_gradients_answer_their_rows_of_both_tables(made):
    images, record = made["gradients"]
    rows = {(cell["table"], cell["row"]): cell for cell in record["cells"]}
    assert len(rows) == 10 and {table for table, _ in rows} == {"I", "II"}
    assert rows["I", "Ours (iDLG)"]["predictions"] == "recovered idlg"
    assert record["metrics"]["idlg"]["right_label"] == 1
    assert set(images) - {"recovered dlg", "jsma dlg", "noise dlg"} <= set(inversion_views.GRADIENTS)
    assert record["parameters"]["restarts"] == 2 and record["id"].endswith("-n2-i4-r2-s0")
    losses = {name: one["losses"] for name, one in record["metrics"].items() if "losses" in one}
    assert set(losses) == {name for name in images if not name.startswith("recovered")} and losses["idlg"] < 1.5
    assert record["metrics"]["dlg"]["n"] == 2 and record["metrics"]["jsma dlg"]["n"] == 1


def test_tables_and_figures_of_the_chapter(made, home):
    table = inversion_views.attacks([made["pgsl"][1]], inversion_views.ACTIVATIONS, home)
    assert table["attack"].iloc[-1] == "no inversion: black" and len(table) == 16
    assert inversion_views.attacks([], inversion_views.GRADIENTS).empty
    by_defense = inversion_views.by_defense([made["pgsl"][1], made["pgsl"][1]])
    assert by_defense["defence"].tolist() == ["pgsl"] and by_defense["seeds"].tolist() == [2]
    metrics = made["pgsl"][1]["metrics"]
    nearest = by_defense["nearest attack"][0]
    best = max(
        (metrics[name]["ssim"], title)
        for name, title in inversion_views.ACTIVATIONS.items()
        if not title.startswith("no inversion") and name in metrics
    )
    assert nearest == best[1]
    said = inversion_views.verdict([made["pgsl"][1]])
    assert f"{metrics['decoder']['mse']:.4f}" in said
    assert any(f"{metrics[name]['mse']:.4f} without" in said for name in ("first layer", "first layer by ridge"))
    figure = inversion_views.depth([made["depth"][1]])
    assert len(figure.axes) == 2
    inversion_views.panels({"original": dataset().test.images, **{"decoder": made["pgsl"][0]["decoder"]}})
    plt.close("all")


def whole_method(explained, seed=0):
    names = ("attacked", "decoder", "mean", "plain decoder", "first layer", "subtracted", "subtracted by reader")
    metrics = {name: {"mse": 0.01} for name in names} | {"subtracted by reader": {"mse": 0.004}}
    metrics |= {"map": {"explained": -0.2, "correlation": 0.0}}
    metrics["map reader"] = {"explained": explained, "correlation": 0.1}
    return {"data": {"name": "mnist"}, "seed": seed, "metrics": metrics}


def test_the_verdict_on_the_map_is_one_line_for_all_seeds():
    said = inversion_views.verdict([whole_method(0.5), whole_method(0.6, 1), whole_method(0.001, 2)])
    first, *details = said.splitlines()
    assert first.startswith("mnist: the map was read in 2 of 3 seeds. There the error is 0.0040 (0.0040 to 0.0040)")
    assert len(details) <= 6 and all(line.startswith("  ") for line in details)
    assert sum("less than nothing" in line for line in details) == 1 and "-20" not in said
    failed = inversion_views.verdict([whole_method(0.001)]).splitlines()[0]
    assert "read in 0 of 1 seed." in failed and "proves no map safe" in failed
    assert "No attack" in inversion_views.verdict([])
    older = whole_method(0.5)
    for name in ("map reader", "subtracted by reader", "plain decoder"):
        del older["metrics"][name]
    assert "0 of 1" in inversion_views.verdict([older])
    assert "1 of 2" in inversion_views.verdict([older, whole_method(0.5)])
    lines = whole_method(0.5)
    lines["metrics"] |= {"map ridge": {"explained": 0.9, "correlation": 0.9}, "first layer by ridge": {"mse": 0.02}}
    lines["metrics"]["subtracted by ridge"] = {"mse": 0.003}
    first, *details = inversion_views.verdict([lines]).splitlines()
    assert "0.0030 with the map taken off and 0.0200 without" in first and "straight lines" in details[-1]


def test_seeds_that_were_attacked_in_other_ways_share_a_table(made):
    record = made["pgsl"][1]
    older = {**record["metrics"]}
    for name in ("plain decoder", "first layer", "first layer recovered", "read decoder"):
        del older[name]
    (line,) = inversion_views.by_defense([record, {**record, "metrics": older}]).to_dict("records")
    shared = {n for n in older if n in inversion_views.ACTIVATIONS and "no inv" not in inversion_views.ACTIVATIONS[n]}
    best = max(shared, key=lambda name: older[name]["ssim"])
    assert line["seeds"] == 2 and line["nearest attack"] == inversion_views.ACTIVATIONS[best]
    assert line["accuracy"].count("to") == 1 and "[" in line["read"]
    bare = {name: older[name] for name in ("server", "mean")}
    (line,) = inversion_views.by_defense([{**record, "metrics": bare}, record]).to_dict("records")
    assert line["SSIM"] == "–" and "none that all" in line["nearest attack"]


def test_attacks_on_more_images_have_a_line_on_the_same_ones(made, home):
    record = made["gradients"][1]
    table = inversion_views.attacks([record], inversion_views.GRADIENTS, home).set_index("attack")
    stored = records.load_predictions(record, home)
    error = stored["idlg/mse"]
    assert table.loc["iDLG", "images"] == 2 and table.loc["iDLG, first 1 images", "images"] == 1
    assert table.loc["iDLG, first 1 images", "MSE, 0 to 1"] == inversion_views._small(error[0])
    assert table.loc["iDLG", "median MSE"] == inversion_views._small(np.median(error))
    better = int((error < stored["dlg/mse"]).sum())
    assert f"nearer than DLG on {better} of 2 images" in inversion_views.nearer([record], home)


def test_what_is_not_recorded_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTK_RESULTS", str(tmp_path))
    assert inversion_views.missing("depth", "mias_paper") == "mias_paper: no record of depth yet."
    table = inversion_views.recorded_defenses()
    assert list(table.index) == list(STRENGTHS) and (table == "not recorded").all(axis=None)
    monkeypatch.setattr(
        inversion_views.pgsl_tables,
        "trade_offs",
        lambda: pd.DataFrame({"data": ["mnist"] * 3, "defence": ["none", "laplace 2", "laplace 2"], "seed": [0, 1, 0]}),
    )
    table = inversion_views.recorded_defenses()
    assert table.loc["laplace 2", "mnist"] == "seeds 0, 1" and "laplace" not in table.index
    assert table.loc["none", "mias_paper"] == "not recorded"


def test_a_map_that_is_nearly_all_0_is_read_by_a_decoder_made_for_it():
    random = np.random.default_rng(0)
    maps = 2.0 * (random.random((96, 8, 8, 1)) < 0.03).astype(np.float32)
    seen = np.concatenate([maps * sign + 0.1 * random.normal(size=maps.shape) for sign in (1, -1)], -1)
    seen = seen.astype(np.float32)
    how = {"epochs": 12, "seed": 0, "progress": False}
    read = inversion.map_read(seen[:64], maps[:64], seen[64:], how)
    assert inversion.of_map(read, maps[64:])["explained"].mean() > 0.5
    assert read.min() >= 0 and read.max() <= inversion.FULL_MAP


def test_lines_read_what_a_linear_client_sends_image_and_map():
    random, test = np.random.default_rng(0), dataset(n_test=40).test
    attacked = np.where(random.random(test.images.shape) < 0.02, 1.0, test.images).astype(np.float32)
    tensors = split_learning.with_map(attacked, attacked - test.images)
    seen = (tensors @ random.normal(size=(5, 12))).astype(np.float32)
    found = inversion.ridge_read(seen[:30], test.images[:30], seen[30:], tensors[:30])
    np.testing.assert_allclose(found["first layer by ridge"], attacked[30:], atol=1e-3)
    assert inversion.of_map(found["map ridge"], tensors[30:, ..., 4:])["explained"].mean() > 0.99
    np.testing.assert_allclose(found["subtracted by ridge"], test.images[30:], atol=5e-3)
    assert found["ridge"].shape == (10, 12, 12, 1)
    assert set(inversion.ridge_read(seen[:30], test.images[:30], seen[30:])) == {"ridge"}
    pixels = inversion.ridge_read(seen[:30], test.images[:30], seen[30:], tensors[:30, ..., :4])
    assert set(pixels) == {"ridge", "first layer by ridge"}


def test_wrong_names_and_sizes_are_told_before_anything_is_trained(monkeypatch):
    assert named(["pgsl", "laplace", "laplace-0.5"]) == [("pgsl", 0.0), ("laplace", 1.0), ("laplace", 0.5)]
    with pytest.raises(UnknownName, match="laplce"):
        named(["none", "laplce"])
    for title in ("laplace-x", "laplace-0", "pgsl-1"):
        with pytest.raises(BadParameter):
            named([title])
    for size in (12, 27, 30, 31):
        with pytest.raises(BadParameter, match="multiple of 4"):
            checked_size(size)
    assert checked_size(32) == 32
    for given in (["attributes", "mnist"], ["inversion", "mnist", "--defenses", "none", "laplce"]):
        monkeypatch.setattr("sys.argv", ["recording", *given])
        monkeypatch.setattr("medtk.lab.start", lambda *a, **k: pytest.fail("started"))
        with pytest.raises(SystemExit, match=r"mias_paper|laplce"):
            inversion_recording.main()


def test_of_map_is_one_for_the_map_itself_and_leaves_empty_maps_out():
    true = np.zeros((3, 4, 4, 1))
    true[0, 1, 1] = true[1, 2, 3] = 2.0
    found = inversion.of_map(true, true)
    np.testing.assert_allclose(found["correlation"], [1, 1])
    np.testing.assert_allclose(found["explained"], [1, 1])
    np.testing.assert_allclose(inversion.of_map(0 * true, true)["explained"], [0, 0])
    np.testing.assert_allclose(inversion.of_map(-9 * true, true)["explained"], [-1, -1])


def test_settings_that_cannot_be_are_refused_and_names_tell_runs_apart():
    with pytest.raises(UnknownName, match="defense"):
        Spec("hope")
    for wrong in ({"defense": "laplace"}, {"defense": "pgsl", "strength": 1.0}, {"cut": 7}):
        with pytest.raises(BadParameter):
            Spec(**wrong)
    specs = [Spec(name, strength) for name, strength in STRENGTHS.items()]
    specs += [Spec("laplace", 0.5), Spec(cut=3), Spec(epochs=9), Spec(seed=1), Spec(gamma=0.2), Spec(latent_steps=9)]
    names = [record_name("mnist", 28, spec) for spec in specs]
    assert len(set(names)) == len(specs)
    assert Spec("laplace", 2.0).on_activations.noise == 2 and Spec("pgsl").on_activations.noise == 0
    assert as_study(Spec(gamma=0.2, seed=3)).gamma == 0.2 and as_study(Spec()).split == "patient"
    assert any("32 of 60,000" in one for one in deviations(dataset(), Spec()))


def test_every_row_that_a_record_answers_is_a_row_of_the_paper():
    known = {cell.key for cell in papers.load("pgsl").cells}
    rows = inversion_more._gradient_rows()
    for spec in (Spec(), Spec("laplace", 1.0), Spec("pgsl")):
        rows += inversion._rows(spec)
    answered = {(cell["table"], cell["row"], cell["column"]) for cell in cells(dataset(), rows)}
    assert answered <= known
    assert {row for table, row, _ in answered if table == "I"} == {row for table, row, _ in known if table == "I"}
    assert cells(replace(dataset(), name="breastmnist"), rows) == []
    assert inversion._rows(Spec(cut=3)) == [] and inversion._rows(Spec("laplace", 2.0)) == []


def test_attributes_follow_the_films_of_each_patient(tmp_path, monkeypatch):
    card = CATALOG["mias_paper"]
    lines = [
        {"patient_id": f"p{i // 2}", "side": ("right", "left")[i % 2], "tissue": "DFG"[i % 3], "split": split,
         "label": card.class_names[i % 3]}
        for i, split in enumerate(["train", "train", "test", "test", "train", "train"])
    ]  # fmt: skip
    (tmp_path / "mias").mkdir()
    with (tmp_path / "mias" / card.manifest["table"]).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    monkeypatch.setenv("MEDTK_DATA", str(tmp_path))

    def split(rows):
        labels = np.array([i % 3 for i in rows])
        return Split(np.zeros((len(rows), 4, 4, 1), np.float32), labels, np.array([f"p{i // 2}" for i in rows]))

    # Whole patients in another order than the table's, each one's films in its order.
    images = Dataset(
        "mias_paper", split([4, 5, 0, 1]), split([]), split([2, 3]), card.class_names, card, "mirror", "0" * 64
    )
    names, ids = inversion_more.mammogram_attributes(images, "side")
    assert names == ("left", "right") and ids["train"].tolist() == [1, 0, 1, 0] and ids["test"].tolist() == [1, 0]
    with pytest.raises(BadParameter, match="order of its table"):
        inversion_more.mammogram_attributes(replace(images, train=split([5, 4, 0, 1])), "side")
    with pytest.raises(DataUnavailable):
        inversion_more.mammogram_attributes(replace(images, source="synthetic"), "side")


def test_attributes_are_read_off_what_each_defence_sends(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTK_CACHE", str(tmp_path))
    ids = {"train": np.arange(32) % 2, "test": np.arange(6) % 2}
    monkeypatch.setattr(inversion_more, "mammogram_attributes", lambda *_: (("left", "right"), ids))
    run, made = lab.start("33", profile="reader"), []
    for defense, strength in (("none", 0.0), ("laplace", 1.0), ("pgsl", 0.0)):
        spec = Spec(defense, strength, **SMALL)
        made.append(inversion_more.attribute(run, dataset(), spec, "side", progress=False))
    assert records.verify(run.home) == []
    assert [len(one["metrics"]) for one in made] == [6, 2, 2]
    assert made[0]["metrics"]["images"] == made[2]["metrics"]["images"]
    table = inversion_views.attributes(made)
    assert table["defence"].tolist() == ["none", "laplace 1", "pgsl"]
    assert "–" not in table["cut 2"].tolist() and table["cut 7"].tolist()[1:] == ["–", "–"]


def test_exercises_tell_right_from_wrong(monkeypatch):
    monkeypatch.setenv("MEDTK_STRICT_CHECKS", "1")
    check = lab.check_inversion
    check.psnr_on_a_scale(lambda error, largest: 20 * np.log10(largest) - 10 * np.log10(error))
    check.map_taken_off(split_learning.map_taken_off)

    def dcor(a, b, centre=True):
        tables = []
        for rows in (a, b):
            d = np.linalg.norm(rows[:, None] - rows[None], axis=2)
            tables.append(d - d.mean(0) - d.mean(1)[:, None] + d.mean() if centre else d - d.mean())
        return np.sqrt((tables[0] * tables[1]).sum() / np.sqrt((tables[0] ** 2).sum() * (tables[1] ** 2).sum()))

    check.distance_correlation(dcor)
    for wrong in (
        lambda: check.psnr_on_a_scale(lambda error, largest: -10 * np.log10(error)),
        lambda: check.map_taken_off(lambda tensor: split_learning.to_pixels(tensor[..., :4])),
        lambda: check.distance_correlation(lambda a, b: dcor(a, b, centre=False)),
    ):
        with pytest.raises(AssertionError, match="Not yet"):
            wrong()


@pytest.mark.parametrize(("name", "n", "least"), [("mnist", 1500, 900), ("mias_paper", 280, 3000)])
def test_decoders_take_enough_steps_however_few_the_images(name, n, least):
    batch, spec = batch_of(n), inversion_recording.usual(name)
    assert spec.decoder_epochs * -(-n // batch) >= least
    assert batch_of(1500) == batch_of(60_000) == 32 and batch_of(1) == 8


def test_the_recorder_plans_what_was_asked_for():
    chosen = inversion_recording.parsed(
        ["inversion", "mnist", "--defenses", "none", "laplace-0.5", "--seeds", "0", "1"]
    )
    names = [name for name, *_ in inversion_recording.planned("inversion", "mnist", chosen)]
    assert len(set(names)) == 4 and sum("laplace0.5" in name for name in names) == 2
    gradients = inversion_recording.parsed(["gradients", "mnist"])
    assert [name for name, *_ in inversion_recording.planned("gradients", "mnist", gradients)] == [
        "mnist-28px-n30-i300-r3-s0"
    ]
    other = inversion_recording.parsed(["attributes", "mias_paper"])
    names = [name for name, *_ in inversion_recording.planned("attributes", "mias_paper", other)]
    assert len(set(names)) == 2 * len(STRENGTHS) and "mias_paper-64px-side-laplace1-s0" in names
