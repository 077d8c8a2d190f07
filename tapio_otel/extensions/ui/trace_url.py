"""Where a trace is looked at: the address of some backend's page, with the trace's id in it."""

from __future__ import annotations

from urllib.parse import urlsplit


def checked_trace_url(text: str) -> str:
    """Return the template of an address, or the empty text that stands for none; raises ValueError saying what is expected."""
    if text and (urlsplit(text).scheme not in {"http", "https"} or "{trace_id}" not in text):
        raise ValueError("expected a http or https URL with {trace_id} in it, such as https://traces.example/{trace_id}")
    return text
