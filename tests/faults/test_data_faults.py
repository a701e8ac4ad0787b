"""Broken files, hostile files, bad servers, no network, full disks."""

import dataclasses
import hashlib
import http.server
import io
import pickle
import socket
import threading
import time
import warnings

import numpy as np
import pytest
from PIL import Image

from medtk import data
from medtk.data import sources
from medtk.errors import CorruptFile, DataUnavailable, MedtkError

PATH = "medmnist/breastmnist.npz"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.delenv("MEDTK_DATA", raising=False)
    monkeypatch.delenv("MEDTK_OFFLINE", raising=False)
    for proxy in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    monkeypatch.setenv("MEDTK_CACHE", str(tmp_path))
    monkeypatch.setattr(sources, "_reachable", {})
    return tmp_path / "data"


def content(**changed):
    arrays = {}
    for split, n in (("train", 20), ("val", 6), ("test", 8)):
        arrays[f"{split}_images"] = np.full((n, 28, 28), n, np.uint8)
        arrays[f"{split}_labels"] = (np.arange(n) % 2).astype(np.uint8)[:, None]
    file = io.BytesIO()
    np.savez_compressed(file, **{**arrays, **changed})
    return file.getvalue()


def expect(monkeypatch, good, url="http://127.0.0.1:9/breastmnist.npz"):
    """Make the card of breastmnist expect the bytes `good` (None: any) from `url`."""
    card = data.CATALOG["breastmnist"]
    md5 = hashlib.md5(good).hexdigest() if good is not None else ""
    place = dataclasses.replace(card.places[0], md5=md5)
    monkeypatch.setitem(data.CATALOG, "breastmnist", dataclasses.replace(card, places=(place,), download=url))


def put(home, blob):
    (home / PATH).parent.mkdir(parents=True, exist_ok=True)
    (home / PATH).write_bytes(blob)


@pytest.fixture
def serve():
    """Start a server on this machine that answers every request with the given bytes."""
    servers = []

    def start(blob, status=200, promise=None):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.send_header("Content-Length", str(promise or len(blob)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(blob)

            do_HEAD = do_GET

            def log_message(self, *args):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/breastmnist.npz"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"<html>please log in</html>",
        content()[:-200],
        content()[:300],
        pickle.dumps(Bomb()),
        content(train_images=np.array([Bomb()] * 20, dtype=object)),
        content(train_images=np.zeros((20, 28, 28), np.float32)),
        content(train_images=np.zeros((20, 14, 14), np.uint8)),
        content(train_labels=np.full(20, 7, np.uint8)),
        content(train_labels=np.full(20, -1, np.int8)),
        content(train_labels=np.zeros(19, np.uint8)),
        content(train_labels=np.zeros(20, np.float32)),
        content(test_images=np.zeros((0, 28, 28), np.uint8), test_labels=np.zeros(0, np.uint8)),
    ],
    ids=range(13),
)
def test_broken_file_is_named_with_a_remedy_even_without_a_checksum(home, monkeypatch, blob):
    expect(monkeypatch, None)
    put(home, blob)
    with pytest.raises(CorruptFile, match=r"breastmnist\.npz.*medtk data fetch breastmnist"):
        data.load("breastmnist", allow_synthetic=True)


def test_flipped_bit_in_the_pixels(home, monkeypatch):
    expect(monkeypatch, None)
    blob = bytearray(content())
    blob[150] ^= 255
    put(home, bytes(blob))
    with pytest.raises(CorruptFile, match="breastmnist"):
        data.load("breastmnist")


def test_altered_file_with_known_checksum(home, monkeypatch):
    expect(monkeypatch, content())
    put(home, content(train_labels=np.zeros(20, np.uint8)))
    for call in (data.load, data.verify):
        with pytest.raises(CorruptFile, match="is not the file it should be"):
            call("breastmnist")


def test_missing_key(home, monkeypatch):
    expect(monkeypatch, None)
    file = io.BytesIO()
    np.savez(file, images=np.zeros(3))
    put(home, file.getvalue())
    with pytest.raises(CorruptFile, match="train_images"):
        data.load("breastmnist")


def test_a_folder_where_a_file_should_be(home, monkeypatch):
    expect(monkeypatch, None)
    (home / PATH).mkdir(parents=True)
    with pytest.raises(MedtkError, match="breastmnist"):
        data.load("breastmnist")


def test_good_download(home, monkeypatch, serve):
    expect(monkeypatch, content(), serve(content()))
    assert data.fetch("breastmnist") == home / PATH
    assert data.load("breastmnist").source == "official"
    assert [path.name for path in (home / PATH).parent.iterdir()] == ["breastmnist.npz"]


@pytest.mark.parametrize("old", [None, b"an older, broken file"])
def test_download_with_the_wrong_checksum_leaves_what_was_there(home, monkeypatch, serve, old):
    expect(monkeypatch, content(), serve(b"<html>proxy</html>"))
    if old:
        put(home, old)
    with pytest.raises(CorruptFile, match="published checksum"):
        data.fetch("breastmnist")
    left = [path.read_bytes() for path in (home / PATH).parent.iterdir()]
    assert left == ([old] if old else [])


def test_good_file_is_not_downloaded_again(home, monkeypatch, serve):
    expect(monkeypatch, content(), serve(b"rubbish"))
    put(home, content())
    assert data.fetch("breastmnist").read_bytes() == content()


@pytest.mark.parametrize("answer", [{"status": 503}, {"status": 404}, {"promise": 10**6}])
def test_server_in_trouble(home, monkeypatch, serve, answer):
    expect(monkeypatch, content(), serve(content(), **answer))
    with pytest.raises((DataUnavailable, CorruptFile), match="breastmnist"):
        data.fetch("breastmnist")
    assert not list((home / PATH).parent.glob("*"))


def test_no_network_is_noticed_once_and_a_stand_in_needs_leave(monkeypatch):
    expect(monkeypatch, content())
    with pytest.warns(UserWarning, match="without a network"), pytest.raises(DataUnavailable, match="fetch"):
        data.load("breastmnist")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert data.load("breastmnist", allow_synthetic=True).source == "synthetic"
    assert ["synthetic" in str(warning.message) for warning in said] == [True]


def test_a_server_that_never_answers_costs_seconds_once(monkeypatch):
    monkeypatch.setattr(sources, "_PROBE_SECONDS", 0.4)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        expect(monkeypatch, content(), f"http://127.0.0.1:{mute.getsockname()[1]}/breastmnist.npz")
        start = time.monotonic()
        for _ in range(3):
            with warnings.catch_warnings(), pytest.raises(DataUnavailable):
                warnings.simplefilter("ignore")
                data.fetch("breastmnist")
        assert time.monotonic() - start < 3


def test_offline_by_wish_asks_nobody(monkeypatch):
    expect(monkeypatch, content())
    monkeypatch.setenv("MEDTK_OFFLINE", "1")
    monkeypatch.setattr(sources, "_probe", lambda *_: pytest.fail("asked the network"))
    with pytest.raises(DataUnavailable):
        data.load("breastmnist")


@pytest.fixture
def xrays(home, monkeypatch):
    card = data.CATALOG["chest_xray"]
    place = dataclasses.replace(card.places[0], sha256="")
    monkeypatch.setitem(data.CATALOG, "chest_xray", dataclasses.replace(card, places=(place,)))
    folder, lines = home / "chest_xray", ["file,label,split,patient_id"]
    for split in ("train", "test"):
        for i in range(8):
            name = f"{split}{i}.png"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((20, 20), 30 * i, np.uint8)).save(folder / name)
            lines.append(f"{name},{('NORMAL', 'PNEUMONIA')[i % 2]},{split},p{i}")
    (folder / "manifest.csv").write_text("\n".join(lines))
    return folder


def test_broken_picture_is_named(xrays):
    (xrays / "train3.png").write_bytes((xrays / "train3.png").read_bytes()[:40])
    with pytest.raises(CorruptFile, match=r"train3\.png"):
        data.load("chest_xray")


def test_missing_picture_is_named(xrays):
    (xrays / "test2.png").unlink()
    for call in (data.load, data.verify):
        with pytest.raises(CorruptFile, match=r"test2\.png"):
            call("chest_xray")


@pytest.mark.parametrize(
    "change",
    [("label,", "klass,"), ("PNEUMONIA", "FLU"), (",test,", ",exam,"), ("file,label,split,patient_id", "")],
)
def test_broken_table_is_named(xrays, change):
    table = xrays / "manifest.csv"
    table.write_text(table.read_text().replace(*change))
    with pytest.raises(CorruptFile, match="manifest"):
        data.load("chest_xray")


def test_folder_with_the_wrong_content(xrays, monkeypatch):
    card = data.CATALOG["chest_xray"]
    place = dataclasses.replace(card.places[0], sha256="0" * 64)
    monkeypatch.setitem(data.CATALOG, "chest_xray", dataclasses.replace(card, places=(place,)))
    with pytest.raises(CorruptFile, match="not those of its card"):
        data.load("chest_xray")


def test_empty_folder(home):
    (home / "chest_xray").mkdir(parents=True)
    with pytest.raises(CorruptFile, match="train/ and test/"):
        data.load("chest_xray")


def test_broken_cache_entry_is_set_aside_and_made_anew(xrays, home):
    first = data.load("chest_xray")
    (entry,) = (home / "decoded").iterdir()
    entry.write_bytes(entry.read_bytes()[:-500])
    with pytest.warns(UserWarning, match="set aside"):
        second = data.load("chest_xray")
    np.testing.assert_array_equal(first.test.images, second.test.images)
    assert {path.suffix for path in (home / "decoded").iterdir()} == {".npz", ".bad"}


def test_full_disk_costs_the_cache_and_nothing_else(xrays, home, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("medtk.data.files.os.fsync", full)
    with pytest.warns(UserWarning, match="No space left"):
        assert len(data.load("chest_xray").test) == 8
    assert list((home / "decoded").iterdir()) == []
