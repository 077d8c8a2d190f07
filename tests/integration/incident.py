"""An incident made to order: a web server runs out of memory in a systemd of its own, others need it, and an agent looks on.

Everything in it is real: `MemoryMax=` of a unit, the kernel that kills at that limit, the systemd that starts the unit again,
the clients that cannot connect meanwhile, and `tapio run` beside them as a unit of its own, with the processors that it has
without a configuration. The agent runs inside, so that units, paths of cgroups and addresses are what they are on a machine of
one's own; only process ids differ, as the kernel tells those of the whole machine.

    with Incident() as incident:
        incident.begin()       # all is well, and the agent is listening
        incident.exhaust()     # the server asks for more than it may have
        incident.wait_for(lambda record: record.name == "tapio.correlation")
        incident.end()         # the agent is told to stop, and has told all it knows
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import yaml

from tests.booted_systemd import BootedSystemd
from tests.integration.agent import TAPIO, Record, read_records

SERVER: Final = "web.service"
CLIENTS: Final = ("cart.service", "search.service", "shop.service")
LIMIT: Final = 48 << 20
"""Bytes that the server may have."""
PORT: Final = 8080
AGENT: Final = "tapio.service"
RECORDING: Final = "events.jsonl"
"""The name of the file in `room` that has the events, as `tapio timeline` and `tapio replay` read them."""
_INSIDE: Final = Path("/run/lab/agent")
"""Where the agent's files are, as it sees them."""
_CHECKOUT: Final = Path(__file__).parents[2]
_WATCHING: Final = 40.0
"""Seconds in which the agent must have begun to watch."""
_PROBES: Final = ("net_drop", "tcp_retransmit", "tcp_reset")

_SERVE: Final = f"""
import asyncio

async def answer(reader, writer):
    if b"export" in await reader.readline():
        everything = []
        while True:
            everything.append(bytearray(1 << 20))
    writer.write(b"hello\\n")
    await writer.drain()
    writer.close()

async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", {PORT})
    print("ready to serve on 127.0.0.1:{PORT}", flush=True)
    await server.serve_forever()

asyncio.run(main())
"""
_ASK: Final = f"""
import asyncio, sys

async def ask():
    reader, writer = await asyncio.open_connection("127.0.0.1", {PORT})
    writer.write(b"list\\n")
    await reader.readline()
    writer.close()

async def main():
    while True:
        try:
            await ask()
        except ConnectionRefusedError as error:
            print(f"<3>cannot ask the web server: {{error}}", file=sys.stderr, flush=True)
        except ConnectionError:
            pass  # it was being answered when the server died; the next attempt tells more
        await asyncio.sleep(0.2)

asyncio.run(main())
"""
_SAY: Final = f"""
import contextlib, socket, sys

with socket.create_connection(("127.0.0.1", {PORT})) as connection, contextlib.suppress(ConnectionError):
    connection.sendall(sys.argv[1].encode() + b"\\n")
    connection.recv(1)
"""
_CANARY: Final = "canary.service"


class Incident:
    """Boot a systemd with a server, its clients and an agent.

    With `record`, the agent keeps its events in `RECORDING`. Without `network` it does not look at packets.
    """

    def __init__(self, record: bool = False, network: bool = True) -> None:
        visible = [_CHECKOUT, Path(sys.prefix), Path(sys.base_prefix)]
        self.lab = BootedSystemd(_units(), limits_memory=True, kernel_log=True, visible=visible)
        self._network = network
        self._exporters: dict[str, Any] = {"file": {"path": str(_INSIDE / "out.json")}}
        if record:
            self._exporters["file/events"] = {"path": str(_INSIDE / RECORDING), "format": "events"}

    def __enter__(self) -> Incident:
        self.lab.__enter__()
        try:
            self._prepare()
        except BaseException:
            self.lab.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.lab.__exit__(kind, error, trace)

    @property
    def room(self) -> Path:
        """Return the directory of the agent's files, as the test sees it."""
        return self.lab.share / "agent"

    @property
    def errors(self) -> str:
        """Return what the agent wrote to its log."""
        log = self.room / "errors.txt"
        return log.read_text() if log.exists() else ""

    def begin(self) -> None:
        """Start everything, and return when the server answers and the agent hears all of its sources."""
        self.lab.systemctl("start", SERVER, AGENT)
        self._until(lambda: self._say("list"), "the server does not answer")
        self.lab.systemctl("start", *CLIENTS)
        self._until(lambda: "receivers/ebpf: watching" in self.errors, "the agent does not watch the kernel")
        for source in ("journald", "systemd"):
            self.wait_for(lambda one, source=source: _is_canary(one, source), lambda: self.lab.systemctl("restart", _CANARY))

    def exhaust(self) -> int:
        """Ask the server for what it has no memory for; returns when that was asked, in nanoseconds since 1970."""
        asked = time.time_ns()
        self._say("export")
        return asked

    def end(self) -> None:
        """Stop the agent as systemd does, and wait until it has written what it knows."""
        self.lab.systemctl("stop", AGENT)

    def records(self) -> list[Record]:
        """Return what the agent has told so far, in its order."""
        return list(read_records(self.room / "out.json"))

    def findings(self) -> list[Record]:
        """Return the findings told so far, every revision of each."""
        return [one for one in self.records() if one.name == "tapio.correlation"]

    def wait_for(
        self, condition: Callable[[Record], Any], again: Callable[[], Any] | None = None, seconds: float = _WATCHING
    ) -> Record:
        """Return the first record a condition holds for; `again` is called until there is one. Fails with the agent's log."""
        found: list[Record] = []

        def look() -> bool:
            if again is not None:
                again()
            found.extend(one for one in self.records() if condition(one))
            return bool(found)

        self._until(look, "the agent did not tell what it should have", seconds)
        return found[0]

    def _until(self, condition: Callable[[], Any], otherwise: str, seconds: float = _WATCHING) -> None:
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise RuntimeError(f"{otherwise} within {seconds:.0f} s; its log:\n{self.errors}")
            time.sleep(0.1)

    def _say(self, what: str) -> bool:
        """Ask the server for something; tells whether it could be reached."""
        return self.lab.run(sys.executable, "-I", "-S", "-c", _SAY, what, check=False).returncode == 0

    def _prepare(self) -> None:
        self.room.mkdir()
        (self.lab.share / "serve.py").write_text(_SERVE)
        (self.lab.share / "ask.py").write_text(_ASK)
        (self.room / "tapio.yaml").write_text(json.dumps(self._configuration()))

    def _configuration(self) -> dict[str, Any]:
        """Return what the agent does without a configuration, and `correlate`; its packets are those of this network alone."""
        configuration: dict[str, Any] = yaml.safe_load((files("tapio_otel.config") / "default.yaml").read_text())
        processors = configuration["service"]["pipelines"]["logs"]["processors"]
        if "correlate" not in processors:
            processors.insert(processors.index("redaction"), "correlate")
            configuration["processors"]["correlate"] = None
        probe = {"enabled": self._network, "network_namespaces": ["/proc/self/ns/net"]}
        configuration["receivers"]["ebpf"] = {"probes": dict.fromkeys(_PROBES, probe)}
        configuration["exporters"] = self._exporters
        configuration["service"]["pipelines"]["logs"]["exporters"] = list(self._exporters)
        del configuration["extensions"], configuration["service"]["extensions"]  # nobody looks at a page in there
        configuration["service"]["state_dir"] = str(_INSIDE / "state")
        return configuration


def _units() -> dict[str, str]:
    """Return the units: the server with its limit, who needs it, the agent, and one to see whether the agent listens."""
    server = f"ExecStart={_command(sys.executable, '-I', '-S', '/run/lab/serve.py')}\nSyslogIdentifier=web\n"
    client = f"ExecStart={_command(sys.executable, '-I', '-S', '/run/lab/ask.py')}\n"
    agent = f"ExecStart={_command(*TAPIO, 'run', '--config', str(_INSIDE / 'tapio.yaml'))}\nTimeoutStopSec=30\n"
    where = f"StandardOutput=file:{_INSIDE}/output.txt\nStandardError=file:{_INSIDE}/errors.txt\n"
    return {
        SERVER: f"[Service]\n{server}MemoryMax={LIMIT}\nMemorySwapMax=0\nRestart=on-failure\nRestartSec=1\n",
        **{name: f"[Service]\n{client}SyslogIdentifier={name.partition('.')[0]}\n" for name in CLIENTS},
        AGENT: f'[Service]\nEnvironment="PYTHONPATH={_CHECKOUT}"\n{agent}{where}',
        _CANARY: "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=oneshot\nExecStart=echo hello\n",
    }


def _command(*words: str) -> str:
    """Return a command as ExecStart= wants it."""
    return " ".join('"' + word.replace("\\", r"\\").replace('"', r"\"").replace("%", "%%") + '"' for word in words)


def _is_canary(record: Record, source: str) -> bool:
    return record["systemd.unit.name"] == _CANARY and record["tapio.source"] == source


def last_revisions(findings: Sequence[Record]) -> Iterator[Record]:
    """Yield each finding once, as it was told last."""
    yield from {one["tapio.correlation.id"]: one for one in findings}.values()
