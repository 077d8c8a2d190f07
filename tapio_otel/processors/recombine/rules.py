"""Forms that a configuration describes."""

from __future__ import annotations

import re
from typing import Final

from tapio_otel.processors.recombine.config import Rule
from tapio_otel.processors.recombine.forms import END, Form, Start

_BEGINNING: Final = re.compile(r"\^([A-Za-z0-9 _#:,=<>/@!%&~\"'-]{2,})(?![*?{])")
_ANY_LINE: Final = ""


def form_of(rule: Rule) -> Form:
    """Return the form that a rule describes."""
    found = None if "|" in rule.first else _BEGINNING.match(rule.first)
    steps = [(rule.until, END)] if rule.until is not None else []
    steps.append((_ANY_LINE if rule.next is None else rule.next, "in"))
    return Form(rule.name, (Start(rule.first, "in", begins=(found[1],) if found else ()),), {"in": steps})
