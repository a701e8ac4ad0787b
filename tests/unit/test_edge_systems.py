"""The search under budgets, the stand-ins for devices, and the commands around them."""

import json
import threading
from itertools import product

import numpy as np
import pytest
from PIL import Image
from small_networks import dataset as small_dataset

from medtk import cli, edge
from medtk.edge import bundle, device, reference, search, small
from medtk.errors import BadParameter, CorruptFile, MedtkError, UnknownName
from medtk.runner import pages

SPACE = search.Space(widths=(2, 4, 8), depths=(1, 2), kernels=(1, 3), sizes=(8, 16), separables=(False,))
LIMITS = {"n_classes": 2, "max_bytes": 4000, "max_macs": 60_000, "progress": False}


def worth(architecture):
    """A quality in closed form: wider and deeper is better, with less and less to gain."""
    return 1 - 1 / (architecture.width * architecture.depth) - 0.1 / architecture.kernel


def exhaustive():
    """The true front, from every architecture of the space."""
    whole = [
        small.Architecture(*values)
        for values in product(SPACE.widths, SPACE.depths, SPACE.kernels, SPACE.sizes, SPACE.separables)
    ]
    prices = {one: search.price(one, 2) for one in whole}
    within = [
        search.Found(one, cost, worth(one))
        for one, cost in prices.items()
        if cost.bytes <= LIMITS["max_bytes"] and cost.macs <= LIMITS["max_macs"]
    ]
    assert 0 < len(within) < len(whole) == len(SPACE)
    return search.front(within)


@pytest.fixture(scope="module")
def whole():
    return search.search(worth, SPACE, n_trials=40, seed=3, **LIMITS)


def test_the_rival_does_not_draw_what_the_first_generation_draws():
    tried = [
        [
            one.architecture
            for one in search.search(worth, search.Space(), sampler=sampler, n_trials=8, seed=3, **LIMITS)
        ]
        for sampler in search.SAMPLERS
    ]
    assert sum(a == b for a, b in zip(*tried, strict=True)) < 4


def test_prices_are_those_of_the_networks_by_hand():
    cost = search.price(small.Architecture(width=4, depth=2, kernel=3, size=16), 2)
    assert cost.parameters == (9 * 4 + 4) + (9 * 4 * 8 + 8) + (8 * 2 + 2)
    assert cost.bytes == 4 * cost.parameters
    assert cost.macs == 16 * 16 * 9 * 4 + 8 * 8 * 9 * 4 * 8 + 8 * 2
    thin = search.price(small.Architecture(width=4, depth=2, kernel=3, size=16, separable=True), 2)
    assert thin.macs == 16 * 16 * 9 * 4 + 8 * 8 * (9 * 4 + 4 * 8) + 8 * 2


def test_prices_are_those_of_the_networks_that_are_built():
    for numbers in ((3, 3, 5, 18, False), (5, 4, 3, 20, True), (100, 2, 1, 9, True)):
        architecture = small.Architecture(*numbers)
        model = small.build(architecture, 3, channels=3)
        cost = search.price(architecture, 3, channels=3)
        assert (cost.parameters, cost.macs) == (model.count_params(), edge.macs(model))


def test_a_search_finds_the_front_of_a_small_space(whole):
    true, found = exhaustive(), search.front(whole)
    assert set(found) <= set(true) | {one for one in found if one.quality <= max(t.quality for t in true)}
    assert len(set(found) & set(true)) >= len(true) // 2
    assert max(one.quality for one in found) == pytest.approx(max(one.quality for one in true))


def test_nothing_over_the_budget_is_trained_and_nothing_twice():
    asked = []

    def evaluate(architecture):
        asked.append(architecture)
        return worth(architecture)

    found = search.search(evaluate, SPACE, n_trials=30, seed=1, **LIMITS)
    assert len(found) == 30 and len(asked) == len(set(asked)) < 30
    for one in found:
        within = one.price.bytes <= LIMITS["max_bytes"] and one.price.macs <= LIMITS["max_macs"]
        assert (one.quality is not None) == within == (one.architecture in asked)


def test_no_candidate_of_the_front_is_beaten(whole):
    front = search.front(whole)
    for one, other in product(front, front):
        if one is not other:
            better = (
                other.quality >= one.quality,
                other.price.bytes <= one.price.bytes,
                other.price.macs <= one.price.macs,
            )
            assert not all(better)
    assert search.front([]) == []


def test_the_same_seed_gives_the_same_search_and_another_another(whole):
    assert search.search(worth, SPACE, n_trials=40, seed=3, **LIMITS) == whole
    assert search.search(worth, SPACE, n_trials=12, seed=4, **LIMITS) != whole[:12]
    random = search.search(worth, SPACE, n_trials=12, seed=3, sampler="random", **LIMITS)
    assert len(random) == 12 and random != whole[:12]


def test_a_search_that_was_killed_goes_on_to_the_same_end(whole, tmp_path):
    journal = tmp_path / "search.journal"
    for stop in (3, 5):
        calls = []

        def evaluate(architecture, calls=calls, stop=stop):
            calls.append(architecture)
            if len(calls) == stop:
                raise KeyboardInterrupt
            return worth(architecture)

        with pytest.raises(KeyboardInterrupt):
            search.search(evaluate, SPACE, n_trials=40, seed=3, journal=journal, **LIMITS)
    assert search.search(worth, SPACE, n_trials=40, seed=3, journal=journal, **LIMITS) == whole

    def never(architecture):
        raise AssertionError("it was known")

    assert search.search(never, SPACE, n_trials=40, seed=3, journal=journal, **LIMITS) == whole
    with pytest.raises(BadParameter, match="other settings"):
        search.search(worth, SPACE, n_trials=40, seed=4, journal=journal, **LIMITS)
    journal.write_text(journal.read_text()[:-9])
    with pytest.raises(CorruptFile, match="starts anew"):
        search.search(worth, SPACE, n_trials=40, seed=3, journal=journal, **LIMITS)


def test_a_search_that_makes_no_sense_is_refused():
    with pytest.raises(UnknownName, match="sampler"):
        search.search(worth, SPACE, sampler="nsga3x", **LIMITS)
    with pytest.raises(BadParameter, match="limits"):
        search.search(worth, SPACE, **(LIMITS | {"max_bytes": 0}))


def time_of(architecture):
    """Milliseconds in closed form: larger images and more filters take longer."""
    return architecture.size * architecture.width / 16


def test_a_limit_of_time_admits_the_faster_of_two_candidates():
    space = search.Space(widths=(2, 4), depths=(1,), kernels=(3,), sizes=(16,), separables=(False,))
    asked, measured = [], []

    def latency(architecture):
        measured.append(architecture)
        return time_of(architecture)

    def evaluate(architecture):
        asked.append(architecture)
        return worth(architecture)

    found = search.search(evaluate, space, n_trials=12, max_ms=3.0, latency=latency, **LIMITS)  # 2 ms and 4 ms
    assert {one.architecture.width for one in found} == {2, 4}
    assert [one.width for one in asked] == [2] and sorted(one.width for one in measured) == [2, 4]  # each once
    for one in found:
        assert one.ms == time_of(one.architecture) and (one.quality is None) == (one.ms > 3)
    assert [one.architecture.width for one in search.front(found)] == [2]
    exact = search.search(worth, space, n_trials=12, max_ms=4.0, latency=time_of, **LIMITS)
    assert all(one.quality is not None for one in exact)  # the limit itself is allowed


def test_without_a_limit_of_time_nothing_is_measured(whole):
    def never(architecture):
        raise AssertionError("it was measured")

    assert search.search(worth, SPACE, n_trials=40, seed=3, latency=never, **LIMITS) == whole
    assert all(one.ms is None for one in whole)
    # A limit that nothing reaches changes no candidate and no quality.
    ample = search.search(worth, SPACE, n_trials=40, seed=3, max_ms=1e6, latency=time_of, **LIMITS)
    assert [(one.architecture, one.quality) for one in ample] == [(one.architecture, one.quality) for one in whole]
    with pytest.raises(BadParameter, match="above 0 ms, not 0"):
        search.search(worth, SPACE, max_ms=0, latency=time_of, **LIMITS)
    with pytest.raises(BadParameter, match="above 0 ms"):
        search.search(worth, SPACE, max_ms=float("nan"), latency=time_of, **LIMITS)


def test_times_are_kept_so_that_a_search_goes_on_with_the_same_ones(tmp_path):
    limits, journal = {"n_trials": 20, "seed": 2, "max_ms": 3.0} | LIMITS, tmp_path / "journal.json"
    clock = iter(np.linspace(1, 5, 100))  # never the same time twice
    first = search.search(worth, SPACE, latency=lambda _: next(clock), journal=journal, **limits)

    def never(architecture):
        raise AssertionError("it was known")

    assert search.search(never, SPACE, latency=never, journal=journal, **limits) == first
    with pytest.raises(BadParameter, match="other settings"):
        search.search(worth, SPACE, latency=time_of, journal=journal, **(limits | {"max_ms": 2.0}))


def test_the_time_of_a_candidate_is_that_of_the_tables(monkeypatch):
    seen = []

    def alone(file, **settings):
        seen.append((edge.open_network(file).get_input_details()[0]["shape"].tolist(), settings))
        return {"median_ms": [3.0, 1.5, 2.0]}

    monkeypatch.setattr(search.runtime, "alone", alone)
    assert search.milliseconds(small.Architecture(width=4, depth=1, size=9), 2, channels=3, runs=7) == 1.5
    assert seen == [([1, 9, 9, 3], {"runs": 7})]


def test_quality_is_asked_of_the_validation_images_at_the_right_size():
    data = small_dataset(24)
    architecture = small.Architecture(width=2, depth=1, size=12)
    found = search.quality(architecture, data, epochs=1)
    assert 0 <= found <= 1 and search.quality(architecture, data, epochs=1) == found
    assert search.at_size(data.val, 12).images.shape == (len(data.val), 12, 12, 3)
    assert search.at_size(data.val, 8) is data.val


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("network")
    model = small.build(small.Architecture(width=4, depth=2, size=16), 2)
    return edge.export(model, folder / "small.tflite")


@pytest.fixture(scope="module")
def bundled(network):
    return bundle.write(
        network.with_suffix(".zip"), network, name="chest", version="1", labels=("normal", "ill"), card={"data": "none"}
    )


def test_limits_hold_for_what_is_measured(network):
    found = device.measured(network, "one_core", repeats=2, runs=3)
    assert len(found["median_ms"]) == 2 and found["cold_ms"] > 0
    assert device.measured(network, "one_core_1gb", repeats=1, runs=2)["peak_mb"] < 1100
    with pytest.raises(UnknownName, match="stand-in"):
        device.measured(network, "phone")


def test_too_little_memory_is_said_in_a_sentence(network, monkeypatch):
    monkeypatch.setitem(device.STAND_INS, "tiny", device.StandIn(1, 40, "40 MB of address space"))
    with pytest.raises(MedtkError, match=r"small\.tflite does not run with 40 MB"):
        device.measured(network, "tiny", repeats=1, runs=1)


def line(name="a", machine="a, quick one", ms=2.0, threads=1):
    times = {"median_ms": [ms - 1, ms + 1, ms], "p95_ms": [4.0], "cold_ms": 5.0, "peak_mb": 60.4}
    machine = {"processor": machine, "cores": 2, "system": "Linux"}
    return device.row(machine, name, "f" * 64, 1234, "none", threads, times)


def test_two_machines_stand_side_by_side_and_neither_loses_its_line(tmp_path):
    table = tmp_path / "machines.csv"
    assert "No machine has added a line yet" in pages.machines(table)
    device.add(table, line("x", "ours"))
    before = table.read_bytes()
    device.add(table, line("x", "hers | new", ms=7.0))
    device.add(table, line("x", "hers | new", ms=7.0, threads=2))
    assert table.read_bytes().startswith(before)
    one, two = device.together(device.read(table)).values()
    assert [row["machine"] for row in one] == ["ours", "hers | new"] and [row["threads"] for row in two] == ["2"]
    first, second = pages.machines(table).split("## ")[1:]
    lines = [row for row in first.splitlines() if row.startswith("| ours") or row.startswith("| hers")]
    assert [row.split(" | ")[-5] for row in lines] == ["2.000", "7.000"] and "hers \\| new" in lines[1]
    assert "threads: 2" in second and "ours" not in second
    # The same name, other bytes: a time of another network is not set beside it.
    device.add(table, line("x", "third") | {"sha256": "0" * 12})
    assert len(device.together(device.read(table))) == 3


def test_the_reference_network_is_the_same_every_time(tmp_path):
    one, two = (reference.write(tmp_path / name) for name in "ab")
    assert one.read_bytes() == two.read_bytes()
    answers = edge.predict(one, np.zeros((1, 64, 64, 1), np.float32))
    assert np.isfinite(answers).all()


def test_a_row_is_added_and_none_is_lost(tmp_path):
    table = tmp_path / "t" / "machines.csv"
    assert device.read(table) == []
    device.add(table, line("first"))
    table.write_text(table.read_text().rstrip("\n"))  # as an editor may leave it
    device.add(table, line("second"))
    assert [row["network"] for row in device.read(table)] == ["first", "second"]
    assert (row := device.read(table)[0])["median_ms"] == "2.000" and row["machine"] == "a, quick one"
    threads = [threading.Thread(target=device.add, args=(table, line(f"t{n}"))) for n in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(row["network"] for row in device.read(table)[2:]) == sorted(f"t{n}" for n in range(12))


def test_a_table_of_something_else_is_left_alone(tmp_path):
    table = tmp_path / "other.csv"
    table.write_text("a,b\n1,2\n")
    with pytest.raises(BadParameter, match="other columns"):
        device.add(table, line())
    assert table.read_text() == "a,b\n1,2\n"
    with pytest.raises(BadParameter, match="A line"):
        device.add(tmp_path / "new.csv", {"when": "now"})


def medtk(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        cli.main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return end.value.code, said.out, said.err


def test_bench_adds_a_line_and_says_where(capsys, bundled, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    table = tmp_path / "machines.csv"
    code, out, _ = medtk(capsys, "edge", "bench", bundled, "--table", table, "--repeats", 1, "--json")
    assert code == 0 and json.loads(out)["network"] == "chest 1"
    code, out, _ = medtk(capsys, "edge", "bench", bundled.with_suffix(".tflite"), "--table", table, "--repeats", 1)
    assert code == 0 and "2 lines" in out and len(device.read(table)) == 2
    device.add(table, line("reference", "another machine"))
    shas = [row["sha256"] for row in device.read(table)]
    code, out, _ = medtk(capsys, "edge", "bench", "--table", table, "--repeats", 1)
    rows = device.read(table)
    assert code == 0 and [row["sha256"] for row in rows[:3]] == shas and rows[3]["network"] == "reference"
    code, out, _ = medtk(capsys, "edge", "bench", "--table", table, "--repeats", 1)
    assert rows == device.read(table)[:4] and out.count("this run") == 1
    assert out.count(rows[3]["machine"]) == 2 and "another machine" not in out  # other bytes, so not beside it


def test_a_registry_by_commands(capsys, bundled, network, tmp_path):
    home, picture = tmp_path / "registry", tmp_path / "film.png"
    Image.fromarray(np.full((20, 30), 100, np.uint8)).save(picture)
    other = bundle.write(tmp_path / "2.zip", network, name="chest", version="2", labels=("normal", "ill"), card={})
    assert medtk(capsys, "edge", "publish", home, bundled, "--activate")[0] == 0
    code, out, _ = medtk(capsys, "edge", "publish", home, other)
    assert code == 0 and "Published 2; active is 1" in out
    update = ("edge", "update", home, "2", "--dataset", "breastmnist", "--synthetic")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MEDTK_DATA", raising=False)
        with pytest.warns(UserWarning, match="synthetic"):
            code, out, _ = medtk(capsys, *update)
    assert code == 0 and "Active is 2" in out and "synthetic" in out  # an equal network is not worse
    code, out, _ = medtk(capsys, "edge", "predict", home, picture, "--json")
    said = json.loads(out)
    assert said["version"] == "2" and sum(said["answers"][str(picture)].values()) == pytest.approx(1, abs=1e-5)
    code, out, _ = medtk(capsys, "edge", "rollback", home, "--reason", "too slow")
    assert code == 0 and "Active is 1" in out
    code, out, _ = medtk(capsys, "edge", "list", home, "--json")
    assert [event["event"] for event in json.loads(out)["history"]] == ["activate", "update", "roll back"]
    code, _, err = medtk(capsys, "edge", "rollback", home)
    assert code == 2 and "no version before" in err
    code, _, err = medtk(capsys, "edge", "predict", picture, picture)
    assert code == 2 and "no model bundle" in err
