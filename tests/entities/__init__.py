"""Tests of the entities that cgroups, processes and units stand for."""
