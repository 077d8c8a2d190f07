"""Tests of the systemd receiver."""
