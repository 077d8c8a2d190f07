"""The version of this distribution, the one place that states it."""

VERSION = "0.1.0"
