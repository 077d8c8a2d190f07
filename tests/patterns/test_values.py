"""Values out of texts: every type reads what software writes, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.patterns.specification import TypeName
from tapio_otel.patterns.values import TYPES, convert


@pytest.mark.parametrize(
    ("type", "text", "expected"),
    [
        ("str", " as it is ", " as it is "),
        ("int", "42", 42),
        ("int", "-1", -1),
        ("int", " 7 ", 7),
        ("int", "9223372036854775807", 2**63 - 1),
        ("float", "1.5", 1.5),
        ("float", "-3e2", -300.0),
        ("float", ".5", 0.5),
        ("bytes", "12kB", 12288),
        ("bytes", "4 KiB", 4096),
        ("bytes", "1.5G", 1610612736),
        ("bytes", "64Mi", 67108864),
        ("bytes", "512", 512),
        ("bytes", "100 bytes", 100),
        ("bytes", "1B", 1),
        ("duration", "1.5s", 1.5),
        ("duration", "120 seconds", 120.0),
        ("duration", "3m2s", 182.0),
        ("duration", "1h 2min", 3720.0),
        ("duration", "250ms", 0.25),
        ("duration", "17", 17.0),
        ("duration", "1 day, 2 hours", 93600.0),
        ("duration", "5us", 0.000005),
        ("ip", "192.0.2.7", "192.0.2.7"),
        ("ip", "[2001:DB8:0::1]", "2001:db8::1"),
        ("ip", "fe80::1%eth0", "fe80::1%eth0"),
        ("hex", "0x1f", 31),
        ("hex", "ff", 255),
    ],
)
def test_a_text_of_its_type_has_its_value(type, text, expected):
    """What is read has the unit's factor in it, and the right class."""
    found = convert(text, type)
    assert found == expected
    assert found.__class__ is expected.__class__


@pytest.mark.parametrize(
    ("type", "text"),
    [
        ("int", "4x"),
        ("int", ""),
        ("int", "9223372036854775808"),
        ("int", "٣"),
        ("float", "nan"),
        ("float", "1e999"),
        ("bytes", "12 apples"),
        ("bytes", "-1"),
        ("bytes", "99999999999999999999"),
        ("duration", "3 blinks"),
        ("duration", ""),
        ("duration", "s"),
        ("ip", "256.0.0.1"),
        ("ip", "host"),
        ("hex", "0xzz"),
        ("hex", "ffffffffffffffff"),
        ("hex", ""),
    ],
)
def test_a_text_of_another_type_has_no_value(type, text):
    """It is left out rather than guessed."""
    assert convert(text, type) is None


@given(st.sampled_from(sorted(TYPES)), st.text(max_size=200))
def test_no_text_makes_a_conversion_fail(type, text):
    """Whatever is there: a value that OTLP can carry, or None."""
    found = convert(text, type)
    assert found is None or isinstance(found, int | float | str)
    assert not isinstance(found, int) or -(2**63) <= found < 2**63


def test_the_specification_names_every_type():
    """What a file may say is what can be read."""
    assert set(TypeName.__args__) == {*TYPES, "str"}
