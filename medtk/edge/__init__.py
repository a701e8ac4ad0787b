"""Networks for small devices: made smaller, exported to one file, run without TensorFlow, and measured.

`networks` builds them, `exporting` writes a ``.tflite`` file, `runtime` runs such a file and `measuring` says what it
is worth and what it costs. `quantization` trains for few bits, `pruning` removes weights and filters.
"""

from importlib import import_module

_HOME = {
    "networks": ("NETWORKS", "build"),
    "exporting": ("RECIPES", "export", "export_all"),
    "runtime": ("alone", "open_network", "predict"),
    "measuring": ("Measured", "Variant", "conditions", "measure", "variant"),
    "cost": ("macs", "layers_of"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [*_MODULE_OF]


def __getattr__(name: str):
    # TensorFlow takes seconds to import and hundreds of megabytes; running an exported network needs neither.
    if name in _MODULE_OF:
        return getattr(import_module(f"medtk.edge.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'medtk.edge' has no attribute {name!r}")
