"""Durations and sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.config.types import BareNumber, format_duration, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        (0, 0.0),
        ("200ms", 0.2),
        ("1m30s", 90.0),
        ("1.5h", 5400.0),
        ("5us", 5e-6),
        ("5µs", 5e-6),
        (" 1s ", 1.0),
        (2.5, 2.5),
    ],
)
def test_durations_are_read_as_the_collector_writes_them(text: object, seconds: float) -> None:
    """A float is a default of the code, in seconds."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("value", [5, "5", "-5s", "5 s", "s", "", "1s2", None, True, False, [], BareNumber(1.5), "inf", "1e3s"])
def test_a_duration_without_a_unit_is_refused(value: object) -> None:
    """Milliseconds or seconds: it must be said."""
    with pytest.raises(ValueError, match="expected a duration with its unit, such as 200ms, 5s, 1m30s or 1h"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0s"), (0.2, "200ms"), (5.0, "5s"), (300.0, "5m"), (90.0, "90s"), (7200.0, "2h"), (1.5, "1500ms"), (1e-9, "1ns")],
)
def test_durations_are_written_in_their_common_form(seconds: float, text: str) -> None:
    """The largest unit that divides them."""
    assert format_duration(seconds) == text


@given(st.integers(0, 10**12).map(lambda microseconds: microseconds / 1e6))
def test_a_written_duration_is_read_back(seconds: float) -> None:
    """To a microsecond."""
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "size"), [(5, 5), ("5", 5), ("16MiB", 1 << 24), ("1.5k", 1500), ("2 gb", 2 * 10**9), ("64Ki", 65536)]
)
def test_sizes_have_decimal_and_binary_units(text: object, size: int) -> None:
    """As `16MiB` and `16MB` differ."""
    assert parse_size(text) == size


@pytest.mark.parametrize("value", [-1, 1.5, "x", "5 parsecs", True, None, ""])
def test_other_sizes_are_refused(value: object) -> None:
    """The message says how to write one."""
    with pytest.raises(ValueError, match="expected a number of bytes, or one with a unit"):
        parse_size(value)
