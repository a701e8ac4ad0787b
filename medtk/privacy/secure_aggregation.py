"""Secure aggregation: the server learns the sum of the clients' updates and no single one.

Every two clients agree on a mask; one adds it and the other subtracts it, so that the masks vanish in the sum. A
client that drops out leaves its masks behind: the others hold shares of its key and, if enough of them are left,
give the server what it needs to take them off. After Bonawitz et al. (2017), "Practical secure aggregation for
privacy-preserving machine learning", in one process and for an honest-but-curious server: shares travel
unencrypted and public keys unsigned, which a deployment must not do.

The order of a round: `agree_on_keys`, each client's `Client.masked`, each survivor's `Client.reveal`, `unmasked_sum`.
"""

import hashlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from medtk.errors import BadParameter, MedtkError
from medtk.privacy import shamir
from medtk.privacy.fixed_point import to_arrays, to_integers


@dataclass
class Client:
    """What one client knows in one round.

    Attributes
    ----------
    place : int
        1 to n.
    threshold : int
        Clients that must stay to the end.
    public_keys : dict of int to bytes
        Of all clients, 32 bytes each; the server passed them on.
    """

    place: int
    threshold: int
    public_keys: dict[int, bytes]
    _private_key: bytes = field(repr=False)
    _self_seed: bytes = field(repr=False)
    _key_shares: dict[int, int] = field(default_factory=dict, repr=False)
    _seed_shares: dict[int, int] = field(default_factory=dict, repr=False)
    _answered: frozenset | None = None

    def masked(self, numbers: np.ndarray) -> np.ndarray:
        """What the server sees: the numbers plus all masks modulo 2^32, uniform to whoever lacks a key.

        Parameters
        ----------
        numbers : ndarray of uint32, shape (d,)
            From `to_integers`.

        Returns
        -------
        ndarray of uint32, shape (d,)
        """
        total = numbers + _keystream(self._self_seed, len(numbers))
        for other in self.public_keys:
            if other != self.place:
                total += _signed_mask(self._private_key, self.place, other, self.public_keys[other], len(numbers))
        return total

    def reveal(self, survivors: Collection[int]) -> dict[str, dict[int, int]]:
        """Hand out this client's shares: of the survivors' own seeds, and of the keys of those that dropped out.

        Never both of one client, not even in two answers: the two together would uncover its update.

        Parameters
        ----------
        survivors : collection of int
            Places of the clients whose masked numbers arrived.

        Returns
        -------
        dict
            ``seeds`` and ``keys``, each from place to share.

        Raises
        ------
        MedtkError
            If the server asks a second time with other survivors, or fewer than `threshold` are left.
        """
        survivors = frozenset(survivors)
        if len(survivors) < self.threshold:
            raise MedtkError(
                f"{len(survivors)} clients sent their numbers, but {self.threshold} must stay to the end: this round's "
                "sum cannot be unmasked. Start a new one."
            )
        if self._answered not in (None, survivors):
            raise MedtkError(
                f"Client {self.place} has answered for other survivors already; a second answer would uncover an "
                "update. Start a new round."
            )
        self._answered = survivors
        return {
            "seeds": {place: share for place, share in self._seed_shares.items() if place in survivors},
            "keys": {place: share for place, share in self._key_shares.items() if place not in survivors},
        }


def agree_on_keys(n: int, threshold: int, random_bytes: Callable[[int], bytes] = os.urandom) -> dict[int, Client]:
    """Key agreement of one round: every client makes its keys and hands out shares of its secrets.

    Parameters
    ----------
    n : int
        Clients, at least 2.
    threshold : int
        Clients that must stay to the end, above n / 2 and at most n: were two disjoint groups enough, a server
        could ask each for another half of a client's secrets.
    random_bytes : callable
        ``random_bytes(k)`` gives k bytes. Another source than the operating system's is for tests: the sum does
        not depend on it.

    Returns
    -------
    dict of int to Client

    Raises
    ------
    BadParameter
        If `n` or `threshold` is out of range.
    """
    if n < 2 or not n / 2 < threshold <= n:
        raise BadParameter(
            f"At least 2 clients and a threshold above half of them expected, not n={n} and threshold={threshold}."
        )
    secrets = {place: (random_bytes(32), random_bytes(32)) for place in range(1, n + 1)}
    public_keys = {place: _public_key(key) for place, (key, _) in secrets.items()}
    clients = {place: Client(place, threshold, public_keys, *pair) for place, pair in secrets.items()}
    for place, (key, seed) in secrets.items():
        key_shares, seed_shares = (
            shamir.split(int.from_bytes(secret, "big"), threshold, n, random_bytes) for secret in (key, seed)
        )
        for other, client in clients.items():
            client._key_shares[place] = key_shares[other]
            client._seed_shares[place] = seed_shares[other]
    return clients


def unmasked_sum(
    masked: Mapping[int, np.ndarray],
    revealed: Mapping[int, dict[str, dict[int, int]]],
    public_keys: Mapping[int, bytes],
    threshold: int,
) -> np.ndarray:
    """The server's part: sum of the survivors' numbers modulo 2^32.

    Parameters
    ----------
    masked : mapping of int to ndarray of uint32, shape (d,)
        By place, of the clients that survived.
    revealed : mapping of int to dict
        By place, what `Client.reveal` gave for just these survivors; at least `threshold` of them.
    public_keys : mapping of int to bytes
        Of all clients, with those that dropped out.
    threshold : int
        As in `agree_on_keys`.

    Returns
    -------
    ndarray of uint32, shape (d,)

    Raises
    ------
    MedtkError
        If fewer than `threshold` clients answered, so that nothing is learnt, or the shares do
        not fit together.
    """
    if len(revealed) < threshold:
        raise MedtkError(
            f"{len(revealed)} clients answered, but {threshold} must stay to the end: this round's sum cannot be "
            "unmasked. Start a new one."
        )
    helpers = list(revealed)[:threshold]
    size = len(next(iter(masked.values())))
    total = np.zeros(size, np.uint32)
    for place, vector in masked.items():
        total += vector
        total -= _keystream(_secret("seeds", place, helpers, revealed), size)
    for gone in set(public_keys) - set(masked):
        key = _secret("keys", gone, helpers, revealed)
        for place in masked:
            # What the survivors added for the absent one is the negative of what it would have added.
            total += _signed_mask(key, gone, place, public_keys[place], size)
    return total


def secure_sum(
    updates: Sequence[Sequence[np.ndarray]],
    *,
    threshold: int,
    limit: float,
    dropped: Collection[int] = (),
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> tuple[list[np.ndarray], dict[int, np.ndarray]]:
    """One whole round in one process: the sum of the updates of the clients that stayed.

    Parameters
    ----------
    updates : sequence of sequences of ndarray
        One a client, equal shapes, multiplied by their weights.
    threshold, random_bytes
        As in `agree_on_keys`.
    limit : float
        As in `to_integers`.
    dropped : collection of int
        Which clients (0 is the first) agree on keys and then send nothing. Their weight is missing in the sum:
        divide by the weight of the others.

    Returns
    -------
    (list of ndarray, dict of int to ndarray)
        The sum, within half a `resolution` a client; and what the server saw of each, by client from 0.

    Raises
    ------
    BadParameter, MedtkError
        As in the steps of the round.
    """
    n = len(updates)
    clients = agree_on_keys(n, threshold, random_bytes)
    masked = {
        place: client.masked(to_integers(updates[place - 1], limit, n))
        for place, client in clients.items()
        if place - 1 not in dropped
    }
    revealed = {place: clients[place].reveal(masked) for place in masked}
    total = unmasked_sum(masked, revealed, clients[1].public_keys, threshold)
    return to_arrays(total, updates[0], limit, n), {place - 1: seen for place, seen in masked.items()}


def _secret(kind: str, place: int, helpers: Sequence[int], revealed: Mapping) -> bytes:
    secret = shamir.combine({helper: revealed[helper][kind][place] for helper in helpers})
    if secret >= 2**256:  # a share of another secret gives any number below the prime, which is far larger
        raise MedtkError(f"The shares of client {place}'s secret do not fit together. Start a new round.")
    return secret.to_bytes(32, "big")


def _signed_mask(private_key: bytes, place: int, other: int, public_key: bytes, size: int) -> np.ndarray:
    """Mask that `place` adds for `other`; `other` adds the negative of it."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

    agreed = X25519PrivateKey.from_private_bytes(private_key).exchange(X25519PublicKey.from_public_bytes(public_key))
    mask = _keystream(hashlib.sha256(b"medtk pairwise mask" + agreed).digest(), size)
    return mask if place < other else -mask


def _public_key(private_key: bytes) -> bytes:
    try:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    except ImportError as error:
        raise MedtkError(
            "Secure aggregation agrees on keys by cryptography, which is not installed: pip install 'medtk[privacy]'."
        ) from error
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def _keystream(seed: bytes, size: int) -> np.ndarray:
    """`size` pseudorandom numbers from a 32-byte seed: ChaCha20's key stream, little-endian."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

    cipher = Cipher(algorithms.ChaCha20(seed, bytes(16)), mode=None).encryptor()
    return np.frombuffer(cipher.update(bytes(4 * size)), "<u4").astype(np.uint32)
