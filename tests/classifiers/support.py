"""Ask classifiers as `normalize` does: the trigger first, then the classifier, in the order of the chain."""

from __future__ import annotations

from functools import cache

import re2

from tapio_otel.classification import Classification
from tapio_otel.classifiers import CLASSIFIERS
from tapio_otel.event import UnifiedEvent


@cache
def trigger(name):
    """Return the classifier's compiled trigger."""
    return re2.compile(CLASSIFIERS[name].trigger)


def ask(name: str, text: str) -> Classification | None:
    """Return what one classifier says of a text; what it claims must have met its trigger."""
    said = CLASSIFIERS[name](text[: 16 * 1024], UnifiedEvent("id", 1, "test", description=text))
    if said is not None:
        assert trigger(name).search(text), f"{name} claims a text that its trigger leaves out: {text!r}"
    return said


def claimant(text: str) -> str:
    """Return the name of the first classifier of the chain that claims a text; empty where none does."""
    return next((name for name in CLASSIFIERS if ask(name, text) is not None), "")
