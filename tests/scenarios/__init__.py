"""Labelled scenarios for correlation, and tests of how well the shipped rules do on them."""
