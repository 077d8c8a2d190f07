"""What commands say: lines of text on which nothing acts that others wrote, whether it came from an event, a file or a URL.

Control characters (C0, C1, DEL) and characters that turn the writing direction around are shown as escapes. Colours are added
by whoever writes an event's line, after its texts were made inert.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import click


def say(text: str, *, err: bool = False) -> None:
    """Print lines."""
    from tapio_otel.exporting.event_text import inert

    click.echo("\n".join(map(inert, text.split("\n"))), err=err)


def fail(problem: object) -> NoReturn:
    """Print what is wrong, and exit with 1."""
    say(f"error: {problem}", err=True)
    sys.exit(1)
