"""Certificates, keys and the guard of the server: what is let through, what is refused, and in which words."""

import contextlib
import os
import socket
import ssl
import stat
import threading

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from flwr.supercore.primitives.asymmetric import bytes_to_public_key, uses_nist_ec_curve

from medtk import cli
from medtk.errors import BadParameter, CorruptFile, DataUnavailable, MedtkError
from medtk.federated import flower
from medtk.federated.flower import processes, security, superlink

PLAN = flower.Plan(("h1", "h2"), ("a", "b"))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Certificates of a server at 127.0.0.1, of one elsewhere, and of a stranger."""
    home = tmp_path_factory.mktemp("certificates")
    security.make_certificates(home / "here", ["127.0.0.1", "localhost"])
    security.make_certificates(home / "elsewhere", ["server.example", "10.0.0.7"])
    return home


@contextlib.contextmanager
def listening(folder=None):
    """Port of a server that speaks TLS with the certificate of a folder, or does not speak TLS at all."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if folder:
        context.load_cert_chain(folder / "server.pem", folder / "server_key.pem")

    def answer(server):
        with contextlib.suppress(OSError):
            line, _ = server.accept()
            with line:
                if folder:
                    context.wrap_socket(line, server_side=True).close()
                else:
                    line.recv(1)
                    line.sendall(b"HTTP/1.1 400 No\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=[server])
        thread.start()
        yield server.getsockname()[1]
        with contextlib.suppress(OSError):  # if nobody came
            socket.create_connection(server.getsockname(), timeout=1).close()
        thread.join(10)


def test_the_right_server_is_believed(certificates):
    with listening(certificates / "here") as port:
        security.check_server("127.0.0.1", port, certificates / "here" / "ca.pem")


@pytest.mark.parametrize(
    ("shown", "believed", "words"),
    [
        ("here", "elsewhere", "certificate of 127.0.0.1:.* is wrong"),  # signed by another authority
        ("elsewhere", "elsewhere", "IP address mismatch"),  # the right authority, another machine
        (None, "here", "does not speak TLS"),
    ],
)
def test_a_wrong_server_is_not(certificates, shown, believed, words):
    with listening(certificates / shown if shown else None) as port, pytest.raises(MedtkError, match=words):
        security.check_server("127.0.0.1", port, certificates / believed / "ca.pem")


def test_nobody_and_no_certificate(certificates, tmp_path):
    with pytest.raises(MedtkError, match=r"Nothing answers at 127\.0\.0\.1"):
        security.check_server("127.0.0.1", processes.free_port(), certificates / "here" / "ca.pem")
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(CorruptFile, match="is no certificate"):
        security.check_server("127.0.0.1", 1, tmp_path / "ca.pem")


def test_private_means_private(certificates, tmp_path):
    security.make_node_key(tmp_path / "node_key", tmp_path / "node_key.pub")
    if os.name == "posix":
        for path in [tmp_path / "node_key", certificates / "here" / "ca_key.pem"]:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = bytes_to_public_key(security.public_key(tmp_path / "node_key.pub"))
    private = serialization.load_ssh_private_key((tmp_path / "node_key").read_bytes(), None)
    assert uses_nist_ec_curve(key) and private.public_key() == key


def test_a_key_of_another_kind_is_refused(tmp_path):
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    openssh = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    for content in (openssh, b"no key"):
        (tmp_path / "key.pub").write_bytes(content)
        with pytest.raises(CorruptFile, match="ssh-keygen -t ecdsa -b 384"):
            security.public_key(tmp_path / "key.pub")


@pytest.mark.parametrize(
    ("path", "client", "passes"),
    [
        ("/v1/fleet/pull-messages", "10.0.0.9", True),
        ("/v1/control/start-run", "10.0.0.9", False),
        ("/v1/runtime/acquire-task", "10.0.0.9", False),
        ("/docs", "10.0.0.9", False),
        ("/v1/control/start-run", "10.0.0.1", True),
        ("/v1/control/../fleet/start-run", "10.0.0.9", False),
    ],
)
def test_only_the_server_itself_may_start_runs(path, client, passes):
    assert superlink.allowed({"path": path, "client": (client, 5), "server": ("10.0.0.1", 8000)}) == passes


def test_who_cannot_be_told_is_refused():
    assert not superlink.allowed({"path": "/v1/control/start-run", "client": None, "server": None})


@pytest.fixture
def no_processes(monkeypatch):
    """Nothing is started: what comes before is what is tested."""

    def refuse(*given):
        raise MedtkError("started")

    monkeypatch.setattr(processes, "start", refuse)


def test_the_folder_of_a_run(tmp_path, no_processes):
    """Own keys stay, others are made; a plan that is there is kept; only more rounds may be asked."""
    security.make_node_key(tmp_path / "h1_key", tmp_path / "run" / "keys" / "h1.pub")
    port = processes.free_port()
    with pytest.raises(MedtkError, match="started"):
        flower.up(tmp_path / "run", PLAN, port=port)
    places = [tmp_path / "run" / "invitations" / name for name in PLAN.hospitals]
    assert [(place / "node_key").exists() for place in places] == [False, True]
    secret, key = [(tmp_path / "run" / name).read_bytes() for name in ("secret", "server_key.pem")]
    (tmp_path / "run" / "rounds.npz").write_bytes(b"")
    for change, words in [({"rounds": 20}, "started"), ({"rounds": 19}, "20 rounds already"), ({"seed": 1}, "seed 0")]:
        with pytest.raises(MedtkError, match=words):
            flower.up(tmp_path / "run", flower.Plan(**vars(PLAN) | {"rounds": 20} | change), port=port)
    assert [(tmp_path / "run" / name).read_bytes() for name in ("secret", "server_key.pem")] == [secret, key]
    with pytest.raises(MedtkError, match="started"):  # the server has moved: hospitals must be able to check it
        flower.up(tmp_path / "run", address="server.example", listen="127.0.0.1", port=port)
    assert (tmp_path / "run" / "server_key.pem").read_bytes() != key
    assert (places[1] / "ca.pem").read_bytes() == (tmp_path / "run" / "ca.pem").read_bytes()


def test_what_cannot_be_put_up(tmp_path, no_processes, monkeypatch):
    with pytest.raises(BadParameter, match="a plan is needed"):
        flower.up(tmp_path / "none", port=processes.free_port())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(BadParameter, match="holds something else"):
        flower.up(tmp_path / "full", PLAN, port=processes.free_port())
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(MedtkError, match="choose another --port"):
        flower.up(tmp_path / "run", PLAN, port=taken.getsockname()[1])


def test_flower_is_not_here_or_another(tmp_path, monkeypatch):
    def missing(name):
        raise processes.metadata.PackageNotFoundError(name)

    for version, words in [(missing, r"pip install 'medtk\[federated\]'"), (lambda name: "1.42.0", "flwr==1.41.0")]:
        monkeypatch.setattr(processes.metadata, "version", version)
        with pytest.raises(MedtkError, match=words):
            flower.up(tmp_path / "run", PLAN)
        with pytest.raises(MedtkError, match=words):
            flower.join(tmp_path / "run", flower.Source(dataset="breastmnist"))


def test_what_cannot_be_joined(tmp_path, no_processes):
    port = processes.free_port()
    with pytest.raises(DataUnavailable, match="is no invitation"):
        flower.join(tmp_path, flower.Source(dataset="breastmnist"))
    with pytest.raises(MedtkError, match="started"):
        flower.up(tmp_path / "run", PLAN, port=port)
    place = tmp_path / "run" / "invitations" / "h1"
    with pytest.raises(DataUnavailable, match=r"no folder .*HOSPITAL"):
        flower.join(place, flower.Source(folder=str(tmp_path)))
    with pytest.raises(BadParameter, match="at least 10 seconds"):
        flower.join(place, flower.Source(dataset="breastmnist"), heartbeat=1)
    with pytest.raises(MedtkError, match="Nothing answers"):
        flower.join(place, flower.Source(dataset="breastmnist"))
    (place / "node_key").unlink()
    with pytest.raises(DataUnavailable, match="private key of h1 is missing"):
        flower.join(place, flower.Source(dataset="breastmnist"))


def test_folders_of_nothing(tmp_path):
    with pytest.raises(DataUnavailable, match="folder of no run"):
        flower.status(tmp_path)
    with pytest.raises(DataUnavailable, match="There is no folder"):
        flower.down(tmp_path / "none")
    with pytest.raises(DataUnavailable, match="No round"):
        flower.result(tmp_path)
    assert flower.down(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["up", "run"], "--hospitals and --classes"),
        (["up", "run", "--hospitals", "a,b", "--classes", "x"], "two classes or more"),
        (["up", "run", "--hospitals", "a,a", "--classes", "x,y"], "a name of its own"),
        (["up", "run", "--hospitals", "a,b", "--classes", "x,y", "--strategy", "median2"], "did you mean median"),
        (["up", "run", "--local", "3"], "--data FOLDER, or --dataset NAME"),
        (["up", "run", "--local", "3", "--data", "nowhere"], "there are 0 hospitals"),
        (["up", "run", "--local", "3", "--dataset", "brestmnist"], "did you mean breastmnist"),
        (["up", "run", "--port", "0"], "'--port'"),
        (["join", "run", "--data", "nowhere"], "is no invitation"),
        (["status", "run"], "folder of no run"),
        (["down", "run"], "There is no folder"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, monkeypatch, capsys, no_processes, arguments, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        cli.main(["federate", *arguments])
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert end.value.code == 2 and line.startswith("medtk: ") and line.endswith((".", "?")) and words in line
    assert not (tmp_path / "run").exists()
