"""Texts among the values of a structured body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def first_text(values: Sequence[Any], places: Sequence[int]) -> str:
    """Return the first of the values at these places that is a text with something in it; empty without one."""
    for place in places:
        value = values[place]
        if type(value) is str and value and not value.isspace():
            return value
    return ""
