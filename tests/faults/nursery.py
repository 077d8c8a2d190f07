"""Start agents without the second that importing takes: a process that has everything imported, and forks them.

    python -m tests.faults.nursery CONFIG

From the fork on an agent is an ordinary one: it parses its command line, reads its configuration, opens its files. What a fork
saves is the same for every start, and a thousand kills take minutes instead of an hour. It takes one line of JSON for each
order on its standard input, and answers with a line: `["start", config, errors]` with a process id, `["wait", pid]` with its
status, once it has ended. When its input ends it ends, and the kernel kills its agents.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
from typing import NoReturn

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Import what the configuration needs, then take orders."""
    _import_all(sys.argv[1])
    assert threading.active_count() == 1, "a process with threads cannot be forked safely"
    print("ready", flush=True)  # noqa: T201 - the answer
    for line in sys.stdin:
        order, *rest = json.loads(line)
        print(_start(*rest) if order == "start" else _wait(*rest), flush=True)  # noqa: T201 - the answer


def _import_all(config: str) -> None:
    """Create the components, which imports their parts and touches nothing else."""
    import aiohttp  # noqa: F401 - imported at the start of an exporter

    import tapio_otel.cli.commands
    import tapio_otel.cli.run  # noqa: F401
    from tapio_otel.config.loader import load
    from tapio_otel.registry import Registry
    from tapio_otel.service.runner import Service

    registry = Registry.load()
    Service(load([config], [], registry), registry)


def _start(config: str, errors: str) -> int:
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            _become(config, errors, parent)
        finally:
            os._exit(70)
    return child


def _become(config: str, errors: str, parent: int) -> NoReturn:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(70)
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(errors, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(log)
    sys.argv = ["tapio", "run", "--config", config]
    from tapio_otel.cli import entry

    status = 0
    try:
        entry()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    main()
