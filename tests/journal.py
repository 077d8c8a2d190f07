"""Real journal files for tests, written by systemd-journal-remote from the journal export format."""

from __future__ import annotations

import itertools
import json
import os
import random
import struct
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.requirements import require

REMOTE = Path("/lib/systemd/systemd-journal-remote")
BOOT = "a" * 32
MACHINE = "b" * 32
BEGIN = 1_700_000_000_000_000

Value = str | bytes | int


def require_journal_remote() -> None:
    """Skip the test, with the reason, where journal files cannot be written."""
    require("journal", REMOTE.exists(), "apt install systemd-journal-remote, which writes journal files")


def entry(number: int, **fields: Value | list[Value] | None) -> dict[str, Any]:
    """Return an ordinary entry of a service; a field given as None is left out."""
    unit = number % 7
    usual: dict[str, Any] = {
        "__REALTIME_TIMESTAMP": BEGIN + number * 1000,
        "__MONOTONIC_TIMESTAMP": 5 + number * 1000,
        "_SOURCE_REALTIME_TIMESTAMP": BEGIN + number * 1000 - 7,
        "_BOOT_ID": BOOT,
        "_MACHINE_ID": MACHINE,
        "_HOSTNAME": "node1",
        "_TRANSPORT": "journal",
        "PRIORITY": 6,
        "SYSLOG_IDENTIFIER": f"svc{unit}",
        "_PID": 1000 + unit,
        "_UID": 0,
        "_GID": 0,
        "_COMM": f"svc{unit}",
        "_EXE": f"/usr/bin/svc{unit}",
        "_CMDLINE": f"/usr/bin/svc{unit} --flag",
        "_SYSTEMD_UNIT": f"svc{unit}.service",
        "_SYSTEMD_SLICE": "system.slice",
        "_SYSTEMD_CGROUP": f"/system.slice/svc{unit}.service",
        "_SYSTEMD_INVOCATION_ID": f"{unit:032x}",
        "MESSAGE": f"message {number}",
    }
    return {name: value for name, value in {**usual, **fields}.items() if value is not None}


def entries(count: int, begin: int = 0) -> Iterator[dict[str, Any]]:
    """Return ordinary entries."""
    return (entry(number) for number in range(begin, begin + count))


def awkward_entries(count: int) -> Iterator[dict[str, Any]]:
    """Return entries of which every fifth has something unusual, always the same ones."""
    chance = random.Random(7)
    unusual = itertools.cycle(
        [
            lambda n: entry(n, MESSAGE="first line\nsecond line\n\tthird"),
            lambda n: entry(n, MESSAGE=b"broken \xff\xfe utf-8 " + str(n).encode()),
            lambda n: entry(n, MESSAGE=""),
            lambda n: entry(n, MESSAGE=None),
            lambda n: entry(n, MESSAGE=["once", "twice", f"three times {n}"]),
            lambda n: entry(n, BLOB=bytes(range(256)), MESSAGE=f"binary {n}"),
            lambda n: entry(n, TAG=["red", "green", b"\xff"], REQUEST_ID=f"r{n}"),
            lambda n: entry(n, PRIORITY=None, _PID=None, _COMM=None, _EXE=None, _CMDLINE=None, _SYSTEMD_UNIT=None),
            lambda n: entry(n, PRIORITY="nine", CODE_LINE="12", CODE_FILE="a.c", CODE_FUNC="f"),
            lambda n: entry(n, _PID=chance.randint(2000, 4000), _SYSTEMD_UNIT=None, _SYSTEMD_INVOCATION_ID=None),
            lambda n: entry(n, MESSAGE="ünïcödé ✓ 你好 \x00 nul"),
            lambda n: entry(n, _PID=["1", "2"], MESSAGE="two pids"),
        ]
    )
    for number in range(count):
        if number == count // 2:
            yield entry(number, MESSAGE="x" * (1 << 20))
        else:
            yield next(unusual)(number) if number % 5 == 0 else entry(number)


def export_form(fields: Mapping[str, Any]) -> bytes:
    """Return an entry in the journal export format; see systemd's JOURNAL_EXPORT_FORMATS document."""
    lines = []
    for name, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            raw = one if isinstance(one, bytes) else str(one).encode()
            if raw.isascii() and raw.decode().isprintable():
                lines.append(name.encode() + b"=" + raw + b"\n")
            else:
                lines.append(name.encode() + b"\n" + struct.pack("<Q", len(raw)) + raw + b"\n")
    return b"".join(lines) + b"\n"


def write_journal(directory: Path, wanted: Iterable[Mapping[str, Any]], name: str = "x.journal") -> Path:
    """Write (or go on writing) a journal file; returns the directory."""
    require_journal_remote()
    directory.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(
        [str(REMOTE), f"--output={directory / name}", "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as remote:
        assert remote.stdin and remote.stderr
        for fields in wanted:
            remote.stdin.write(export_form(fields))
        remote.stdin.close()
        complaint = remote.stderr.read().decode()
        assert remote.wait() == 0, complaint
    return directory


def link_journal(source: Path, target: Path) -> Path:
    """Return a directory with the same journal files, of which some may be deleted."""
    target.mkdir()
    for file in source.iterdir():
        os.link(file, target / file.name)
    return target


def journalctl(directory: Path, *options: str) -> list[str]:
    """Return the cursors of what journalctl selects."""
    command = ["journalctl", f"--directory={directory}", "--output=json", "--output-fields=PRIORITY", "--quiet", *options]
    done = subprocess.run(command, capture_output=True, check=True)
    return [json.loads(line)["__CURSOR"] for line in done.stdout.splitlines()]
