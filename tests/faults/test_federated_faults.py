"""Hospitals that fail or lie, and runs that are killed, damaged or cannot be written."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import small_networks

from medtk import federated
from medtk.data import Split
from medtk.data.hospitals import Hospital
from medtk.errors import BadParameter, MedtkError
from medtk.federated import Settings, Update

TESTS = Path(__file__).resolve().parents[1]
SHAPE = (4, 4, 1)
FAST = Settings(rounds=2, batch_size=8, learning_rate=0.02)
LIAR = "hospital_1"


@pytest.fixture(scope="module")
def model():
    return small_networks.classifier(shape=SHAPE, filters=(4,))


def hospitals():
    sizes = (10, 14, 18)
    return [
        Hospital(f"hospital_{i}", Split(*small_networks.images_and_labels(n, shape=SHAPE, seed=i)))
        for i, n in enumerate(sizes)
    ]


def run(model, settings=FAST, clients=None, **given):
    return federated.run(model, clients or hospitals(), settings, **({"keep": False, "progress": False} | given))


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def gone(*given):
    raise ConnectionError("the line is dead")


def spoiled(*given, how):
    """What an honest client would send, changed by `how`."""
    update = federated.train(*given)
    return how(update, given[1])


def with_nan(update, start):
    weights = [array.copy() for array in update.weights]
    weights[2].flat[0] = np.nan
    return update._replace(weights=weights)


def with_inf(update, start):
    return update._replace(weights=[np.full_like(array, np.inf) for array in update.weights])


def reshaped(update, start):
    return update._replace(weights=[array.ravel() for array in update.weights])


def one_short(update, start):
    return update._replace(weights=update.weights[:-1])


def hundredfold_weights(update, start):
    return update._replace(weights=[100 * array for array in update.weights])


def hundredfold_update(update, start):
    return update._replace(weights=[s + 100 * (w - s) for w, s in zip(update.weights, start, strict=True)])


def of_no_image(update, start):
    return update._replace(n=0)


def of_half_an_image(update, start):
    return update._replace(n=0.5)


def of_a_billion_images(update, start):
    return update._replace(n=10**9)


def of_endless_images(update, start):
    return update._replace(n=10**5000)  # more digits than Python prints


def of_one_image_more(update, start):
    return update._replace(n=update.n + 1)


def beyond_float32(update, start):
    return update._replace(weights=[np.full(array.shape, 1e300) for array in update.weights])


def words(update, start):
    return update._replace(weights=[array.astype(str) for array in update.weights])


def bad_metrics(update, start):
    return update._replace(metrics={"loss": "low"})


def nothing(update, start):
    return None


LIES = [
    (with_nan, "array 2 holds values that are not finite"),
    (with_inf, "not finite"),
    (reshaped, r"array 0 is float32 of shape \(36,\)"),
    (one_short, "it sent 7 arrays, not 8"),
    (hundredfold_weights, "times as long as the middle one"),
    (hundredfold_update, "times as long as the middle one"),
    (of_no_image, "number of images is 0"),
    (of_half_an_image, "number of images is 0.5"),
    (of_a_billion_images, "number of images is above 10,000,000"),
    (of_endless_images, "number of images is above 10,000,000"),
    (of_one_image_more, "number of images is 15, and it joined with 14"),
    (beyond_float32, "not finite"),
    (words, "array 0 is <U"),
    (bad_metrics, "metrics are not numbers"),
    (nothing, "no weights, number of images and metrics"),
]


@pytest.fixture(scope="module")
def without(model):
    """Weights of the run in which the liar never took part."""
    return run(model, clients=[h for h in hospitals() if h.name != LIAR]).weights()


@pytest.mark.parametrize(("how", "why"), LIES, ids=lambda value: getattr(value, "__name__", None))
def test_a_liar_is_named_and_changes_nothing(model, without, how, why):
    result = run(model, steps={LIAR: partial(spoiled, how=how)})
    rows = [row for row in federated.rows(result.history) if row["status"] != "ok"]
    assert [(row["round"], row["client"], row["status"]) for row in rows] == [
        (1, LIAR, "refused"),
        (2, LIAR, "refused"),
    ]
    assert all(re.search(why, row["why"]) for row in rows)
    assert same(result.weights(), without)


def strange_metrics(update, start):
    strange = {"client": 1.0, "n": -5.0, "status": 0, "loss": float("nan"), "accuracy": 10**400, "began": float("inf")}
    return update._replace(metrics=strange)


def test_what_a_client_says_of_itself_stays_out_of_the_servers_book(model):
    """Names of its own choice overwrote the row: a wrong client or number of images then ended the run."""
    settings = dataclasses.replace(FAST, rounds=3, max_delay=1)
    given = {"delays": lateness}
    plain = run(model, settings, **given)
    result = run(model, settings, steps={LIAR: partial(spoiled, how=strange_metrics)}, **given)
    assert same(result.weights(), plain.weights())
    rows = [row for row in federated.rows(result.history) if row["client"] == LIAR]
    assert {row["n"] for row in rows if row["status"] == "arrived"} == {14} and len(rows) > 2
    assert all(row.get("loss") is None and row.get("accuracy") is None for row in rows)


def test_a_hospital_that_is_gone(model, without):
    result = run(model, steps={LIAR: gone})
    rows = [row for row in federated.rows(result.history) if row["client"] == LIAR]
    assert [(row["status"], row["why"]) for row in rows] == [("gone", "ConnectionError: the line is dead")] * 2
    assert rows[0]["bytes_down"] > 0 == rows[0]["bytes_up"]
    assert same(result.weights(), without)


def always_late(name, number):
    return 3 if name == LIAR else 0


def test_a_hospital_that_is_late(model, without):
    result = run(model, delays=always_late)
    assert {row["status"] for row in federated.rows(result.history) if row["client"] == LIAR} == {"late"}
    assert same(result.weights(), without)


def test_what_a_liar_keeps_to_itself_is_not_kept(model):
    mask = federated.shared(model, "local")
    result = run(model, steps={LIAR: partial(spoiled, how=with_nan)}, mask=mask)
    assert LIAR not in result.private and set(result.private) == {"hospital_0", "hospital_2"}


def test_unless_told_a_longer_update_is_not_refused(model):
    settings = dataclasses.replace(FAST, max_ratio=None)
    result = run(model, settings, steps={LIAR: partial(spoiled, how=hundredfold_update)})
    assert {row["status"] for row in federated.rows(result.history)} == {"ok"}


def test_many_more_images_are_no_lie(model):
    """Three hospitals of 4, 4 and 400 images: the large one takes a hundred times the steps."""
    clients = [
        Hospital(f"h{i}", Split(*small_networks.images_and_labels(n, shape=SHAPE, seed=i)))
        for i, n in enumerate((4, 4, 400))
    ]
    settings = Settings(rounds=2, batch_size=4, optimizer="sgd", learning_rate=0.05)
    assert {row["status"] for row in federated.rows(run(model, settings, clients).history)} == {"ok"}


def test_too_few_hospitals_stop_the_round_with_the_reasons(model):
    settings = dataclasses.replace(FAST, min_clients=2)
    steps = {LIAR: gone, "hospital_2": partial(spoiled, how=nothing)}
    with pytest.raises(
        MedtkError, match=r"Round 1 has 1 good updates and needs 2.*hospital_1.*line is dead.*hospital_2"
    ):
        run(model, settings, steps=steps)
    with pytest.raises(MedtkError, match="the line is dead"):
        run(model, steps={h.name: gone for h in hospitals()})


def test_a_keyboard_interrupt_is_no_fault_of_a_hospital(model):
    def pressed(*given):
        raise KeyboardInterrupt

    before = model.get_weights()
    with pytest.raises(KeyboardInterrupt):
        run(model, steps={LIAR: pressed})
    assert same(before, model.get_weights())


def lateness(name, number):
    return (int(name[-1]) + number) % 2


def remembering(server, received):
    """A strategy with arrays, numbers and words in its memory."""
    server = federated.fedadam(server, received)
    seen = [*server.memory.get("seen", []), [r.client for r in received]]
    return dataclasses.replace(server, memory=server.memory | {"seen": seen}, notes={"updates": len(received)})


def stopped_after(count):
    """A bar's update that stops the run in the middle of a round."""
    left = [count]

    def update(self, n=1):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    return update


@pytest.mark.parametrize("at", [1, 5, 7])
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(model, monkeypatch, at):
    """Everything at once: private arrays, updates under way, a strategy that remembers, clients drawn."""
    settings = dataclasses.replace(FAST, rounds=6, max_delay=1, min_clients=0, fraction=0.7)
    given = {"mask": federated.shared(model, "local"), "strategy": remembering, "delays": lateness}
    whole = run(model, settings, **given)
    assert any(row["status"] == "arrived" for row in federated.rows(whole.history))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("medtk.federated.engine.tqdm.update", stopped_after(at))
        run(model, settings, keep=True, **given)
    again = run(model, settings, keep=True, **given)
    assert same(whole.weights(), again.weights())
    for name in whole.private:
        assert same(whole.private[name], again.private[name])
    assert without_times(whole.history) == without_times(again.history)
    assert whole.server.memory["seen"] == again.server.memory["seen"]
    assert not again.from_cache and run(model, settings, keep=True, **given).from_cache


def without_times(history):
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in entry["clients"]] for entry in history]
    return [(row, entry["evaluation"], entry["notes"]) for row, entry in zip(rows, history, strict=True)]


def entries():
    return sorted(Path(os.environ["MEDTK_CACHE"]).rglob("federated/*"))


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive", "half"])
def test_a_damaged_state_is_set_aside_and_named(model, capsys, damage):
    whole = run(model, keep=True)
    (path,) = entries()
    stored = path.read_bytes()
    path.write_bytes(stored[: len(stored) // 2] if damage == "half" else damage)
    again = run(model, keep=True)
    assert "is damaged" in capsys.readouterr().err and not again.from_cache
    assert same(whole.weights(), again.weights())
    assert [entry.suffix for entry in entries()] == [".corrupt", ".npz"]


def test_what_changes_the_result_changes_the_name(model):
    for given in (
        {},
        {"settings": dataclasses.replace(FAST, seed=1)},
        {"settings": dataclasses.replace(FAST, proximal=0.1)},
        {"strategy": partial(federated.average, rule=federated.median)},
        {"mask": federated.shared(model, "local")},
        {"clients": hospitals()[:2]},
        {"steps": {LIAR: partial(spoiled, how=with_nan)}},
    ):
        run(model, **({"keep": True} | given))
    assert len(entries()) == 7
    other = small_networks.classifier(shape=SHAPE, filters=(4,))
    assert run(other, keep=True).from_cache  # the same network built again, with other names of layers
    assert run(model, clients=hospitals()[::-1], keep=True).from_cache


def test_a_function_without_a_name_is_refused_where_the_run_is_kept(model):
    with pytest.raises(BadParameter, match=r"functools\.partial"):
        run(model, keep=True, strategy=lambda server, received: server)
    run(model, strategy=lambda server, received: server)


def test_a_full_disk_is_a_sentence(model, monkeypatch):
    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("medtk.data.files.os.fsync", full)
    with pytest.raises(MedtkError, match="No space left on device"):
        run(model, keep=True)
    assert not [entry for entry in entries() if entry.suffix == ".npz"]


def forgetful(server, received):
    return dataclasses.replace(server, memory={"a set": {1, 2}})


def test_a_memory_that_cannot_be_stored(model):
    with pytest.raises(BadParameter, match="numbers, words, arrays"):
        run(model, keep=True, strategy=forgetful)


SCRIPT = textwrap.dedent("""
    import hashlib, os, signal, sys
    import medtk
    import small_networks
    from medtk import federated
    from medtk.data import Split
    from medtk.data.hospitals import Hospital

    count = int(sys.argv[1])

    def countdown(function):
        def counted(*given, **named):
            global count
            count -= 1
            if count == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*given, **named)
        return counted

    os.fsync = countdown(os.fsync)

    def digest():
        model = small_networks.classifier(shape=(4, 4, 1), filters=(4,))
        clients = [
            Hospital(f"h{i}", Split(*small_networks.images_and_labels(12, shape=(4, 4, 1), seed=i))) for i in range(3)
        ]
        settings = federated.Settings(rounds=3, batch_size=8, learning_rate=0.01)
        result = federated.run(model, clients, settings, progress=False)
        return hashlib.sha256(b"".join(array.tobytes() for array in result.weights())).hexdigest()

    print("resumed", digest())
    os.environ["MEDTK_CACHE"] += "-fresh"
    print("fresh", digest())
""")


def process(count):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    command = [sys.executable, "-c", SCRIPT, str(count)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_killed_while_writing_equals_never_killed():
    assert process(2).returncode == -signal.SIGKILL  # while the second of three rounds is written
    stored = [entry for entry in entries() if entry.suffix == ".npz"]
    assert len(stored) == 1
    after_one_round = stored[0].read_bytes()
    done = process(0)
    assert done.returncode == 0, done.stderr
    said = dict(line.split() for line in done.stdout.splitlines())
    assert said["resumed"] == said["fresh"]
    assert stored[0].read_bytes() != after_one_round


def test_checks_alone():
    start = [np.zeros(3, np.float32)]
    assert federated.fault(Update([np.ones(3)], 4, {}), start) == ""
    assert "5 arrays" in federated.fault((np.ones(5), 4, {}), start)
    far = {"a": ([np.full(3, 1e3)], start), "b": ([np.ones(3)], start), "c": ([np.ones(3)], start)}
    assert list(federated.too_long(far, {"a": 1, "b": 1, "c": 1}, 20)) == ["a"]
    assert list(federated.too_long({k: far[k] for k in "ab"}, {"a": 1, "b": 1}, 20)) == ["a"]
    assert federated.too_long({"a": far["a"]}, {"a": 1}, 20) == {}
    still = {"a": far["a"], "b": (start, start), "c": (start, start)}
    assert federated.too_long(still, {"a": 1, "b": 1, "c": 1}, 20) == {}
    # With a known number of images length may grow; by a client's own word it may not.
    assert federated.too_long(far, {"a": 1000, "b": 1, "c": 1}, 20) == {}
    assert list(federated.too_long(far, {"b": 1, "c": 1}, 20)) == list(federated.too_long(far, {}, 20)) == ["a"]
