"""logfmt: pairs with quotes and escapes, and the sentences that are none."""

from __future__ import annotations

import pytest

from tapio_otel.classifiers.logfmt import pairs
from tapio_otel.event import Severity
from tests.classifiers.support import ask


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a=b", [("a", "b")]),
        ('a="b c" d=', [("a", "b c"), ("d", "")]),
        (r'a="say \"hi\"\n\\n" b=1', [("a", 'say "hi"\n\\n'), ("b", "1")]),
        ('a="never closed b=1', [("a", "never closed b=1")]),
        ("a=b=c", [("a", "b=c")]),
        ("level=error it broke here b=1", [("level", "error it broke here"), ("b", "1")]),
        ("a=1\tb=2", [("a", "1"), ("b", "2")]),
        ("=1 1=2", []),
        ("", []),
    ],
)
def test_pairs_are_read_with_their_quotes_and_escapes(line, expected):
    """Escapes are undone, unclosed quotes reach to the end, words without quotes go on the value before."""
    assert pairs(line).pairs == expected


@pytest.mark.parametrize(
    ("text", "severity", "title", "attributes"),
    [
        (
            'ts=2026-11-23T08:00:00.123Z caller=pay.go:12 level=error component=cart msg="it broke" err="no stock"',
            Severity.ERROR,
            "it broke",
            {
                "logger": "cart",
                "code.file.path": "pay.go",
                "exception.message": "no stock",
                "logged_at": "2026-11-23T08:00:00.123Z",
            },
        ),
        ('time="2026-11-23T08:00:00+02:00" level=warning msg="it is slow"', Severity.WARNING, "it is slow", {}),
        ("t=2026-11-23T08:00:00+0000 lvl=eror msg=broken", Severity.ERROR, "broken", {}),
        ("severity=critical message=broken", Severity.CRITICAL, "broken", {}),
        ("level=error it broke", Severity.ERROR, "it broke", {}),
        ('id=1 user=2 msg="three pairs"', None, "three pairs", {}),
        (
            'at=error code=H12 desc="Request timeout" method=GET path="/a?b=c" fwd="192.0.2.1" status=503 bytes=0',
            Severity.ERROR,
            "Request timeout",
            {"http.response.status_code": 503, "url.path": "/a", "client.address": "192.0.2.1", "http.response.body.size": 0},
        ),
    ],
)
def test_logfmt_is_understood(text, severity, title, attributes):
    """Level, message, error and the rest by their usual names."""
    said = ask("logfmt", text)
    assert (said.severity, said.title) == (severity, title)
    assert attributes.items() <= said.attributes.items()


@pytest.mark.parametrize(
    "text",
    [
        "key=value",
        "mode=strict starts now",
        "a=1 b=2 msg=x and words without a level",
        "set level=error for the logger",
        "time=5 ms ttl=64 from 192.0.2.1",
        "x=1 y=2",
        "a=1 b=2 c=3",
        "level=unheard msg=x",
        "if a==b then level=error",
        "IN=eth0 OUT= SRC=192.0.2.1 DST=192.0.2.2 PROTO=TCP SYN URGP=0",
        "type=USER_AUTH msg=audit(1795420800.123:456): pid=1 uid=0 res=success",
    ],
)
def test_a_sentence_with_pairs_in_it_is_no_logfmt(text):
    """Ordinary lines have `=` too; only a level, or nothing but pairs, makes logfmt of them."""
    assert ask("logfmt", text) is None


def test_the_work_is_bounded_however_long_the_line():
    """At most so many pairs and words are read, and a line of escaped quotes is read once."""
    assert len(pairs("a=1 " * 10_000).pairs) == 128
    assert pairs("a=1 " + "b " * 10_000).loose == 256
    assert len(pairs('a="' + '\\"' * 8_000).pairs) == 1
