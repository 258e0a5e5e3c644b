"""Benchmarks: one file or folder for each question; results with date and commit in `results/`."""
