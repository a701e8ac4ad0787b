"""Sharing a training set out among clients."""
