"""The `ebpf` receiver where a machine does not allow all: less is seen, in another way, and it is said why."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.bpf_support import require_bpf
from tests.integration.agent import TAPIO, Agent, Record
from tests.kernel import EAT_MEMORY, Cgroup, run_in

WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
WITHOUT_BTF = ("unshare", "--mount", "sh", "-ec", 'mount --bind /dev/null /sys/kernel/btf/vmlinux; exec "$@"', "sh")
LIMIT = 20 << 20


@pytest.fixture
def room() -> Iterator[Path]:
    """Give a directory that any user may use."""
    directory = Path(tempfile.mkdtemp(prefix="tapio-test-"))
    directory.chmod(0o777)
    yield directory
    shutil.rmtree(directory)


def oom(agent: Agent) -> Record:
    """Run a cgroup out of memory until the agent tells of it."""
    with Cgroup("memory", memory_limit=LIMIT) as cgroup:
        names = ("tapio.limit_cgroup", "process.linux.cgroup")
        return agent.wait_for(
            lambda one: one.name == "tapio.oom_kill" and cgroup.path in {one[name] for name in names},
            lambda: run_in([cgroup], EAT_MEMORY),
            seconds=40,
        )


def said(agent: Agent, until: str) -> list[str]:
    """Return what the receiver wrote to the agent's log, once that has a text."""
    end = time.monotonic() + 40
    while until not in (log := agent.errors.read_text()):
        assert time.monotonic() < end, log
        time.sleep(0.05)
    return [line for line in log.splitlines() if " receivers/ebpf: " in line]


def capabilities(*names: str) -> tuple[str, ...]:
    """Return what starts a program as nobody, with these capabilities and no others."""
    listed = ",".join(["-all", *(f"+{name}" for name in names)])
    user = ("--reuid=65534", "--regid=65534", "--clear-groups")
    return ("setpriv", *user, f"--inh-caps={listed}", f"--ambient-caps={listed}", f"--bounding-set={listed}")


def readable(*names: str) -> tuple[str, ...]:
    """Return `capabilities`, with that of reading everything where the checkout is hidden from others."""
    done = subprocess.run([*capabilities(*names), *TAPIO, "version"], capture_output=True, check=False)
    return capabilities(*names) if done.returncode == 0 else capabilities(*names, "dac_read_search")


@pytest.mark.parametrize(
    ("prefix", "cause", "remedy"),
    [(WITHOUT_RIGHTS, "CAP_BPF", "CAP_PERFMON"), (WITHOUT_BTF, "BTF", "")],
    ids=["without rights", "without BTF"],
)
def test_where_no_program_can_be_loaded_the_kernels_other_words_are_read(room, prefix, cause, remedy):
    """One line tells why and what to do, and OOM kills are still told, with how they were seen."""
    require_bpf()
    with Agent(room, {"ebpf": {"loader": "libbpf"}}, prefix) as agent:
        event = oom(agent)
        log = agent.errors.read_text()
    assert event["tapio.observed_by"] in {"kmsg", "memory.events"}
    (line,) = [line for line in log.splitlines() if "libbpf cannot look for oom" in line]
    assert cause in line
    assert remedy in line
    assert "watched in a lesser way: oom by" in log


def test_without_rights_the_log_stays_short(room):
    """What is to be done, once; what is watched instead, once; nothing of BCC, which lacks the same rights."""
    require_bpf()
    with Agent(room, {"ebpf": {}}, readable()) as agent:
        lines = said(agent, until="watched in a lesser way")
    assert len(lines) <= 3
    assert len([line for line in lines if "CAP_BPF" in line]) == 1
    assert not [line for line in lines if "bcc" in line.lower()]
    assert "net_drop, tcp_retransmit and tcp_reset by proc/net" in lines[-1]
    if "oom by memory.events" in lines[-1]:
        assert [line for line in lines if "CAP_SYSLOG" in line]


def test_where_all_is_well_one_line_says_so(room):
    """Nobody has to wonder whether the probes are there."""
    require_bpf()
    with Agent(room, {"ebpf": {}}) as agent:
        (line,) = said(agent, until="watching")
    assert line.endswith("watching oom, cpu_throttle, net_drop, tcp_retransmit and tcp_reset by ebpf/libbpf")


def test_without_any_way_the_cause_is_told_once(room):
    """By the supervisor, that tries again in silence."""
    require_bpf()
    with Agent(room, {"ebpf": {"fallback": False}}, readable()) as agent:
        said(agent, until="tried again")
        time.sleep(4)  # two tries at the least
        lines = said(agent, until="tried again")
    assert len(lines) == 1
    assert lines[0].count("lacks CAP_BPF") == 1


def test_bcc_that_is_required_names_what_it_cannot_do(room):
    """Throttling has to be left out by the option that the error names."""
    require_bpf()
    with Agent(room, {"ebpf": {"loader": "bcc", "required": True}}) as agent:
        assert agent.process is not None
        assert agent.process.wait(timeout=40) == 1
        assert "probes.cpu_throttle.enabled: false" in agent.errors.read_text()


def test_two_capabilities_are_enough_for_another_user(room):
    """Not root, CAP_BPF and CAP_PERFMON: OOM kills and the network are seen by programs."""
    require_bpf()
    probes = {"cpu_throttle": {"enabled": False}}
    with Agent(room, {"ebpf": {"loader": "libbpf", "required": True, "probes": probes}}, readable("bpf", "perfmon")) as agent:
        event = oom(agent)
    assert event["tapio.observed_by"] == "ebpf/libbpf"
    assert event["tapio.memory_limit"] == LIMIT


def test_where_programs_are_required_the_agent_does_not_start_without(room):
    """The error names every probe, the cause and what to do; the status is not 0."""
    require_bpf()
    with Agent(room, {"ebpf": {"loader": "libbpf", "required": True}}, WITHOUT_RIGHTS) as agent:
        assert agent.process is not None
        assert agent.process.wait(timeout=40) == 1
        log = agent.errors.read_text()
    assert "receivers.ebpf: libbpf cannot look for oom" in log
    assert "CAP_BPF" in log


@pytest.mark.parametrize("content", [b"", b"\x7fELF", None], ids=["empty", "cut off", "another program"])
def test_one_bad_program_leaves_the_others_alone(room, content):
    """Its probe alone is watched in a lesser way."""
    require_bpf()
    package = room / "package"
    shutil.copytree(files("tapio_otel"), package / "tapio_otel", ignore=shutil.ignore_patterns("__pycache__"))  # type: ignore[arg-type]
    bad = package / "tapio_otel/receivers/ebpf/objects/oom.bpf.o"
    if content is None:
        shutil.copy(bad.with_name("tcp_reset.bpf.o"), bad)
    else:
        bad.write_bytes(content)
    prefix = ("env", f"--chdir={room}", f"PYTHONPATH={package}")
    with Agent(room, {"ebpf": {"loader": "libbpf"}}, prefix) as agent:
        event = oom(agent)
        log = agent.errors.read_text()
    assert event["tapio.observed_by"] in {"kmsg", "memory.events"}
    assert "libbpf cannot look for oom:" in log
    assert "watched in a lesser way: oom by" in log


def test_a_hundred_starts_leave_nothing_open():
    """Descriptors and BPF programs are as many after them as before, whether the start succeeds or fails half-way."""
    require_bpf()
    script = """
import asyncio, os
from pathlib import Path
from tapio_otel.receivers.ebpf import EbpfConfig, EbpfReceiver
from tests.collect import context

async def rounds(count, **options):
    for _ in range(count):
        receiver = EbpfReceiver(context("ebpf"), EbpfConfig.model_validate(options))
        try:
            await receiver.start()
        except Exception as error:
            print(type(error).__name__)
        await receiver.shutdown()

def state():
    return len(os.listdir("/proc/self/fd"))

asyncio.run(rounds(1))
before = state()
asyncio.run(rounds(100))
os.setgroups([]); os.setresuid(65534, 65534, 0)
asyncio.run(rounds(3, required=True, loader="libbpf"))
os.seteuid(0)
print(before, state())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=_environment())
    *failures, counts = done.stdout.splitlines()
    before, after = counts.split()
    assert failures == ["ComponentError"] * 3
    assert before == after


def _environment() -> dict[str, Any]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
