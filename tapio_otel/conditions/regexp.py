"""RE2 patterns that users write, compiled once. RE2 takes linear time whatever the pattern and the text."""

from __future__ import annotations

from functools import lru_cache
from typing import Any


@lru_cache(maxsize=256)
def compiled(pattern: str) -> Any:
    """Return a compiled RE2 pattern; raises ValueError with RE2's reason."""
    import re2  # costs 5 ms and a megabyte

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else error
    raise ValueError(reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason))
