"""A dict that forgets instead of growing."""

from __future__ import annotations

from tapio_otel.entities.bounded import Bounded


def test_the_oldest_quarter_goes_when_it_is_full() -> None:
    """What was put in again counts as new."""
    kept: Bounded[int, str] = Bounded(8)
    for number in range(8):
        assert kept.keep(number, "a") == "a"
    kept.keep(0, "b")
    kept.keep(8, "c")
    assert list(kept.items()) == [(3, "a"), (4, "a"), (5, "a"), (6, "a"), (7, "a"), (0, "b"), (8, "c")]


def test_it_never_holds_more_than_its_limit() -> None:
    """Not even with the smallest."""
    kept: Bounded[int, int] = Bounded(1)
    for number in range(5):
        kept.keep(number, number)
        assert len(kept) == 1
