"""Benchmarks: what the pipeline costs, measured as a ratio to the bare reading of the same journal."""
