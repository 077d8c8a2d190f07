"""Fuzzing of every parser of foreign text."""
