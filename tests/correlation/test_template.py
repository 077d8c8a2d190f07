"""Templates: values in the words of a finding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.correlation.template import Template, TemplateError, duration, listed

VALUES = {
    "entity": "web.service",
    "limit": 64 * 1024 * 1024,
    "count": 2,
    "one": 1,
    "share": 0.25,
    "took": 1_500_000_000,
    "names": ["a", "b"],
}


def filled(text):
    """Return a text with the values above."""
    return Template(text).fill(lambda subject, name: VALUES.get(name) if subject == "root" else None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{root.entity} failed", "web.service failed"),
        ("limit {root.limit:size}", "limit 64.0 MiB"),
        ("{root.took:duration}", "1.5 s"),
        ("{root.share:percent} of {root.share}", "25 % of 0.25"),
        ("{root.one:client|clients}, {root.count:client|clients}", "1 client, 2 clients"),
        ("{root.names}", "a and b"),
        ("{root.nothing}", "unknown"),
        ("out[ at {root.limit:size}][ of {root.nothing}]!", "out at 64.0 MiB!"),
        ("out[ at {root.limit:size}[ of {root.nothing}]]!", "out at 64.0 MiB!"),
        ("out[ at {root.nothing}[ of {root.limit:size}]]!", "out!"),
        ("out[ by[ {root.nothing}][ {root.entity}]]!", "out by web.service!"),
        ("[{root.entity}[ (a[0])]]", "web.service[ (a[0])]"),
        ("a [ {root.entity}", "a [ web.service"),
        ("a[0] stays", "a[0] stays"),
        ("no values", "no values"),
    ],
)
def test_values_take_their_places(text, expected):
    """With forms, and optional parts left out where a value is missing."""
    assert filled(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{root}", "'{root}' is no value: write a subject and a name, as in {root.entity}"),
        ("{root.limit:bytes}", "'{root.limit:bytes}': there is no form 'bytes': use one of size, duration, seconds, percent"),
        ("open {", "'{' in 'open {' belongs to no value: write {root.entity}"),
        ("[" * 9, "more than 8 brackets within one another in '[[[[[[[[['"),
    ],
)
def test_errors_say_what_to_write(text, message):
    """One message each."""
    with pytest.raises(TemplateError) as raised:
        Template(text)
    assert str(raised.value) == message


@given(st.text(alphabet="a.{}[]:|{root.entity}", max_size=40))
def test_any_text_is_read_or_refused(text):
    """Nothing else than a template error is raised; what is read can be filled."""
    try:
        template = Template(text)
    except TemplateError:
        return
    assert isinstance(template.fill(lambda _subject, _name: None), str)


def test_long_lists_are_cut():
    """The first three, and how many more."""
    assert listed(list("abcde")) == "a, b, c and 2 more"
    assert listed(list("abc")) == "a, b and c"
    assert listed([]) == ""


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(250_000, "250 µs"), (1.25e9, "1.2 s"), (150e9, "2.5 min"), (-86_400e9, "-24 h"), (3 * 86_400e9, "3 d")],
)
def test_times_are_told_in_the_unit_that_suits_them(nanoseconds, text):
    """From microseconds to days."""
    assert duration(nanoseconds) == text
