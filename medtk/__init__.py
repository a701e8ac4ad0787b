"""Methods behind five rebuilt studies on trustworthy medical-image AI. For teaching and research, not for clinical use."""

__version__ = "0.1.0"
