"""Noise: what goes on besides, on machines and in programs that have nothing to do with what a scenario is about."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from tapio_otel.cli.scenarios.form import Noise
from tapio_otel.cli.scenarios.machine import Machine
from tapio_otel.event import UnifiedEvent

_MACHINES: Final = 20
_SECOND: Final = 1_000_000_000
_ORDINARY: Final = (
    ("nginx.service", 6, '203.0.113.{a} - - [01/Jan/2026:00:00:01 +0000] "GET /items/{n} HTTP/1.1" 200 {n} "-" "Mozilla/5.0"'),
    (
        "nginx.service",
        6,
        '203.0.113.{a} - - [01/Jan/2026:00:00:01 +0000] "GET /favicon.ico HTTP/1.1" 404 153 "-" "Mozilla/5.0"',
    ),
    ("nginx.service", 6, '203.0.113.{a} - - [01/Jan/2026:00:00:01 +0000] "POST /cart HTTP/1.1" 302 0 "-" "Mozilla/5.0"'),
    ("ssh.service", 6, "Accepted publickey for deploy from 198.51.100.{a} port {n} ssh2: ED25519 SHA256:abcdefghijklmnop"),
    ("ssh.service", 6, "Failed password for invalid user admin from 198.51.100.{a} port {n} ssh2"),
    ("ssh.service", 6, "Connection closed by authenticating user root 198.51.100.{a} port {n} [preauth]"),
    ("cron.service", 6, "(root) CMD (test -x /usr/sbin/anacron || run-parts /etc/cron.hourly)"),
    (
        "postgresql.service",
        6,
        "LOG:  checkpoint complete: wrote {n} buffers (0.5%); 0 WAL file(s) added, 0 removed, 1 recycled",
    ),
    ("postgresql.service", 3, 'ERROR:  duplicate key value violates unique constraint "orders_pkey"'),
    ("shop.service", 6, '{{"level":"info","msg":"request served","path":"/items/{n}","status":200,"duration_ms":{a}}}'),
    ("shop.service", 4, '{{"level":"warn","msg":"slow request","path":"/search","duration_ms":{n}}}'),
    ("shop.service", 6, 'level=info msg="cache refreshed" entries={n} took={a}ms'),
    ("systemd-logind.service", 6, "New session {n} of user deploy."),
    ("dbus.service", 6, "[system] Successfully activated service 'org.freedesktop.hostname1'"),
    ("chrony.service", 6, "Selected source 192.0.2.{a} (2.debian.pool.ntp.org)"),
    ("dnsmasq.service", 6, "query[A] cdn-{n}.example.com from 10.9.0.{a}"),
    ("kernel", 6, "usb 1-1: new high-speed USB device number {a} using xhci_hcd"),
    ("kernel", 6, 'audit: type=1400 audit(1767225600.{a}:{n}): apparmor="STATUS" operation="profile_replace"'),
    ("kernel", 5, "[UFW BLOCK] IN=eth0 OUT= MAC= SRC=198.51.100.{a} DST=192.0.2.1 LEN=40 PROTO=TCP SPT={n} DPT=23 SYN"),
)
"""Unit or `kernel`, PRIORITY, text: what machines say all day."""
_RARE: Final = (
    ("backup-{a}.service", 3, "connect to 192.0.2.{a} port 873: Connection refused"),
    ("crawler-{a}.service", 3, "curl: (6) Could not resolve host: host-{n}.example.net"),
    ("mail-{a}.service", 4, "connect to mx{a}.example.net[192.0.2.{a}]:25: Connection timed out"),
    ("report-{a}.service", 3, "Traceback (most recent call last): ValueError: invalid literal for int() with base 10: 'x{n}'"),
)
"""What fails now and then somewhere, each time another thing, and is nobody's consequence."""
_RARELY: Final = 1_000
"""One of so many events is a rare one."""


def noise(wanted: Noise, at: int, machine: Callable[[str], Machine]) -> list[UnifiedEvent]:
    """Return the events of a seed, in the order of time; `machine` makes a machine of a name."""
    random = Random(wanted.seed)  # noqa: S311 - it shall be the same each time
    machines = [machine(f"other-{number:02d}") for number in range(_MACHINES)]
    span = round(wanted.over * _SECOND)
    found: list[UnifiedEvent] = []
    for moment in sorted(random.randrange(span) for _ in range(wanted.count)):
        unit, priority, text = random.choice(_RARE if random.randrange(_RARELY) == 0 else _ORDINARY)
        numbers = {"a": random.randrange(1, 250), "n": random.randrange(1000, 60000)}
        about: dict[str, str | int] = {"kernel": 1} if unit == "kernel" else {"unit": unit.format(**numbers)}
        entry = {**about, "PRIORITY": priority, "MESSAGE": text.format(**numbers)}
        when = at + moment
        found += random.choice(machines).journal(entry, when, when + 50_000_000)
    return found
