"""What real programs write to a real journald arrives as events that say what happened, to whom, in which trace."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.integration.agent import Agent
from tests.lab import BootedSystemd, require_lab

DEFAULT = ("recombine", "normalize", "dedup", "enrich", "trace_context", "redaction")
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

FAILING = """
def charge(order):
    raise ValueError(f"order {order} has no price")

def main():
    charge(7)

main()
"""

CONNECTING = """
import socket
socket.create_connection(("127.0.0.1", 1), timeout=5)
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[BootedSystemd]:
    """Boot a systemd for all tests of this file."""
    require_lab()
    with BootedSystemd() as booted:
        yield booted


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory, lab: BootedSystemd) -> Iterator[Agent]:
    """Run an agent with the default processors on the lab's journal."""
    journald = {"directory": str(lab.journal), "start_at": "end"}
    with Agent(tmp_path_factory.mktemp("agent"), {"journald": journald}, processors=DEFAULT) as running:
        running.wait_for(lambda record: record.body == "ready?", lambda: say(lab, "probe", "ready?"), 30)
        yield running


def say(lab: BootedSystemd, identifier: str, text: str, priority: str = "info") -> None:
    """Write a line to the journal as a program does whose output goes there."""
    lab.run("systemd-cat", f"--identifier={identifier}", f"--priority={priority}", "echo", text)


def run_unit(lab: BootedSystemd, name: str, *command: str) -> None:
    """Run a command as a transient unit, whose output goes to the journal, to its end."""
    lab.run("systemd-run", "--quiet", "--wait", "--collect", f"--unit={name}", *command, check=False)


def test_the_traceback_of_a_unit_is_one_event(agent: Agent, lab: BootedSystemd) -> None:
    """A real Python writes its stack a line at a time; it arrives whole, with what was raised and where, about the unit."""
    run_unit(lab, "shop.service", sys.executable, "-c", FAILING)
    found = agent.wait_for(lambda record: record.name == "tapio.unhandled_exception" and "has no price" in record.body)
    assert found.body.startswith("Traceback (most recent call last):\n")
    assert found.body.endswith("\nValueError: order 7 has no price")
    assert found["tapio.pattern"] == "python_exception"
    assert found["tapio.recombined"] == len(found.body.split("\n"))
    assert found["systemd.unit.name"] == "shop.service"
    assert found.severity.lower() == "error"
    assert not [one for one in agent.records() if one.body.lstrip().startswith('File "<string>"')]


def test_a_refused_connection_of_a_real_program_is_known(agent: Agent, lab: BootedSystemd) -> None:
    """The cause decides the type: Python's stack ends in ConnectionRefusedError."""
    run_unit(lab, "dialer.service", sys.executable, "-c", CONNECTING)
    found = agent.wait_for(lambda record: "ConnectionRefusedError" in record.body)
    assert found.name == "tapio.connection_failed"
    assert found["systemd.unit.name"] == "dialer.service"


def test_the_crash_of_a_real_unit_is_known_from_the_journal(agent: Agent, lab: BootedSystemd) -> None:
    """Systemd's own line about it: unit and exit code are taken from the text."""
    run_unit(lab, "crashing.service", "/bin/sh", "-c", "exit 3")
    found = agent.wait_for(lambda record: record.body.startswith("crashing.service: Main process exited"))
    assert (found.name, found["tapio.pattern"]) == ("tapio.service_crashed", "service_crash")
    assert found["process.exit.code"] == 3
    assert found["systemd.unit.name"] == "crashing.service"


def test_a_start_limit_is_critical(agent: Agent, lab: BootedSystemd) -> None:
    """A unit that systemd gives up on."""
    lab.add_unit(
        "hasty.service",
        "[Unit]\nStartLimitIntervalSec=60\nStartLimitBurst=2\n[Service]\nRestart=always\nRestartSec=10ms\nExecStart=/bin/false\n",
    )
    lab.systemctl("start", "hasty.service", check=False)
    found = agent.wait_for(lambda record: record.name == "tapio.restart_limit_hit")
    assert found.severity.lower() == "critical"
    assert found["systemd.unit.name"] == "hasty.service"


def test_an_error_in_logfmt_belongs_to_its_trace(agent: Agent, lab: BootedSystemd) -> None:
    """Severity and trace context come from the text, and the record says so."""
    say(lab, "checkout", f'level=error msg="payment failed" trace_id={TRACE} span_id={SPAN} trace_flags=01')
    found = agent.wait_for(lambda record: "payment failed" in record.body)
    assert (found.severity.lower(), found["tapio.classifier"]) == ("error", "logfmt")
    assert found["tapio.trace.source"] == "text.trace_id"
    assert (found.trace_id, found.span_id) == (TRACE, SPAN)


def test_an_oom_kill_told_by_syslog_is_an_event(agent: Agent, lab: BootedSystemd) -> None:
    """Whoever passes the kernel's line on."""
    say(
        lab,
        "kernel-relay",
        "Out of memory: Killed process 4242 (java) total-vm:9437184kB, anon-rss:2097152kB",
        "err",
    )
    found = agent.wait_for(lambda record: record.name == "tapio.oom_kill")
    assert found.severity.lower() == "critical"
    assert found["tapio.anon_rss"] == 2097152 * 1024


def test_a_declared_severity_is_never_lowered(agent: Agent, lab: BootedSystemd) -> None:
    """The writer said critical; its text says info."""
    say(lab, "stern", "level=info msg=fine", "crit")
    found = agent.wait_for(lambda record: "msg=fine" in record.body)
    assert found.severity.lower() == "critical"


def test_a_secret_does_not_leave_the_node(agent: Agent, lab: BootedSystemd) -> None:
    """Neither from a message nor from the command line of who wrote it."""
    secret = "hunter" + "2hunter2"
    run_unit(
        lab,
        "leaky.service",
        "/bin/sh",
        "-c",
        f"echo connecting with password={secret}; sleep 0.3",
        "--",
        f"--token={secret}",
    )
    found = agent.wait_for(lambda record: record.body.startswith("connecting with password="))
    assert found.body == "connecting with password=****"
    assert secret not in agent.output.read_text()
