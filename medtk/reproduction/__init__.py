"""The ledger: what the papers printed, what was recorded here, and how the two compare."""
