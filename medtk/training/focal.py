"""The focal loss: cross-entropy in which easy images count less."""

from collections.abc import Sequence

from keras import ops

from medtk.errors import BadParameter

ALPHA, GAMMA = 0.25, 2.0


def focal_loss(scores, labels, *, alpha: float | Sequence[float] | None = ALPHA, gamma: float = GAMMA):
    """Focal loss of each image, ``-alpha_t (1 - p_t)^gamma log p_t``, from scores and class ids.

    p_t is the probability given to the true class. With ``gamma=0`` and ``alpha=None`` it is cross-entropy. With the
    defaults it is the loss of a federated client as it stands (`medtk.federated.Settings`); with others, pass
    `functools.partial` of it.

    Parameters
    ----------
    scores : tensor, shape (n, classes)
        Before the softmax.
    labels : tensor of int, shape (n,)
    alpha : float, sequence of float, or None
        Weight of class 1 in a binary task, 0 to 1, class 0 then having ``1 - alpha``; or a weight for each class; or
        none. The default is that of the loss' authors.
    gamma : float
        0 or more: how much less an easy image counts. Theirs is 2.

    Returns
    -------
    tensor, shape (n,)

    Raises
    ------
    BadParameter
        If `gamma` or `alpha` cannot be, or `alpha` does not fit the number of classes.

    References
    ----------
    T.-Y. Lin, P. Goyal, R. Girshick, K. He, P. Dollár, "Focal loss for dense object detection", ICCV 2017, Eq. 5;
    the clustered-learning study's Eq. 2.
    """
    classes = scores.shape[-1]
    if isinstance(alpha, int | float):
        if classes != 2 or not 0 <= alpha <= 1:
            raise BadParameter(f"one alpha, 0 to 1, is for two classes; give a weight for each, not {alpha}.")
        alpha = (1 - alpha, alpha)
    if alpha is not None and (len(alpha) != classes or min(alpha) < 0):
        raise BadParameter(f"alpha needs {classes} weights of 0 or more, not {tuple(alpha)}.")
    if not gamma >= 0:
        raise BadParameter(f"gamma must be 0 or more, not {gamma}.")
    truth = ops.one_hot(labels, classes, dtype=scores.dtype)
    log_p = ops.sum(truth * ops.log_softmax(scores), axis=-1)
    # 1 - p without loss of digits; bounded, because the slope of x^gamma at 0 is not finite for gamma below 1.
    hard = ops.maximum(-ops.expm1(log_p), 1e-7)
    loss = -(hard**gamma) * log_p
    return loss if alpha is None else loss * ops.sum(truth * ops.convert_to_tensor(alpha, scores.dtype), axis=-1)
