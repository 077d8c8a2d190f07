"""Tests of the event store, on real files."""
