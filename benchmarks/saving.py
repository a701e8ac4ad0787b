"""Where a benchmark's times are kept, with the machine and the versions that they belong to."""

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

TOOLS = ("tensorflow-cpu", "tensorflow", "keras", "adversarial-robustness-toolbox", "foolbox", "flwr")


def save(name: str, settings: dict, times: dict | list) -> None:
    """Write ``benchmarks/results/NAME.json``.

    Parameters
    ----------
    name : str
        Benchmark and network, as in ``fgsm-mobilenetv2``.
    settings : dict
        What the times were measured with.
    times : dict or list
        What was measured.
    """
    path = Path(__file__).parent / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    versions = {"python": platform.python_version()}
    for tool in TOOLS:
        try:
            versions[tool] = version(tool)
        except PackageNotFoundError:
            continue
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "system": platform.system()}
    said = {"settings": settings, "machine": machine, "versions": versions, "times": times}
    path.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    print(f"Written to {path}")
