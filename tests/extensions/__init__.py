"""The extensions, each on the real thing it works with."""
