"""On JAX: the same images in the same order give a client's weights as TensorFlow does, and attacks find gradients."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import federated_rounds
import numpy as np
import pytest
from federated_rounds import BATCH, CASES, SIZES, load, network, save, trained

TESTS = Path(federated_rounds.__file__).parent
# Of weights and losses in float32, after 2 rounds of 2 epochs. Measured: a millionth, on weights that moved by 0.01
# to 1.
TOLERANCE = 1e-5
pytestmark = pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="jax is absent: pip install 'medtk[jax]'")
# Tests of other files that do not speak of a backend: what random layers and the optimizer leave behind, and the
# recorder of paper 2 from its command line to its records, with focal loss, augmentation and evaluation; and attacks
# through compressed images, which leave the compiled step for NumPy.
ALSO = [
    "test_federated_client.py::test_nothing_is_left_of_the_call_before",
    "test_federated_client.py::test_dropout_follows_the_seed_alone",
    "test_covid_lab.py::test_recording_skips_what_is_there_and_refuses_synthetic_images",
    "test_adaptive.py::test_attacks_go_through_a_change_of_the_images",
]


def on_jax(*command):
    """Run Python with Keras on JAX, in a process of its own: the backend is chosen when Keras is imported."""
    places = {"KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join(sys.path)}
    places["XLA_FLAGS"] = "--xla_backend_optimization_level=0"  # half the time of compiling, which is most of it here
    done = subprocess.run(
        [sys.executable, *map(str, command)], env=os.environ | places, cwd=TESTS.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


@pytest.fixture(scope="module")
def starts():
    return {case: network(case).get_weights() for case in CASES}


@pytest.fixture(scope="module")
def ends(starts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rounds")
    save(folder / "starts.npz", starts)
    on_jax(TESTS / "federated_rounds.py", folder / "starts.npz", folder / "ends.npz")
    return folder / "ends.npz"


@pytest.mark.parametrize("case", CASES)
def test_jax_and_tensorflow_end_with_the_same_weights(case, starts, ends):
    ours, theirs = trained(case, starts[case]), load(ends, f"{case}/weights")
    moved = [np.abs(weights - start).max() for weights, start in zip(ours["weights"], starts[case], strict=True)]
    for a, b, far in zip(ours["weights"], theirs, moved, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE)
        assert far == 0 or far > 50 * TOLERANCE
    # Frozen: a convolution without offsets, and scale, offset and both statistics of its normalisation.
    assert sum(far == 0 for far in moved) == (5 if "frozen" in case else 0)
    np.testing.assert_allclose(ours["losses"][0], load(ends, f"{case}/losses")[0], rtol=0, atol=TOLERANCE)


def test_a_step_is_compiled_once_a_length_of_batch_for_all_clients(ends):
    lengths = {min(BATCH, n - start) for n in SIZES.values() for start in range(0, n, BATCH)}
    for case in CASES:
        assert load(ends, f"{case}/compiled")[0] == len(lengths) == 2


def test_what_holds_on_tensorflow_holds_on_jax():
    on_jax("-m", "pytest", "-p", "no:cacheprovider", *(TESTS / "unit" / name for name in ALSO))
