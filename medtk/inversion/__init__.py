"""Turning back what a client sends: attacks on gradients and activations, defences beside them, and measures."""

from importlib import import_module

_PLACES = {
    "attributes": ["infer_attribute"],
    "decoder": ["build_decoder", "decode", "train_decoder"],
    "defended": ["Defense", "observe", "predict", "train_split"],
    "defenses": ["clip", "distance_correlation", "laplace", "prune"],
    "generator": ["Gan", "invert_by_generator", "train_gan"],
    "gradient_matching": ["Rebuilt", "dlg", "gradient_of_each", "idlg", "label_of", "match"],
    "leaky_network": ["lenet"],
    "measures": ["baselines", "errors", "mse", "psnr", "ssim"],
    "ridge": ["Ridge", "fit_ridge", "read_ridge"],
}
_WHERE = {name: module for module, names in _PLACES.items() for name in names}
__all__ = sorted(_WHERE)


def __getattr__(name: str):
    # Keras and TensorFlow take seconds to import; measuring an image should not wait for them.
    if name in _WHERE:
        return getattr(import_module(f"medtk.inversion.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'medtk.inversion' has no attribute {name!r}")
