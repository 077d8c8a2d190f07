"""What users write to search for words, as an expression of FTS5: every word quoted, so that nothing is taken for syntax."""

from __future__ import annotations

import re
from typing import Final

from tapio_otel.event_store.errors import EventQueryError

MOST_WORDS: Final = 32
"""Words of one search: FTS5 goes through all that begin like a `word*` without a look at the clock."""
_TERM: Final = re.compile(r'(-?)(?:"([^"]*)"|([^\s"]+))(\*?)')


def expression(text: str) -> str:
    """Return the expression for a search text, empty for an empty one; raises EventQueryError where no word is left to find.

    All words must occur; `"…"` keeps words together, `word*` finds what begins so, `-word` must not occur.
    """
    wanted: list[str] = []
    unwanted: list[str] = []
    for minus, phrase, word, star in _TERM.findall(text.replace("\0", " ").encode("utf-8", "replace").decode()):
        bare = phrase or word.rstrip("*")
        if any(map(str.isalnum, bare)):  # else FTS5 finds no word in it, either
            prefix = "*" if star or word.endswith("*") else ""
            (unwanted if minus else wanted).append('"{}"{}'.format(bare.replace('"', ""), prefix))
    if len(wanted) + len(unwanted) > MOST_WORDS:
        raise EventQueryError("text", f"found {len(wanted) + len(unwanted)} words: write {MOST_WORDS} at most")
    if not wanted and text.strip():
        raise EventQueryError("text", f"found {text!r}: write at least one word that must occur")
    return " AND ".join(wanted) + "".join(f" NOT {one}" for one in unwanted)
