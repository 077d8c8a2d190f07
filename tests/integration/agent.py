"""A running agent for tests: `tapio run` as its users start it, its events read back from the OTLP it wrote."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

TAPIO: Final = (sys.executable, "-c", "from tapio_otel.cli import entry; entry()")


class Record:
    """Be one log record with its resource, as a backend sees it. `attributes` holds the record's and the resource's."""

    def __init__(self, record: dict[str, Any], resource: dict[str, Any]) -> None:
        self.name: str = record.get("eventName", "")
        self.body: str = record["body"]["stringValue"]
        self.time = int(record["timeUnixNano"])
        self.observed = int(record.get("observedTimeUnixNano", 0))
        self.severity: str = record.get("severityText", "")
        self.number: int = record["severityNumber"]
        self.trace_id: str = record.get("traceId", "")
        self.span_id: str = record.get("spanId", "")
        self.resource = _plain(resource.get("attributes", []))
        self.own = _plain(record.get("attributes", []))
        self.attributes = {**self.resource, **self.own}

    def __getitem__(self, name: str) -> Any:
        return self.attributes.get(name)

    def __repr__(self) -> str:
        return f"{self.name} {self.severity} {self.body!r} {self.own}"


def _plain(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    return {one["key"]: _value(one["value"]) for one in attributes}


def _value(value: dict[str, Any]) -> Any:
    kind, content = next(iter(value.items()))
    if kind == "intValue":
        return int(content)
    return [_value(one) for one in content["values"]] if kind == "arrayValue" else content


def read_records(output: Path) -> Iterator[Record]:
    """Yield the records in a file of OTLP JSON, in order; a line that is still being written is left for the next time."""
    if not output.exists():
        return
    for line in output.read_text().split("\n")[:-1]:
        for resource in json.loads(line)["resourceLogs"]:
            for scope in resource["scopeLogs"]:
                for record in scope["logRecords"]:
                    yield Record(record, resource.get("resource", {}))


class Agent:
    """Run `tapio run` with receivers, processors (or their options) and a file of OTLP JSON, unless `exporters` are given.

    `prefix` is what the command is started by.
    """

    def __init__(
        self,
        room: Path,
        receivers: Mapping[str, Any],
        prefix: Sequence[str] = (),
        processors: Sequence[str] | Mapping[str, Any] = ("normalize",),
        exporters: Mapping[str, Any] | None = None,
    ) -> None:
        options = dict(processors) if isinstance(processors, Mapping) else {one: {} for one in processors}
        self.output = room / "out.json"
        self.errors = room / "errors.txt"
        self._prefix = prefix
        self._config = room / "tapio.yaml"
        exporters = exporters or {"file": {"path": str(self.output)}}
        pipeline = {"receivers": list(receivers), "processors": list(processors), "exporters": list(exporters)}
        self._config.write_text(
            json.dumps(
                {
                    "receivers": dict(receivers),
                    "processors": options,
                    "exporters": dict(exporters),
                    "service": {"state_dir": str(room / "state"), "pipelines": {"logs": pipeline}},
                }
            )
        )
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Agent:
        with self.errors.open("wb") as errors:
            command = [*self._prefix, *TAPIO, "run", "--config", str(self._config)]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> int:
        """Ask it to end, wait for that, and return its exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout=40)

    def kill(self) -> None:
        """End it as a crash does, without a chance to save anything; it can be entered again."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=40)

    def records(self) -> Iterator[Record]:
        """Yield what it has written so far, in order; a line that is still being written is left for the next time."""
        yield from read_records(self.output)

    def wait_for(
        self, condition: Callable[[Record], bool], again: Callable[[], Any] | None = None, seconds: float = 20
    ) -> Record:
        """Return the first record a condition holds for; `again` is called until there is one. Fails with what came."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if again is not None:
                again()
            for record in self.records():
                if condition(record):
                    return record
            time.sleep(0.05)
        raise AssertionError(f"no such record in:\n{self.seen()}\n{self.errors.read_text()}")

    def seen(self) -> str:
        """Return what came last, a record a line."""
        return "\n".join(map(repr, list(self.records())[-20:]))
