"""Optimizers: what has `compile`."""
