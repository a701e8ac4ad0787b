"""The losses that defences train on. All are taken on scores (logits), one value an image."""

from keras import ops

from medtk.models.gradients import cross_entropy


def divergence(target_scores, scores):
    r"""Kullback-Leibler divergence of the softmax of `scores` from the softmax of `target_scores`.

    .. math:: \mathrm{KL}(p \,\|\, q) = \sum_c p_c (\log p_c - \log q_c)

    Parameters
    ----------
    target_scores, scores : tensor, shape (n, classes)
        Of :math:`p` and of :math:`q`.

    Returns
    -------
    tensor, shape (n,)
        In nats, 0 or more.
    """
    log_p, log_q = ops.log_softmax(target_scores, axis=-1), ops.log_softmax(scores, axis=-1)
    return ops.sum(ops.exp(log_p) * (log_p - log_q), axis=-1)


def trades_loss(clean_scores, attacked_scores, labels, beta: float):
    r"""Be right on the clean image, and say the same of the attacked one.

    .. math:: \mathrm{CE}(f(x), y) + \beta \, \mathrm{KL}(f(x) \,\|\, f(x'))

    Parameters
    ----------
    clean_scores, attacked_scores : tensor, shape (n, classes)
        Of the image :math:`x` and of its neighbour :math:`x'`.
    labels : tensor of int, shape (n,)
    beta : float
        Weight of the second term, 0 or more; 1 over the :math:`\lambda` of the source.

    Returns
    -------
    tensor, shape (n,)

    References
    ----------
    Zhang, Yu, Jiao, Xing, El Ghaoui and Jordan (2019), "Theoretically principled trade-off between robustness and
    accuracy", Eq. (5).
    """
    return cross_entropy(clean_scores, labels) + beta * divergence(clean_scores, attacked_scores)


def distillation_loss(
    scores, teacher_scores, labels, temperature: float, teacher_temperature: float | None = None, *, alpha: float
):
    r"""Answer as the teacher does, and be right.

    .. math:: \alpha T^2 \, \mathrm{KL}(\sigma(z^t / T) \,\|\, \sigma(z / T)) + (1 - \alpha) \, \mathrm{CE}(z, y)

    The gradient of the first term by the student's scores :math:`z` is :math:`\alpha T (\sigma(z/T) - \sigma(z^t/T))`;
    without :math:`T^2` it would fade as the temperature rises, and `alpha` would mean another mix at each.

    Parameters
    ----------
    scores, teacher_scores : tensor, shape (n, classes)
        :math:`z` and :math:`z^t`. Of a teacher that gives only probabilities, their logarithm.
    labels : tensor of int, shape (n,)
    temperature : float
        :math:`T`, above 0.
    teacher_temperature : float, optional
        Of the teacher, where it is not the student's; see `medtk.defenses.distillation.Spec`.
    alpha : float
        Weight of the teacher, 0 to 1.

    Returns
    -------
    tensor, shape (n,)

    References
    ----------
    Hinton, Vinyals and Dean (2015), section 2.
    """
    soft_targets = teacher_scores / (teacher_temperature or temperature)
    soft = divergence(soft_targets, scores / temperature) * temperature**2
    return alpha * soft + (1 - alpha) * cross_entropy(scores, labels)
