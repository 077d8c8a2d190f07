"""The systemd receiver beside systemd: the ways to reach it that only processes on the same machine have.

systemd's own sockets refuse a peer whose pid they cannot see, so here the receiver runs inside the lab, in a process that does
what the test says and writes down what came.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.integration.transitions import LIBRARIES
from tests.integration.units import UNITS
from tests.lab import BootedSystemd, require_lab

ROOT = Path(__file__).parents[2]
PRIVATE = "unix:path=/run/systemd/private"

SCRIPT = r"""
import asyncio, json, os, subprocess, sys
from tests.integration.transitions import settled, told, watching

class Here:
    address = ""

    def run(self, *command, **_options):
        return subprocess.run(command, capture_output=True, text=True, check=False)

async def main(options, control, steps):
    here = Here()
    async with watching(here, command=control, **options) as output:
        for step in steps:
            await asyncio.to_thread(here.run, *step)
        await settled(here, output, command=control)
    for event in output.events:
        print(json.dumps([event.entity.uid, told(event), {key: str(value) for key, value in event.attributes.items()}]))

asyncio.run(main(*map(json.loads, sys.argv[1:4])))
"""


@pytest.fixture
def lab() -> Iterator[BootedSystemd]:
    """Give a test a systemd with every unit."""
    require_lab()
    with BootedSystemd(UNITS) as lab:
        yield lab


Event = tuple[str, str, dict[str, str]]


def inside(
    lab: BootedSystemd,
    options: dict[str, Any],
    steps: Sequence[Sequence[str]],
    control: Sequence[str] = ("systemctl",),
    environment: Sequence[str] = (),
) -> list[Event]:
    """Return what a receiver inside told while commands were run there: uid of the entity, transition, attributes."""
    arguments = [json.dumps(part) for part in (options, control, steps)]
    found = lab.run("env", f"PYTHONPATH={ROOT}", *environment, sys.executable, "-c", SCRIPT, *arguments).stdout
    return [tuple(json.loads(line)) for line in found.splitlines()]


def of(events: list[Event], uid: str) -> list[str]:
    """Return the transitions of an entity."""
    return [transition for entity, transition, _ in events if entity == uid]


STEPS = (("systemctl", "start", "plain.service"), ("systemctl", "stop", "plain.service"))
STORY = ["inactive → active/running", "active → deactivating/stop-sigterm", "deactivating → inactive/dead"]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("bus", ["system", PRIVATE])
def test_the_system_is_found_by_name_and_by_its_private_socket(lab: BootedSystemd, library: str, bus: str) -> None:
    """`system` is the bus that every machine has; systemd's own socket needs no bus daemon and tells the same."""
    if bus == PRIVATE:
        lab.systemctl("stop", "dbus.socket", "dbus.service")
    assert of(inside(lab, {"bus": bus, "library": library}, STEPS), "plain.service") == STORY


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_private_socket_is_found_again_when_systemd_executes_itself_anew(lab: BootedSystemd, library: str) -> None:
    """systemd closes its connections; the receiver comes back and tells nothing but what changed."""
    lab.systemctl("start", "plain.service", "remain.service")
    events = inside(lab, {"bus": PRIVATE, "library": library}, [("systemctl", "daemon-reexec"), STEPS[1]])
    assert of(events, "plain.service")[-1].endswith("→ inactive/dead")
    assert of(events, "remain.service") == []


USER_MANAGER = (
    "[Service]\nUser=nobody\nType=notify\nDelegate=yes\nSlice=user-65534.slice\n"
    "Environment=XDG_RUNTIME_DIR=/run/lab/user HOME=/ SYSTEMD_UNIT_PATH=/run/lab/user/units\n"
    "ExecStart=/lib/systemd/systemd --user\n"
)
AS_USER = ("setpriv", "--reuid=65534", "--clear-groups", "env", "XDG_RUNTIME_DIR=/run/lab/user", "systemctl", "--user")


@pytest.fixture
def user_manager(lab: BootedSystemd) -> str:
    """Give the address of the socket of a user's own systemd, which has the same units as the system's."""
    units = lab.share / "user" / "units"
    units.mkdir(parents=True)
    units.parent.chmod(0o777)
    target = "[Unit]\nDefaultDependencies=no\n"
    for name, text in {**UNITS, **{f"{name}.target": target for name in ("default", "basic", "shutdown")}}.items():
        (units / name).write_text(text)
    lab.add_unit("user@65534.service", USER_MANAGER)
    lab.systemctl("start", "user@65534.service")
    return "unix:path=/run/lab/user/systemd/private"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_user_s_own_systemd_is_told_of_with_its_user(lab: BootedSystemd, library: str, user_manager: str) -> None:
    """Units of a user come from that user's systemd; a unit of the same name in the system is another."""
    steps = [STEPS[0], (*AS_USER, "start", "plain.service"), (*AS_USER, "stop", "plain.service")]
    events = inside(lab, {"bus": user_manager, "library": library}, steps, AS_USER)
    assert of(events, "user@65534.service/plain.service") == STORY
    assert of(events, "plain.service") == []
    started = next(one for uid, _, one in events if uid == "user@65534.service/plain.service")
    shown = lab.run("journalctl", "--output=json", "USER_UNIT=plain.service", "--lines=1").stdout
    assert started["cgroup"] == "/user.slice/user-65534.slice/user@65534.service/app.slice/plain.service"
    assert started["invocation_id"] == json.loads(shown)["USER_INVOCATION_ID"]
