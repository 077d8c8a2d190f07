"""Receivers: where events come from."""
