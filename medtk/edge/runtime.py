"""Run an exported network without TensorFlow, and weigh and time it in a process of its own.

``python -m medtk.edge.runtime FILE THREADS REPEATS RUNS`` prints what `alone` reads.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from medtk.errors import BadParameter, CorruptFile, MedtkError


def open_network(file: Path, *, threads: int = 1):
    """LiteRT interpreter of a file, its tensors allocated.

    Parameters
    ----------
    file : path
        A ``.tflite`` file with one input, images, and one output, probabilities.
    threads : int
        At most this many processor threads; at least 1.

    Raises
    ------
    BadParameter
        If `threads` is below 1.
    CorruptFile
        If there is no such file, or it holds no network.
    """
    from ai_edge_litert.interpreter import Interpreter

    if threads < 1:
        raise BadParameter(f"threads must be at least 1, not {threads}.")
    try:
        network = Interpreter(model_path=str(file), num_threads=threads)
        network.allocate_tensors()
    except (ValueError, RuntimeError, OSError) as error:
        raise CorruptFile(f"{file} holds no network that LiteRT can run ({error}); export it again.") from error
    return network


def predict(file: Path, images: np.ndarray, *, threads: int = 1, batch_size: int = 32) -> np.ndarray:
    """Probabilities of an exported network.

    A network with whole numbers at its ends gets the images in its own scale and zero point, and its answers are
    brought back and divided by their sum: seven probabilities in steps of 1/256 need not add up to 1.

    Parameters
    ----------
    file : path
        See `open_network`.
    images : ndarray of float32, shape (n, height, width, channels)
        In [0, 1].
    threads, batch_size : int

    Returns
    -------
    ndarray of float32, shape (n, classes)

    Raises
    ------
    BadParameter
        If the images have another shape than the network's input.
    CorruptFile
        As `open_network`.
    MedtkError
        If an answer is not a number, as it happens with very few bits.
    """
    network = open_network(file, threads=threads)
    ends = network.get_input_details()[0], network.get_output_details()[0]
    images = np.asarray(images, np.float32)
    if images.ndim != 4 or images.shape[1:] != tuple(ends[0]["shape"][1:]):
        raise BadParameter(f"{Path(file).name} takes images {tuple(ends[0]['shape'][1:])}, not {images.shape[1:]}.")
    size = min(batch_size, max(len(images), 1))
    network.resize_tensor_input(ends[0]["index"], (size, *images.shape[1:]))
    network.allocate_tensors()
    found = []
    for start in range(0, len(images), size):
        batch = images[start : start + size]
        filled = np.concatenate([batch, np.zeros((size - len(batch), *batch.shape[1:]), np.float32)])
        network.set_tensor(ends[0]["index"], stored(filled, ends[0]))
        network.invoke()
        found.append(_real(network.get_tensor(ends[1]["index"]), ends[1])[: len(batch)])
    probabilities = np.concatenate(found) if found else np.zeros((0, ends[1]["shape"][-1]), np.float32)
    if not np.isfinite(probabilities).all():
        raise MedtkError(
            f"{Path(file).name} gives answers that are not numbers; look at its weights, or give it more bits."
        )
    return probabilities / np.maximum(probabilities.sum(axis=1, keepdims=True), 1e-9)


def stored(values: np.ndarray, end: dict) -> np.ndarray:
    """Numbers as an end of a network holds them: floats as they are, else rounded by its scale and zero point."""
    if end["dtype"] == np.float32:
        return values
    scale, zero = end["quantization"]
    limits = np.iinfo(end["dtype"])
    return np.clip(np.rint(values / scale) + zero, limits.min, limits.max).astype(end["dtype"])


def _real(values: np.ndarray, end: dict) -> np.ndarray:
    if end["dtype"] == np.float32:
        return values
    scale, zero = end["quantization"]
    return (values.astype(np.float32) - zero) * np.float32(scale)


def alone(file: Path, *, threads: int = 1, repeats: int = 5, runs: int = 30) -> dict:
    """Memory, first answer and time of an exported network, in a fresh process that holds nothing else.

    Parameters
    ----------
    file : path
        A ``.tflite`` file, or a ``.keras`` file: then Keras answers, by one compiled call an image, which is the
        fastest way that it has.
    threads : int
    repeats, runs : int
        Blocks of timed answers, and answers in a block, for one image each.

    Returns
    -------
    dict
        ``cold_ms``: opening the file and the first answer. ``before_mb``, ``peak_mb``: resident memory before the file
        is opened (Python, NumPy and the interpreter's code), and the most that it ever was. ``median_ms``, ``p95_ms``:
        lists, one value a block.

    Raises
    ------
    MedtkError
        If the process fails.
    """
    command = [sys.executable, "-m", "medtk.edge.runtime", str(file), str(threads), str(repeats), str(runs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise MedtkError(f"{Path(file).name} could not be measured in a process of its own: {last}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def blocks(answer, *, repeats: int, runs: int) -> dict[str, list[float]]:
    """Milliseconds that a call of ``answer()`` takes: median and 95th percentile of each block of calls."""
    times = np.empty((repeats, runs))
    for block in times:
        for number in range(runs):
            start = time.perf_counter()
            answer()
            block[number] = 1e3 * (time.perf_counter() - start)
    return {"median_ms": np.median(times, axis=1).tolist(), "p95_ms": np.quantile(times, 0.95, axis=1).tolist()}


def _measure_here(file: str, threads: int, repeats: int, runs: int) -> dict:
    prepare = _keras_answer if file.endswith(".keras") else _litert_answer
    open_and_answer = prepare(Path(file), threads)  # after the imports: their memory and time are not the network's
    before = _memory_mb("VmRSS")
    start = time.perf_counter()
    answer = open_and_answer()
    found = {"cold_ms": 1e3 * (time.perf_counter() - start), "before_mb": before}
    return found | blocks(answer, repeats=repeats, runs=runs) | {"peak_mb": _memory_mb("VmHWM")}


def _litert_answer(file: Path, threads: int) -> Callable:
    from ai_edge_litert import interpreter  # noqa: F401

    def open_and_answer():
        network = open_network(file, threads=threads)
        end = network.get_input_details()[0]
        image = np.random.default_rng(0).random(tuple(end["shape"]), np.float32)
        network.set_tensor(end["index"], stored(image, end))
        network.invoke()
        return network.invoke

    return open_and_answer


def _keras_answer(file: Path, threads: int) -> Callable:
    import keras
    import tensorflow as tf

    import medtk.edge.shuffle  # noqa: F401  (a file may hold its layers)

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    def open_and_answer():
        model = keras.saving.load_model(file, compile=False)
        image = tf.convert_to_tensor(np.random.default_rng(0).random((1, *model.input_shape[1:]), np.float32))
        compiled = tf.function(lambda given: model(given, training=False))

        def answer():
            return compiled(image).numpy()

        answer()
        return answer

    return open_and_answer


def _memory_mb(what: str) -> float:
    """Resident memory now (``VmRSS``) or at most (``VmHWM``) of this program.

    Not ``ru_maxrss`` where it can be helped: on Linux a new process inherits there the peak of the one that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith(what))
        return int(line.split()[1]) / 1e3
    import psutil

    usage = psutil.Process().memory_info()
    return (usage.rss if what == "VmRSS" else getattr(usage, "peak_wset", usage.rss)) / 1e6


if __name__ == "__main__":
    given = sys.argv[1:]
    print(json.dumps(_measure_here(given[0], *(int(number) for number in given[1:]))))
