"""What a notebook imports: a run with its records, pictures, tables beside the paper, and checks of exercises."""

from medtk.lab import check, defended, plots, tables, transfer
from medtk.lab.living import slider
from medtk.lab.session import Run, start

__all__ = ["Run", "check", "defended", "plots", "slider", "start", "tables", "transfer"]
