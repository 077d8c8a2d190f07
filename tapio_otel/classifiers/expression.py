"""RE2 expressions that are compiled when first used, so that importing a classifier loads and compiles nothing."""

from __future__ import annotations

from typing import Any, Final

_TITLE_LENGTH: Final = 200


class Expression:
    """Match a text from its beginning; linear in the text, whatever the pattern.

    Without groups: telling only where a match ends, RE2 runs its automaton once, several times faster than with groups.
    """

    __slots__ = ("_compiled", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._compiled: Any = None

    def end(self, text: str) -> int:
        """Return where the match of a text's beginning ends; -1 without a match."""
        if self._compiled is None:
            import re2

            self._compiled = re2.compile(self.pattern)
        try:
            found = self._compiled.match(text)
        except UnicodeEncodeError:  # half a surrogate pair, which RE2 cannot be given; one character stays one character
            found = self._compiled.match(text.encode("utf-8", "replace").decode())
        return -1 if found is None else int(found.end())


def one_line(text: str) -> str:
    """Return the first line of a text that says something, up to 200 characters, fit for a title."""
    if len(text) <= _TITLE_LENGTH and "\n" not in text:
        return text.strip()
    return text[: _TITLE_LENGTH * 4].lstrip().partition("\n")[0].rstrip()[:_TITLE_LENGTH]
