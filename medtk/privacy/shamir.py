"""Shamir's secret sharing: any `threshold` shares give the secret, fewer say nothing about it."""

from collections.abc import Callable, Mapping

from medtk.errors import BadParameter

# A Mersenne prime above 2^256, so that a 32-byte key is one secret.
PRIME = 2**521 - 1


def split(
    secret: int, threshold: int, n: int, random_bytes: Callable[[int], bytes], prime: int = PRIME
) -> dict[int, int]:
    """Shares of a secret: the values at 1, 2, ..., n of a random polynomial whose value at 0 is the secret.

    Parameters
    ----------
    secret : int
        From 0 to ``prime - 1``.
    threshold : int
        Shares that suffice, from 1 to n; the polynomial's degree is one less.
    n : int
        Shares to make, below `prime`.
    random_bytes : callable
        ``random_bytes(k)`` gives k random bytes; `os.urandom` where secrecy counts.
    prime : int
        Order of the field.

    Returns
    -------
    dict of int to int
        Place to value.

    References
    ----------
    Shamir (1979), "How to share a secret".
    """
    if not 1 <= threshold <= n < prime or not 0 <= secret < prime:
        raise BadParameter(f"1 <= threshold <= n and a secret below the prime expected, not {threshold} of {n}.")
    size = (prime.bit_length() + 7) // 8 + 16  # 128 bits more than needed: the remainder is as good as uniform
    coefficients = [secret] + [int.from_bytes(random_bytes(size), "big") % prime for _ in range(threshold - 1)]
    shares = {}
    for place in range(1, n + 1):
        value = 0
        for coefficient in reversed(coefficients):
            value = (value * place + coefficient) % prime
        shares[place] = value
    return shares


def combine(shares: Mapping[int, int], prime: int = PRIME) -> int:
    """The secret behind shares: Lagrange's polynomial through them, at 0.

    Too few shares, or a wrong one, give a wrong number, not an error: count them first.
    """
    secret = 0
    for place, value in shares.items():
        above = below = 1
        for other in shares:
            if other != place:
                above = above * -other % prime
                below = below * (place - other) % prime
        secret = (secret + value * above * pow(below, -1, prime)) % prime
    return secret
