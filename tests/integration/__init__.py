"""Tests against real parts: journald, systemd, the kernel, an otel-collector."""
