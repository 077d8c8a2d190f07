"""Tests of tapio_otel.otlp."""
