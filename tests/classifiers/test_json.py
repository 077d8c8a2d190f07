"""json: the bodies of the usual loggers, each with its own names for the same things."""

from __future__ import annotations

import json

import pytest

from tapio_otel.event import Severity
from tests.classifiers.support import ask

TIME = "2026-11-23T08:00:00.123Z"
PYTHON_STACK = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\nValueError: no stock'
JAVA_STACK = "java.lang.IllegalStateException: no stock\n\tat shop.Cart.pay(Cart.java:12)"
NODE_STACK = "RangeError: no stock\n    at pay (/srv/cart.js:12:3)"

BODIES = {
    "zap": (
        {"level": "error", "ts": 1795420800.123, "logger": "shop", "caller": "cart/pay.go:12", "msg": "m", "error": "no stock"},
        Severity.ERROR,
        {"logger": "shop", "code.file.path": "cart/pay.go", "code.line.number": 12, "exception.message": "no stock"},
    ),
    "zap dpanic": ({"level": "dpanic", "msg": "m"}, Severity.CRITICAL, {}),
    "logrus": (
        {"level": "warning", "msg": "m", "time": TIME, "func": "main.pay", "file": "/srv/pay.go:12"},
        Severity.WARNING,
        {"code.function.name": "main.pay", "code.file.path": "/srv/pay.go", "code.line.number": 12, "logged_at": TIME},
    ),
    "slog": (
        {"time": "2026-11-23T08:00:00.123456789+02:00", "level": "ERROR+2", "msg": "m", "source": {"file": "a.go", "line": 3}},
        Severity.ERROR,
        {"logged_at": "2026-11-23T08:00:00.123456789+02:00", "code.file.path": "a.go", "code.line.number": 3},
    ),
    "zerolog": ({"level": "fatal", "error": "no stock", "message": "m"}, Severity.CRITICAL, {"exception.message": "no stock"}),
    "logback": (
        {
            "@timestamp": TIME,
            "@version": "1",
            "message": "m",
            "logger_name": "shop.Cart",
            "level": "ERROR",
            "level_value": 40000,
            "stack_trace": JAVA_STACK,
        },
        Severity.ERROR,
        {
            "logger": "shop.Cart",
            "exception.type": "java.lang.IllegalStateException",
            "exception.message": "no stock",
            "exception.stacktrace": JAVA_STACK,
        },
    ),
    "log4j2": (
        {
            "instant": {"epochSecond": 1795420800, "nanoOfSecond": 5},
            "level": "FATAL",
            "loggerName": "shop",
            "message": "m",
            "thrown": {"name": "java.io.IOException", "message": "no stock"},
        },
        Severity.CRITICAL,
        {"logged_at": "2026-11-23T08:00:00.000000005Z", "exception.type": "java.io.IOException", "logger": "shop"},
    ),
    "java.util.logging": ({"level": "SEVERE", "message": "m"}, Severity.ERROR, {}),
    "pino": (
        {
            "level": 50,
            "time": 1795420800123,
            "pid": 1,
            "msg": "m",
            "err": {"type": "RangeError", "message": "no stock", "stack": NODE_STACK},
        },
        Severity.ERROR,
        {"exception.type": "RangeError", "exception.stacktrace": NODE_STACK, "logged_at": TIME},
    ),
    "bunyan": (
        {"name": "shop", "hostname": "node1", "pid": 1, "level": 60, "msg": "m", "time": TIME, "v": 0},
        Severity.CRITICAL,
        {"logger": "shop"},
    ),
    "loguru": (
        {
            "text": "2026-11-23 08:00:00.123 | ERROR    | shop:pay:12 - m\n",
            "record": {
                "elapsed": {"repr": "0:00:01", "seconds": 1.0},
                "exception": {"type": "ValueError", "value": "no stock", "traceback": True},
                "extra": {},
                "file": {"name": "cart.py", "path": "/srv/cart.py"},
                "function": "pay",
                "level": {"icon": "x", "name": "ERROR", "no": 40},
                "line": 12,
                "message": "m",
                "module": "cart",
                "name": "shop.cart",
                "process": {"id": 1, "name": "MainProcess"},
                "thread": {"id": 2, "name": "MainThread"},
                "time": {"repr": "2026-11-23 08:00:00.123000+00:00", "timestamp": 1795420800.123},
            },
        },
        Severity.ERROR,
        {
            "logger": "shop.cart",
            "logged_at": "2026-11-23T08:00:00.123000+00:00",
            "code.file.path": "/srv/cart.py",
            "code.line.number": 12,
            "code.function.name": "pay",
            "exception.type": "ValueError",
            "exception.message": "no stock",
        },
    ),
    "loguru's own level": (
        {"text": "m", "record": {"exception": None, "level": {"name": "AUDIT", "no": 45}, "message": "m"}},
        Severity.ERROR,
        {},
    ),
    "zap's console names": (
        {
            "L": "ERROR",
            "T": "2026-11-23T08:00:00.123+0200",
            "N": "shop",
            "C": "cart/pay.go:12",
            "M": "m",
            "error": "no stock",
            "S": "main.main\n\t/srv/cart/pay.go:12\nruntime.main\n\t/usr/lib/go/proc.go:1",
        },
        Severity.ERROR,
        {
            "logger": "shop",
            "logged_at": "2026-11-23T08:00:00.123+02:00",
            "code.file.path": "cart/pay.go",
            "code.line.number": 12,
            "exception.message": "no stock",
            "exception.stacktrace": "main.main\n\t/srv/cart/pay.go:12\nruntime.main\n\t/usr/lib/go/proc.go:1",
        },
    ),
    "hclog": (
        {"@level": "warn", "@message": "m", "@module": "agent.raft", "@timestamp": TIME},
        Severity.WARNING,
        {"logger": "agent.raft", "logged_at": TIME},
    ),
    "Falco": ({"output": "x", "priority": "Critical", "rule": "r", "message": "m"}, Severity.CRITICAL, {}),
    "winston": ({"level": "error", "message": "m", "stack": NODE_STACK}, Severity.ERROR, {"exception.type": "RangeError"}),
    "structlog": (
        {
            "event": "m",
            "level": "critical",
            "timestamp": TIME,
            "exception": [{"exc_type": "ValueError", "exc_value": "no stock"}],
        },
        Severity.CRITICAL,
        {"exception.type": "ValueError", "exception.message": "no stock"},
    ),
    "python-json-logger": (
        {"asctime": "2026-11-23 08:00:00,123", "levelname": "ERROR", "name": "shop", "message": "m", "exc_info": PYTHON_STACK},
        Severity.ERROR,
        {"logger": "shop", "exception.type": "ValueError", "exception.message": "no stock"},
    ),
    "serilog compact": (
        {"@t": "2026-11-23T08:00:00.1234567Z", "@mt": "m", "@l": "Warning", "@x": "System.Exception: no stock\n   at Pay()"},
        Severity.WARNING,
        {"logged_at": "2026-11-23T08:00:00.1234567Z", "exception.type": "System.Exception"},
    ),
    "serilog without a level": ({"@t": TIME, "@m": "m"}, Severity.INFO, {}),
    ".NET console": (
        {"EventId": 0, "LogLevel": "Critical", "Category": "Shop", "Message": "m"},
        Severity.CRITICAL,
        {"logger": "Shop"},
    ),
    "ECS flat": (
        {
            "@timestamp": TIME,
            "log.level": "error",
            "message": "m",
            "error.type": "E",
            "error.message": "no stock",
            "log.logger": "x",
        },
        Severity.ERROR,
        {"exception.type": "E", "exception.message": "no stock", "logger": "x"},
    ),
    "ECS nested": ({"log": {"level": "error", "logger": "x"}, "message": "m"}, Severity.ERROR, {"logger": "x"}),
    "Google Cloud": ({"severity": "EMERGENCY", "textPayload": "m"}, Severity.EMERGENCY, {}),
    "Google Cloud by number": ({"severity": 700, "message": "m"}, Severity.ALERT, {}),
    "OpenTelemetry": ({"severity_number": 13, "body": "m"}, Severity.WARNING, {}),
    "Rust tracing": (
        {"timestamp": TIME, "level": "WARN", "fields": {"message": "m"}, "target": "shop::cart"},
        Severity.WARNING,
        {"logger": "shop::cart", "logged_at": TIME},
    ),
    "MongoDB": (
        {
            "t": {"$date": "2026-11-23T08:00:00.123+00:00"},
            "s": "E",
            "c": "NETWORK",
            "id": 1,
            "msg": "m",
            "attr": {"error": "e"},
        },
        Severity.ERROR,
        {"logger": "NETWORK", "exception.message": "e", "logged_at": "2026-11-23T08:00:00.123+00:00"},
    ),
    "MongoDB's debug levels": ({"t": {"$date": TIME}, "s": "D2", "msg": "m"}, Severity.DEBUG, {}),
    "GELF": ({"version": "1.1", "short_message": "m", "level": 3}, Severity.ERROR, {}),
    "journal": ({"PRIORITY": "2", "MESSAGE": "m"}, Severity.CRITICAL, {}),
    "journal in lower case": ({"priority": "2", "message": "m", "_systemd_unit": "shop.service"}, Severity.CRITICAL, {}),
    "Python's number": ({"levelno": 30, "message": "m"}, Severity.WARNING, {}),
}


@pytest.mark.parametrize("name", BODIES)
def test_the_bodies_of_the_usual_loggers_are_understood(name):
    """Severity, message and the rest come from each logger's own names."""
    body, severity, attributes = BODIES[name]
    said = ask("json", json.dumps(body))
    assert (said.severity, said.title) == (severity, "m")
    assert attributes.items() <= said.attributes.items()


@pytest.mark.parametrize(
    "body",
    [
        {"message": "job queued", "priority": 0},
        {"msg": "email sent", "priority": "2"},
        {"msg": "job queued", "PRIORITY": 1},
        {"msg": "job queued", "priority": "high"},
        {"msg": "job queued", "priority": "C"},
        {"msg": "job queued", "priority": 60},
    ],
)
def test_a_priority_that_is_no_word_is_a_place_in_a_queue(body):
    """Numbers are syslog's only where other fields of the journal are beside them."""
    assert ask("json", json.dumps(body)).severity is None
    assert ask("logfmt", " ".join(f'{key}="{value}"' for key, value in (body | {"id": 1}).items())).severity is None


@pytest.mark.parametrize(
    ("body", "logger"),
    [
        ({"msg": "m", "name": "Robert"}, None),
        ({"msg": "m", "name": "Robert", "pid": 1}, None),
        ({"msg": "m", "name": "shop", "pid": 1, "hostname": "node1"}, "shop"),
        ({"msg": "m", "name": "shop", "lineno": 12}, "shop"),
        ({"msg": "m", "category": "shoes"}, None),
        ({"msg": "m", "target": "http://192.0.2.1/metrics", "component": "scrape manager"}, "scrape manager"),
        ({"msg": "m", "target": "cluster-a", "component": "syncer"}, "syncer"),
        ({"msg": "m", "target": "http://192.0.2.1/metrics"}, None),
        ({"msg": "m", "target": "the whole world"}, None),
        ({"msg": "m", "target": "http://192.0.2.1/", "module": "sync"}, "sync"),
        ({"msg": "m", "logger": "http://192.0.2.1/", "component": "syncer"}, "syncer"),
    ],
)
def test_the_logger_is_what_only_a_logger_is_called(body, logger):
    """A name, a category or a target may be the application's own; a URL and a sentence are no logger."""
    said = ask("json", json.dumps(body | {"level": "info"}))
    assert said.attributes.get("logger") == logger


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"filename": "a.pdf"}, {}),
        ({"file": "a.pdf", "size": 12}, {}),
        ({"filename": "cart.py", "lineno": 12}, {"code.file.path": "cart.py", "code.line.number": 12}),
        ({"file": "/srv/pay.go:12"}, {"code.file.path": "/srv/pay.go", "code.line.number": 12}),
        ({"pathname": "/srv/cart.py", "filename": "a.pdf"}, {"code.file.path": "/srv/cart.py"}),
    ],
)
def test_a_file_is_one_of_code_where_it_has_a_line(body, place):
    """Applications write about files, too."""
    said = ask("json", json.dumps(body | {"level": "info", "msg": "saved"}))
    assert said.attributes == place


@pytest.mark.parametrize(
    ("stack", "expected"),
    [
        ("main.main\n\t/app/main.go:12\nruntime.main\n\t/usr/lib/go/proc.go:1", None),
        ("main.Server.Run\n\t/app/main.go:12", None),
        ("production\nblue", None),
        ("dial: timeout\nmain.main\n\t/app/main.go:12", None),
        ("RangeError\n    at pay (/srv/cart.js:12:3)", "RangeError"),
        ("java.lang.ThreadDeath\n\tat shop.Cart.pay(Cart.java:12)", "java.lang.ThreadDeath"),
        ("shop.OutOfStock: none left\n\tat shop.Cart.pay(Cart.java:12)", "shop.OutOfStock"),
        ('Traceback (most recent call last):\n  File "a.py", line 1, in f\nKeyboardInterrupt', "KeyboardInterrupt"),
    ],
)
def test_a_stack_begins_with_its_error_only_where_that_looks_like_one(stack, expected):
    """Go's stacks begin with a function, and what is called a stack may be none."""
    for key in ("stacktrace", "stack"):
        said = ask("json", json.dumps({"level": "error", "msg": "boom", key: stack}))
        assert said.attributes["exception.stacktrace"] == stack
        assert said.attributes.get("exception.type") == expected


@pytest.mark.parametrize(
    "body",
    [
        {
            "level": "info",
            "logger": "http.log.access",
            "msg": "handled request",
            "status": 502,
            "request": {"remote_ip": "192.0.2.1", "method": "GET", "uri": "/a?b=c"},
        },
        {
            "level": "info",
            "msg": "",
            "ClientHost": "192.0.2.1",
            "DownstreamStatus": 502,
            "RequestMethod": "GET",
            "RequestPath": "/a",
        },
        {"response_code": 502, "method": "GET", "path": "/a?b=c", "downstream_remote_address": "192.0.2.1:443"},
        {"status": "502", "request": "GET /a HTTP/1.1", "remote_addr": "192.0.2.1"},
    ],
    ids=["caddy", "traefik", "envoy", "nginx"],
)
def test_access_logs_in_json_have_the_severity_of_their_status(body):
    """A server's failure is an error whatever level the access log has."""
    said = ask("json", json.dumps(body))
    assert (said.severity, said.type, said.title, said.category) == (Severity.ERROR, "http_server_error", "GET /a 502", "http")
    expected = {"http.response.status_code": 502, "http.request.method": "GET", "url.path": "/a", "client.address": "192.0.2.1"}
    assert expected.items() <= said.attributes.items()


@pytest.mark.parametrize(
    "prefix", ["2026-11-23T08:00:00.123456789Z stdout F ", "2026-11-23T08:00:00.123456789Z ", "@cee: ", "  "]
)
def test_a_short_prefix_may_stand_before_the_object(prefix):
    """Container runtimes put a time and a stream there, syslog its cookie."""
    assert ask("json", prefix + '{"level":"error","msg":"m"}').severity is Severity.ERROR


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        "[]",
        "null",
        '{"a":1}',
        '{"level":"error"',
        '{"level":"error"} and more',
        "{'level': 'error'}",
        '{"level":NaN}',
        '["level","error"]',
        '{"level":"error"}}',
        "{" * 5000 + "}" * 5000,
        '{"\ud800":1}',
        '{"status":"ok"}',
        '{"level":1}',
        '{"level":true,"error":false}',
        '{"level":' + "9" * 400 + "}",
    ],
)
def test_what_is_no_object_or_says_nothing_is_left_to_others(text):
    """Broken, foreign, absurd and silent bodies are nobody's."""
    assert ask("json", text) is None


def test_an_object_longer_than_what_is_looked_at_is_read_whole():
    """A stack trace makes a body long; half an object would be none."""
    said = ask("json", json.dumps({"stack": "x\n" * 20_000, "level": "error", "msg": "m"}))
    assert said.severity is Severity.ERROR
    assert len(said.attributes["exception.stacktrace"]) <= 16 * 1024


def test_the_first_of_equal_names_counts_and_the_title_is_one_short_line():
    """Names are compared without regard to case; a message of many lines gives its first."""
    said = ask("json", json.dumps({"level": "error", "LEVEL": "info", "msg": "\n first \nsecond", "Message": "x" * 500}))
    assert said.severity is Severity.ERROR
    assert len(said.title) == 200


def test_values_beyond_the_bounds_are_not_looked_at():
    """A thousand keys cost no more than 256 do, and what is nested deep is the writer's own."""
    assert ask("json", json.dumps({**{f"k{n}": n for n in range(1000)}, "level": "error"})) is None
    assert ask("json", json.dumps({"a": {"b": {"c": {"d": {"level": "error"}}}}})) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1795420800, "2026-11-23T08:00:00Z"),
        (1795420800123, "2026-11-23T08:00:00.123Z"),
        (1795420800123456, "2026-11-23T08:00:00.123456Z"),
        (1795420800123456789, "2026-11-23T08:00:00.123456789Z"),
        (1795420800.5, "2026-11-23T08:00:00.5Z"),
        ("1795420800", "2026-11-23T08:00:00Z"),
        ("2026-11-23 08:00:00,123+02", "2026-11-23T08:00:00.123+02:00"),
        ("2026-11-23T08:00:00-0330", "2026-11-23T08:00:00-03:30"),
        ("2026-11-23 08:00:00 UTC", "2026-11-23T08:00:00Z"),
        ("2026-11-23T08:00:00", None),
        ("2026-13-23T08:00:00Z", None),
        ("2026-11-23T08:00:00+99:00", None),
        ("yesterday", None),
        (12, None),
        (10**30, None),
        (True, None),
        (-5, None),
        (1e300, None),
    ],
)
def test_the_bodys_own_time_becomes_rfc_3339_text(value, expected):
    """Seconds to nanoseconds are told apart by size; a time without a zone names no instant."""
    assert ask("json", json.dumps({"level": "info", "ts": value})).attributes.get("logged_at") == expected
