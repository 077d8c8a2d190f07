"""Compare what was written to a journal with what arrived at a backend.

Every entry carries its number in its text: "message 17" in files that tests write, "sent 17 xxx" from a live journald. The
oracle knows nothing of the agent: it reads the collector's file, or what a scripted server took.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from tests.exporting.servers import Received

NUMBERED = re.compile(r"(?:message|sent) (\d+)\b")
UID = "log.record.uid"


@dataclass
class Arrivals:
    """Hold what has arrived: how often each entry, and under which ids."""

    times: Counter[int] = field(default_factory=Counter)
    ids: dict[int, str] = field(default_factory=dict)
    several: set[int] = field(default_factory=set)
    """Entries that came with more than one id."""
    total: int = 0
    others: set[str] = field(default_factory=set)
    """Ids of records that are none of the entries: what systemd itself says, or the agent."""

    @property
    def delivered(self) -> int:
        """Return how many different entries have arrived."""
        return len(self.times)

    @property
    def repeated(self) -> int:
        """Return how many arrivals were of an entry that had come before."""
        return self.total - self.delivered

    @property
    def different(self) -> int:
        """Return how many different records have arrived, others included."""
        return self.delivered + len(self.others)

    def add(self, records: Iterable[tuple[str, str]]) -> None:
        """Add the records of one request, as text and id."""
        for text, uid in records:
            found = NUMBERED.match(text)
            if found is None:
                self.others.add(uid)
                continue
            number = int(found[1])
            self.times[number] += 1
            self.total += 1
            if self.ids.setdefault(number, uid) != uid:
                self.several.add(number)

    def missing(self, written: int) -> set[int]:
        """Return which of so many entries have not arrived."""
        return set(range(written)) - self.times.keys()

    def check(self, written: int, lost: int = 0) -> None:
        """Assert that so many of the entries are missing, none was invented, and repeats have the id of the first."""
        missing = self.missing(written)
        assert len(missing) == lost, f"{len(missing)} of {written} are missing, {lost} expected: {sorted(missing)[:20]}"
        assert not self.times.keys() - set(range(written)), "entries arrived that nobody has written"
        assert not self.several, f"entries arrived with several ids: {sorted(self.several)[:20]}"
        assert len(set(self.ids.values())) == len(self.ids), "different entries arrived with the same id"
        assert all(self.ids.values()), "entries arrived without an id"


class CollectorFile:
    """Follow the file that a collector writes, from its present end; every `read` goes on where the last one ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.arrivals = Arrivals()
        self._offset = path.stat().st_size if path.exists() else 0

    def read(self) -> Arrivals:
        """Return all that has arrived by now; a line that is still being written is left for the next time."""
        if not self.path.exists():
            return self.arrivals
        with self.path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                self.arrivals.add(_records(line))
        return self.arrivals


def _records(line: bytes) -> list[tuple[str, str]]:
    return [
        (record.get("body", {}).get("stringValue", ""), _uid(record))
        for resource in json.loads(line).get("resourceLogs", [])
        for scope in resource.get("scopeLogs", [])
        for record in scope.get("logRecords", [])
    ]


def _uid(record: dict[str, Any]) -> str:
    return next((one["value"].get("stringValue", "") for one in record.get("attributes", []) if one["key"] == UID), "")


def of_server(*servers: Received) -> Arrivals:
    """Return what scripted servers have taken."""
    arrivals = Arrivals()
    for server in servers:
        for request in server.requests:
            arrivals.add(records_of(request))
    return arrivals


def records_of(request: ExportLogsServiceRequest) -> Iterator[tuple[str, str]]:
    """Yield text and id of each record of a request."""
    for resource in request.resource_logs:
        for scope in resource.scope_logs:
            for record in scope.log_records:
                uid = next((one.value.string_value for one in record.attributes if one.key == UID), "")
                yield record.body.string_value, uid
