"""Tests of the ebpf receiver, one module for each of its own."""
