"""Listening at last: what keeps the port from the page must not keep the agent from its work, so it is tried until it works.

That another process has the port, or that the machine does not have the address yet, may pass: it is reported to health, once
to the log, and tried again after pauses that grow. What cannot pass, such as a port that this user may not take, is an error
at the start.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from tapio_otel.extensions.ui.config import Endpoint

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
"""Seconds between two attempts."""
PASSING: Final = frozenset((errno.EADDRINUSE, errno.EADDRNOTAVAIL))
"""What may be otherwise in a moment."""
_LISTENING: Final = "0A"
"""The state of a listening socket in /proc/net/tcp (include/net/tcp_states.h of the kernel)."""


class Listening:
    """Call `listen`, which raises OSError, until it worked.

    `option` is where the endpoint is set; `report` takes what is wrong, and None once it is well.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        option: str,
        listen: Callable[[], Awaitable[None]],
        report: Callable[[str | None], None],
        log: logging.Logger,
    ) -> None:
        self._endpoint, self._option = endpoint, option
        self._listen, self._report, self._log = listen, report, log
        self._trying: asyncio.Task[None] | None = None

    async def start(self, listens: Callable[[], None]) -> None:
        """Try once, and go on trying where that fails for what may pass; `listens` is called as soon as it worked."""
        try:
            await self._listen()
        except OSError as error:
            if error.errno not in PASSING:
                raise
            problem = await self._tell(error)
            self._log.warning("%s", problem)
            self._trying = asyncio.create_task(self._keep_trying(listens), name="listen")
        else:
            listens()

    async def _keep_trying(self, listens: Callable[[], None]) -> None:
        pause = FIRST_PAUSE
        while True:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            try:
                await self._listen()
            except OSError as error:
                await self._tell(error)
            else:
                self._report(None)
                listens()
                return

    async def _tell(self, error: OSError) -> str:
        """Report what is wrong, and return it."""
        holder = await asyncio.to_thread(holder_of, self._endpoint.port) if error.errno == errno.EADDRINUSE else ""
        problem = problem_of(error, self._endpoint, self._option, holder)
        self._report(problem)
        return problem

    async def stop(self) -> None:
        """Try no more; safe without a start, and twice."""
        trying, self._trying = self._trying, None
        if trying is not None:
            trying.cancel()
            await asyncio.gather(trying, return_exceptions=True)


def problem_of(error: OSError, endpoint: Endpoint, option: str, holder: str) -> str:
    """Return what is wrong, who has the port where that is known, and what to do."""
    others = f"or set {option} to another port, such as {Endpoint(endpoint.host, endpoint.port % 65535 + 1)}"
    if error.errno == errno.EADDRINUSE:
        who = f"by {holder}" if holder else f"by another process, which `ss -ltnp 'sport = :{endpoint.port}'` names to root"
        do = f"Stop that, {others}, or to {Endpoint(endpoint.host, 0)} for any that is free"
        return f"endpoint: {endpoint} is taken {who}: there is no page until it is free, which is tried again and again. {do}"
    if error.errno == errno.EADDRNOTAVAIL:
        return (
            f"endpoint: this machine has no address {endpoint.host} at the moment: there is no page until it has, which is "
            f"tried again and again. Set {option} to an address of this machine, such as {Endpoint('127.0.0.1', endpoint.port)}"
        )
    reason = error.strerror or error
    return f"endpoint: cannot listen on {str(endpoint)!r}: {reason}. Choose another port or address: set {option}"


def holder_of(port: int, proc: Path = Path("/proc")) -> str:
    """Return who listens on a TCP port, as `name (PID 12)`; empty where this user cannot see it. Blocks."""
    sockets = {f"socket:[{inode}]" for name in ("tcp", "tcp6") for inode in _listening(proc / "net" / name, port)}
    if not sockets:
        return ""
    for process in (one for one in proc.iterdir() if one.name.isdigit()):
        try:
            if any(str(one.readlink()) in sockets for one in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text(errors='replace').strip()!r} (PID {process.name})"
        except OSError:  # another user's, or gone
            continue
    return ""


def _listening(table: Path, port: int) -> list[str]:
    """Return the inodes of the sockets in a table that listen on a port."""
    try:
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return []
    ends = f":{port:04X}"
    return [row[9] for row in rows if len(row) > 9 and row[3] == _LISTENING and row[1].endswith(ends)]
