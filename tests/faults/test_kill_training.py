"""A real SIGKILL while a network trains, and while its state is written: the next run goes on as if there were none."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
SCRIPT = textwrap.dedent("""
    import hashlib, os, signal, sys
    import medtk
    import small_networks
    from medtk import training
    from medtk.training import fitting, loop

    fitting.models.build = small_networks.built_for_fit
    when, count = sys.argv[1], int(sys.argv[2])

    def countdown(function):
        def counted(*given, **named):
            global count
            count -= 1
            if count == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*given, **named)
        return counted

    if when == "training":
        loop.tqdm.update = countdown(loop.tqdm.update)
    elif when == "writing":
        os.fsync = countdown(os.fsync)

    def digest():
        spec = training.Spec("mobilenetv2", weights="random", epochs=3, batch_size=8)
        fit = training.fit_or_load(spec, small_networks.dataset(), progress=False)
        state = [*fit.model.get_weights(), *(variable.numpy() for variable in fit.model.optimizer.variables)]
        return hashlib.sha256(b"".join(array.tobytes() for array in state)).hexdigest()

    print("resumed", digest())
    os.environ["MEDTK_CACHE"] += "-fresh"
    print("fresh", digest())
""")


def run(when, count=0):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    command = [sys.executable, "-c", SCRIPT, when, str(count)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_killed_twice_equals_never_killed():
    cache = Path(os.environ["MEDTK_CACHE"]) / "models"
    # 20 images in batches of 8 are 3 steps an epoch: the fifth step lies inside the second epoch.
    assert run("training", 5).returncode == -signal.SIGKILL
    (entry,) = cache.iterdir()
    after_one_epoch = entry.read_bytes()
    assert run("writing", 1).returncode == -signal.SIGKILL
    assert entry.read_bytes() == after_one_epoch
    done = run("never")
    assert done.returncode == 0, done.stderr
    said = dict(line.split() for line in done.stdout.splitlines())
    assert said["resumed"] == said["fresh"]
    assert entry.read_bytes() != after_one_epoch
