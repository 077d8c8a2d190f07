"""Tests of the kubernetes receiver."""
