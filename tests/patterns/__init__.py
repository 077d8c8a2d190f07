"""Tests of the pattern library, with a corpus and ordinary lines."""
