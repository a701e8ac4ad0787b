"""Methods behind five rebuilt studies on trustworthy medical-image AI; for teaching, not for clinical use."""

import os

# On processors without AVX-512 TensorFlow leaves oneDNN off, and ResNet50 then trains four times slower.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

__version__ = "0.1.0"
