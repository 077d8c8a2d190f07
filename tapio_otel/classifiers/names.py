"""The names that the usual loggers give to the fields of a structured body, the preferred one first.

Names are in lower case, those of nested objects joined by dots. They are those of zap, logrus, zerolog, slog and log15 (Go);
logback's logstash encoder and Log4j 2 (Java); pino, bunyan and winston (Node); structlog, python-json-logger and loguru
(Python); hclog; Serilog and .NET's console; Rust's tracing; Elastic Common Schema, GELF, Google Cloud, OpenTelemetry and
MongoDB; and of the access logs of Caddy, Traefik, Envoy, Istio, nginx and Heroku.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

LEVELS: Final = (
    *("level", "severity", "lvl", "log.level", "levelname", "loglevel", "log_level", "level_name", "severity_text"),
    *("severitytext", "@l", "@level", "jsonpayload.level", "jsonpayload.severity", "level.name", "record.level.name", "at"),
)
MESSAGES: Final = (
    *("message", "msg", "@m", "short_message", "textpayload", "fields.message", "renderedmessage", "@message"),
    *("jsonpayload.message", "jsonpayload.msg", "record.message", "event", "body", "log", "@mt", "messagetemplate", "desc"),
)
LOGGERS: Final = (
    *("logger", "logger_name", "loggername", "log.logger", "sourcecontext", "properties.sourcecontext", "record.name"),
    *("@module", "component"),
)
PERHAPS_LOGGERS: Final = ("target", "category", "name", "module")
"""Names that loggers go by which may as well be something else's: only a single word is taken for a logger."""
TIMES: Final = (
    *("@timestamp", "timestamp", "ts", "time", "@t", "t.$date", "datetime", "asctime", "timemillis", "start_time"),
    *("startutc", "date", "record.time.repr", "record.time.timestamp"),
)
INSTANT: Final = ("instant.epochsecond", "instant.nanoofsecond")
"""Log4j 2's time: seconds, and nanoseconds beside them."""
FILES: Final = (
    *("caller", "source.file", "log.origin.file.name", "logging.googleapis.com/sourcelocation.file", "code.file.path"),
    *("code.filepath", "pathname", "record.file.path"),
)
PERHAPS_FILES: Final = ("file", "filename")
"""Names of what may be any file at all: only with a line it is one of code."""
LINES: Final = (
    *("source.line", "log.origin.file.line", "logging.googleapis.com/sourcelocation.line", "code.line.number"),
    *("code.lineno", "lineno", "line_number", "line", "record.line"),
)
FUNCTIONS: Final = (
    *("source.function", "log.origin.function", "logging.googleapis.com/sourcelocation.function", "code.function.name"),
    *("code.function", "funcname", "func_name", "func", "record.function"),
)
ERROR_TYPES: Final = (
    *("exception.type", "error.type", "err.type", "err.name", "error.name", "thrown.name", "exception.class", "error.kind"),
    *("exception.exc_type", "exc_type", "exception_type", "error_type", "exception_class", "fields.error.type"),
    *("record.exception.type",),
)
ERROR_MESSAGES: Final = (
    *("exception.message", "error.message", "err.message", "error.msg", "err.msg", "thrown.message"),
    *("thrown.localizedmessage", "exception.exc_value", "exc_value", "exception_message", "error_message", "error", "err"),
    *("fields.error", "fields.err", "attr.error", "attr.error.errmsg", "record.exception.value", "exception"),
)
STACKS: Final = (
    *("exception.stacktrace", "error.stack_trace", "error.stack", "err.stack", "error.stacktrace", "stack_trace"),
    *("stacktrace", "stack", "thrown.extendedstacktrace", "exc_info", "exception", "@x", "traceback", "errorverbose"),
)
STATUSES: Final = (
    *("status", "http.response.status_code", "response_code", "downstreamstatus", "status_code", "res.statuscode"),
    *("http_status", "statuscode", "httprequest.status"),
)
METHODS: Final = (
    *("method", "request.method", "http.request.method", "request_method", "requestmethod", "req.method"),
    *("httprequest.requestmethod",),
)
TARGETS: Final = (
    *("path", "request.uri", "url.path", "request_uri", "requestpath", "req.url", "uri", "url", "httprequest.requesturl"),
)
REQUEST_LINES: Final = ("request",)
CLIENTS: Final = (
    *("remote_addr", "request.remote_ip", "request.client_ip", "clienthost", "client.address", "client_ip", "remote_ip"),
    *("downstream_remote_address", "req.remoteaddress", "httprequest.remoteip", "fwd"),
)
AGENTS: Final = (
    *("http_user_agent", "user_agent", "user_agent.original", "request.headers.user-agent", "request_user-agent"),
    *("req.headers.user-agent", "httprequest.useragent"),
)
SIZES: Final = ("body_bytes_sent", "bytes_sent", "size", "downstreamcontentsize", "http.response.body.size", "bytes")
MONGODB_TIME: Final = "t.$date"
MONGODB_LEVEL: Final = "s"
MONGODB_COMPONENT: Final = "c"
GELF_MESSAGE: Final = "short_message"
SERILOG_TIME: Final = "@t"
SERILOG_MESSAGES: Final = ("@m", "@mt")

NUMBERED_LEVELS: Final = (
    *("severity", "severity_number", "severitynumber", "levelno", "level_number", "record.level.no", "syslog_severity"),
    *("syslog.severity.code", "log.syslog.severity.code"),
)
"""Names of levels that are numbers, each name with its own numbering."""
PRIORITY: Final = "priority"
"""The name of a level in words, as Falco has it; a number there is mostly a place in some queue."""
JOURNAL_PRIORITY: Final = "PRIORITY"
"""What the priority of a journal entry is known by: a number of syslog's."""

KNOWN: Final = {
    name: name
    for names in (
        *(LEVELS, NUMBERED_LEVELS, MESSAGES, LOGGERS, PERHAPS_LOGGERS, TIMES, INSTANT, FILES, PERHAPS_FILES, LINES, FUNCTIONS),
        *(ERROR_TYPES, ERROR_MESSAGES, STACKS, STATUSES, METHODS, TARGETS, REQUEST_LINES, CLIENTS, AGENTS, SIZES),
        (*SERILOG_MESSAGES, MONGODB_TIME, MONGODB_LEVEL, MONGODB_COMPONENT, GELF_MESSAGE, SERILOG_TIME, PRIORITY),
    )
    for name in names
}
"""Every name that says something, by itself so that an equal text can be exchanged for it; others are the writer's own."""
OBJECTS: Final = frozenset(name[:place] for name in KNOWN for place, letter in enumerate(name) if letter == ".")
"""Names of objects that known names are in."""


def places_of(names: Sequence[str], places: Mapping[str, int]) -> tuple[int, ...]:
    """Return the places of those names that are there, the preferred one first."""
    return tuple(places[name] for name in names if name in places)
