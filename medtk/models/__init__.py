"""Networks by name."""

from medtk.models.networks import NETWORKS, build, logits
from medtk.models.weights import WeightsSource, weights_source

__all__ = ["NETWORKS", "WeightsSource", "build", "logits", "weights_source"]
