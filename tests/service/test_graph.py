"""What is said of the host's root while the graph is built."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.service.test_root_path import service


@pytest.mark.parametrize(
    ("present", "missing"),
    [
        ((), ("proc", "sys/fs/cgroup")),
        (("proc/uptime",), ("sys/fs/cgroup",)),
        (("sys/fs/cgroup/cgroup.procs",), ("proc",)),
        (("proc/uptime", "sys/fs/cgroup/cgroup.procs"), ()),
    ],
)
def test_a_root_that_is_not_the_hosts_is_named(tmp_path: Path, caplog, present, missing) -> None:
    """An empty place for a mount is as bad as none: one line says what is not there."""
    root = tmp_path / "host"
    (root / "proc").mkdir(parents=True)
    for name in present:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    with caplog.at_level(logging.WARNING):
        service(tmp_path / "state", f"service.root_path={root}")
    told = [message for message in caplog.messages if "service.root_path" in message]
    assert len(told) == bool(missing)
    for name in missing:
        assert f"no {root / name}" in told[0]


def test_the_machines_own_root_needs_no_check(tmp_path: Path, caplog) -> None:
    """Without the option, nobody could correct it."""
    service(tmp_path)
    assert not caplog.messages
