"""The booted systemd that other tests rely on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import BootedSystemd, require_lab


def traces() -> set[str]:
    """Return what a booted systemd could leave behind: mounts, cgroups, directories."""
    mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    cgroups = {str(path) for path in Path("/sys/fs/cgroup").glob("*/tapio-lab-*")}
    return mounts | cgroups | {str(path) for path in Path("/tmp").glob("tapio-lab-*")}


def test_it_boots_runs_units_and_leaves_nothing_behind() -> None:
    """Units start and fail as they should, and in the end everything is gone."""
    require_lab()
    before = traces()
    units = {"good.service": "[Service]\nExecStart=sleep 60\n", "bad.service": "[Service]\nExecStart=false\n"}
    with BootedSystemd(units) as lab:
        lab.systemctl("start", "good.service")
        assert lab.systemctl("is-active", "good.service").strip() == "active"
        lab.systemctl("start", "bad.service", check=False)
        assert lab.systemctl("show", "--property=Result", "--value", "bad.service").strip() == "exit-code"
        lab.add_unit("late.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\n")
        lab.systemctl("start", "late.service")
        assert lab.systemctl("is-active", "late.service").strip() == "active"
        assert lab.bus.is_socket() and list(lab.journal.rglob("*.journal"))
        pid, share = lab.pid, lab.share
    assert not Path(f"/proc/{pid}").exists() and not share.exists()
    assert traces() == before


def test_it_cleans_up_when_it_does_not_boot() -> None:
    """A systemd that cannot start leaves nothing behind either, and says why."""
    require_lab()
    before = traces()
    lab = BootedSystemd({"bad\x00name": ""})
    with pytest.raises(ValueError, match="null"), lab:
        pass
    assert traces() == before
