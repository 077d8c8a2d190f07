"""access_log: what servers and proxies write of each request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.classifiers import access_log
from tapio_otel.event import Severity
from tests.classifiers.support import ask

TIME = "[23/Nov/2026:08:00:00 +0000]"
LINES = [
    (f'192.0.2.1 - bob {TIME} "GET /a?token=x HTTP/1.1" 200 2326', "GET /a 200", {"http.response.body.size": 2326}),
    (
        f'192.0.2.1 - - {TIME} "POST /a HTTP/1.1" 502 - "-" "agent \\"x\\" 1"',
        "POST /a 502",
        {"user_agent.original": 'agent \\"x\\" 1'},
    ),
    (
        f'shop.example:443 192.0.2.1 - - {TIME} "GET /a HTTP/1.1" 404 12 "-" "agent"',
        "GET /a 404",
        {"user_agent.original": "agent"},
    ),
    (f'2001:db8::1 - - {TIME} "GET http://shop.example/a?b HTTP/1.1" 301 0', "GET /a 301", {"client.address": "2001:db8::1"}),
    (f'192.0.2.1 - - {TIME} "GET /a HTTP/1.1" 429 7 "-" "agent" 12 "shop@file" "http://192.0.2.9" 3ms', "GET /a 429", {}),
    (f'192.0.2.1 - - {TIME} "\\x16\\x03\\x01" 400 157 "-" "-"', "400", {"http.response.status_code": 400}),
    ('127.0.0.1 - - [23/Nov/2026 08:00:00] "GET /a HTTP/1.1" 200 -', "GET /a 200", {}),
    (
        '[2026-11-23T08:00:00.123Z] "GET /a HTTP/2" 503 UF,URX 0 91 12 - "192.0.2.1" "agent" "id" "shop" "192.0.2.9:80"',
        "GET /a 503",
        {"client.address": "192.0.2.1", "user_agent.original": "agent", "http.response.body.size": 91},
    ),
    (
        '[2026-11-23T08:00:00.123Z] "GET /a HTTP/2" 200 - via_upstream - "-" 0 91 12 11 "-" "agent" "id" "s" "192.0.2.9:80"',
        "GET /a 200",
        {"user_agent.original": "agent"},
    ),
    (
        "haproxy[12]: 192.0.2.1:33317 [23/Nov/2026:08:00:00.123] web shop/s1 10/0/30/69/109 503 2750 - - ---- 1/1/1/1/0 0/0"
        ' {shop.example} {} "GET /a HTTP/1.1"',
        "GET /a 503",
        {"client.address": "192.0.2.1", "http.response.body.size": 2750},
    ),
    ('INFO:     192.0.2.1:54321 - "GET /a HTTP/1.1" 500 Internal Server Error', "GET /a 500", {"client.address": "192.0.2.1"}),
]


@pytest.mark.parametrize(("line", "title", "attributes"), LINES)
def test_the_lines_of_the_usual_servers_are_read(line, title, attributes):
    """Method, path without the query, status and what else the format has."""
    said = ask("access_log", line)
    assert (said.title, said.category) == (title, "http")
    assert attributes.items() <= said.attributes.items()


@pytest.mark.parametrize(
    ("status", "severity"),
    [
        (101, "info"),
        (200, "info"),
        (304, "info"),
        (400, "notice"),
        (404, "notice"),
        (429, "warning"),
        (499, "notice"),
        (503, "error"),
    ],
)
def test_the_status_gives_the_severity(status, severity):
    """A server's failure is an error and a type of its own, refused load a warning, a client's failure worth a notice."""
    said = ask("access_log", f'192.0.2.1 - - {TIME} "GET / HTTP/1.1" {status} 0')
    assert said.severity is Severity.from_keyword(severity)
    assert said.type == ("http_server_error" if status == 503 else "")


@pytest.mark.parametrize(
    "text",
    [
        'said "GET / HTTP/1.1" 500 times',
        f'192.0.2.1 - - {TIME} "GET / HTTP/1.1" 700 0',
        f'192.0.2.1 - - {TIME} "GET / HTTP/1.1" 200',
        '[2026-11-23T08:00:00.123Z] "quoted" 503 things',
        "192.0.2.1 is down",
        "",
    ],
)
def test_other_texts_are_no_access_log(text):
    """All of the format must be there."""
    assert ask("access_log", text) is None


WORDS = st.sampled_from(["-", "192.0.2.1", "bob", "a b", "2001:db8::1", "", "[x]", "é"])
TARGETS = st.sampled_from(["/", "/a?b=c", "*", "http://shop.example/a", "/a\\x22", "/é", "//", "?", "-", "/" + "a" * 2000])
TAILS = st.sampled_from(
    ["", ' "-" "agent"', ' "r" "-"', ' "r" ""', ' "r" "a \\"b\\""', ' "r" "a" 12 "x"', ' "r"', " 12", "\nmore"]
)


@given(
    names=st.lists(WORDS, min_size=2, max_size=4),
    time=st.sampled_from([TIME, "[1]", "[23/Nov/2026 08:00:00]", "23/Nov/2026", "[" + "1" * 41 + "]"]),
    method=st.sampled_from(["GET", "POST", "get", "BREW", ""]),
    target=TARGETS,
    protocol=st.sampled_from([" HTTP/1.1", "", " ", " a b"]),
    said=st.sampled_from(["200 1", "404 -", "503 x", "99 1", "200", "200  7", "429 " + "1" * 30]),
    tail=TAILS,
)
def test_the_quick_way_and_the_thorough_one_read_a_line_alike(names, time, method, target, protocol, said, tail):
    """Lines in the common format are read at once where nothing about them is unusual."""
    line = f'{" ".join(names)} {time} "{method} {target}{protocol}" {said}{tail}'
    assert access_log.classify(line, None) == access_log._classify(line)
