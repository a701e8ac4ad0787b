"""Runs, checks and publishes the notebooks: parameters, one process a notebook, lint, exercises, the book."""
