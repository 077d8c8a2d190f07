"""Span contexts as fields and headers: W3C, Jaeger, B3, Datadog, AWS X-Ray, Google Cloud, and ids in fields of their own.

Pure functions, strict by each form's specification, for every component that meets span contexts. What is wrong is refused
with a short reason, so that it can be counted. `find` reads attributes; `tapio_otel.trace_text` finds the same forms in text.
"""

from __future__ import annotations

from tapio_otel.trace_context.headers import parse_b3 as parse_b3
from tapio_otel.trace_context.headers import parse_cloud_trace_context as parse_cloud_trace_context
from tapio_otel.trace_context.headers import parse_google_trace as parse_google_trace
from tapio_otel.trace_context.headers import parse_traceparent as parse_traceparent
from tapio_otel.trace_context.headers import parse_uber_trace_id as parse_uber_trace_id
from tapio_otel.trace_context.headers import parse_xray as parse_xray
from tapio_otel.trace_context.mentions import mentions_in as mentions_in
from tapio_otel.trace_context.search import ATTRIBUTE as ATTRIBUTE
from tapio_otel.trace_context.search import B3 as B3
from tapio_otel.trace_context.search import DATADOG as DATADOG
from tapio_otel.trace_context.search import GIVEN as GIVEN
from tapio_otel.trace_context.search import GOOGLE as GOOGLE
from tapio_otel.trace_context.search import NAMES as NAMES
from tapio_otel.trace_context.search import TRACEPARENT as TRACEPARENT
from tapio_otel.trace_context.search import UBER_TRACE_ID as UBER_TRACE_ID
from tapio_otel.trace_context.search import XRAY as XRAY
from tapio_otel.trace_context.search import Found as Found
from tapio_otel.trace_context.search import Refuse as Refuse
from tapio_otel.trace_context.search import find as find
from tapio_otel.trace_context.search import joined as joined
from tapio_otel.trace_context.search import mentioned as mentioned
from tapio_otel.trace_context.span_context import InvalidSpanContext as InvalidSpanContext
from tapio_otel.trace_context.span_context import SpanContext as SpanContext
from tapio_otel.trace_context.span_context import parse_b3_span_id as parse_b3_span_id
from tapio_otel.trace_context.span_context import parse_b3_trace_id as parse_b3_trace_id
from tapio_otel.trace_context.span_context import parse_datadog_span_id as parse_datadog_span_id
from tapio_otel.trace_context.span_context import parse_datadog_trace_id as parse_datadog_trace_id
from tapio_otel.trace_context.span_context import parse_sampled as parse_sampled
from tapio_otel.trace_context.span_context import parse_span_id as parse_span_id
from tapio_otel.trace_context.span_context import parse_trace_flags as parse_trace_flags
from tapio_otel.trace_context.span_context import parse_trace_id as parse_trace_id
