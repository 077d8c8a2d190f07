"""The configuration: reading, checking and describing it."""

from tapio_otel.config.problem import ConfigError as ConfigError
from tapio_otel.config.problem import Problem as Problem
from tapio_otel.config.problem import UnknownComponent as UnknownComponent
