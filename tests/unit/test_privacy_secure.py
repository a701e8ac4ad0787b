import builtins
import itertools

import numpy as np
import pytest
from scipy.stats import chisquare

from medtk import privacy
from medtk.errors import BadParameter, MedtkError
from medtk.privacy import secure_aggregation, shamir


def updates(n=3, seed=0):
    random = np.random.default_rng(seed)
    return [[random.uniform(-1, 1, (5, 4)).astype(np.float32), random.uniform(-1, 1, 7)] for _ in range(n)]


def seeded(seed=0):
    return np.random.default_rng(seed).bytes


def exact_sum(given):
    return [sum(np.asarray(a, float) for a in arrays) for arrays in zip(*given, strict=True)]


@pytest.mark.parametrize(("n", "threshold"), [(2, 2), (3, 2), (5, 3), (5, 5)])
def test_the_sum_is_exact_to_the_resolution(n, threshold):
    given = updates(n)
    total, seen = privacy.secure_sum(given, threshold=threshold, limit=1.0)
    assert sorted(seen) == list(range(n))
    for ours, theirs in zip(total, exact_sum(given), strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=n * privacy.resolution(1.0, n) / 2 + 1e-12)


@pytest.mark.parametrize("dropped", [(0,), (2,), (1, 4)])
def test_masks_of_absent_clients_are_taken_off(dropped):
    given = updates(5)
    total, seen = privacy.secure_sum(given, threshold=3, limit=1.0, dropped=dropped)
    stayed = [u for i, u in enumerate(given) if i not in dropped]
    assert len(seen) == len(stayed)
    for ours, theirs in zip(total, exact_sum(stayed), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=3 * privacy.resolution(1.0, 5))


def test_too_many_absent_clients_cost_the_round_and_reveal_nothing():
    with pytest.raises(MedtkError, match="2 clients sent their numbers, but 3 must stay"):
        privacy.secure_sum(updates(5), threshold=3, limit=1.0, dropped=(0, 1, 2))


def test_the_result_does_not_depend_on_the_keys():
    given = updates()
    first, seen = privacy.secure_sum(given, threshold=2, limit=1.0, random_bytes=seeded(1))
    second, other = privacy.secure_sum(given, threshold=2, limit=1.0)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.any(seen[0] == other[0])


def masked(n=3, size=100_000, dropped=(), seed=4):
    zeros = [[np.zeros(size)]] * n
    return privacy.secure_sum(zeros, threshold=2, limit=1.0, dropped=dropped, random_bytes=seeded(seed))


def test_what_the_server_sees_is_uniform_and_unrelated():
    """Even of updates that are all zero, byte by byte and in every pair and sum that leaves a client out."""
    total, seen = masked()
    assert not np.any(total[0])
    views = [*seen.values(), seen[0] + seen[1], seen[0] - seen[2], seen[1] + seen[2]]
    for view in views:
        for place in range(4):
            counts = np.bincount(view.view(np.uint8)[place::4], minlength=256)
            assert chisquare(counts).pvalue > 1e-4
    # All three together are not uniform, of course: each client's own mask is still on them, then it is not.
    assert len(np.unique(seen[0] + seen[1] + seen[2])) > 99_000


def test_pairwise_masks_alone_cancel():
    clients = privacy.agree_on_keys(3, 2, seeded())
    sums = np.zeros(50, np.uint32)
    for client in clients.values():
        own = secure_aggregation._keystream(client._self_seed, 50)
        pairwise = client.masked(np.zeros(50, np.uint32)) - own
        assert np.all(pairwise != 0)
        sums += pairwise
    assert not np.any(sums)


def test_a_client_answers_for_one_set_of_survivors():
    clients = privacy.agree_on_keys(3, 2, seeded())
    answer = clients[1].reveal([1, 2])
    assert sorted(answer["seeds"]) == [1, 2] and sorted(answer["keys"]) == [3]
    assert clients[1].reveal((2, 1)) == answer
    with pytest.raises(MedtkError, match="would uncover"):
        clients[1].reveal([1, 2, 3])
    with pytest.raises(MedtkError, match="2 must stay"):
        clients[2].reveal([2])


def test_a_late_masked_update_stays_masked():
    """The server has the pairwise key of a client it called absent; the client's own mask is left."""
    clients = privacy.agree_on_keys(3, 2, seeded())
    late = clients[3].masked(np.zeros(1000, np.uint32))
    revealed = {place: clients[place].reveal([1, 2]) for place in (1, 2)}
    key = secure_aggregation._secret("keys", 3, [1, 2], revealed)
    assert key == clients[3]._private_key
    for other in (1, 2):
        late -= secure_aggregation._signed_mask(key, 3, other, clients[3].public_keys[other], 1000)
    np.testing.assert_array_equal(late, secure_aggregation._keystream(clients[3]._self_seed, 1000))
    assert len(np.unique(late)) > 990


def test_a_share_of_another_secret_is_noticed():
    clients = privacy.agree_on_keys(3, 2, seeded())
    sent = {place: client.masked(np.zeros(4, np.uint32)) for place, client in clients.items()}
    revealed = {place: client.reveal([1, 2, 3]) for place, client in clients.items()}
    revealed[1]["seeds"][2] = revealed[1]["seeds"][3]
    with pytest.raises(MedtkError, match="client 2's secret do not fit"):
        privacy.unmasked_sum(sent, revealed, clients[1].public_keys, 2)
    with pytest.raises(MedtkError, match="1 clients answered, but 2"):
        privacy.unmasked_sum(sent, {1: revealed[1]}, clients[1].public_keys, 2)


def test_a_value_beyond_the_limit_is_refused_rather_than_wrapped():
    for value in (1.001, -2.0, np.nan, np.inf):
        with pytest.raises(BadParameter, match="beyond the limit"):
            privacy.to_integers([np.array([0.0, value])], 1.0, 3)
    # The limit itself fits, from all clients at once, in both directions.
    for sign in (1, -1):
        total, _ = privacy.secure_sum([[np.full(3, 7.0 * sign)]] * 3, threshold=2, limit=7.0)
        np.testing.assert_allclose(total[0], 21.0 * sign, rtol=1e-8)


@pytest.mark.parametrize(("n", "threshold"), [(1, 1), (3, 1), (4, 2), (3, 4)])
def test_thresholds_out_of_range(n, threshold):
    with pytest.raises(BadParameter, match="above half"):
        privacy.agree_on_keys(n, threshold)


def test_limits_out_of_range():
    for limit in (0, -1, np.inf, np.nan):
        with pytest.raises(BadParameter, match="limit"):
            privacy.resolution(limit, 3)


def test_secrets_are_not_shown():
    client = privacy.agree_on_keys(2, 2)[1]
    assert client._private_key.hex() not in repr(client) and repr(client._private_key) not in repr(client)


def test_key_stream_is_chacha20():
    """RFC 8439, appendix A.1, test vector 1: 76 b8 e0 ad a0 f1 3d 90."""
    assert [hex(x) for x in secure_aggregation._keystream(bytes(32), 2)] == ["0xade0b876", "0x903df1a0"]


def test_without_the_library_a_sentence_says_what_to_install(monkeypatch):
    imported = builtins.__import__

    def refuse(name, *rest):
        if name.startswith("cryptography"):
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MedtkError, match=r"medtk\[privacy\]"):
        privacy.agree_on_keys(3, 2)


def test_shamir_has_the_known_shares():
    """1234 + 166 x + 94 x^2 modulo 1613, an example that is printed in many places."""
    numbers = iter([166, 94])
    shares = shamir.split(1234, 3, 6, lambda size: next(numbers).to_bytes(size, "big"), 1613)
    assert shares == {1: 1494, 2: 329, 3: 965, 4: 176, 5: 1188, 6: 775}
    for chosen in itertools.combinations(shares, 3):
        assert shamir.combine({place: shares[place] for place in chosen}, 1613) == 1234


@pytest.mark.parametrize("secret", [0, 4, 10])
def test_too_few_shares_say_nothing(secret):
    """Over all polynomials of a small field, two shares of three take every pair of values once."""
    pairs = set()
    for a, b in itertools.product(range(11), repeat=2):
        numbers = iter([a, b])
        shares = shamir.split(secret, 3, 3, lambda size, numbers=numbers: next(numbers).to_bytes(size, "big"), 11)
        pairs.add((shares[1], shares[3]))
    assert len(pairs) == 121


def test_shamir_out_of_range():
    for secret, threshold, n in ((5, 0, 3), (5, 4, 3), (-1, 2, 3), (shamir.PRIME, 2, 3)):
        with pytest.raises(BadParameter, match="threshold"):
            shamir.split(secret, threshold, n, seeded())
