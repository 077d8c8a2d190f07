"""The journal's terms turned into the event model's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.entities import EntityMapper
from tapio_otel.event import Severity, UnifiedEvent
from tapio_otel.normalizers.journald import first_line, normalize
from tapio_otel.receivers.journald import EntryParser
from tapio_otel.receivers.journald.shape import Fields

CURSOR = f"s={'5' * 32};i=1;b={'a' * 32};m=5;t=1000;x=1"
HOST = {"_HOSTNAME": "n1", "_MACHINE_ID": "m" * 32, "_BOOT_ID": "b" * 32}
SERVICE = {
    **HOST,
    "_PID": "77",
    "_UID": "0",
    "_COMM": "nginx",
    "_EXE": "/usr/sbin/nginx",
    "_CMDLINE": "nginx -g x",
    "_SYSTEMD_UNIT": "nginx.service",
    "_SYSTEMD_SLICE": "system.slice",
    "_SYSTEMD_CGROUP": "/system.slice/nginx.service",
    "_SYSTEMD_INVOCATION_ID": "i" * 32,
}


def normal(fields: dict[str, Any], start: bytes = b"") -> UnifiedEvent:
    """Return an entry's event after normalize."""
    raw: Fields = {name: value.encode() if isinstance(value, str) else value for name, value in fields.items()}
    event = EntryParser(process_start=lambda _record, _realtime: start).parse(raw, CURSOR)
    assert event is not None
    normalize([event])
    assert event.raw is None
    return event


@pytest.mark.parametrize(
    ("priority", "severity"),
    [
        ("0", Severity.EMERGENCY),
        ("1", Severity.ALERT),
        ("2", Severity.CRITICAL),
        ("3", Severity.ERROR),
        ("4", Severity.WARNING),
        ("5", Severity.NOTICE),
        ("6", Severity.INFO),
        ("7", Severity.DEBUG),
        ("8", Severity.INFO),
        ("", Severity.INFO),
        ("err", Severity.INFO),
        ([b"6", b"3"], Severity.ERROR),
    ],
)
def test_the_priority_gives_the_severity(priority: Any, severity: Severity) -> None:
    """Syslog's eight levels; anything else is information, and of several the worst counts."""
    assert normal({"PRIORITY": priority, "MESSAGE": "x"}).severity is severity


def test_without_a_priority_an_entry_is_information() -> None:
    """A missing PRIORITY is no error."""
    assert normal({"MESSAGE": "x"}).severity is Severity.INFO


def test_a_service_is_a_unit_on_a_node_with_the_four_labels() -> None:
    """The unit's uid is its name; invocation, slice and cgroup go with it."""
    event = normal({**SERVICE, "MESSAGE": "x"})
    assert (event.entity.type, event.entity.name, event.entity.uid) == ("systemd_unit", "nginx.service", "nginx.service")
    assert dict(event.entity.attributes) == {
        "invocation_id": "i" * 32,
        "slice": "system.slice",
        "cgroup": "/system.slice/nginx.service",
    }
    assert event.entity.parent is not None
    assert (event.entity.parent.type, event.entity.parent.name, event.entity.parent.uid) == ("node", "n1", "m" * 32)
    assert event.labels == {"unit": "nginx.service", "hostname": "n1", "exe": "/usr/sbin/nginx", "cmdline": "nginx -g x"}


def test_labels_are_only_those_present() -> None:
    """A missing field makes no empty label."""
    assert normal({**HOST, "MESSAGE": "x"}).labels == {"hostname": "n1"}


@pytest.mark.parametrize(
    ("fields", "start", "expected"),
    [
        ({**HOST, "_PID": "9", "_COMM": "cron"}, b"123", ("process", "cron", "process-9-123", ["node"])),
        ({**HOST, "_PID": "9", "_COMM": "cron"}, b"", ("process", "cron", f"process-9-{'b' * 32}", ["node"])),
        ({**HOST, "_PID": "9"}, b"1", ("process", "pid-9", "process-9-1", ["node"])),
        ({**HOST, "_TRANSPORT": "kernel"}, b"", ("node", "n1", "m" * 32, [])),
        ({}, b"", ("node", "unknown", "unknown", [])),
        (
            {**SERVICE, "CONTAINER_ID_FULL": "c" * 64, "CONTAINER_ID": "c" * 12, "CONTAINER_NAME": "web"},
            b"",
            ("container", "web", "c" * 64, ["systemd_unit", "node"]),
        ),
        ({**HOST, "CONTAINER_ID": "c" * 12}, b"", ("container", "c" * 12, "c" * 12, ["node"])),
        (
            {**SERVICE, "_SYSTEMD_UNIT": "init.scope", "_PID": "1", "UNIT": "ssh.service", "INVOCATION_ID": "j" * 32},
            b"",
            ("systemd_unit", "ssh.service", "ssh.service", ["node"]),
        ),
        ({**SERVICE, "UNIT": "ssh.service"}, b"", ("systemd_unit", "nginx.service", "nginx.service", ["node"])),
        ({**SERVICE, "COREDUMP_UNIT": "db.service"}, b"", ("systemd_unit", "db.service", "db.service", ["node"])),
        ({**SERVICE, "OBJECT_SYSTEMD_UNIT": "db.service"}, b"", ("systemd_unit", "db.service", "db.service", ["node"])),
        (
            {**SERVICE, "_UID": "1000", "OBJECT_SYSTEMD_UNIT": "db.service"},
            b"",
            ("systemd_unit", "nginx.service", "nginx.service", ["node"]),
        ),
        (
            {**SERVICE, "_UID": "1000", "_SYSTEMD_UNIT": "user@1000.service", "_SYSTEMD_USER_UNIT": "app.service"},
            b"",
            ("systemd_unit", "app.service", "user@1000.service/app.service", ["systemd_unit", "node"]),
        ),
        (
            {**SERVICE, "_UID": "1000", "_SYSTEMD_UNIT": "user@1000.service", "USER_UNIT": "app.service"},
            b"",
            ("systemd_unit", "app.service", "user@1000.service/app.service", ["systemd_unit", "node"]),
        ),
        (
            {**SERVICE, "COREDUMP_UNIT": "user@1000.service", "COREDUMP_USER_UNIT": "app.service"},
            b"",
            ("systemd_unit", "app.service", "user@1000.service/app.service", ["systemd_unit", "node"]),
        ),
    ],
)
def test_the_entity_is_what_the_message_is_about(fields: dict[str, Any], start: bytes, expected: Any) -> None:
    """Container, unit spoken of by one to be believed, unit, process, node."""
    entity = normal({**fields, "MESSAGE": "x"}, start).entity
    kind, name, uid, parents = expected
    assert (entity.type, entity.name, entity.uid) == (kind, name, uid)
    assert [parent.type for parent in entity.lineage()[1:]] == parents


CONTAINER = "0123456789abcdef" * 4
POD = "11111111-2222-3333-4444-555555555555"
POD_SLICE = f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD.replace('-', '_')}.slice"


@pytest.mark.parametrize(
    ("path", "parents"),
    [
        (f"{POD_SLICE}/cri-containerd-{CONTAINER}.scope", ["pod", "node"]),
        (f"{POD_SLICE}/crio-{CONTAINER}.scope", ["pod", "node"]),
        (f"/system.slice/docker-{CONTAINER}.scope", ["node"]),
        (f"/machine.slice/libpod-{CONTAINER}.scope", ["node"]),
        (f"/docker/{CONTAINER}", ["node"]),
    ],
)
def test_a_containers_cgroup_makes_entries_about_the_container(path: str, parents: list[str], tmp_path: Path) -> None:
    """The very entity that the kernel's events are about; labels still tell the unit."""
    unit = path.rpartition("/")[2]
    event = normal({**SERVICE, "_SYSTEMD_UNIT": unit, "_SYSTEMD_CGROUP": path, "MESSAGE": "x"})
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text("m" * 32)
    (tmp_path / "etc/hostname").write_text("n1")
    assert event.entity == EntityMapper(tmp_path).of_cgroup_path(path)
    assert (event.entity.type, event.entity.name, event.entity.uid) == ("container", CONTAINER[:12], CONTAINER)
    assert [parent.type for parent in event.entity.lineage()[1:]] == parents
    assert event.labels["unit"] == unit


def test_a_scopes_name_tells_the_container_where_the_cgroup_is_not_known() -> None:
    """Journals from elsewhere may lack it."""
    fields = {**HOST, "_PID": "7", "_SYSTEMD_UNIT": f"docker-{CONTAINER}.scope", "MESSAGE": "x"}
    assert normal(fields).entity.uid == CONTAINER


def test_a_container_keeps_the_name_that_its_log_driver_gave() -> None:
    """Its output is written by another unit; what a service manager says of a scope is about the scope."""
    scope = {"_SYSTEMD_UNIT": f"docker-{CONTAINER}.scope", "_SYSTEMD_CGROUP": f"/system.slice/docker-{CONTAINER}.scope"}
    driver = {"CONTAINER_ID_FULL": CONTAINER, "CONTAINER_NAME": "web"}
    named = normal({**SERVICE, **scope, **driver, "MESSAGE": "x"}).entity
    assert (named.type, named.name, named.uid) == ("container", "web", CONTAINER)
    manager = {**HOST, "_PID": "1", "_UID": "0", "_SYSTEMD_UNIT": "init.scope", "UNIT": scope["_SYSTEMD_UNIT"]}
    assert normal({**manager, "MESSAGE": "x"}).entity.type == "systemd_unit"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("one line", "one line"),
        ("first\nsecond", "first"),
        ("first\r\nsecond", "first"),
        ("\n\n  late\nsecond", "late"),
        ("x" * 300, "x" * 200),
        ("y" * 300 + "\nz", "y" * 200),
        ("", ""),
        ("\n", ""),
    ],
)
def test_the_title_is_the_first_line_and_the_description_the_whole(text: str, title: str) -> None:
    """Up to 200 characters of the first line that says something."""
    event = normal({"MESSAGE": text})
    assert (event.title, event.description) == (title, text)


@given(st.text())
def test_a_title_is_always_one_short_line(text: str) -> None:
    """Whatever the message."""
    title = first_line(text)
    assert len(title) <= 200 and len(title.splitlines()) <= 1


def test_one_origin_is_normalized_once() -> None:
    """Events that shared their raw origin share the normalized one; doing it again changes nothing."""
    parser = EntryParser()
    fields = {name: value.encode() for name, value in SERVICE.items()}
    events = parser.parse_batch([({**fields, "MESSAGE": b"%d" % n}, CURSOR) for n in range(3)])
    normalize(events)
    shared = events[0].shared
    assert all(event.shared is shared for event in events)
    later = parser.parse_batch([({**fields, "MESSAGE": b"x"}, CURSOR)])
    normalize(later)
    assert later[0].shared is shared
    normalize(later)
    assert later[0].shared is shared and later[0].entity.name == "nginx.service"


def test_an_event_a_plugin_changed_keeps_what_the_plugin_made() -> None:
    """A detached event still gets severity and title."""
    event = EntryParser().parse({"MESSAGE": b"a\nb", "PRIORITY": b"3"}, CURSOR)
    assert event is not None
    event.attributes["mine"] = 1
    normalize([event])
    assert (event.severity, event.title, event.get("mine"), event.raw) == (Severity.ERROR, "a", 1, None)
