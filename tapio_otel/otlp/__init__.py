"""OTLP: events as log records, in protobuf wire form and JSON."""
