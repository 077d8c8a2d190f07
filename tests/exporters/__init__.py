"""The exporters, each against the real thing it writes to."""
