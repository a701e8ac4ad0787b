"""A network that is the same to the last bit on every machine, so that its times can be set side by side."""

from pathlib import Path

import numpy as np

from medtk.edge import small
from medtk.edge.exporting import export

NAME = "reference"
# That of the network in the book's page, see `medtk.lab.browser_model`; two classes, grey images.
ARCHITECTURE = small.Architecture(width=16, depth=4, kernel=3, size=64)


def write(folder: Path) -> Path:
    """Export the reference network as floats.

    Its weights are worked out and not learnt: multiples of 2**-18 from -1/8 to 1/8, which every machine rounds alike.
    Its answers mean nothing. What it costs is what a trained one would cost, since the operations are the same.

    Returns
    -------
    Path
        ``reference.tflite`` in `folder`. The bytes depend on the version of the converter, which the project's lock
        file fixes.
    """
    model = small.build(ARCHITECTURE, 2)
    for weights in model.weights:
        steps = np.arange(np.prod(weights.shape), dtype=np.int64) * 40_503 % 65_536
        weights.assign((steps.reshape(weights.shape) / 2**18 - 1 / 8).astype(np.float32))
    return export(model, Path(folder) / f"{NAME}.tflite")
