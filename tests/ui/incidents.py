"""What the tests show on the page: incidents in the forms that the sources give, their findings, and ordinary events."""

from __future__ import annotations

import random
import time

from tapio_otel.correlation.engine import Engine
from tapio_otel.correlation.examples import last_revisions, replay
from tapio_otel.correlation.library import load_rules
from tapio_otel.entity import EntityReference
from tapio_otel.event import Severity, UnifiedEvent
from tapio_otel.identity import event_id

SECOND = 1_000_000_000
NODE = EntityReference("node", "worker-3")
DATABASE = EntityReference("pod", "orders-db-0", "shop", "uid-orders-db-0", NODE)
DATABASE_CONTAINER = EntityReference("container", "postgres", "", "c0ffee" * 10 + "c0ff", DATABASE)
CLIENTS = [
    EntityReference("pod", name, "shop", f"uid-{name}", NODE) for name in ("checkout-5d9f7-x2k", "cart-77c4b-9qp", "web-0")
]
RESOLVER = EntityReference("systemd_unit", "systemd-resolved.service", parent=NODE)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def made(
    at: int, source: str, type: str, severity: Severity, entity: EntityReference, title: str, **told: object
) -> UnifiedEvent:
    """Return an event; what is told beyond the fields are its attributes."""
    fields = {name: told.pop(name) for name in ("description", "trace_id", "span_id", "labels") if name in told}
    identity = event_id("page", source, type, title, entity.name, str(at))
    return UnifiedEvent(identity, at, source, type, severity, entity, title, attributes=told, **fields)  # type: ignore[arg-type]


def out_of_memory(at: int) -> list[UnifiedEvent]:
    """Return a database that exceeds its memory limit, as four sources tell it, and what its clients meet."""
    kill = {"pid": 48211, "comm": "postgres", "container_id": DATABASE_CONTAINER.uid, "pod_uid": DATABASE.uid}
    refused = {"host": "10.42.3.17", "port": 5432, "dst_ip": "10.42.3.17", "dst_port": 5432}
    ms = SECOND // 1000
    return [
        made(
            at,
            "ebpf",
            "oom_kill",
            Severity.CRITICAL,
            DATABASE_CONTAINER,
            "Out of memory: postgres (PID 48211) was killed",
            memory_limit=536870912,
            memory_usage=536866816,
            constraint="memcg",
            **{"k8s.pod.ip": "10.42.3.17"},
            **kill,
        ),
        made(
            at + 9 * ms,
            "journald",
            "container_oom",
            Severity.CRITICAL,
            DATABASE_CONTAINER,
            "Memory cgroup out of memory: Killed process 48211 (postgres)",
            description="Memory cgroup out of memory: Killed process 48211 (postgres) total-vm:921600kB, "
            "anon-rss:519004kB, file-rss:4kB, shmem-rss:2048kB, UID:70 pgtables:1204kB oom_score_adj:969",
            **kill,
        ),
        made(
            at + 640 * ms,
            "journald",
            "connection_failed",
            Severity.ERROR,
            CLIENTS[0],
            "Connection refused: 10.42.3.17:5432",
            description='level=error msg="begin" err="dial tcp 10.42.3.17:5432: connect: connection refused" order=118233',
            trace_id=TRACE,
            span_id="00f067aa0ba902b7",
            **refused,
        ),
        made(
            at + 910 * ms,
            "journald",
            "connection_failed",
            Severity.ERROR,
            CLIENTS[1],
            "Connection refused: 10.42.3.17:5432",
            **refused,
        ),
        made(
            at + 1400 * ms,
            "journald",
            "connection_failed",
            Severity.ERROR,
            CLIENTS[2],
            "Connection refused: 10.42.3.17:5432",
            **refused,
        ),
        made(
            at + 2100 * ms,
            "kubernetes",
            "container_restart",
            Severity.WARNING,
            DATABASE_CONTAINER,
            "Container postgres was restarted (OOMKilled)",
            restart_count=4,
            reason="OOMKilled",
            exit_code=137,
            pod_uid=DATABASE.uid,
            container_id=DATABASE_CONTAINER.uid,
            labels={"app": "orders-db", "tier": "data"},
        ),
    ]


def names_fail(at: int) -> list[UnifiedEvent]:
    """Return a name server in trouble and look-ups that fail."""
    names = ("db.example.com", "api.example.com", "mail.example.com")
    failures = [
        made(
            at + (3 + place) * SECOND,
            "journald",
            "dns_resolution_failed",
            Severity.ERROR,
            CLIENTS[place % 3],
            f"Name cannot be resolved: {names[place % 3]}",
            dns_name=names[place % 3],
        )
        for place in range(9)
    ]
    server = made(
        at,
        "journald",
        "dns_server_failed",
        Severity.CRITICAL,
        RESOLVER,
        "DNS forwarding loop: the name server stops",
        unit=RESOLVER.name,
    )
    return [server, *failures]


def crashes(at: int) -> list[UnifiedEvent]:
    """Return a unit that crashes again and again until systemd gives it up."""
    unit = EntityReference("systemd_unit", "metrics-agent.service", parent=NODE)
    again = [
        made(
            at + place * 11 * SECOND, "systemd", kind, severity, unit, title, unit=unit.name, result="exit-code", exit_status=1
        )
        for place in range(5)
        for kind, severity, title in (
            ("service_crashed", Severity.ERROR, "metrics-agent.service failed: exit code 1"),
            ("service_restart", Severity.WARNING, "metrics-agent.service is started again"),
        )
    ]
    return [
        *again,
        made(
            at + 60 * SECOND,
            "systemd",
            "restart_limit_hit",
            Severity.CRITICAL,
            unit,
            "metrics-agent.service hit its restart limit",
            unit=unit.name,
        ),
    ]


def ordinary(count: int, start: int, end: int, seed: int = 7) -> list[UnifiedEvent]:
    """Return so many ordinary events of a dozen entities, some of them warnings, spread over a time."""
    dice = random.Random(seed)
    entities = [
        *CLIENTS,
        DATABASE,
        NODE,
        *(
            EntityReference("systemd_unit", f"{name}.service", parent=NODE)
            for name in ("kubelet", "containerd", "sshd", "chronyd", "nginx")
        ),
        *(EntityReference("pod", f"worker-{place}", "batch", f"uid-worker-{place}", NODE) for place in range(5)),
    ]
    severities = [Severity.INFO] * 30 + [Severity.NOTICE] * 4 + [Severity.WARNING] * 2 + [Severity.DEBUG] * 4
    return [
        made(
            dice.randrange(start, end),
            dice.choice(("journald", "journald", "journald", "systemd", "kubernetes", "ebpf")),
            "log",
            dice.choice(severities),
            dice.choice(entities),
            f"request {place} answered in {dice.randrange(1, 900)} ms",
            duration_ms=place % 900,
        )
        for place in range(count)
    ]


def with_findings(events: list[UnifiedEvent]) -> list[UnifiedEvent]:
    """Return events and what the rules that ship conclude from them."""
    engine = Engine(load_rules(("builtin",)))
    ordered = sorted(events, key=lambda one: (one.timestamp, one.id))
    return [*ordered, *last_revisions(replay(engine, ordered))]


def two_incidents() -> list[UnifiedEvent]:
    """Return an incident of four minutes ago, one of twenty-five minutes ago, their findings, and ordinary events."""
    now = time.time_ns()
    events = out_of_memory(now - 240 * SECOND) + names_fail(now - 1500 * SECOND)
    return with_findings(events) + ordinary(200, now - 3000 * SECOND, now - 60 * SECOND)


def hostile(at: int) -> list[UnifiedEvent]:
    """Return events whose texts try to be markup, terminal escapes, reversed text, or very long."""
    pod = EntityReference("pod", "<img src=x onerror=window.broken=1>", "shop", "uid-hostile", NODE)
    return [
        made(
            at,
            "journald",
            "log",
            Severity.ERROR,
            pod,
            "<script>window.broken = 1</script>",
            description="<script>window.broken = 1</script>\n</script><b>bold</b>",
            **{"<svg onload=window.broken=1>": "</td><script>window.broken=1</script>"},
        ),
        made(
            at + SECOND,
            "journald",
            "log",
            Severity.ERROR,
            CLIENTS[0],
            "\x1b[31mred\x1b[0m \x07bell",
            description="\x1b]0;title\x07\x1b[2J gone \x9b31m",
        ),
        made(
            at + 2 * SECOND,
            "journald",
            "log",
            Severity.ERROR,
            CLIENTS[0],
            "user \u202egnp.exe\u202c \u2066isolate",
            description="\u202ereversed",
        ),
        made(
            at + 3 * SECOND,
            "journald",
            "log",
            Severity.ERROR,
            CLIENTS[0],
            "long",
            description="begin " + "m" * 1024 * 1024 + " end",
        ),
    ]
