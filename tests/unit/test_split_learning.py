"""Split training is training: equal to the network in one piece, whoever holds which part."""

from multiprocessing import Pipe

import numpy as np
import pytest
from small_networks import images_and_labels

from medtk import split_learning as sl
from medtk.data import Split
from medtk.errors import BadParameter, MedtkError, UnknownName
from medtk.split_learning import processes
from medtk.training import be_deterministic, epoch_order

SHAPE = (8, 8, 3)
TINY = {"convolutions": 3, "filters": 4, "seed": 0}


def small(dropout=0.25):
    be_deterministic()
    return sl.build(3, SHAPE, **TINY, dropout=dropout)


def split(n=20, seed=0):
    return Split(*images_and_labels(n, seed=seed))


def trained_in_one_piece(shares, epochs=2, batch_size=8):
    model = small()
    for epoch in range(epochs):
        for place, share in enumerate(shares):
            number = epoch * len(shares) + place
            order = epoch_order(len(share), 0, number)
            sl.reseed(model, 0, number)
            for start in range(0, len(order), batch_size):
                rows = order[start : start + batch_size]
                model.train_on_batch(share.images[rows], share.labels[rows])
    return model


def trained_in_two(shares, cut_layer, epochs=2, batch_size=8):
    """Train clients that have a part each: only what they hand over makes them one."""
    model = small()
    client, server = sl.split_at(model, cut_layer)
    parts = [sl.split_at(small(), cut_layer)[0] for _ in shares]
    clients = [sl.LocalClient(f"client_{k}", *held) for k, held in enumerate(zip(parts, shares, strict=True))]
    history = [sl.run_epoch(clients, server, epoch=epoch, batch_size=batch_size) for epoch in range(epochs)]
    sl.put_state(client, clients[-1].state())
    return model, history


def assert_same_bits(ours, theirs):
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize(("cut_layer", "members"), [("bn_2", 3), ("dropout_3", 1)])
def test_split_training_equals_training_in_one_piece(cut_layer, members):
    shares = [split(20 - 6 * k, seed=k) for k in range(members)]
    whole, start = trained_in_one_piece(shares), small()
    model, _ = trained_in_two(shares, cut_layer)
    for ours, theirs in zip(model.get_weights(), whole.get_weights(), strict=True):
        # A tenth of one step of Adam, which magnifies rounding where a gradient is all but zero.
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    moved = [np.abs(a - b).max() for a, b in zip(model.get_weights(), start.get_weights(), strict=True)]
    assert max(moved) > 1e-3


def test_bytes_are_those_of_activations_labels_gradients_and_states():
    shares = [split(12), split(9, seed=1)]
    model, history = trained_in_two(shares, "bn_2", epochs=1, batch_size=5)
    n, activation = 21, 8 * 8 * 4 * 4
    state = sum(array.nbytes for array in sl.state_of(sl.split_at(model, "bn_2")[0]))
    assert history[0]["bytes_up"] == n * (activation + 8)
    assert history[0]["bytes_down"] == n * activation
    assert history[0]["bytes_relayed"] == 2 * state
    assert 0 <= history[0]["accuracy"] <= 1 and history[0]["loss"] > 0


def test_gradient_at_the_cut_is_that_of_the_mean_loss():
    model = small(dropout=0.0)
    client, server = sl.split_at(model, "bn_2")
    images, labels = images_and_labels(6)
    activations = np.asarray(client(images, training=False))

    def loss(a):
        p = np.asarray(server(a, training=True), np.float64)
        return -np.log(p[np.arange(len(labels)), labels]).mean()

    kept = server.get_weights()
    step = np.zeros_like(activations)
    step[2, 3, 3, 1] = 1e-2
    slope = (loss(activations + step) - loss(activations - step)) / 2e-2
    server.set_weights(kept)
    answer = sl.server_step(server, activations, labels)
    assert answer.gradient.shape == activations.shape
    assert answer.gradient[2, 3, 3, 1] == pytest.approx(slope, rel=0.05, abs=1e-5)


def test_parts_together_answer_as_the_whole():
    model = small()
    images, _ = images_and_labels(7)
    client, server = sl.split_at(model, "bn_2")
    np.testing.assert_allclose(
        sl.answers(client, server, images, batch_size=3), model.predict(images, verbose=0), atol=1e-6
    )


def test_network_of_the_study():
    model = sl.build(10, (14, 14, 5))
    names = [layer.name for layer in model.layers]
    assert [name for name in names if name.startswith("conv")] == [f"conv_{k}" for k in range(1, 8)]
    assert [name for name in names if name.startswith("dropout")] == ["dropout_3", "dropout_6"]
    assert names.index("conv_3") > names.index(sl.CUT_LAYER) > names.index("conv_2")
    assert model.get_layer("conv_1").kernel.shape == (3, 3, 5, 64) and model.get_layer("dense").units == 64
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)


def test_wrong_cuts_and_settings_are_refused():
    model = small()
    with pytest.raises(UnknownName, match="bn_9"):
        sl.split_at(model, "bn_9")
    with pytest.raises(BadParameter, match="nothing is left"):
        sl.split_at(model, "logits")
    with pytest.raises(BadParameter, match="dropout"):
        sl.build(3, SHAPE, dropout=1.0)
    with pytest.raises(BadParameter, match="learning_rate"):
        sl.build(3, SHAPE, learning_rate=0.0)
    client, server = sl.split_at(model, "bn_2")
    with pytest.raises(BadParameter, match="another network"):
        sl.put_state(client, sl.state_of(server))
    with pytest.raises(BadParameter, match="batch_size"):
        sl.run_epoch([sl.LocalClient("a", client, split(4))], server, epoch=0, batch_size=0)


SERVERS = {
    "plain": (lambda: sl.split_at(small(), "bn_2")[1], sl.server_step),
    "pgsl": (lambda: sl.build_server(3, (8, 8, 4), convolutions=3), sl.pgsl_step),
}


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    """Two clients in processes of their own, and their images."""
    shares, folder = [split(12), split(9, seed=1)], tmp_path_factory.mktemp("clients")
    files = {f"client_{k}": folder / f"client_{k}.npz" for k in range(2)}
    for path, share in zip(files.values(), shares, strict=True):
        np.savez(path, images=share.images, labels=share.labels)
    with sl.remote_clients(files, cut_layer="bn_2", n_classes=3, input_shape=SHAPE, **TINY) as clients:
        assert_same_bits(clients[1].state(), sl.state_of(sl.split_at(small(), "bn_2")[0]))
        yield clients, shares


@pytest.mark.parametrize("name", SERVERS)
def test_clients_in_other_processes_train_the_same_network_to_the_last_bit(remote, name):
    """Over two epochs: in the second the first client goes on from the last. Here both have the same part."""
    (there, shares), (build, step) = remote, SERVERS[name]
    part = sl.split_at(small(), "bn_2")[0]
    here = [sl.LocalClient(f"client_{k}", part, share) for k, share in enumerate(shares)]
    for client in there:  # they may have trained in another test
        client.take(here[0].state())
    ended = []
    for clients in (here, there):
        server = build()
        history = [sl.run_epoch(clients, server, epoch=epoch, batch_size=8, step=step) for epoch in range(2)]
        measured = [{key: value for key, value in row.items() if key != "seconds"} for row in history]
        ended.append((measured, clients[-1].state() + server.get_weights()))
    assert ended[0][0] == ended[1][0]
    assert_same_bits(ended[0][1], ended[1][1])


def test_clients_in_other_processes_count_bytes_and_refuse_a_state_of_another_network(remote):
    clients, shares = remote
    before = clients[0].bytes_received
    clients[0].start(0, 0)
    activations, _ = clients[0].forward(np.arange(len(shares[0])))
    assert clients[0].bytes_received - before > activations.nbytes == 12 * 8 * 8 * 4 * 4
    with pytest.raises(MedtkError, match="client_1: BadParameter: This state belongs to another network"):
        clients[1].take([np.zeros(3)])


def test_messages_come_out_as_they_went_in():
    given = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array([3, 1]), np.float32(0.5)]
    kind, found, about = processes.unpacked(processes.packed("forward", given, seed=3, why="x"))
    assert (kind, about) == ("forward", {"seed": 3, "why": "x"})
    for array, back in zip(given, found, strict=True):
        np.testing.assert_array_equal(array, back)
        assert np.asarray(array).dtype == back.dtype


def test_a_client_without_images_or_that_has_ended_is_named(tmp_path):
    with (
        pytest.raises(MedtkError, match="clinic: FileNotFoundError"),
        sl.remote_clients({"clinic": tmp_path / "none.npz"}, cut_layer="bn_2", n_classes=3, input_shape=SHAPE),
    ):
        pass
    here, there = Pipe()
    there.close()
    with pytest.raises(MedtkError, match="clinic has ended before it answered 'start'"):
        sl.RemoteClient("clinic", here).start(0, 0)
