"""Networks for small devices: made smaller, exported to one file, run without TensorFlow, and measured.

`networks` builds them, `exporting` writes a ``.tflite`` file, `runtime` runs such a file and `measuring` says what it
is worth and what it costs. `quantization` trains for few bits, `pruning` removes weights and `filters` whole filters.

Around them: `small` is a family of networks to `search` in, `bundle` and `registry` ship a network and take it back,
`device` measures under limits, of a `reference` network if one likes, `ladder` tightens one until it fails, and
`browser` writes a network for a page of the book.
"""

from importlib import import_module

_HOME = {
    "networks": ("NETWORKS", "build"),
    "exporting": ("RECIPES", "calibration", "export", "export_all"),
    "runtime": ("alone", "open_network", "predict"),
    "measuring": ("Measured", "Variant", "conditions", "measure", "variant"),
    "cost": ("macs", "layers_of"),
    "surgery": ("folded",),
    "quantization": ("fake_quantized", "quantization_aware", "rounded_weights", "unrounded"),
    "pruning": ("Pruner", "mask", "pack", "prunable", "sparsity", "sparsity_at", "unpack"),
    "filters": ("chains", "masked", "strongest", "without_filters"),
    "tuning": ("tuned",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
_MODULES = ("browser", "bundle", "device", "ladder", "reference", "registry", "search", "small")

__all__ = [*_MODULE_OF, *_MODULES]


def __getattr__(name: str):
    # TensorFlow takes seconds to import and hundreds of megabytes; running an exported network needs neither.
    if name in _MODULE_OF:
        return getattr(import_module(f"medtk.edge.{_MODULE_OF[name]}"), name)
    if name in _MODULES:
        return import_module(f"medtk.edge.{name}")
    raise AttributeError(f"module 'medtk.edge' has no attribute {name!r}")
