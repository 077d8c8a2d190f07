"""Real kernel events for tests: small cgroups to run out of memory or CPU time in, and network namespaces to lose packets in.

Everything a test makes here is its own and is removed at the end. Needs root.

    with Cgroup("memory", memory_limit=30 << 20) as cgroup:
        run_in([cgroup], EAT_MEMORY)
    with NetworkPair() as pair:
        pair.run("left", "nft", "-f", "-", input=rules)
        with pair.inside("left"):
            socket.socket(...)
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from tests.requirements import require

CGROUPS: Final = Path("/sys/fs/cgroup")
UNIFIED: Final = next((path for path in (CGROUPS, CGROUPS / "unified") if (path / "cgroup.controllers").exists()), CGROUPS)
_NUMBERS: Final = itertools.count()
T = TypeVar("T")

EAT_MEMORY: Final = "kept = []\nwhile True:\n    kept.append(bytearray(1 << 20))\n"
"""A program that is killed by its cgroup's limit within some milliseconds."""
BE_BUSY: Final = "import time\nend = time.monotonic() + {seconds}\nwhile time.monotonic() < end:\n    pass\n"
"""A program that uses one CPU."""


def require_root() -> None:
    """Skip the test, or fail it where root is required, for a user who is not root."""
    require("root", os.geteuid() == 0, "only root makes cgroups and network namespaces")


def controller(name: str) -> Path | None:
    """Return the root of the hierarchy that has a controller, v1 or v2; None where none does."""
    if (CGROUPS / name / "cgroup.procs").exists():
        return CGROUPS / name
    enabled = (CGROUPS / "cgroup.controllers").read_text().split() if (CGROUPS / "cgroup.controllers").exists() else []
    return CGROUPS if name in enabled else None


class Cgroup:
    """Make a cgroup of one controller (`memory`, `cpu`) or, for `unified`, of the hierarchy without any, and remove it.

    `path` is its path as the kernel tells it, `directory` where it is. On v2 the controller is enabled for it where possible.
    """

    def __init__(
        self, kind: str, path: str = "", memory_limit: int | None = None, quota: tuple[int, int] | None = None
    ) -> None:
        root = UNIFIED if kind == "unified" else controller(kind)
        require("root", root is not None, f"no cgroup hierarchy has the controller {kind}")
        assert root is not None
        self.root = root
        self.path = path or f"/tapio-test-{os.getpid()}-{next(_NUMBERS)}"
        self.directory = root / self.path.lstrip("/")
        self.is_v2 = (root / "cgroup.controllers").exists()
        self._limit, self._quota = memory_limit, quota
        self._made: list[Path] = []

    def __enter__(self) -> Cgroup:
        require_root()
        for directory in [*reversed(self.directory.relative_to(self.root).parents), self.directory.relative_to(self.root)]:
            if not (self.root / directory).exists():
                (self.root / directory).mkdir()
                self._made.append(self.root / directory)
        try:
            self._set_limits()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def id(self) -> int:
        """Return the cgroup's id, as the kernel tells it."""
        return self.directory.stat().st_ino

    def child(self, name: str, memory_limit: int | None = None) -> Cgroup:
        """Return a cgroup below this one, of the same kind; to be entered before it exists."""
        kind = "unified" if self.root == UNIFIED and not self.is_v2 else self.root.name
        return Cgroup(kind, f"{self.path}/{name}", memory_limit)

    def read(self, name: str) -> str:
        """Return the content of one of its files."""
        return (self.directory / name).read_text()

    def numbers(self, name: str) -> dict[str, int]:
        """Return a file of names and numbers, such as cpu.stat."""
        return {key: int(value) for key, value in (line.split() for line in self.read(name).splitlines())}

    def close(self) -> None:
        """End what still runs in it and remove it; safe to call twice."""
        for _ in range(200):
            for directory in reversed(self._made):
                for pid in _processes(directory):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(FileNotFoundError):
                    try:
                        directory.rmdir()
                    except OSError:
                        time.sleep(0.02)
                        break
            else:
                self._made = []
                return

    def _set_limits(self) -> None:
        if self._limit is not None:
            self._write("memory.max" if self.is_v2 else "memory.limit_in_bytes", str(self._limit))
            self._write(
                "memory.swap.max" if self.is_v2 else "memory.memsw.limit_in_bytes", "0" if self.is_v2 else str(self._limit)
            )
        if self._quota is not None:
            quota, period = self._quota
            if self.is_v2:
                self._write("cpu.max", f"{quota} {period}")
            else:
                self._write("cpu.cfs_period_us", str(period))
                self._write("cpu.cfs_quota_us", str(quota))

    def _write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text)


def _processes(directory: Path) -> list[int]:
    try:
        return [int(pid) for pid in (directory / "cgroup.procs").read_text().split()]
    except OSError:
        return []


@contextlib.contextmanager
def running_in(cgroups: Sequence[Cgroup], program: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python program in cgroups (of different hierarchies) from its first instruction on, ended by its pid."""
    enter = "".join(f"echo $$ > '{cgroup.directory}/cgroup.procs'; " for cgroup in cgroups)
    process = subprocess.Popen(
        ["sh", "-ec", enter + 'exec "$@"', "sh", sys.executable, "-I", "-S", "-c", program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=20)


def run_in(cgroups: Sequence[Cgroup], program: str, *arguments: str) -> tuple[int, int]:
    """Run a Python program in cgroups to its end; returns its pid and exit status (negative: the signal)."""
    with running_in(cgroups, program, *arguments) as process:
        return process.pid, process.wait(timeout=60)


Side = Literal["left", "right"]


class NetworkPair:
    """Make two network namespaces, joined by a veth pair: left is 10.99.0.1 and fd99::1, right 10.99.0.2 and fd99::2."""

    interfaces: Final = {"left": "veth-left", "right": "veth-right"}
    ipv4: Final = {"left": "10.99.0.1", "right": "10.99.0.2"}
    ipv6: Final = {"left": "fd99::1", "right": "fd99::2"}

    def __init__(self) -> None:
        self.names = {side: f"tapio-test-{os.getpid()}-{next(_NUMBERS)}-{side}" for side in ("left", "right")}

    def __enter__(self) -> NetworkPair:
        require_root()
        try:
            for name in self.names.values():
                _run("ip", "netns", "add", name)
            left, right = self.interfaces["left"], self.interfaces["right"]
            pair = ("link", "add", left, "type", "veth", "peer", "name", right, "netns", self.names["right"])
            _run("ip", "-n", self.names["left"], *pair)
            for side in ("left", "right"):
                self._configure(side)  # type: ignore[arg-type]
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove both namespaces."""
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def inode(self, side: Side) -> int:
        """Return the namespace's inode number, as the kernel tells it."""
        return Path(f"/run/netns/{self.names[side]}").stat().st_ino

    def run(self, side: Side, *command: str, **options: Any) -> str:
        """Run a command inside one of the namespaces and return what it printed."""
        return _run("ip", "netns", "exec", self.names[side], *command, **options)

    def inside(self, side: Side, work: Callable[[], T]) -> T:
        """Call a function in a thread that is in one of the namespaces: its sockets stay there."""
        found: list[T] = []
        failed: list[BaseException] = []

        def enter() -> None:
            try:
                with Path(f"/run/netns/{self.names[side]}").open() as namespace:
                    _set_namespace(namespace.fileno())
                found.append(work())
            except BaseException as error:  # raised below, in the caller's thread
                failed.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return found[0]

    def _configure(self, side: Side) -> None:
        device = self.interfaces[side]
        self.run(side, "ip", "link", "set", "lo", "up")
        self.run(side, "ip", "address", "add", f"{self.ipv4[side]}/24", "dev", device)
        self.run(side, "ip", "address", "add", f"{self.ipv6[side]}/64", "dev", device, "nodad")
        self.run(side, "ip", "link", "set", device, "up")


def _set_namespace(descriptor: int) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, 0x40000000) != 0:  # CLONE_NEWNET; os.setns came with Python 3.12
        raise OSError(ctypes.get_errno(), "setns")


def _run(*command: str, **options: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
