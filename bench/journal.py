"""Make a journal to measure on: deterministic, some 21 fields an entry, a node's mix of units, processes and messages.

The entries are written in the journal export format and turned into real journal files by systemd-journal-remote. The result
is kept in the cache by number of entries and the content of this file, so that every run measures the same journal.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

REMOTE = ("/lib/systemd/systemd-journal-remote", "/usr/lib/systemd/systemd-journal-remote")
START = 1_790_000_000_000_000  # microseconds since the epoch
BOOT_ID = "5f1c3f0f6f7e4c55a1a6b1c54c6e2b11"
MACHINE_ID = "2c4d8a0f9b3e4e0c8f0e7d6c5b4a3921"
HOST = "node-17.cluster.example"
SYSTEMD_STARTED = "39f53479d3a045ac8e11786248231fbf"


def cache_directory() -> Path:
    """Return where benchmarks keep what they make."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tapio-otel" / "bench"


@dataclass
class Process:
    """One process that writes to the journal, with the fields that do not change from entry to entry."""

    fields: dict[str, str]
    messages: list[Callable[[random.Random], tuple[int, str]]]
    weight: float
    transport: str
    extra: Callable[[random.Random], dict[str, str]] = field(default=lambda _random: {})


def _number(random: random.Random, low: int, high: int) -> int:
    return low + int(random.random() * (high - low))


def _address(random: random.Random) -> str:
    return f"10.{_number(random, 0, 4)}.{_number(random, 0, 255)}.{_number(random, 1, 255)}"


def _digits(random: random.Random, count: int) -> int:
    return _number(random, 10 ** (count - 1), 10**count)


def _hex(random: random.Random, digits: int) -> str:
    return f"{random.getrandbits(digits * 4):0{digits}x}"


def _clock(random: random.Random) -> str:
    return f"13:{_number(random, 0, 60):02d}:{_number(random, 0, 60):02d}"


def _access(random: random.Random) -> tuple[int, str]:
    status = random.choices(("200", "304", "404", "502"), (90, 5, 4, 1))[0]
    path = random.choice(("/", "/api/orders", "/api/users/17", "/static/app.js", "/healthz"))
    return 6, (
        f'{_address(random)} - - [21/Sep/2026:{_clock(random)} +0000] "GET {path} HTTP/1.1" {status} '
        f'{_number(random, 100, 90000)} "-" "Mozilla/5.0 (X11; Linux x86_64) Chrome/141.0" {random.random():.3f}'
    )


def _json(random: random.Random) -> tuple[int, str]:
    level = random.choices(("info", "debug", "warn", "error"), (80, 12, 6, 2))[0]
    return 6, (
        f'{{"level":"{level}","ts":"2026-09-21T{_clock(random)}.{_digits(random, 3)}Z","logger":"orders.api",'
        f'"msg":"order {_number(random, 1, 99999)} processed","trace_id":"{_hex(random, 32)}","span_id":"{_hex(random, 16)}",'
        f'"duration_ms":{random.random() * 300:.2f},"customer":"c-{_number(random, 1, 5000)}"}}'
    )


def _klog(random: random.Random) -> tuple[int, str]:
    pod = f"default/web-{_hex(random, 10)}-{_hex(random, 5)}"
    priority, level, said = random.choice(
        (
            (6, "I", 'kubelet.go:2517] "SyncLoop (PLEG): event for pod"'),
            (6, "I", 'prober.go:107] "Probe failed" probeType="Readiness"'),
            (4, "E", 'pod_workers.go:1298] "Error syncing pod, skipping" err="failed to start container"'),
        )
    )
    return priority, f'{level}0921 {_clock(random)}.{_digits(random, 6)}    1187 {said} pod="{pod}"'


def _logfmt(random: random.Random) -> tuple[int, str]:
    level = random.choices(("info", "warning", "error"), (92, 6, 2))[0]
    return 6, (
        f'time="2026-09-21T{_clock(random)}.{_digits(random, 9)}Z" level={level} '
        f'msg="container event" id={_hex(random, 64)} type=io.containerd.task'
    )


def _sshd(random: random.Random) -> tuple[int, str]:
    peer = f"{_address(random)} port {_number(random, 1024, 65535)}"
    return 6, random.choice(
        (
            f"Accepted publickey for deploy from {peer} ssh2: ED25519 SHA256:{_hex(random, 43)}",
            f"Failed password for invalid user admin from {peer} ssh2",
            f"Connection closed by {peer} [preauth]",
        )
    )


def _kernel(random: random.Random) -> tuple[int, str]:
    veth, number = f"veth{_hex(random, 8)}", _number(random, 1, 40)
    return random.choice(
        (
            (6, f"IPv6: ADDRCONF(NETDEV_CHANGE): {veth}: link becomes ready"),
            (6, f"cni0: port {number}({veth}) entered forwarding state"),
            (4, f"TCP: request_sock_TCP: Possible SYN flooding on port {number}. Sending cookies. Check SNMP counters."),
            (3, f"Memory cgroup out of memory: Killed process {number * 997} (java) total-vm:8123456kB"),
        )
    )


def _database(random: random.Random) -> tuple[int, str]:
    number, elapsed = _number(random, 1, 99999), random.random() * 2000
    return random.choice(
        (
            (6, f"LOG:  checkpoint complete: wrote {number} buffers (0.4%); write={elapsed:.3f} s"),
            (6, f"LOG:  duration: {elapsed:.3f} ms  statement: SELECT * FROM orders WHERE id = {number}"),
            (4, f'ERROR:  duplicate key value violates unique constraint "orders_pkey"\nDETAIL:  Key (id)=({number})'),
        )
    )


def _systemd(random: random.Random) -> tuple[int, str]:
    unit = random.choice(("logrotate", "apt-daily", "fstrim", "man-db", f"run-{_hex(random, 8)}"))
    said = random.choice(("Starting {}...", "Finished {}.", "{}: Deactivated successfully."))
    return 6, said.format(f"{unit}.service")


def _systemd_fields(random: random.Random) -> dict[str, str]:
    return {
        "CODE_FILE": "src/core/job.c",
        "CODE_LINE": "768",
        "CODE_FUNC": "job_emit_done_message",
        "MESSAGE_ID": SYSTEMD_STARTED,
        "JOB_ID": str(_number(random, 1, 90000)),
        "JOB_TYPE": "start",
        "JOB_RESULT": "done",
        "UNIT": random.choice(("logrotate.service", "apt-daily.service", "fstrim.service", "man-db.service")),
        "INVOCATION_ID": _hex(random, 32),
    }


def _syslog_fields(random: random.Random) -> dict[str, str]:
    return {"SYSLOG_TIMESTAMP": f"Sep 21 13:{_number(random, 0, 60):02d}:{_number(random, 0, 60):02d} "}


# name, executable, processes, weight, transport, what it writes
UNITS: tuple[tuple[str, str, int, float, str, Callable[[random.Random], tuple[int, str]]], ...] = (
    ("nginx", "/usr/sbin/nginx", 4, 22, "syslog", _access),
    ("orders-api", "/usr/local/bin/orders-api", 3, 16, "stdout", _json),
    ("users-api", "/usr/local/bin/users-api", 3, 10, "stdout", _json),
    ("kubelet", "/usr/bin/kubelet", 1, 12, "stdout", _klog),
    ("containerd", "/usr/bin/containerd", 1, 12, "stdout", _logfmt),
    ("postgresql@15-main", "/usr/lib/postgresql/15/bin/postgres", 8, 8, "stdout", _database),
    ("ssh", "/usr/sbin/sshd", 40, 8, "syslog", _sshd),
    ("dockerd", "/usr/bin/dockerd", 1, 3, "journal", _logfmt),
    ("kube-proxy", "/usr/bin/kube-proxy", 1, 3, "stdout", _klog),
)


def _processes(random: random.Random) -> list[Process]:
    found = []
    pid = 800
    for name, exe, count, weight, transport, message in UNITS:
        invocation = _hex(random, 32)
        for _ in range(count):
            pid += _number(random, 1, 500)
            fields = _service(name, exe, pid, transport, invocation, random)
            extra = _syslog_fields if transport == "syslog" else (lambda _random: {})
            found.append(Process(fields, [message], weight / count, transport, extra))
    systemd = _service("init", "/usr/lib/systemd/systemd", 1, "journal", _hex(random, 32), random)
    systemd |= {
        "SYSLOG_IDENTIFIER": "systemd",
        "_SYSTEMD_UNIT": "init.scope",
        "_SYSTEMD_CGROUP": "/init.scope",
        "_SYSTEMD_SLICE": "-.slice",
    }
    found.append(Process(systemd, [_systemd], 4, "journal", _systemd_fields))
    kernel = _common("kernel", 0) | {
        "_TRANSPORT": "kernel",
        "_UDEV_SYSNAME": "eth0",
        "_KERNEL_SUBSYSTEM": "net",
        "_KERNEL_DEVICE": "n2",
    }
    found.append(Process(kernel, [_kernel], 2, "kernel"))
    return found


def _common(identifier: str, facility: int) -> dict[str, str]:
    return {
        "_MACHINE_ID": MACHINE_ID,
        "_HOSTNAME": HOST,
        "_RUNTIME_SCOPE": "system",
        "SYSLOG_FACILITY": str(facility),
        "SYSLOG_IDENTIFIER": identifier,
    }


def _service(name: str, exe: str, pid: int, transport: str, invocation: str, random: random.Random) -> dict[str, str]:
    comm = exe.rsplit("/", 1)[1][:15]
    fields = _common(comm, 3) | {
        "_TRANSPORT": transport,
        "_PID": str(pid),
        "_UID": "0",
        "_GID": "0",
        "_COMM": comm,
        "_EXE": exe,
        "_CMDLINE": f"{exe} --config /etc/{name}/config.yaml --listen {_address(random)}:{_number(random, 1024, 9999)}",
        "_CAP_EFFECTIVE": "1ffffffffff",
        "_SYSTEMD_CGROUP": f"/system.slice/{name}.service",
        "_SYSTEMD_UNIT": f"{name}.service",
        "_SYSTEMD_SLICE": "system.slice",
        "_SYSTEMD_INVOCATION_ID": invocation,
    }
    if transport == "stdout":
        fields["_STREAM_ID"] = _hex(random, 32)
    else:
        fields["SYSLOG_PID"] = str(pid)
    return fields


def entries(count: int, seed: int = 17) -> Iterator[dict[str, str]]:
    """Yield the entries of the journal, as field name to value, in the order of their timestamps."""
    rng = random.Random(seed)
    processes = _processes(rng)
    weights = [process.weight for process in processes]
    now = START
    while count > 0:
        drawn = rng.choices(processes, weights, k=min(count, 1000))
        count -= len(drawn)
        for process in drawn:
            now += _number(rng, 20, 900)
            priority, message = rng.choice(process.messages)(rng)
            times = {
                "__REALTIME_TIMESTAMP": str(now),
                "__MONOTONIC_TIMESTAMP": str(now - START + 10_000_000),
                "_BOOT_ID": BOOT_ID,
            }
            source = {"_SOURCE_REALTIME_TIMESTAMP": str(now - 7)} if process.transport != "stdout" else {}
            yield times | process.fields | source | process.extra(rng) | {"PRIORITY": str(priority), "MESSAGE": message}


def export(entry: dict[str, str]) -> bytes:
    """Return one entry in the journal export format."""
    parts = []
    for name, value in entry.items():
        raw = value.encode()
        if b"\n" in raw:
            parts.append(name.encode() + b"\n" + len(raw).to_bytes(8, "little") + raw + b"\n")
        else:
            parts.append(name.encode() + b"=" + raw + b"\n")
    return b"".join(parts) + b"\n"


def make(count: int, directory: Path) -> None:
    """Write a journal of `count` entries into `directory`; RuntimeError says why it cannot."""
    remote = next((path for path in REMOTE if os.access(path, os.X_OK)), None)
    if remote is None:
        raise RuntimeError("systemd-journal-remote is not installed: apt-get install systemd-journal-remote")
    command = [remote, f"--output={directory}/bench.journal", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stderr is not None
        for entry in entries(count):
            process.stdin.write(export(entry))
        process.stdin.close()
        said = process.stderr.read().decode(errors="replace")
    if process.returncode != 0:
        raise RuntimeError(f"systemd-journal-remote failed ({process.returncode}): {said.strip()[-500:]}")


def journal(count: int) -> Path:
    """Return the directory of the journal with `count` entries, made at the first call."""
    version = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    place = cache_directory() / f"journal-{count}-{version}"
    if not place.exists():
        print(f"making a journal of {count} entries (once)", file=sys.stderr)
        place.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=".journal-", dir=place.parent))
        try:
            make(count, building)
            if not place.exists():  # another run may have been faster
                building.rename(place)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return place


if __name__ == "__main__":
    print(journal(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000))
