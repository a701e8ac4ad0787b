"""What a gradient gives away by algebra alone: the input of a dense layer, and the labels of the batch.

"Only weights are shared" hides neither. The optimised attacks, which need no dense layer at the input, are in the
inversion room.
"""

from collections.abc import Sequence

import numpy as np

from medtk.errors import BadParameter


def dense_input(kernel_gradient: np.ndarray, bias_gradient: np.ndarray) -> np.ndarray:
    r"""Input of a dense layer with bias, exactly, from the gradient of one example.

    With :math:`y = W^\top x + b`, :math:`\partial L/\partial W_{ij} = x_i \, \partial L/\partial y_j` and
    :math:`\partial L/\partial b_j = \partial L/\partial y_j`: any column with a gradient gives x.

    Parameters
    ----------
    kernel_gradient : ndarray, shape (inputs, units)
    bias_gradient : ndarray, shape (units,)

    Returns
    -------
    ndarray, shape (inputs,)
        For the mean gradient of a batch: a weighted sum of its inputs, single only where one example alone
        reaches the unit that was used, the one with the largest gradient.

    Raises
    ------
    BadParameter
        If the shapes do not fit, or no unit has a gradient (all are off behind a ReLU, say).

    References
    ----------
    Phong et al. (2018), "Privacy-preserving deep learning via additively homomorphic encryption", section 3.
    """
    kernel_gradient, bias_gradient = np.asarray(kernel_gradient), np.asarray(bias_gradient)
    if kernel_gradient.ndim != 2 or bias_gradient.shape != kernel_gradient.shape[1:]:
        raise BadParameter(
            "A dense layer's gradients have shapes (inputs, units) and (units,), not "
            f"{kernel_gradient.shape} and {bias_gradient.shape}."
        )
    unit = int(np.argmax(np.abs(bias_gradient)))
    if bias_gradient[unit] == 0:
        raise BadParameter("No unit of this layer has a gradient, so it says nothing about its input.")
    return kernel_gradient[:, unit] / bias_gradient[unit]


def labels_present(bias_gradient: np.ndarray) -> np.ndarray:
    """Classes that are certainly in the batch: those with a negative gradient of the last bias.

    The gradient of softmax cross-entropy by the bias of class c is the mean of p_c minus the share of label c.
    It is negative only if the label occurs. For one example exactly its label is negative.

    Parameters
    ----------
    bias_gradient : ndarray, shape (classes,)
        Of the layer before the softmax, loss summed or averaged over the batch.

    Returns
    -------
    ndarray of int
        Class ids, ascending; a class that the network already expects too often may be missing.

    References
    ----------
    Zhao, Mopuri and Bilen (2020), "iDLG: improved deep leakage from gradients", section 3.
    """
    return np.flatnonzero(np.asarray(bias_gradient) < 0)


def label_counts(bias_gradient: np.ndarray, mean_probabilities: np.ndarray, n: int) -> np.ndarray:
    """How often each label occurs in a batch of `n`, from the mean gradient of the last bias.

    Parameters
    ----------
    bias_gradient : ndarray, shape (classes,)
        Loss averaged over the batch.
    mean_probabilities : ndarray, shape (classes,)
        What the network says on the batch. The server does not have that; the mean on images of its own, or
        1 / classes for an untrained network, comes near.
    n : int
        Examples, at least 1.

    Returns
    -------
    ndarray of float, shape (classes,)
        Exact (whole numbers up to rounding) if the mean probabilities are.

    References
    ----------
    Wainakh et al. (2022), "User-level label leakage from gradients in federated learning".
    """
    bias_gradient, mean_probabilities = np.asarray(bias_gradient), np.asarray(mean_probabilities)
    if bias_gradient.ndim != 1 or bias_gradient.shape != mean_probabilities.shape or n < 1:
        raise BadParameter(
            f"One gradient and one probability a class and n of at least 1 expected, not "
            f"{bias_gradient.shape}, {mean_probabilities.shape} and {n}."
        )
    return n * (mean_probabilities - bias_gradient)


def gradient_of_update(
    before: Sequence[np.ndarray], after: Sequence[np.ndarray], learning_rate: float
) -> list[np.ndarray]:
    """Gradient behind one step of plain SGD, from the weights before and after: (before - after) / rate.

    After several steps it is the sum of their gradients, along a path of weights that changed meanwhile.
    """
    if not learning_rate > 0:
        raise BadParameter(f"learning_rate must be above 0, not {learning_rate}.")
    pairs = zip(before, after, strict=True)
    return [(np.asarray(old, np.float64) - np.asarray(new, np.float64)) / learning_rate for old, new in pairs]
