"""Say in the log what goes wrong again and again: once and not for every time; the rest is counted."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Final

Clock = Callable[[], float]
QUIET_SECONDS: Final = 60.0
WORDS_SHOWN: Final = 300
_TLS_OBJECT: Final = re.compile(r" ssl:(?:\w+|<[^>]*>)(?= \[)")


def quote(words: str) -> str:
    """Return a server's words fit for one log line: no control characters, no more than 300 characters."""
    words = words.strip()
    cut = words[:WORDS_SHOWN] + "…" if len(words) > WORDS_SHOWN else words
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in cut)


def unreachable(error: Exception) -> str:
    """Return what the system says of a connection that could not be made, without the objects that aiohttp adds to it."""
    return quote(_TLS_OBJECT.sub("", str(error))) or type(error).__name__


class Notices:
    """Log each kind of problem at most once a minute, with the number of those not logged."""

    def __init__(self, log: logging.Logger, clock: Clock = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._last: dict[str, float] = {}
        self._suppressed: dict[str, int] = {}

    def warn(self, kind: str, message: str) -> None:
        """Log `message`, unless one of the same kind was logged within the last minute."""
        now = self._clock()
        if now - self._last.get(kind, -QUIET_SECONDS) < QUIET_SECONDS:
            self._suppressed[kind] = self._suppressed.get(kind, 0) + 1
            return
        self._last[kind] = now
        more = self._suppressed.pop(kind, 0)
        self._log.warning(
            "%s (%d more like it since the last such line)" if more else "%s", *([message, more] if more else [message])
        )


class Problems:
    """Join the problems that parts of one component report, so that the end of one does not hide the others."""

    def __init__(self, report: Callable[[str | None], None]) -> None:
        self._report = report
        self._known: dict[str, str] = {}

    def of(self, part: str) -> Callable[[str | None], None]:
        """Return what one part reports to."""

        def report(problem: str | None) -> None:
            if problem is None:
                self._known.pop(part, None)
            else:
                self._known[part] = problem
            self._report("; ".join(self._known.values()) or None)

        return report


class Outage:
    """Report when sending begins to fail and when it works again."""

    def __init__(
        self,
        log: logging.Logger,
        report: Callable[[str | None], None],
        destination: str,
        clock: Clock = time.monotonic,
    ) -> None:
        self._log = log
        self._report = report
        self._destination = destination
        self._clock = clock
        self._since: float | None = None
        self._announced = False
        self._last_line = -QUIET_SECONDS
        self._attempts = 0

    def failed(self, reason: str) -> None:
        """Note a failed attempt; the first one is logged and reported."""
        self._attempts += 1
        if self._since is not None:
            return
        now = self._since = self._clock()
        self._report(f"cannot send to {self._destination}: {reason}")
        # Where single requests fail among many that pass, one pair of lines a minute is enough.
        self._announced = now - self._last_line >= QUIET_SECONDS
        if self._announced:
            self._last_line = now
            self._log.warning("cannot send to %s: %s; trying again", self._destination, reason)

    def succeeded(self) -> None:
        """Note an answered request; the first one after failures is logged and reported."""
        if self._since is None:
            return
        if self._announced:
            seconds = self._clock() - self._since
            self._log.warning(
                "sending to %s works again after %.0f s, %d failed attempts", self._destination, seconds, self._attempts
            )
        self._since, self._attempts = None, 0
        self._report(None)
