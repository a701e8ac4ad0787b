"""What a notebook imports: a run with its records, pictures, tables beside the paper, and checks of exercises."""

from medtk.lab import (
    attack_measures,
    attack_views,
    check,
    covid,
    defended,
    hospital,
    hospital_plots,
    hospital_tables,
    plots,
    private,
    private_views,
    stronger,
    tables,
    transfer,
)
from medtk.lab.living import slider
from medtk.lab.session import Run, start

__all__ = [
    "Run",
    "attack_measures",
    "attack_views",
    "check",
    "covid",
    "defended",
    "hospital",
    "hospital_plots",
    "hospital_tables",
    "plots",
    "private",
    "private_views",
    "slider",
    "start",
    "stronger",
    "tables",
    "transfer",
]
