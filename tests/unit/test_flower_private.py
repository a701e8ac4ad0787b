"""DP-SGD in hospitals that Flower joins: the in-process engine's weights, an account that adds up, and who refuses."""

import dataclasses
from functools import partial

import numpy as np
import pytest
from test_flower import NAMES, PLAN, close, place, serve  # noqa: F401  (place is a fixture)

from medtk import data, federated, models, privacy
from medtk.cli_federate import _show
from medtk.errors import BadParameter
from medtk.federated.flower import Plan, Source, account, hospital, progress, status

NOISED = dataclasses.replace(
    PLAN, noise_multiplier=1.2, clip_norm=0.3, delta=0.01, validate=False, learning_rate=0.05, local_epochs=2
)


def sources(place, **given):  # noqa: F811
    """Write what each hospital chose for itself: the same for all, or by name."""
    for name in NAMES:
        chosen = Source(folder=str(place / "data"), **(given.get(name) or ({} if set(given) & set(NAMES) else given)))
        progress.write(place / name, "hospital", dataclasses.asdict(chosen))


def in_process(place, plan):  # noqa: F811
    members = data.load_hospitals(place / "data", plan.size).members
    model = plan.model()
    step = partial(federated.train_privately, private=plan.private())
    given = {"strategy": plan.step_of_server(model), "steps": {member.name: step for member in members}}
    return federated.run(model, members, plan.settings(), keep=False, progress=False, validate=False, **given)


def expected(place, plan, name, rounds):  # noqa: F811
    n = len(data.load_hospitals(place / "data", plan.size, only=name).members[0].train)
    return privacy.epsilon(plan.noise_multiplier, min(1, 8 / n), rounds * 2 * -(-n // 8), plan.delta)


@pytest.mark.parametrize("change", [{"optimizer": "sgd"}, {"strategy": "fedadam"}])
def test_both_engines_give_the_same_and_the_account_adds_up(place, change):  # noqa: F811
    """Where the noise is seeded alike, to 1e-6. Clipped to another length, SGD gives other weights (Adam need not)."""
    plan = dataclasses.replace(NOISED, **change)
    sources(place, noise_seed=plan.seed)
    remote, near = serve(place, plan), in_process(place, plan)
    assert close(remote.weights(), near.weights()) and not close(remote.weights(), near.initial, atol=1e-3)
    if plan.optimizer == "sgd":
        shorter = in_process(place, dataclasses.replace(plan, clip_norm=0.1)).weights()
        assert not close(near.weights(), shorter, atol=1e-4)
    rows = federated.rows(remote.history)
    assert {row["status"] for row in rows} == {"ok"} and {row["loss"] for row in rows} == {None}
    assert federated.rows(remote.history, "evaluation") == []
    wanted = {name: pytest.approx(expected(place, plan, name, 2), rel=1e-9) for name in NAMES}
    assert progress.read(place, "spent") == wanted
    assert {name: progress.read(place / name, "account")["epsilon"] for name in NAMES} == wanted
    said = progress.read(place, "progress")["said"]
    assert said.startswith("2 rounds. Epsilon of each image at most (delta 0.01): hospital_1 ")


def test_noise_is_new_unless_it_is_seeded(place):  # noqa: F811
    """The server knows the seed of the plan, so the noise must not come from it."""
    plan = dataclasses.replace(NOISED, rounds=1)
    first = serve(place, plan).weights()
    for path in (place / "rounds.npz", *place.glob("*/account.json")):
        path.unlink()
    assert not close(first, serve(place, plan).weights(), atol=1e-4)
    assert not close(first, in_process(place, plan).weights(), atol=1e-4)


def test_a_hospital_keeps_to_its_limit_whatever_the_server_asks(place, capsys):  # noqa: F811
    limit = 1.01 * expected(place, NOISED, NAMES[2], 1)
    sources(place, **{NAMES[2]: {"max_epsilon": limit}})
    found = serve(place, NOISED)
    rows = {(row["round"], row["client"]): row for row in federated.rows(found.history)}
    assert [rows[1, name]["status"] for name in NAMES] == ["ok", "ok", "ok"]
    assert [rows[2, name]["status"] for name in NAMES] == ["ok", "ok", "gone"]
    assert f"this hospital allows {limit:g}" in rows[2, NAMES[2]]["why"]
    own = progress.read(place / NAMES[2], "account")["epsilon"]
    assert own == pytest.approx(expected(place, NOISED, NAMES[2], 1)) and own <= limit
    # The server cannot know that nothing was spent, and says the most that can have been.
    shown = status(place)["epsilon"]
    assert shown[NAMES[2]] > own
    _show(status(place))
    assert f"hospital_3 {shown[NAMES[2]]:.3g}" in capsys.readouterr().out
    plain = serve_again(place, dataclasses.replace(PLAN, rounds=1, validate=True))
    rows = {row["client"]: row for row in federated.rows(plain.history)}
    assert "training without noise" in rows[NAMES[2]]["why"] and rows[NAMES[0]]["status"] == "ok"
    assert "training without noise" in plain.history[0]["unevaluated"][NAMES[2]]


def serve_again(place, plan):  # noqa: F811
    """Another run with the same hospitals."""
    (place / "rounds.npz").unlink()
    return serve(place, plan)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"noise_multiplier": 0.9}, "begun with noise_multiplier 1.2, now 0.9"),
        ({"batch_size": 4}, "begun with sampling_rate"),
        ({"delta": 0.02}, "begun with delta 0.01, now 0.02"),
    ],
)
def test_an_account_is_of_releases_that_are_alike(place, change, words):  # noqa: F811
    plan = dataclasses.replace(NOISED, rounds=1)
    serve(place, plan)
    why = {row["client"]: row["why"] for row in again(place, dataclasses.replace(plan, **change, run="other"))}
    assert words in why[NAMES[0]] and words in why[NAMES[2]]


def again(place, plan):  # noqa: F811
    return federated.rows(serve_again(place, dataclasses.replace(plan, min_clients=0)).history)


def test_delta_must_be_small_beside_the_hospital(place):  # noqa: F811
    n = len(data.load_hospitals(place / "data", PLAN.size, only=NAMES[0]).members[0].train)
    with pytest.raises(BadParameter, match=f"below one over the {n} images"):
        account.spend(place / NAMES[0], dataclasses.replace(NOISED, delta=1 / n), n)
    assert not (place / NAMES[0] / "account.json").exists()


def test_a_choice_among_models_is_refused(place):  # noqa: F811
    model = NOISED.model()
    offered = {"a": model.get_weights(), "b": model.get_weights()}
    with pytest.raises(BadParameter, match="one model can be offered"):
        hospital._noised(place / NAMES[0], NOISED, 1, offered)
    assert not (place / NAMES[0] / "account.json").exists()


def test_what_the_server_counts():
    """Asked and connected counts, also where the answer was refused; a hospital of unknown size has no number."""
    names = ("a", "b", "c", "d")
    plan = dataclasses.replace(NOISED, hospitals=names)
    whys = [("", ""), ("", account.AWAY), ("it is long", "its connection was lost"), (account.AWAY, account.AWAY)]
    history = [
        {"clients": [{"client": name, "why": why[k], "n": 0} for name, why in zip(names, whys, strict=True)]}
        for k in range(2)
    ]
    found = account.by_hospital(plan, history, {"a": 20, "b": 20})
    twice, once = (privacy.epsilon(1.2, 8 / 20, rounds * 2 * 3, 0.01) for rounds in (2, 1))
    assert found == {"a": pytest.approx(twice), "b": pytest.approx(once), "c": None, "d": 0.0}
    assert account.in_words(plan, found).endswith(f"a {twice:.3g}, b {once:.3g}, c unknown, d 0.")


def test_batch_normalisation_stays_as_it_began(place):  # noqa: F811
    sources(place, noise_seed=0)
    found = serve(place, dataclasses.replace(NOISED, rounds=1))
    model = NOISED.model()
    for variable, before, after in zip(model.weights, found.initial, found.weights(), strict=True):
        still = "batch_norm" in variable.path
        assert np.array_equal(before, after) == still, variable.path


def test_the_network_for_noise_has_nothing_to_freeze():
    plan = dataclasses.replace(NOISED, network="small_groups", size=32)
    model, images = plan.model(), np.random.default_rng(0).random((4, 32, 32, 3), np.float32)
    assert len(model.trainable_variables) == len(model.weights)
    logits = models.logits(model)
    np.testing.assert_allclose(logits(images).numpy()[:1], logits(images[:1]).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"noise_multiplier": -1.0}, "noise_multiplier must be 0 or more"),
        ({"noise_multiplier": float("nan")}, "noise_multiplier must be 0 or more"),
        ({"clip_norm": 0.0}, "clip_norm above 0"),
        ({"delta": 1.0}, "delta between 0 and 1"),
        ({"validate": True}, "validate must be off"),
        ({"proximal": 0.1}, "proximal 0"),
    ],
)
def test_a_plan_that_would_not_be_private_is_refused(change, words):
    with pytest.raises(BadParameter, match=words):
        dataclasses.replace(NOISED, **change)


def test_a_plan_with_noise_is_its_text():
    assert Plan.read(NOISED.text()) == NOISED
    with pytest.raises(BadParameter, match="max_epsilon must be above 0"):
        Source(folder="x", max_epsilon=0.0).check("a")
