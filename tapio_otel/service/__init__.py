"""The service: builds the graph of components from the configuration, runs it and reports on it."""
