"""Two hospitals as two processes that train with noise: the weights of one process, and an account that is told."""

from functools import partial

import numpy as np
import pytest
from made_federation import PATIENCE, finished, until, write_hospitals

from medtk import data, federated, privacy
from medtk.federated import flower
from medtk.federated.flower import processes


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folder of a run of one round with noise that has ended; beside it, the images."""
    home = tmp_path_factory.mktemp("private")
    class_names = write_hospitals(home / "data", 40, 2)
    plan = flower.Plan(
        ("hospital_1", "hospital_2"), class_names, network="small_groups", size=32, rounds=1, batch_size=8,
        optimizer="sgd", learning_rate=0.3, validate=False, noise_multiplier=0.8, clip_norm=0.5, delta=0.01, seed=3,
        round_timeout=PATIENCE, start_timeout=PATIENCE,
    )  # fmt: skip
    try:
        flower.up(home / "run", plan, port=processes.free_port())
        for name in plan.hospitals:
            # Only a test may know where the noise comes from.
            flower.join(home / "run" / "invitations" / name, flower.Source(folder=str(home / "data"), noise_seed=3))
        until(home / "run", finished)
        yield home / "run"
    finally:
        flower.down(home / "run")


def test_processes_with_noise_give_the_weights_of_one(run):
    """To 1e-5: the same draws, the same clipped gradients and the same noise, in other processes."""
    remote, plan = flower.result(run), flower.Plan.read((run / "plan.json").read_text())
    members = data.load_hospitals(run.parent / "data", 32).members
    steps = {member.name: partial(federated.train_privately, private=plan.private()) for member in members}
    near = federated.run(
        plan.model(), members, plan.settings(), steps=steps, keep=False, progress=False, validate=False
    )
    for ours, theirs, first in zip(near.weights(), remote.weights(), near.initial, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-5)
        assert not np.array_equal(first, theirs)


def test_epsilon_is_told_at_the_end_by_the_server_and_by_each_hospital(run):
    members = {member.name: len(member.train) for member in data.load_hospitals(run.parent / "data", 32).members}
    found = flower.status(run)
    assert set(found["epsilon"]) == set(members)
    for name, n in members.items():
        wanted = pytest.approx(privacy.epsilon(0.8, *privacy.sampling(n, 8), 0.01), rel=1e-9)
        assert found["epsilon"][name] == wanted
        assert flower.status(run / "invitations" / name)["epsilon"] == wanted
        assert f"{name} {found['epsilon'][name]:.3g}" in found["said"]
