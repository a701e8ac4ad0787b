"""Attribute inference: read something about a patient off activations that were sent for another purpose."""

import numpy as np

from medtk.errors import BadParameter


def infer_attribute(
    seen: np.ndarray, attributes: np.ndarray, target: np.ndarray, *, components: int = 40, cells: int = 4, seed: int = 0
) -> np.ndarray:
    """Probabilities of an attribute, by logistic regression on activations.

    Feature maps are averaged over a few cells, brought to their leading principal components, and separated by
    planes. That is a weak attack on purpose: what it finds lies open.

    Parameters
    ----------
    seen : ndarray, shape (n, height, width, channels) or (n, values)
        Activations of images whose attribute the attacker knows.
    attributes : ndarray of int, shape (n,)
        Ids from 0; every id occurs.
    target : ndarray, shape (m, ...)
        Activations of the victims.
    components : int
        At most this many principal components.
    cells : int
        Cells a side.
    seed : int
        Of the decomposition.

    Returns
    -------
    ndarray of float64, shape (m, attributes)
        Classes are weighted by how rare they are, so that the commonest does not win by default.

    Raises
    ------
    BadParameter
        If there is not one attribute a row, or only one attribute.
    """
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    attributes = np.asarray(attributes)
    known = np.unique(attributes)
    if len(attributes) != len(seen) or len(known) < 2 or not np.array_equal(known, np.arange(len(known))):
        raise BadParameter("Each row needs one attribute id; ids go from 0 without a gap, and there are two or more.")
    rows = _in_cells(seen, cells)
    fitted = make_pipeline(
        StandardScaler(),
        PCA(min(components, len(rows) - 1, rows.shape[1]), random_state=seed),
        StandardScaler(),
        LogisticRegression(C=0.1, max_iter=2000, class_weight="balanced"),
    ).fit(rows, attributes)
    return fitted.predict_proba(_in_cells(target, cells))


def _in_cells(seen: np.ndarray, cells: int) -> np.ndarray:
    """Means over ``cells`` x ``cells`` parts of the feature maps, shape (n, values)."""
    seen = np.asarray(seen, np.float32)
    if seen.ndim == 2:
        return seen
    rows = np.array_split(np.arange(seen.shape[1]), min(cells, seen.shape[1]))
    columns = np.array_split(np.arange(seen.shape[2]), min(cells, seen.shape[2]))
    parts = [seen[:, r[0] : r[-1] + 1, c[0] : c[-1] + 1].mean(axis=(1, 2)) for r in rows for c in columns]
    return np.concatenate(parts, axis=1)
