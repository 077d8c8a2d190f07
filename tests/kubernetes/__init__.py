"""Tests of what speaks with Kubernetes."""
