"""Kubernetes: access to its API, and what is known of a cluster."""
