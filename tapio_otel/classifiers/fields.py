"""The fields of a structured log body, by whatever names the usual loggers give them.

Read are the names of zap, logrus, zerolog, slog and log15 (Go); logback's logstash encoder and Log4j 2 (Java); pino, bunyan and
winston (Node); structlog, python-json-logger and loguru (Python); Serilog and .NET's console; Rust's tracing; Elastic Common
Schema, GELF, Google Cloud, OpenTelemetry and MongoDB; and of the access logs of Caddy, Traefik, Envoy, Istio, nginx and Heroku.
"""

from __future__ import annotations

from typing import Final

from tapio_otel.classification import Classification
from tapio_otel.classifiers.expression import one_line
from tapio_otel.classifiers.http_request import CATEGORY, METHODS, Request
from tapio_otel.classifiers.ranked_names import Fields, Ranks, present, ranked
from tapio_otel.classifiers.severity_name import (
    number,
    severity_of_google_number,
    severity_of_level,
    severity_of_otel_number,
    severity_of_python_level,
    severity_of_syslog_number,
)
from tapio_otel.classifiers.written_error import error_attributes
from tapio_otel.classifiers.written_time import rfc3339_of
from tapio_otel.event import AttributeValue, Severity

_LEVELS: Final = ranked(
    *("level", "severity", "lvl", "log.level", "levelname", "loglevel", "log_level", "level_name", "severity_text"),
    *("severitytext", "@l", "jsonpayload.level", "jsonpayload.severity", "level.name", "at"),
)
_NUMBERS: Final = {
    "severity": severity_of_google_number,
    **dict.fromkeys(("severity_number", "severitynumber"), severity_of_otel_number),
    **dict.fromkeys(("levelno", "level_number"), severity_of_python_level),
    **dict.fromkeys(("syslog_severity", "priority"), severity_of_syslog_number),
    **dict.fromkeys(("syslog.severity.code", "log.syslog.severity.code"), severity_of_syslog_number),
}
_MESSAGES: Final = ranked(
    *("message", "msg", "@m", "short_message", "textpayload", "fields.message", "renderedmessage", "@message"),
    *("jsonpayload.message", "jsonpayload.msg", "event", "body", "log", "@mt", "messagetemplate", "desc"),
)
_LOGGERS: Final = ranked(
    *("logger", "logger_name", "loggername", "log.logger", "sourcecontext", "properties.sourcecontext", "target"),
    *("category", "component", "name", "module"),
)
_TIMES: Final = ranked(
    *("@timestamp", "timestamp", "ts", "time", "@t", "t.$date", "datetime", "asctime", "timemillis", "start_time"),
    *("startutc", "date"),
)
_FILES: Final = ranked(
    *("caller", "source.file", "log.origin.file.name", "logging.googleapis.com/sourcelocation.file", "code.file.path"),
    *("code.filepath", "pathname", "file", "filename"),
)
_LINES: Final = ranked(
    *("source.line", "log.origin.file.line", "logging.googleapis.com/sourcelocation.line", "code.line.number"),
    *("code.lineno", "lineno", "line_number", "line"),
)
_FUNCTIONS: Final = ranked(
    *("source.function", "log.origin.function", "logging.googleapis.com/sourcelocation.function", "code.function.name"),
    *("code.function", "funcname", "func_name", "func"),
)
_STATUSES: Final = ranked(
    *("status", "http.response.status_code", "response_code", "downstreamstatus", "status_code", "res.statuscode"),
    *("http_status", "statuscode", "httprequest.status"),
)
_METHODS: Final = ranked(
    *("method", "request.method", "http.request.method", "request_method", "requestmethod", "req.method"),
    *("httprequest.requestmethod",),
)
_TARGETS: Final = ranked(
    *("path", "request.uri", "url.path", "request_uri", "requestpath", "req.url", "uri", "url", "httprequest.requesturl"),
)
_CLIENTS: Final = ranked(
    *("remote_addr", "request.remote_ip", "request.client_ip", "clienthost", "client.address", "client_ip", "remote_ip"),
    *("downstream_remote_address", "req.remoteaddress", "httprequest.remoteip", "fwd"),
)
_AGENTS: Final = ranked(
    *("http_user_agent", "user_agent", "user_agent.original", "request.headers.user-agent", "request_user-agent"),
    *("req.headers.user-agent", "httprequest.useragent"),
)
_SIZES: Final = ranked("body_bytes_sent", "bytes_sent", "size", "downstreamcontentsize", "http.response.body.size", "bytes")
_MONGODB_COMPONENT: Final = ranked("c")
_REQUEST_LINE: Final = ranked("request")
_NUMBER_NAMES: Final = ranked(*_NUMBERS)
_LONGEST_NAME: Final = 256
_SAYS_LITTLE: Final = frozenset(("handled request", "request completed", "request", "access"))
"""Messages of access logs that are the same for every request, whose title tells more."""


def classify_fields(fields: Fields) -> Classification | None:
    """Return what the fields say; None where they hold neither severity, message, error nor request."""
    severity, message, errors, request = (
        _severity(fields),
        text_of(fields, _MESSAGES),
        error_attributes(fields),
        _request(fields),
    )
    if severity is None and not message and not errors and request is None:
        return None
    attributes = _place(fields) | errors
    if request is not None:
        severity = max(severity or Severity.DEBUG, request.severity)
        attributes |= request.attributes()
        message = request.title if message.lower() in _SAYS_LITTLE else message or request.title
    title = one_line(message or str(errors.get("exception.message", "")))
    return Classification(severity, category=CATEGORY if request else "", title=title, attributes=attributes)


def text_of(fields: Fields, names: Ranks) -> str:
    """Return the first of the named values that is a text with something in it."""
    for name in present(fields, names):
        value = fields[name]
        if isinstance(value, str) and value and not value.isspace():
            return value
    return ""


def severity_named(fields: Fields) -> Severity | None:
    """Return the severity that one of the usual names of a level gives."""
    for name in present(fields, _LEVELS):
        found = severity_of_level(fields[name])
        if found is not None:
            return found
    return None


def _severity(fields: Fields) -> Severity | None:
    if "short_message" in fields:  # GELF's levels are syslog's
        return severity_of_syslog_number(fields.get("level"))
    found = severity_named(fields)
    if found is not None:
        return found
    for name in present(fields, _NUMBER_NAMES):
        found = _NUMBERS[name](fields[name])
        if found is not None:
            return found
    if "t.$date" in fields and "s" in fields:  # MongoDB, whose level has a name of one letter
        return severity_of_level(fields["s"])
    return Severity.INFO if "@t" in fields and ("@m" in fields or "@mt" in fields) else None


def _place(fields: Fields) -> dict[str, AttributeValue]:
    """Return logger, time, and place in the code."""
    found: dict[str, AttributeValue] = {}
    logger = text_of(fields, _LOGGERS) or (text_of(fields, _MONGODB_COMPONENT) if "t.$date" in fields else "")
    if logger:
        found["logger"] = logger[:_LONGEST_NAME]
    logged_at = _logged_at(fields)
    if logged_at:
        found["logged_at"] = logged_at
    file, colon, line = text_of(fields, _FILES)[-_LONGEST_NAME:].rpartition(":")
    if not (colon and line.isascii() and line.isdigit()):
        file, line = f"{file}{colon}{line}", next((str(fields[name]) for name in present(fields, _LINES)), "")
    if file:
        found["code.file.path"] = file
        if len(line) <= 7 and line.isascii() and line.isdigit():
            found["code.line.number"] = int(line)
    function = text_of(fields, _FUNCTIONS)
    if function:
        found["code.function.name"] = function[:_LONGEST_NAME]
    return found


def _logged_at(fields: Fields) -> str:
    for name in present(fields, _TIMES):
        found = rfc3339_of(fields[name])
        if found:
            return found
    seconds, rest = fields.get("instant.epochsecond"), fields.get("instant.nanoofsecond")
    if type(seconds) is int and type(rest) is int:
        return rfc3339_of(seconds * 10**9 + rest)
    return ""


def _request(fields: Fields) -> Request | None:
    status = next((number(fields[name]) for name in present(fields, _STATUSES)), None)
    if type(status) is not int or not 100 <= status <= 599:
        return None
    method, target = text_of(fields, _METHODS), text_of(fields, _TARGETS)
    if not method:  # nginx: the whole request line
        method, _, rest = text_of(fields, _REQUEST_LINE).partition(" ")
        target = target or rest.partition(" ")[0]
    if method not in METHODS or not target:
        return None
    size = next((str(fields[name]) for name in present(fields, _SIZES)), "")
    client = _without_port(text_of(fields, _CLIENTS))
    return Request(status, method, target, client[:_LONGEST_NAME], text_of(fields, _AGENTS), size)


def _without_port(address: str) -> str:
    """Return an address without its port: `192.0.2.1:80`, `[2001:db8::1]:80`, Envoy's and Caddy's forms."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address
