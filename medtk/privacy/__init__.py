"""Privacy that is measured: noise and its epsilon, attacks on what is shared, sums that hide their terms."""

from medtk.privacy.accounting import advantage_bound, epsilon, gaussian_delta, noise_for, power_bound
from medtk.privacy.dp_fedavg import clip_update, effective_multiplier, noised_mean, private_round, sensitivity
from medtk.privacy.fixed_point import resolution, to_arrays, to_integers
from medtk.privacy.leakage import dense_input, gradient_of_update, label_counts, labels_present
from medtk.privacy.membership import (
    Success,
    attack_success,
    by_class,
    confidence_score,
    gap_advantage,
    likelihood_ratio,
    loss_score,
    yeom_advantage,
)
from medtk.privacy.secure_aggregation import Client, agree_on_keys, secure_sum, unmasked_sum

_DP_SGD = ("PrivateSgd", "sampling", "train_epoch")
__all__ = [
    "Client",
    "PrivateSgd",
    "Success",
    "advantage_bound",
    "agree_on_keys",
    "attack_success",
    "by_class",
    "clip_update",
    "confidence_score",
    "dense_input",
    "effective_multiplier",
    "epsilon",
    "gap_advantage",
    "gaussian_delta",
    "gradient_of_update",
    "label_counts",
    "labels_present",
    "likelihood_ratio",
    "loss_score",
    "noise_for",
    "noised_mean",
    "power_bound",
    "private_round",
    "resolution",
    "sampling",
    "secure_sum",
    "sensitivity",
    "to_arrays",
    "to_integers",
    "train_epoch",
    "unmasked_sum",
    "yeom_advantage",
]


def __getattr__(name: str):
    # Keras and TensorFlow take seconds to import; the rest of this room is NumPy.
    if name in _DP_SGD:
        from medtk.privacy import dp_sgd

        return getattr(dp_sgd, name)
    raise AttributeError(f"module 'medtk.privacy' has no attribute {name!r}")
