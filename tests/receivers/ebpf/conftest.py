"""What tests of BPF programs share: the demand that this machine loads them, and the check that nothing of them stays."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

import pytest

from tapio_otel.receivers.ebpf.config import EbpfConfig
from tapio_otel.receivers.ebpf.feed import ProbeName
from tapio_otel.receivers.ebpf.observations import Observation
from tests.requirements import require

OBJECTS = Path(str(resources.files("tapio_otel.receivers.ebpf"))) / "objects"
BPFTOOL_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def obstacle() -> str | None:
    """Return why no BPF program can be loaded here, or None."""
    missing = [str(name) for name in ProbeName if not (OBJECTS / f"{name}.bpf.o").is_file()]
    if missing:
        return f"the objects of {', '.join(missing)} are not built (make bpf)"
    if os.geteuid() != 0:
        return "loading BPF programs takes root"
    return None if Path("/sys/kernel/btf/vmlinux").exists() else "this kernel tells no BTF"


@pytest.fixture
def bpf_objects() -> Path:
    """Give a test the directory of the objects, on a machine that loads them."""
    reason = obstacle()
    require("bpf", reason is None, reason or "")
    return OBJECTS


def own_programs() -> set[int]:
    """Return the ids of the BPF programs that this process holds, itself or by a link."""
    found = set()
    for entry in Path("/proc/self/fdinfo").iterdir():
        try:
            lines = entry.read_text().splitlines()
        except OSError:
            continue  # the descriptor of the listing itself
        found |= {int(line.split()[1]) for line in lines if line.startswith("prog_id:")}
    return found


def is_loaded(program: int) -> bool:
    """Tell whether the kernel still has a program."""
    command = ["bpftool", "prog", "show", "id", str(program)]
    return subprocess.run(command, capture_output=True, check=False, env={"PATH": BPFTOOL_PATH}).returncode == 0


@pytest.fixture
def nothing_stays(bpf_objects: Path) -> Iterator[None]:
    """Check after a test that this process holds no more BPF programs than before."""
    before = own_programs()
    yield
    assert own_programs() == before


Open = Callable[..., object]


@pytest.fixture
def open_probe(nothing_stays: None) -> Iterator[Callable[..., object]]:
    """Give a test feeds by libbpf, by the probe's name and its options; they are closed after it."""
    from tapio_otel.receivers.ebpf.libbpf_feeds import open_libbpf

    opened = []

    def open_one(name: str, **options: object) -> object:
        feed = open_libbpf(ProbeName(name), EbpfConfig.model_validate({"probes": {name: options}}))
        opened.append(feed)
        return feed

    yield open_one
    for feed in opened:
        feed.close()


def read_until(feed: object, enough: Callable[[list[Observation]], bool], seconds: float = 20) -> list[Observation]:
    """Read a feed until there is enough, or give up and return what there was."""
    seen: list[Observation] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end and not enough(seen):
        seen += feed.read()  # type: ignore[attr-defined]
        time.sleep(0.02)
    return seen
