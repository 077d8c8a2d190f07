"""A real systemd for tests, with a journald and a D-Bus of its own, booted in 0.2 s and gone without a trace.

It runs in namespaces of its own (processes, mounts, network, cgroups) on the machine's read-only root, and knows only the
units that the test gives it besides journald and D-Bus. Needs root.

    with BootedSystemd({"web.service": "[Service]\nExecStart=sleep 60\n"}) as lab:
        lab.systemctl("start", "web.service")
        read(lab.journal)                 # the directory of its journal files
        connect(f"unix:path={lab.bus}")   # its system bus
        lab.run("systemd-cat", "echo", "hello")
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import pytest

from tests.requirements import require

PROGRAMS: Final = ("unshare", "setpriv", "nsenter", "mount", "pivot_root", "systemctl", "journalctl", "dbus-daemon")
SYSTEMD: Final = Path("/lib/systemd/systemd")
_CGROUPS: Final = (Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
_BOOT_SECONDS: Final = 20

_TARGET = "[Unit]\nDefaultDependencies=no\n"
UNITS: Final = {
    "default.target": "[Unit]\nRequires=basic.target dbus.service\nAfter=basic.target\n",
    "basic.target": _TARGET + "Requires=sysinit.target sockets.target\nAfter=sysinit.target sockets.target\n",
    "sysinit.target": _TARGET + "Requires=systemd-journald.service systemd-journal-flush.service\n",
    "sockets.target": _TARGET + "Requires=dbus.socket\n",
    "shutdown.target": _TARGET,
    "systemd-journald.socket": (
        _TARGET + "[Socket]\nListenDatagram=/run/systemd/journal/socket\nListenStream=/run/systemd/journal/stdout\n"
        "PassCredentials=yes\nPassSecurity=yes\nReceiveBuffer=8M\nService=systemd-journald.service\n"
    ),
    "systemd-journald.service": (
        _TARGET + "Requires=systemd-journald.socket\nAfter=systemd-journald.socket\n"
        "[Service]\nType=notify\nExecStart=/lib/systemd/systemd-journald\nStandardOutput=null\nRestart=always\n"
        "FileDescriptorStoreMax=4224\nSockets=systemd-journald.socket\n"
    ),
    "systemd-journal-flush.service": (
        _TARGET + "Requires=systemd-journald.service\nAfter=systemd-journald.service\n"
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=journalctl --flush\n"
    ),
    "dbus.socket": _TARGET + "[Socket]\nListenStream=/run/dbus/system_bus_socket\n",
    "dbus.service": (
        _TARGET + "Requires=dbus.socket\nAfter=dbus.socket\n[Service]\nType=notify\nNotifyAccess=main\n"
        "ExecStart=dbus-daemon --system --address=systemd: --nofork --nopidfile --syslog-only\n"
    ),
}

# Runs as the first process of the new namespaces; $1 is the directory shared with the test.
_SETUP = """
set -e
mount --bind / "$1/root"
mount -o remount,bind,ro "$1/root"
cd "$1/root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
for directory in run dev var/log var/lib/systemd; do mount -t tmpfs -o mode=755 tmpfs "$directory"; done
for device in null zero full random urandom tty; do touch "dev/$device"; mount --bind "/dev/$device" "dev/$device"; done
mkdir dev/pts dev/shm var/log/journal run/dbus run/lab run/lock
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount --bind "$1" run/lab
mount --bind "$1/journal" var/log/journal
mount --bind "$1/dbus" run/dbus
mount --bind "$1/journald.conf" etc/systemd/journald.conf
mount --make-private run
mkdir run/old
pivot_root . run/old
umount -l /run/old
cd /
exec env -i container=lab SYSTEMD_UNIT_PATH=/run/lab/units PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
  /lib/systemd/systemd --system --log-target=journal --show-status=no
"""


def obstacle() -> str | None:
    """Return why no systemd can be booted here, or None."""
    if os.geteuid() != 0:
        return "booting a systemd takes root"
    lacking = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None]
    if lacking or not SYSTEMD.exists():
        return f"not installed: {', '.join(lacking) or SYSTEMD} (apt packages systemd, util-linux, dbus)"
    probe = subprocess.run(
        ["unshare", "--fork", "--pid", "--mount", "--cgroup", "--net", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        capture_output=True,
        check=False,
    )
    return None if probe.returncode == 0 else f"namespaces are refused: {probe.stderr.decode().strip()}"


class BootedSystemd:
    """Boot a systemd with `units` (name to text) of the test's own; `journald` are settings of its journald.conf."""

    def __init__(self, units: Mapping[str, str] | None = None, journald: Mapping[str, str] | None = None) -> None:
        self.units = dict(units or {})
        self.settings = {"Storage": "persistent", "RateLimitIntervalSec": "0", "SyncIntervalSec": "1s", **(journald or {})}
        self.share = Path()
        self.pid = 0
        """The pid of its first process, as the test sees it."""
        self._process: subprocess.Popen[bytes] | None = None
        self._cgroups: list[Path] = []

    @property
    def journal(self) -> Path:
        """Return the directory of its journal files (in a directory by the machine's id)."""
        return self.share / "journal"

    @property
    def bus(self) -> Path:
        """Return the socket of its system bus."""
        return self.share / "dbus/system_bus_socket"

    @property
    def address(self) -> str:
        """Return the D-Bus address of its system bus."""
        return f"unix:path={self.bus}"

    def cgroup(self, unit: str, slice: str = "system.slice") -> Path:
        """Return the directory of a unit's cgroup, as the test sees it."""
        roots = [cgroup for cgroup in self._cgroups if cgroup.parent != _CGROUPS[0]]
        return roots[0] / slice / unit

    def __enter__(self) -> BootedSystemd:
        try:
            self._boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self.close()

    def run(self, *command: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command inside and return what it printed; raises CalledProcessError, with the output as a note."""
        done = subprocess.run(self.inside(command), capture_output=True, text=True, check=False, **options)
        if check and done.returncode != 0:
            error = subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
            error.add_note(done.stderr)
            raise error
        return done

    def inside(self, command: Sequence[str]) -> list[str]:
        """Return the command that runs `command` inside."""
        return ["nsenter", f"--target={self.pid}", "--all", "--", *command]

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        """Run systemctl inside and return what it printed."""
        return self.run("systemctl", "--no-pager", *arguments, check=check).stdout

    def add_unit(self, name: str, text: str) -> None:
        """Add or replace a unit and reload."""
        (self.share / "units" / name).write_text(text)
        self.systemctl("daemon-reload")

    def end_bus(self) -> None:
        """End its D-Bus daemon as a crash would; a client that connects makes systemd start it again."""
        before = self._main_pid("dbus.service")
        self.systemctl("kill", "--signal=KILL", "dbus.service")
        while self._main_pid("dbus.service") == before:  # who connects at once may already have had it started again
            time.sleep(0.01)

    def _main_pid(self, unit: str) -> str:
        return self.systemctl("show", "--property=MainPID", "--value", unit).strip()

    def close(self) -> None:
        """End everything inside and remove what was made; safe to call twice."""
        if self._process is not None:
            if self.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
            else:
                self._process.kill()
            self._process.wait(timeout=20)
            self._process = None
            self.pid = 0
        for cgroup in self._cgroups:
            _remove_cgroup(cgroup)
        self._cgroups = []
        if self.share != Path():
            shutil.rmtree(self.share, ignore_errors=True)

    def _boot(self) -> None:
        self.share = Path(tempfile.mkdtemp(prefix="tapio-lab-"))
        self.share.chmod(0o755)
        for name in ("root", "journal", "dbus", "units"):
            (self.share / name).mkdir()
        for name, text in {**UNITS, **self.units}.items():
            (self.share / "units" / name).write_text(text)
        settings = "".join(f"{name}={value}\n" for name, value in self.settings.items())
        (self.share / "journald.conf").write_text(f"[Journal]\n{settings}")
        self._cgroups = [_make_cgroup(root, self.share.name) for root in _CGROUPS if (root / "cgroup.procs").exists()]
        enter = "".join(f"echo 0 > {cgroup}/cgroup.procs; " for cgroup in self._cgroups)
        with (self.share / "console").open("wb") as console:
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig=KILL", "sh", "-ec", enter + 'exec "$@"', "sh"),  # it dies with the test
                    *("unshare", "--fork", "--kill-child", "--pid", "--mount", "--propagation=private"),
                    *("--uts", "--ipc", "--net", "--cgroup", "sh", "-c", _SETUP, "sh", str(self.share)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=console,
            )
        self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + _BOOT_SECONDS
        process = self._process
        assert process is not None
        while time.monotonic() < until and process.poll() is None:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            self.pid = int((children.read_text().split() or ["0"])[0])
            if self.pid and self.bus.exists():
                state = self.run("systemctl", "is-system-running", "--wait", check=False).stdout.strip()
                if state in {"running", "degraded"}:
                    return
            time.sleep(0.02)
        console = (self.share / "console").read_text(errors="replace")
        raise RuntimeError(f"systemd did not boot within {_BOOT_SECONDS} s: {console}")


@pytest.fixture
def booted_systemd() -> Iterator[BootedSystemd]:
    """Give a test a systemd with nothing but journald and D-Bus."""
    require_lab()
    with BootedSystemd() as lab:
        yield lab


def require_lab() -> None:
    """Skip the test with the exact reason where no systemd can be booted; fail it where that is required."""
    reason = obstacle()
    require("systemd", reason is None, reason or "")


def _make_cgroup(root: Path, name: str) -> Path:
    cgroup = root / name
    cgroup.mkdir()
    return cgroup


def _remove_cgroup(cgroup: Path) -> None:
    """Remove a cgroup and those below it, once the kernel has seen their last process go."""
    for _ in range(100):
        below = sorted((path for path in cgroup.rglob("*") if path.is_dir()), reverse=True)
        try:
            for path in [*below, cgroup]:
                path.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)
