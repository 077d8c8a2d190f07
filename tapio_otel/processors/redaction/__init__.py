"""redaction: takes out of events what must not leave the node. See `processor`."""

from tapio_otel.processors.redaction.config import RedactionConfig as RedactionConfig
from tapio_otel.processors.redaction.processor import RedactionProcessor as RedactionProcessor
