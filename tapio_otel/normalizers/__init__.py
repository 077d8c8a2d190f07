"""Normalizers: a source's own terms turned into the event model's, one module a source."""
