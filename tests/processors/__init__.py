"""Tests of the built-in processors."""
