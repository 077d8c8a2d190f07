"""Tests of the built-in classifiers."""
