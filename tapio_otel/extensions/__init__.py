"""Extensions: what serves the agent itself."""
