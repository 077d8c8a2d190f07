"""Tests of correlation."""
