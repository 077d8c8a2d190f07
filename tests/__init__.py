"""The tests: they mirror the package; `tests/integration/` talks to real servers."""
