"""What exporters have in common: batching, the sending queue, retry, TLS."""
