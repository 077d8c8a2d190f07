"""JSON text of what the page reads, whatever an event's texts contain."""

from __future__ import annotations

import json
from typing import Any

import orjson


def json_of(content: Any) -> str:
    """Return content as JSON text; lone surrogates, which UTF-8 cannot hold, as escapes."""
    try:
        return orjson.dumps(content).decode()
    except orjson.JSONEncodeError:
        return json.dumps(content, separators=(",", ":"), allow_nan=False)
