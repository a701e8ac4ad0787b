"""Fixtures that several areas share. Nothing here touches the reader's own cache or results."""

import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Before anything imports TensorFlow, as medtk does: other kernels give other last bits.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.pop("MEDTK_RESULTS", None)  # the suite is about this checkout's ledger, wherever the reader's own is


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    """Each test has a cache folder of its own."""
    monkeypatch.setenv("MEDTK_CACHE", str(tmp_path / "cache"))
