"""A model bundle: one zip file with a network, what it expects, what its answers are called, and a checksum of each.

``bundle.load("chest.zip").predict(["film.png"])`` is all that a user of a network should have to write.
"""

import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medtk import data
from medtk.data import files
from medtk.errors import BadParameter, CorruptFile

FORMAT = 1
MANIFEST, NETWORK = "bundle.json", "network.tflite"
# Rec. 601 weights of red, green and blue in units of 2^-16, as Pillow's conversion to "L" has them.
RED, GREEN, BLUE, HALF, BITS = 19595, 38470, 7471, 1 << 15, 16
MEND = "copy it again from where it came, or publish it anew"


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle; its checksums were right.

    Attributes
    ----------
    name, version : str
    labels : tuple of str
        In the order of the answers.
    size, channels : int
        Of the images that the network takes.
    card : dict
        What it was trained on and tested with, for people.
    sha256 : str
        Of the manifest, which holds that of the network: it stands for the whole bundle.
    network : bytes
        Content of the ``.tflite`` file.
    """

    name: str
    version: str
    labels: tuple[str, ...]
    size: int
    channels: int
    card: Mapping
    sha256: str
    network: bytes

    @contextmanager
    def unpacked(self) -> Iterator[Path]:
        """The network as a file, for as long as the block lasts."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / NETWORK
            file.write_bytes(self.network)
            yield file

    def predict(self, images: Sequence | np.ndarray, *, threads: int = 1) -> np.ndarray:
        """Probabilities, float32 of shape (n, labels).

        Parameters
        ----------
        images : sequence of path or of ndarray of uint8, or ndarray of float32
            Files or decoded pictures of any size, or a batch that is `prepared` already.
        threads : int
        """
        from medtk.edge.runtime import predict

        ready = isinstance(images, np.ndarray) and images.ndim == 4 and images.dtype.kind == "f"
        batch = images if ready else prepared(images, self.size, self.channels)
        with self.unpacked() as file:
            return predict(file, batch, threads=threads)

    def answers(self, images: Sequence | np.ndarray) -> list[dict[str, float]]:
        """Probability of each label, a dict an image."""
        return [dict(zip(self.labels, map(float, row), strict=True)) for row in self.predict(images)]


def prepared(images: Sequence, size: int, channels: int) -> np.ndarray:
    """Pictures as a network of this book takes them: grey or colour, one size, [0, 1].

    Parameters
    ----------
    images : sequence of path or of ndarray of uint8
        Files, or pixels of shape (height, width), (height, width, 3) or (height, width, 4); of the last, the alpha
        channel blends with black.
    size : int
        New side in pixels; proportions are not kept, as in the book's data sets.
    channels : {1, 3}

    Returns
    -------
    ndarray of float32, shape (n, size, size, channels)

    Raises
    ------
    BadParameter
        If an array is no picture.
    CorruptFile
        If a file is none.
    """
    made = np.empty((len(images), size, size, channels), np.float32)
    for place, image in zip(made, images, strict=True):
        pixels = np.asarray(image) if isinstance(image, np.ndarray) else _decoded(Path(image))
        place[:] = data.resize(_channels(pixels, channels)[None], size)[0] / 255
    return made


def _decoded(file: Path) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(file) as picture:
            return np.asarray(picture if picture.mode == "L" else picture.convert("RGBA"))
    except (OSError, Image.DecompressionBombError) as error:
        raise CorruptFile(f"{file} is not a picture that can be read ({error}); give a PNG or JPEG.") from error


def _channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)):
        raise BadParameter(
            "a picture has 8-bit pixels of shape (height, width) or (height, width, 3), not "
            f"{pixels.dtype} of {pixels.shape}."
        )
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return np.repeat(pixels.reshape(*pixels.shape[:2], 1), channels, axis=2)
    colour = pixels[..., :3].astype(np.int64)
    if pixels.shape[2] == 4:
        colour = np.rint(colour * (pixels[..., 3:] / 255)).astype(np.int64)
    if channels == 3:
        return colour
    return (colour @ np.array([RED, GREEN, BLUE]) + HALF >> BITS)[..., None]


def write(file: Path, network: Path, *, name: str, version: str, labels: Sequence[str], card: Mapping) -> Path:
    """Write a bundle whole or not at all.

    Parameters
    ----------
    file : path
        Ends in ``.zip``; replaced if it is there.
    network : path
        A ``.tflite`` file, see `medtk.edge.export`.
    name, version : str
        Letters, digits and ``. _ -``.
    labels : sequence of str
    card : dict
        As JSON can write it.

    Raises
    ------
    BadParameter
        If a name cannot be part of a file's name, or there is not a label for each answer.
    CorruptFile
        If `network` is none.
    """
    from medtk.edge.runtime import open_network

    for word in (name, version):
        if not word or not all(letter.isascii() and (letter.isalnum() or letter in "._-") for letter in word):
            raise BadParameter(f"a name or version has letters, digits, '.', '_' and '-' alone, not {word!r}.")
    opened = open_network(network)
    (_, height, width, channels), (_, answers) = (
        opened.get_input_details()[0]["shape"],
        opened.get_output_details()[0]["shape"],
    )
    if height != width or len(labels) != answers:
        raise BadParameter(
            f"a bundle needs square images and {answers} labels, not {height} x {width} and {list(labels)}."
        )
    content = Path(network).read_bytes()
    manifest = {
        "format": FORMAT, "name": name, "version": version, "labels": list(labels), "size": int(height),
        "channels": int(channels), "network_sha256": hashlib.sha256(content).hexdigest(), "card": dict(card),
    }  # fmt: skip
    manifest["sha256"] = digest(manifest)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, text in ((MANIFEST, json.dumps(manifest, indent=1).encode()), (NETWORK, content)):
            # A fixed date: the same bundle has the same bytes whenever it is written.
            archive.writestr(zipfile.ZipInfo(entry, date_time=(1980, 1, 1, 0, 0, 0)), text, zipfile.ZIP_DEFLATED)
    files.write_atomically(Path(file), lambda stream: stream.write(buffer.getvalue()))
    return Path(file)


def digest(manifest: Mapping) -> str:
    """SHA-256 of a manifest but for its own field ``sha256``."""
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def load(file: Path) -> Bundle:
    """Read a bundle and check it.

    Raises
    ------
    CorruptFile
        If it is not there, is no bundle, or its manifest or network is not what its checksum says.
    """
    file = Path(file)
    try:
        with zipfile.ZipFile(file) as archive:
            manifest, network = json.loads(archive.read(MANIFEST)), archive.read(NETWORK)
        fields = {key: manifest[key] for key in ("name", "version", "size", "channels", "card", "sha256")}
        fields["labels"], wanted, kind = tuple(manifest["labels"]), manifest["network_sha256"], manifest["format"]
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError, EOFError, NotImplementedError) as error:
        raise CorruptFile(f"{file} is no model bundle, or a damaged one ({error}); {MEND}.") from error
    if kind != FORMAT:
        raise CorruptFile(f"{file} is a bundle of format {kind}, and this medtk reads format {FORMAT}; update medtk.")
    if digest(manifest) != fields["sha256"]:
        raise CorruptFile(f"{file} is not the bundle that was written: its description was changed; {MEND}.")
    if hashlib.sha256(network).hexdigest() != wanted:
        raise CorruptFile(f"{file} is not the bundle that was written: its network was changed; {MEND}.")
    return Bundle(network=network, **fields)
