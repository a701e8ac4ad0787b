"""Three hospitals as three processes beside a server, all on this machine: one run, with what may happen to it.

The tests of the module share the run, and go through it in order.
"""

import json
import os
import signal

import httpx
import numpy as np
import psutil
import pytest
from flwr.proto.control_pb2 import ListNodesRequest
from flwr.supercore.control import ControlHttpClient
from made_federation import PATIENCE, finished, until, write_hospitals

from medtk import cli, data, federated
from medtk.errors import MedtkError
from medtk.federated import flower
from medtk.federated.flower import processes, security
from medtk.federated.flower.progress import read

NAMES = ["hospital_1", "hospital_2", "hospital_3"]


def call(*arguments):
    with pytest.raises(SystemExit) as end:
        cli.main(["federate", *map(str, arguments)])
    return end.value.code


def complete(entry):
    return all(row["status"] == "ok" for row in entry["clients"])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folder of a run of two rounds that is up, with three hospitals; beside it, their images."""
    home = tmp_path_factory.mktemp("federation")
    write_hospitals(home / "data", 60, 3)
    settings = ["--size", 32, "--rounds", 2, "--batch-size", 8, "--learning-rate", 0.01, "--start-timeout", PATIENCE]
    places = ["--port", processes.free_port(), "--data", home / "data", "--heartbeat", 10]
    try:
        assert call("up", home / "run", "--local", 3, "--round-timeout", PATIENCE, *settings, *places) == 0
        yield home / "run"
    finally:
        flower.down(home / "run")


def test_three_processes_give_the_weights_of_one(run):
    """After two rounds, to 1e-5: the same steps, in other processes."""
    until(run, finished)
    remote, plan = flower.result(run), flower.Plan.read((run / "plan.json").read_text())
    members = data.load_hospitals(run.parent / "data", 32).members
    near = federated.run(plan.model(), members, plan.settings(), keep=False, progress=False)
    for ours, theirs, first in zip(near.weights(), remote.weights(), near.initial, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-5)
        assert not np.array_equal(first, theirs)
    losses = [[row["loss"] for row in federated.rows(found.history, "evaluation")] for found in (near, remote)]
    np.testing.assert_allclose(*losses, atol=1e-4)
    assert [row["n"] for row in federated.rows(remote.history)] == 2 * [len(member.train) for member in members]


def test_who_may_not_join(run, tmp_path):
    """A server that another authority has signed, and a hospital whose key the server was not told of."""
    asked = run / "invitations" / NAMES[0]
    stranger = tmp_path / "stranger"
    security.make_certificates(stranger, ["127.0.0.1"])
    (stranger / "invitation.json").write_bytes((asked / "invitation.json").read_bytes())
    security.make_node_key(stranger / "node_key", stranger / "node_key.pub")
    source = flower.Source(folder=str(run.parent / "data"))
    with pytest.raises(MedtkError, match=r"certificate of 127\.0\.0\.1:\d+ is wrong"):
        flower.join(stranger, source)
    contact = read(run, "server")["contact"]
    for authority in (asked / "ca.pem", stranger / "ca.pem"):  # Flower itself minds it too
        line = ControlHttpClient.from_server_address(contact, False, authority.read_bytes(), [])
        if authority.parent == asked:
            assert len(line.ListNodes(ListNodesRequest()).nodes_info) == 3
        else:
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                line.ListNodes(ListNodesRequest())
    (stranger / "ca.pem").write_bytes((asked / "ca.pem").read_bytes())
    flower.join(stranger, source)
    with pytest.raises(MedtkError, match="does not let stranger in; most likely it does not know the key"):
        flower.ready(stranger)
    assert processes.running(stranger) == {}


def test_a_restart_and_a_killed_hospital(run, capsys):
    """The server stops and goes on, the hospitals come back by themselves; then one is killed between two messages.

    On a busy machine the server may count a hospital as gone before that has noticed the restart; it is back a round
    later.
    """
    processes.stop(run)
    assert flower.status(run)["processes"] == {} and len(flower.status(run)["history"]) == 2
    settings = read(run, "server")
    assert call("up", run, "--rounds", 7, "--port", settings["port"]) == 0
    until(run, lambda found: any(complete(entry) for entry in found["history"][2:]))
    victims = read(run / "invitations" / NAMES[1], "processes")
    for noted in victims.values():
        os.kill(noted["pid"], signal.SIGKILL)
    found = until(run, finished)
    status = {(row["round"], row["client"]): (row["status"], row["why"]) for row in federated.rows(found["history"])}
    assert [status[number, name][0] for number in (1, 2) for name in NAMES] == 6 * ["ok"]
    assert [status[7, name][0] for name in NAMES] == ["ok", "gone", "ok"]
    assert status[7, NAMES[1]][1] in ("its connection was lost", "it is not connected")
    assert len(flower.result(run).history) == 7
    capsys.readouterr()
    assert call("status", run) == 0
    shown = capsys.readouterr().out
    assert "finished: 7 rounds" in shown and "2 of 3" in shown and "hospital_2" in shown
    assert call("status", run, "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["history"]) == 7


def test_down_leaves_no_process(run):
    places = [run, *(run / "invitations" / name for name in NAMES)]
    noted = [process["pid"] for place in places for process in read(place, "processes").values()]
    assert call("down", run) == 0
    left = [
        process for process in psutil.process_iter(["cmdline"]) if str(run) in " ".join(process.info["cmdline"] or [])
    ]
    assert not left and len(noted) == 8
    for pid in noted:
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert flower.status(run)["state"] == "finished"
