"""What the classifiers make of the text of an event for its title."""

from __future__ import annotations

from typing import Final

_TITLE_LENGTH: Final = 200


def one_line(text: str) -> str:
    """Return the first line of a text that says something, up to 200 characters, fit for a title."""
    if len(text) <= _TITLE_LENGTH and "\n" not in text:
        return text.strip()
    return text[: _TITLE_LENGTH * 4].lstrip().partition("\n")[0].rstrip()[:_TITLE_LENGTH]
