"""The whole way, with nothing made up: a unit runs out of memory, and the agent tells what happened, once and in plain words.

One incident is played, in a systemd of the test's own (see `incident`), and looked at from several sides.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from tests.booted_systemd import memory_obstacle
from tests.bpf_support import require_bpf
from tests.integration.agent import Record
from tests.integration.incident import CLIENTS, LIMIT, SERVER, Incident, last_revisions
from tests.lab import require_lab
from tests.requirements import require

pytestmark = pytest.mark.timeout(240)

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "scripts/demo.py"
WINDOW = 30.0
"""Seconds after the kill within which the rule `oom_cascade` looks for consequences."""
LATENESS = 5.0
"""Seconds for which `correlate` waits for events that arrive late."""
SECOND = 1_000_000_000


@dataclass(frozen=True)
class Told:
    """Hold what the agent told of the incident, and how many seconds after the kill the first finding could be read."""

    records: list[Record]
    findings: list[Record]
    delay: float

    @property
    def finding(self) -> Record:
        """Return the finding as it was told last."""
        return next(last_revisions(self.findings))

    def by_id(self, *ids: str) -> list[Record]:
        """Return the records with these ids, in their order."""
        known = {one["log.record.uid"]: one for one in self.records}
        return [known[one] for one in ids]

    @property
    def root(self) -> Record:
        """Return the root cause."""
        return self.by_id(self.finding["tapio.correlation.root.uid"])[0]

    @property
    def impacts(self) -> list[Record]:
        """Return the consequences, in the order in which the finding names them."""
        return self.by_id(*self.finding["tapio.correlation.impact.uids"])


def require_incident() -> None:
    """Skip the test with the exact reason where the incident cannot be played; fail it where that is required."""
    require_lab()
    require_bpf()
    reason = memory_obstacle()
    require("systemd", reason is None, reason or "")


def mounts(directory: Path) -> list[str]:
    """Return the mounts of this machine that have to do with a directory."""
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(directory) in line]


def abandoned() -> set[str]:
    """Return the cgroups of labs that have no directory any more: what a lab that is gone has left behind."""
    found = Path("/sys/fs/cgroup").glob("**/tapio-lab-*")
    return {str(one) for one in found if not Path(tempfile.gettempdir(), one.name.removesuffix(".slice")).exists()}


@pytest.fixture(scope="module")
def told() -> Told:
    """Play the incident once, and wait until no rule can conclude anything more from it."""
    require_incident()
    before = abandoned()
    with Incident() as incident:
        incident.begin()
        asked = incident.exhaust()
        first = incident.wait_for(lambda one: one.name == "tapio.correlation", seconds=WINDOW + LATENESS + 10)
        delay = time.time() - first.time / SECOND
        time.sleep(max(asked / SECOND + WINDOW + LATENESS + 1 - time.time(), 0))  # nothing may be told that is not waited for
        incident.end()
        told = Told(incident.records(), incident.findings(), delay)
    assert not incident.lab.share.exists()
    assert not mounts(incident.lab.share)
    assert abandoned() <= before
    print(f"told {delay:.1f} s after the kill")  # noqa: T201 - shown with `pytest -s`
    return told


def unit(record: Record) -> str:
    """Return the unit that a record is about."""
    return str(record["systemd.unit.name"])


def test_one_finding_tells_the_incident_and_there_is_no_other(told: Told) -> None:
    """Many lines and signals, one conclusion: no loop of crashes, no dependency that is down, no second kill."""
    assert {one["tapio.correlation.rule"] for one in told.findings} == {"oom_cascade"}
    assert len(list(last_revisions(told.findings))) == 1
    assert [one["tapio.correlation.revision"] for one in told.findings] == list(range(len(told.findings)))
    assert told.finding["tapio.correlation.confidence"] > 0.9


def test_the_root_cause_is_the_kill_as_the_kernel_told_it(told: Told) -> None:
    """It is seen by eBPF, at the server's own limit, before the journal has a line about it."""
    root = told.root
    assert (root.name, root["tapio.source"], root["tapio.observed_by"]) == ("tapio.oom_kill", "ebpf", "ebpf/libbpf")
    assert (unit(root), root["tapio.scope"], root["tapio.memory_limit"]) == (SERVER, "cgroup", LIMIT)
    assert (unit(told.finding), told.finding.time) == (SERVER, root.time)


def test_the_kernels_log_is_a_witness_and_no_second_kill(told: Told) -> None:
    """The journal's line about the same process belongs to the finding, which names all three sources."""
    members = told.by_id(*told.finding["tapio.correlation.member.uids"])
    lines = [one for one in members if one["tapio.source"] == "journald" and one["process.pid"] == told.root["process.pid"]]
    assert lines
    assert not {one["log.record.uid"] for one in lines} & set(told.finding["tapio.correlation.impact.uids"])
    assert sorted(told.finding["tapio.correlation.sources"]) == ["ebpf", "journald", "systemd"]


def test_the_consequences_are_the_failure_the_restart_and_every_client(told: Told) -> None:
    """In the order in which they followed from each other: the unit fails, is restarted, and meanwhile nobody reaches it."""
    about_server = [one.name for one in told.impacts if unit(one) == SERVER]
    assert about_server[-1] == "tapio.service_restart"
    assert set(about_server[:-1]) <= {"tapio.service_crashed", "tapio.unit_failed", "tapio.service_state"}
    assert len(about_server) > 1
    others = [one for one in told.impacts if unit(one) != SERVER]
    assert {unit(one) for one in others} == set(CLIENTS)
    assert {one.name for one in others} <= {"tapio.connection_failed", "tapio.tcp_reset", "tapio.tcp_retransmit"}
    assert {one["tapio.target_unit"] for one in others} == {SERVER}
    assert [unit(one) for one in told.impacts[: len(about_server)]] == [SERVER] * len(about_server)


def test_the_consequences_stand_in_the_order_of_time_and_after_their_cause(told: Told) -> None:
    """No two clocks are at odds on one machine, so nothing comes before the kill."""
    times = [told.root.time, *(one.time for one in told.impacts)]
    assert all(earlier <= later for earlier, later in pairwise(times))


def test_the_explanation_names_the_server_its_limit_and_the_clients(told: Told) -> None:
    """Whoever reads only this paragraph knows what happened and to whom."""
    text = told.finding["tapio.description"]
    for what in (SERVER, "48.0 MiB", "restarted", *CLIENTS):
        assert what in text, text
    assert SERVER in told.finding["tapio.correlation.hint"]
    assert set(told.finding["tapio.correlation.entities"]) == {f"systemd_unit/{name}" for name in (SERVER, *CLIENTS)}


def test_it_is_told_within_the_window_and_a_second(told: Told) -> None:
    """By the time of events, and on the clock for whoever waits for it as well."""
    root, first = told.root, told.findings[0]
    assert root.time <= first.observed <= root.time + (WINDOW + 1) * SECOND
    assert told.delay <= WINDOW + 1


def demonstrate(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the demonstration as `make demo` does."""
    found = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "160"} | environment
    return subprocess.run([sys.executable, DEMO, *options], capture_output=True, text=True, check=False, env=found)


def test_the_demonstration_shows_the_finding_and_how_it_went(tmp_path: Path) -> None:
    """Readable, in one go; what it made is gone, but for what it was told to keep, and that can be replayed."""
    require_incident()
    work = tmp_path / "work"
    work.mkdir()
    before = abandoned()
    recording = tmp_path / "events.jsonl"
    shown = demonstrate("--keep", str(recording), TMPDIR=str(work))
    assert shown.returncode == 0, shown.stderr
    for text in ("Memory ran out in web.service", "at its limit of 48.0 MiB", "ebpf/oom_kill web.service", *CLIENTS):
        assert text in shown.stdout, shown.stdout
    assert shown.stdout.count("The finding:") == 1
    assert max(len(line) for line in shown.stdout.splitlines() if str(recording) not in line) <= 160
    command = [sys.executable, "-c", "from tapio_otel.cli import entry; entry()", "replay", "--events", str(recording)]
    replayed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [json.loads(line)["attributes"]["rule"] for line in replayed.stdout.splitlines()] == ["oom_cascade"]
    assert not list(work.iterdir())
    assert not mounts(work)
    assert abandoned() <= before


def test_the_demonstration_says_what_it_lacks(tmp_path: Path) -> None:
    """Without the programs that it needs it ends at once, with the reason."""
    shown = demonstrate(PATH=str(tmp_path))
    assert shown.returncode == 1
    assert shown.stderr.startswith("demo: cannot be shown here: ")
    assert shown.stdout == ""
