"""Ordinary lines: what software in good health writes, made from templates with random values."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

_TEMPLATES: Final = Path(__file__).with_name("templates.txt")
_PLACE: Final = re.compile(r"\{([a-z]+)\}")
_WORDS: Final = ("billing", "search", "cart", "ingest", "mailer", "report", "sync", "thumbs", "audit-trail", "gateway")


def _hex(random: random.Random, digits: int) -> str:
    return f"{random.getrandbits(4 * digits):0{digits}x}"


def _uuid(random: random.Random) -> str:
    return "-".join(_hex(random, digits) for digits in (8, 4, 4, 4, 12))


_VALUES: Final[dict[str, Callable[[random.Random], str]]] = {
    "n": lambda random: str(random.choice((1, 2, 7, 12, 28, 111, 137, 404, 500, 503, 1000, 65535, random.randrange(10**6)))),
    "p": lambda random: str(random.randrange(2, 4_000_000)),
    "ip": lambda random: f"192.0.2.{random.randrange(256)}",
    "port": lambda random: str(random.randrange(1024, 65536)),
    "hex": lambda random: _hex(random, random.choice((8, 12, 40, 64))),
    "uuid": _uuid,
    "word": lambda random: random.choice(_WORDS),
    "path": lambda random: f"/srv/{random.choice(_WORDS)}/{_hex(random, 6)}",
    "ms": lambda random: f"{random.randrange(10**4)}.{random.randrange(1000):03}",
    "host": lambda random: f"node-{random.randrange(100)}",
    "ts": lambda random: f"2026/11/{random.randrange(1, 31):02} 08:{random.randrange(60):02}:{random.randrange(60):02}",
    "pct": lambda random: str(random.randrange(101)),
    "size": lambda random: f"{random.randrange(1, 999)}.{random.randrange(10)}M",
}


def templates() -> list[tuple[str, str]]:
    """Return the identifier and the text of every template."""
    lines = _TEMPLATES.read_text("utf-8").splitlines()
    return [tuple(line.split("\t", 1)) for line in lines if line and not line.startswith("#")]  # type: ignore[misc]


def fill(template: str, random: random.Random) -> str:
    """Return a line made of a template."""
    return _PLACE.sub(lambda match: _VALUES[match[1]](random) if match[1] in _VALUES else match[0], template)


def lines(rounds: int, seed: int = 1) -> Iterator[tuple[str, str]]:
    """Yield identifier and text: every template `rounds` times, each with values of its own."""
    values = random.Random(seed)
    known = templates()
    for _ in range(rounds):
        for identifier, template in known:
            yield identifier, fill(template, values)
