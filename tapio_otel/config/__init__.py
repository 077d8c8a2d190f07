"""The configuration: reading, checking and describing it."""
