"""Networks by name."""

from medtk.models.weights import WeightsSource, weights_source

__all__ = [
    "COVID_NETWORKS",
    "HOSPITAL_NETWORKS",
    "NETWORKS",
    "WeightsSource",
    "build",
    "build_covid",
    "build_hospital",
    "freeze_normalisation",
    "logits",
    "weights_source",
    "wrapped",
]


def __getattr__(name: str):
    # Keras and TensorFlow take seconds to import; asking where weights are should not.
    if name in ("NETWORKS", "build", "freeze_normalisation", "logits", "wrapped"):
        from medtk.models import networks

        return getattr(networks, name)
    if name in ("HOSPITAL_NETWORKS", "build_hospital"):
        from medtk.models import efficientnet

        return getattr(efficientnet, name)
    if name in ("COVID_NETWORKS", "build_covid"):
        from medtk.models import vgg

        return getattr(vgg, name)
    raise AttributeError(f"module 'medtk.models' has no attribute {name!r}")
