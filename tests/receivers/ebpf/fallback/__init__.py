"""Tests of the ways of looking without BPF."""
