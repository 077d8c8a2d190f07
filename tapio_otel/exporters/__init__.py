"""Exporters: where events go."""
