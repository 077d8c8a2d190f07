"""Say what a kill left in flight: what an agent's own files show that it did not know to be delivered.

- Requests that had arrived and were still in the queue's file are sent once more.
- Entries behind the checkpoint that had arrived, or are in the queue, are read once more.

Nothing else may be repeated.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from tapio_otel.storage.queue_file import QueueFile
from tests.faults.agent import FaultAgent
from tests.faults.oracle import Arrivals, records_of

_POSITION = re.compile(r"\bi=([0-9a-f]+)")


def sequence_number(uid: str) -> int:
    """Return the number that journald gave an entry, as its id tells."""
    return int(uid.replace("-", "")[-15:], 16)


def in_flight(agent: FaultAgent, arrivals: Arrivals) -> tuple[int, int]:
    """Return how many repeats a killed agent's files let it send again, and how many let it read again.

    After several kills in a row an entry may be in the queue more than once.
    """
    queued = Arrivals()
    for body in queued_bodies(agent.file):
        queued.add(records_of(ExportLogsServiceRequest.FromString(body)))
    again = sum(copies - (number not in arrivals.times) for number, copies in queued.times.items())
    checkpoint = saved_position(agent.checkpoints)
    known = {**queued.ids, **_newest(arrivals, checkpoint)}
    return again, sum(1 for uid in known.values() if sequence_number(uid) > checkpoint)


def _newest(arrivals: Arrivals, checkpoint: int) -> dict[int, str]:
    """Return what has arrived behind a checkpoint."""
    found: dict[int, str] = {}
    for number in range(max(arrivals.ids, default=-1), -1, -1):
        uid = arrivals.ids.get(number)
        if uid is not None:
            if sequence_number(uid) <= checkpoint:
                break
            found[number] = uid
    return found


def queued_bodies(file: Path) -> list[bytes]:
    """Return the requests in a queue's file, as a crash has left it."""
    with _copy(file) as copy:
        if not copy.exists():
            return []
        opened = QueueFile(copy)
        opened.open()
        bodies = [row.body for row in opened.rows()]
        opened.close()
    return bodies


def saved_position(file: Path) -> int:
    """Return the sequence number of the checkpoint on disk, 0 without one."""
    with _copy(file) as copy, contextlib.closing(sqlite3.connect(copy)) as opened:
        try:
            rows = opened.execute("SELECT value FROM checkpoint").fetchall()
        except sqlite3.OperationalError:  # there is no file yet
            return 0
    found = [_POSITION.search(json.dumps(json.loads(value))) for (value,) in rows]
    return int(found[0][1], 16) if found and found[0] else 0


@contextlib.contextmanager
def _copy(file: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "copy.db"
        for suffix in ("-wal", ""):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{file}{suffix}", f"{copy}{suffix}")
        yield copy
