"""json and logfmt plan how to read a sequence of keys once: what they say is what reading without a plan says."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.classifiers import fields, nesting, written_place, written_time
from tapio_otel.classifiers import json as json_classifier
from tapio_otel.classifiers import logfmt as logfmt_classifier
from tapio_otel.classifiers.logfmt import pairs
from tapio_otel.classifiers.names import KNOWN, OBJECTS
from tapio_otel.classifiers.written_time import rfc3339_of
from tapio_otel.event import Severity
from tests.classifiers import reference
from tests.classifiers.support import ask

STACKS = [
    "Traceback (most recent call last):\n  f\nValueError: no stock",
    "java.io.IOException: x\n\tat A.b",
    "A\u2028b: c\nd",
    "shop.cart.Gone\n\tat A.b",
    "main.pay\n\t/srv/pay.go:12",
    "blue: green\nred",
    "Gone: sold\n at A.b",
    "\n x",
]
WORDS = st.sampled_from(
    [
        *(
            "error",
            "Info",
            "WARN",
            "E",
            "D2",
            "ERROR+2",
            "[warn]",
            "unheard",
            "30",
            "5",
            "13",
            "",
            " ",
            "null",
            "-",
            "no stock",
        ),
        *(
            "handled request",
            "GET",
            "/a?b=c",
            "https://x.example/a",
            "GET /a HTTP/1.1",
            "502",
            "192.0.2.1:80",
            "[2001:db8::1]:80",
        ),
        *("pay.go:12", ":3", "pay.go:123456789", "a:b", "12", "x" * 300, " two words ", "first\nsecond", *STACKS),
        *("2026-11-23T08:00:00.123Z", "2026-11-23 08:00:00,5+02", "2026-13-23T08:00:00Z", "1795420800.25"),
    ]
)
SINGLE = st.one_of(
    WORDS,
    st.text(max_size=8),
    st.none(),
    st.booleans(),
    st.integers(-5, 1000),
    st.integers(10**8, 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
)


def spelt(words):
    """Return strategies for the words in lower case, and at times in upper case or with a capital."""
    return st.builds(
        lambda word, change: change(word), st.sampled_from(sorted(words)), st.sampled_from([str, str, str.upper, str.title])
    )


PARTS = {part for name in KNOWN for part in name.split(".")} | OBJECTS
DEPENDING = ["name", "category", "priority", "file", "filename", "target", "PRIORITY", "L", "M", "N", "S", "T", "C", "l"]
BESIDE = ["pid", "hostname", "levelname", "lineno", "EventId", "MESSAGE", "_BOOT_ID", "syslog_identifier", "line"]
KEYS = st.one_of(spelt(KNOWN), spelt(PARTS), st.text(max_size=4), st.sampled_from(DEPENDING), st.sampled_from(BESIDE))
VALUES = st.recursive(
    SINGLE, lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(KEYS, inner, max_size=4)), max_leaves=8
)
LOGGED = st.dictionaries(spelt(["level", "msg", "time", "error", "log", "req", "t", "s"]), SINGLE, max_size=4)


@given(st.builds(lambda logged, others: logged | others, LOGGED, st.dictionaries(KEYS, VALUES, max_size=12)), st.randoms())
def test_a_json_object_says_what_reading_it_name_by_name_says(body, order):
    """Whatever the keys, their order, their nesting, and the kinds of values, also where the same keys came before."""
    for _ in range(2):
        text = json.dumps(body)
        said, expected = ask("json", text), reference.said_by_json(text)
        assert said == (expected and (expected[0], "", *expected[1:]))
        entries = list(body.items())
        order.shuffle(entries)
        body = dict(entries)


def test_the_same_keys_with_other_kinds_of_values_are_read_anew():
    """A plan for single values is not used for objects and lists, nor one for objects for single values."""
    kinds = [
        "x",
        None,
        5,
        ["y"],
        [["z"]],
        [],
        {},
        {"message": "m", "type": "t"},
        [{"message": "n"}],
        {"message": ["o"]},
        {"type": {}},
    ]
    bodies = [{"level": "error", "error": kind, "status": other, "statuscode": 500} for kind in kinds for other in (1, {}, [2])]
    random.Random(7).shuffle(bodies)
    for body in bodies * 2:
        text = json.dumps(body)
        expected = reference.said_by_json(text)
        assert ask("json", text) == (expected[0], "", *expected[1:])


BARE = st.text("ab=\\\"'é:./0 ", max_size=6)
QUOTED = st.one_of(WORDS, BARE, st.text(max_size=6)).map(json.dumps)
LOGFMT_VALUES = st.one_of(BARE, QUOTED, WORDS, st.sampled_from(['"open', '"a\\', 'x"y z"', '"a"b', '""', '"a" "', "=", ""]))
LOGFMT_KEYS = st.one_of(
    spelt(KNOWN),
    spelt(["level", "msg", "time", "err"]),
    st.sampled_from(["a", "1", "é", "x" * 127, "x" * 128, ""]),
    st.sampled_from([*DEPENDING, *BESIDE]),
)
ITEMS = st.one_of(st.builds("{}={}".format, LOGFMT_KEYS, LOGFMT_VALUES), BARE)
LINES = st.builds(lambda items, blank: blank.join(items), st.lists(ITEMS, max_size=8), st.sampled_from([" ", " ", "  ", "\t"]))


@given(LINES)
def test_a_line_of_logfmt_has_the_pairs_that_reading_letter_by_letter_gives(line):
    """Tidy lines are taken apart at once, all others word by word; no letter is lost or read otherwise."""
    line = line.partition("\n")[0]
    assert tuple(pairs(line)) == reference.pairs(line)


@given(LINES)
def test_a_line_of_logfmt_says_what_reading_it_name_by_name_says(line):
    """Also where words are outside of pairs, quotes are open, and keys come twice."""
    said, expected = logfmt_classifier.classify(line, None), reference.said_by_logfmt(line)
    assert said == (expected and (expected[0], "", *expected[1:]))


TIMES = st.one_of(
    st.integers(-(10**9), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(1e8, 6e9),
    st.integers(10**8, 10**19).map(str),
    st.floats(1e8, 1e12).map(str),
    st.builds(
        "{}{}{}{}{}".format,
        st.one_of(st.dates().map(str), st.sampled_from(["2026-02-29", "2026-11-3", "2026-W12-3", "20261123"])),
        st.sampled_from("T t"),
        st.sampled_from(["08:00:00", "23:59:59", "24:00:00", "08:60:00", "8:00:00", "08:00"]),
        st.sampled_from(["", ".5", ".123456789", ".1234567890", ",123", "."]),
        st.sampled_from(["Z", "z", " UTC", "+02:00", "-0330", "+24:00", "+02", "", "\n"]),
    ),
)


@given(TIMES)
def test_a_time_is_what_reading_it_digit_by_digit_gives(value):
    """A time that is RFC 3339 already is recognised by its form, and must come out the same."""
    assert rfc3339_of(value) == reference.rfc3339(value)


KEPT = {
    "keys of json": json_classifier.LAYOUTS.kept,
    "keys of logfmt": logfmt_classifier.LAYOUTS.kept,
    "keys of nested objects": nesting.NESTINGS,
    "known names": fields.READINGS,
    "places in the code": written_place.PLACES,
    "dates": written_time.DATES,
    "minutes": written_time.MINUTES,
}


def test_a_writer_of_ever_new_keys_and_values_makes_nothing_grow():
    """All that is kept of bodies seen has its bound, and yet is kept."""
    choice = random.Random(11)
    known = sorted(KNOWN)
    for number in range(3000):
        body = {"level": "error", f"k{number}": 1, "caller": f"f{number}:1", "date": f"{1000 + number}-11-23T08:00:00Z"}
        body |= {name: f"x{number}" for name in choice.sample(known, 3) if name not in body}
        assert ask("logfmt", " ".join(f"{key}={value}" for key, value in body.items())) is not None
        assert ask("json", json.dumps({"level": "error", f"k{number}": 1, "ts": 1_763_884_800 + 60 * number})) is not None
        assert ask("json", json.dumps(body | {"err": {f"k{number}": 1, "message": "no stock"}})) is not None
    assert {name: 0 < len(kept) <= 1024 for name, kept in KEPT.items()} == dict.fromkeys(KEPT, True)


@pytest.mark.parametrize("keys", [[f"k{n}" for n in range(100)], ["k" * 3000]], ids=["many", "long"])
def test_keys_that_are_many_or_long_are_not_kept(keys):
    """They would be what fills the memory; a body with them is read nevertheless."""
    body = {"level": "error", **dict.fromkeys(keys, 1)}
    said = [ask("json", json.dumps(body)), ask("json", json.dumps({"level": "error", "err": body, "req": body}))]
    if len(keys) > 1:  # a long key is none of logfmt's
        said.append(ask("logfmt", " ".join(f"{key}={value}" for key, value in body.items())))
    assert [one.severity for one in said] == [Severity.ERROR] * len(said)
    assert not any(set(keys) & set(one) for name in ("keys of json", "keys of logfmt") for one in KEPT[name])
    assert not any(set(keys) & set(one or ()) for shape in KEPT["keys of nested objects"] for one in shape)


@pytest.mark.parametrize(
    "text",
    [
        "level=error " + 'a="' * 5000,
        "level=error " + 'a=\\"' * 5000,
        'level=error a="' + "\\" * 15_001 + '"',
        'level=error a="' + "\\\\" * 7000 + '" b=' + "=" * 1000,
        "level=error " + "a" * 16_000,
        "level=error " + "a=" * 8000,
        "level=error " + "a= " * 5000,
        "level=error" + " " * 16_000 + "a",
    ],
)
def test_a_hostile_line_says_what_reading_it_letter_by_letter_says(text):
    """Quotes, backslashes and keys without end are read as if they were few."""
    said, expected = logfmt_classifier.classify(text, None), reference.said_by_logfmt(text)
    assert said == (expected and (expected[0], "", *expected[1:]))
