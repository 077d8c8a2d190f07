"""Texts and names among the values of a structured body."""

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


def first_name(values: Sequence[Any], places: Sequence[int], of_one_word: Sequence[int]) -> str:
    """Return the first text at these places that is no URL, at those given last only one without blanks; else an empty one."""
    for place in places:
        value = values[place]
        if type(value) is str and value and "://" not in value and not value.isspace():
            return value
    for place in of_one_word:
        value = values[place]
        if type(value) is str and "://" not in value and value.split(None, 1) == [value]:
            return value
    return ""
