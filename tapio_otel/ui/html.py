"""The page as one file: script, style and one incident in a single HTML document, to attach to a ticket.

It opens without network access and without an agent. Its content security policy names the script and the style by their
hashes, so that nothing else in it can run, whatever the incident's events contain; the incident itself is JSON in which every
`<` is escaped, and so is whatever would act on a terminal.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any, Final

from tapio_otel.exporting.event_text import inert, inert_json
from tapio_otel.ui.encoding import json_of

ASSETS: Final = Path(__file__).parent / "assets"
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_INCIDENT: Final = "tapio-incident"


class PageError(RuntimeError):
    """Report that the page's assets are not where they belong."""


def page_of(incident: Mapping[str, Any]) -> str:
    """Return one self-contained HTML document that shows an incident, as `incident_of` makes it.

    Raises PageError where the built assets are missing.
    """
    style, script = _asset("app.css"), _inline(_asset("app.js"))
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return "\n".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">\n<link rel="icon" href="data:,">',
            f"<title>{escape(inert(str(incident.get('title', ''))))}</title>\n<style>{style}</style>\n</head>",
            '<body>\n<div id="tapio"></div>',
            f'<script type="application/json" id="{_INCIDENT}">{_escaped(incident)}</script>',
            f'<script type="module">{script}</script>\n</body>\n</html>\n',
        )
    )


def _asset(name: str) -> str:
    path = ASSETS / name
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise PageError(f"{path}: {error.strerror}: build the page by `make ui`, or install the package again") from None


def _inline(script: str) -> str:
    """Return a script in a form that no HTML parser takes to end early."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--").strip()


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _escaped(incident: Mapping[str, Any]) -> str:
    return inert_json(json_of(incident)).replace("<", "\\u003c")
