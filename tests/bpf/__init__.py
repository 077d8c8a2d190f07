"""Tests of the BPF programs' build."""
