"""Sharing a training set out among clients: every image goes to exactly one of them."""

import numpy as np

from medtk.errors import BadParameter


def _check(n: int, clients: int) -> None:
    if clients < 1:
        raise BadParameter(f"there must be at least one client, not {clients}.")
    if clients > n:
        raise BadParameter(f"{n} images or groups cannot be shared among {clients} clients: each needs one.")


def iid(labels: np.ndarray, clients: int, seed: int = 0) -> list[np.ndarray]:
    """Share out at random, so that all clients look alike.

    Parameters
    ----------
    labels : ndarray, shape (n,)
        Only its length counts.
    clients : int
        From 1 to n.
    seed : int
        Same seed, same shares.

    Returns
    -------
    list of ndarray of int64
        Ascending indices, one array a client; sizes differ by at most one, and none is empty.

    Raises
    ------
    BadParameter
        If `clients` is out of range.
    """
    _check(len(labels), clients)
    order = np.random.default_rng(seed).permutation(len(labels))
    return [np.sort(part).astype(np.int64) for part in np.array_split(order, clients)]


def dirichlet(labels: np.ndarray, clients: int, alpha: float, seed: int = 0) -> list[np.ndarray]:
    """Share out with unequal class shares, drawn for each class from a symmetric Dirichlet distribution.

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
        Class ids.
    clients : int
        From 1 to n.
    alpha : float
        Concentration, above 0. Small (0.1): most clients see few classes. Large (100): all look alike.
    seed : int
        Same seed, same shares.

    Returns
    -------
    list of ndarray of int64
        Ascending indices, one array a client. A client that drew nothing gets one image of the largest
        client, so that none is empty.

    Raises
    ------
    BadParameter
        If `clients` or `alpha` is out of range.

    References
    ----------
    T.-M. H. Hsu, H. Qi, M. Brown, "Measuring the effects of non-identical data distribution for federated
    visual classification", arXiv:1909.06335, 2019. There each client draws its class shares; here each class
    is dealt out over the clients, so that every image is used once.
    """
    labels = np.asarray(labels)
    _check(len(labels), clients)
    if not (np.isfinite(alpha) and alpha > 0):
        raise BadParameter(f"alpha must be a number above 0, not {alpha}.")
    rng = np.random.default_rng(seed)
    owner = np.empty(len(labels), np.int64)
    for c in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == c))
        # A tiny alpha underflows to 0/0; in the limit one client takes the whole class.
        shares = rng.dirichlet(np.full(clients, alpha))
        if not np.isfinite(shares).all() or shares.sum() == 0:
            shares = np.eye(clients)[rng.integers(clients)]
        cuts = np.round(np.cumsum(shares)[:-1] * len(rows)).astype(int)
        for client, part in enumerate(np.split(rows, cuts)):
            owner[part] = client
    sizes = np.bincount(owner, minlength=clients)
    for empty in np.flatnonzero(sizes == 0):
        giver = sizes.argmax()
        owner[rng.choice(np.flatnonzero(owner == giver))] = empty
        sizes[giver] -= 1
        sizes[empty] += 1
    return [np.flatnonzero(owner == client) for client in range(clients)]


def quantity_skew(labels: np.ndarray, clients: int, alpha: float, seed: int = 0) -> list[np.ndarray]:
    """Share out in unequal amounts, drawn from a symmetric Dirichlet distribution; classes are mixed alike.

    Parameters
    ----------
    labels : ndarray, shape (n,)
        Only its length counts.
    clients : int
        From 1 to n.
    alpha : float
        Concentration, above 0. Small (0.1): one client has nearly all. Large (100): all have the same amount.
    seed : int
        Same seed, same shares.

    Returns
    -------
    list of ndarray of int64
        Ascending indices, one array a client; each has at least one image.

    Raises
    ------
    BadParameter
        If `clients` or `alpha` is out of range.

    References
    ----------
    Q. Li, Y. Diao, Q. Chen, B. He, "Federated learning on non-IID data silos: an experimental study",
    ICDE 2022, section IV ("quantity skew").
    """
    # One class for all: the shares of that class are the sizes of the clients.
    return dirichlet(np.zeros(len(labels), np.int64), clients, alpha, seed)


def label_skew(labels: np.ndarray, clients: int, shards: int = 2, seed: int = 0) -> list[np.ndarray]:
    """Share out in blocks of one class each: sort by class, cut into equal blocks, deal the blocks out.

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
        Class ids.
    clients : int
        At least 1.
    shards : int
        Blocks a client, at least 1: about the number of classes that it sees at most. `clients` times `shards`
        may not exceed n.
    seed : int
        Of the order inside a class and of the dealing.

    Returns
    -------
    list of ndarray of int64
        Ascending indices, one array a client, of nearly equal sizes.

    Raises
    ------
    BadParameter
        If `clients` or `shards` is out of range.

    References
    ----------
    B. McMahan et al., "Communication-efficient learning of deep networks from decentralized data",
    AISTATS 2017, section 3 (its "pathological non-IID" partition).
    """
    labels = np.asarray(labels)
    if shards < 1:
        raise BadParameter(f"each client needs at least one shard, not {shards}.")
    _check(len(labels), clients)
    _check(len(labels), clients * shards)
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(labels))
    blocks = np.array_split(shuffled[np.argsort(labels[shuffled], kind="stable")], clients * shards)
    dealt = rng.permutation(clients * shards).reshape(clients, shards)
    return [np.sort(np.concatenate([blocks[b] for b in mine])).astype(np.int64) for mine in dealt]


def by_group(groups: np.ndarray, clients: int, seed: int = 0) -> list[np.ndarray]:
    """Share out whole groups (patients), so that no patient is known to two clients.

    Parameters
    ----------
    groups : ndarray of str, shape (n,)
        Patient of each image.
    clients : int
        From 1 to the number of different groups.
    seed : int
        Same seed, same shares.

    Returns
    -------
    list of ndarray of int64
        Ascending indices, one array a client; none is empty. The largest groups are dealt first, each to the
        client that has least, so sizes are as equal as the groups allow within a simple rule.

    Raises
    ------
    BadParameter
        If `clients` is out of range.
    """
    unique, member, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    _check(len(unique), clients)
    shuffled = np.random.default_rng(seed).permutation(len(unique))
    owner, sizes = np.empty(len(unique), np.int64), np.zeros(clients, np.int64)
    for group in shuffled[np.argsort(-counts[shuffled], kind="stable")]:
        owner[group] = sizes.argmin()
        sizes[owner[group]] += counts[group]
    return [np.flatnonzero(owner[member] == client) for client in range(clients)]


def hold_out(
    labels: np.ndarray, groups: np.ndarray | None, fraction: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Set a part aside for validation, by whole groups and with nearly the same class shares.

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
        Class ids.
    groups : ndarray of str, shape (n,), or None
        Patient of each image; None: every image stands alone.
    fraction : float
        Wanted part of each class, in (0, 1).
    seed : int
        Same seed, same choice.

    Returns
    -------
    kept, held : ndarray of int64
        Ascending indices. A class of one group stays whole in `kept`.

    Raises
    ------
    BadParameter
        If `fraction` is out of range.
    """
    if not 0 < fraction < 1:
        raise BadParameter(f"the part to hold out must lie between 0 and 1, not {fraction}.")
    labels = np.asarray(labels)
    names = np.arange(len(labels)) if groups is None else np.asarray(groups)
    _, first, member, counts = np.unique(names, return_index=True, return_inverse=True, return_counts=True)
    held = np.zeros(len(first), bool)
    rng = np.random.default_rng(seed)
    for c in np.unique(labels):
        # A patient with pictures of two classes counts for the class of the first of them.
        candidates = rng.permutation(np.flatnonzero(labels[first] == c))[1:]
        wanted = fraction * np.count_nonzero(labels == c)
        before = np.cumsum(counts[candidates]) - counts[candidates]
        held[candidates[before + counts[candidates] / 2 <= wanted]] = True
    return np.flatnonzero(~held[member]), np.flatnonzero(held[member])
