"""OOM kills from /dev/kmsg, the kernel's log as a device: nearly all that the BPF program sees, the moment it is written.

What happens from now on is read; with the position of an earlier run, what has been logged since, as far as the log goes back.
What was logged before this boot is gone with it. Only records of facility `kern` are believed: the kernel gives everything that
programs write to the device another one. Records that were overwritten before they could be read are counted.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from tapio_otel.entities.process import read_process
from tapio_otel.receivers.ebpf.clock import WallClock, boottime_ns
from tapio_otel.receivers.ebpf.fallback.cgroups import find_hierarchy
from tapio_otel.receivers.ebpf.fallback.oom_messages import OomMessages
from tapio_otel.receivers.ebpf.feed import ObservedBy, ProbeUnavailable
from tapio_otel.receivers.ebpf.observations import CgroupFacts, Observation, OomKill

MOST_RECORDS: Final = 2000
"""Records read at once; one takes a system call each. What is left makes the descriptor readable again."""
_LONGEST_RECORD: Final = 16384
_BOOT_ID: Final = "proc/sys/kernel/random/boot_id"
_MOST_FRAGMENTS: Final = 4096
_NANOSECONDS: Final = 1_000_000_000
_RECORD = re.compile(rb"([0-9]{1,10}),([0-9]{1,20}),([0-9]{1,20}),([^;]{0,64});")
_ESCAPE = re.compile(rb"\\x([0-9a-fA-F]{2})")


class Record(NamedTuple):
    """Be one record of the log; `microseconds` since boot without the time asleep; `part`: `c` or `+` for unfinished lines."""

    facility: int
    sequence: int
    microseconds: int
    part: str
    caller: str
    text: str


def parse_record(line: bytes) -> Record | None:
    """Return a line `priority,sequence,microseconds,flags[,caller=…];text` taken apart; None for continuation lines and others.

    Source: Documentation/ABI/testing/dev-kmsg. What is no printable ASCII comes as \\xNN, each byte of UTF-8 on its own.
    """
    found = _RECORD.match(line)
    if found is None:
        return None
    part, *others = found[4].decode("ascii", "replace").split(",")
    caller = next((other[len("caller=") :] for other in others if other.startswith("caller=")), "")
    text = (
        _ESCAPE.sub(lambda escape: bytes((int(escape[1], 16),)), line[found.end() :]) if b"\\x" in line else line[found.end() :]
    )
    return Record(int(found[1]) >> 3, int(found[2]), int(found[3]), part, caller, text.decode("utf-8", "replace"))


class Records:
    """Read the log's records one by one through `read`, which is os.read on the device or on a file with the same content."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._rest = b""
        self._after_gap = False
        self._fragments = ""
        self.lost: Counter[str] = Counter()
        self.sequence: int | None = None
        """The number of the last record that was read."""
        self._known: int | None = None
        self.at_end = False
        """Whether the last reading went up to the log's end."""

    def new(self, most: int = MOST_RECORDS) -> Iterator[Record]:
        """Yield the records of the kernel's own that were written since, at most about `most` of any kind."""
        self.at_end = False
        for _ in range(most):
            chunk = self._next_chunk()
            if not chunk:
                self.at_end = True
                return
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            if len(self._rest) > _LONGEST_RECORD:
                self._rest = b""
            yield from self._kernels(lines)

    def resume(self, sequence: int | None) -> None:
        """Leave out the records up to this one, and count those that are gone; None leaves out and counts nothing."""
        self._known = self.sequence = sequence

    def _next_chunk(self) -> bytes:
        while True:
            try:
                return self._read()
            except BlockingIOError:
                return b""
            except BrokenPipeError:  # the next records have been overwritten
                self._after_gap = True
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self.lost["too_long"] += 1  # the kernel skips a record that the buffer cannot hold

    def _kernels(self, lines: list[bytes]) -> Iterator[Record]:
        for line in lines:
            record = parse_record(line)
            if record is not None and not self._is_known(record.sequence):
                self._note_gap(record.sequence)
                if record.facility == 0 and (whole := self._whole(record)) is not None:
                    yield whole

    def _is_known(self, sequence: int) -> bool:
        """Tell whether a record was read in an earlier run; what is missing behind the last of those was overwritten."""
        if self._known is None:
            return False
        if sequence <= self._known:
            return True
        self._after_gap = self._after_gap or sequence > self._known + 1
        self._known = None
        return False

    def _note_gap(self, sequence: int) -> None:
        if self._after_gap:
            missing = 1 if self.sequence is None else sequence - self.sequence - 1
            self.lost["overwritten"] += max(1, missing)
            self._after_gap = False
            self._fragments = ""
        self.sequence = sequence

    def _whole(self, record: Record) -> Record | None:
        """Put together a line that kernels before 4.10 wrote in parts: `c` begins one, `+` goes on."""
        if record.part in ("c", "+"):
            start = "" if record.part == "c" else self._fragments
            self._fragments = (start + record.text)[:_MOST_FRAGMENTS]
            return record._replace(text=self._fragments) if record.part == "+" else None
        self._fragments = ""
        return record


class KmsgFeed:
    """Watch for OOM kills in the kernel's log. `path` is the device below the host's root, or a file or FIFO of its form."""

    observed_by = ObservedBy.KMSG
    notes: Sequence[str] = ()

    def __init__(self, root: Path, path: str = "dev/kmsg") -> None:
        self._proc = str(root / "proc")
        self._descriptor, self._mode = _open(root / path)
        self._is_device = stat.S_ISCHR(self._mode)
        self._can_wake = not stat.S_ISREG(self._mode)
        hierarchy = find_hierarchy(root, "memory")
        self._cgroups = hierarchy.base if hierarchy else None
        self._records = Records(lambda: os.read(self._descriptor, _LONGEST_RECORD))
        if self._is_device:
            self._records.resume(_last_sequence(self._descriptor))
        self._messages = OomMessages()
        self._all_read_at = boottime_ns()
        self._monotonic = WallClock(time.monotonic_ns)
        self._boot = _read_text(root / _BOOT_ID)
        self._has_read = self._closed = False

    def fileno(self) -> int | None:
        """Return the device: it is readable when there is a new record; None for a regular file."""
        return self._descriptor if self._can_wake and not self._closed else None

    @property
    def interval(self) -> float:
        """Return 0: where the descriptor cannot tell of news, each tick looks."""
        return 0.0

    def read(self) -> list[Observation]:
        """Return the kills that were logged since."""
        if self._closed:
            return []
        self._has_read = True
        before = boottime_ns()
        kills: list[Observation] = []
        for record in self._records.new():
            kill = self._messages.feed(record.text, record.microseconds * 1000, record.caller)
            if kill is not None:
                kill = replace(kill, time_ns=self._boottime(record.microseconds), sequence=record.sequence)
                kills.append(self._placed(kill))
        if self._records.at_end:
            self._all_read_at = before
        return kills

    @property
    def position(self) -> dict[str, Any] | None:
        """Return the boot and the number of the last record that was read, or of the last there was when the log was opened."""
        return {"boot": self._boot, "sequence": self._records.sequence} if self._boot and self._can_rewind else None

    def resume(self, position: Mapping[str, Any]) -> None:
        """Go on behind a position of this boot; behind one of an earlier boot, with all that this one has logged."""
        boot, sequence = position.get("boot"), position.get("sequence")
        if self._has_read or self._closed or not isinstance(boot, str) or not self._boot or not self._can_rewind:
            return
        if boot != self._boot:
            sequence = None
        elif type(sequence) is not int:
            return
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._records.resume(sequence)
        self._all_read_at = 0

    @property
    def _can_rewind(self) -> bool:
        return not stat.S_ISFIFO(self._mode)

    def _boottime(self, microseconds: int) -> int:
        """Return when a record was written, in CLOCK_BOOTTIME.

        The log's clock does not count the time asleep, and drifts against the monotonic one by seconds in weeks. But a record
        that is new was written after the last time that all were read, and before now.
        """
        stamp = microseconds * 1000 - self._monotonic.difference()
        return min(max(stamp, self._all_read_at), boottime_ns()) if self._is_device else stamp

    def _placed(self, kill: OomKill) -> OomKill:
        """Add what is only known as long as the victim and its cgroups are still there."""
        memory, limit = self._identified(kill.memory_cgroup), self._identified(kill.limit_cgroup)
        victim = None if kill.pid is None else read_process(kill.pid, self._proc)
        if victim is None or victim.comm != kill.comm:
            return replace(kill, cgroup=memory, memory_cgroup=memory, limit_cgroup=limit)
        # A service without memory accounting sits in its slice's memory cgroup; only systemd's hierarchy tells the service.
        deeper = [path for path in victim.cgroup_paths[:1] if path.startswith(f"{memory.path.rstrip('/')}/") and path != "/"]
        cgroup = CgroupFacts(path=deeper[0]) if deeper else memory
        start = victim.start_ticks * _NANOSECONDS // os.sysconf("SC_CLK_TCK")
        return replace(kill, start_boottime_ns=start, cgroup=cgroup, memory_cgroup=memory, limit_cgroup=limit)

    def _identified(self, cgroup: CgroupFacts) -> CgroupFacts:
        if not self._cgroups or not cgroup.path.startswith("/") or "\0" in cgroup.path:
            return cgroup
        try:
            return CgroupFacts(Path(self._cgroups + cgroup.path).stat().st_ino, cgroup.path)
        except OSError:
            return cgroup

    def lost(self) -> Mapping[str, int]:
        """Return how many records were `overwritten` before they were read, or `too_long`."""
        return self._records.lost

    def close(self) -> None:
        """Release the descriptor; safe to call twice."""
        if not self._closed:
            self._closed = True
            os.close(self._descriptor)


def _last_sequence(descriptor: int) -> int | None:
    """Return the number of the last record there is, having read up to it; None where there is none."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    last = None
    while True:
        try:
            record = parse_record(os.read(descriptor, _LONGEST_RECORD))
        except BlockingIOError:
            return last
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EINVAL):
                raise
        else:
            last = record.sequence if record is not None else last


def _read_text(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


def _open(path: Path) -> tuple[int, int]:
    """Return a descriptor behind the last record, and the file's mode; raises ProbeUnavailable."""
    try:
        # A FIFO opened for reading alone is at its end, and so readable, whenever nobody writes.
        access = os.O_RDWR if stat.S_ISFIFO(path.stat().st_mode) else os.O_RDONLY
        descriptor = os.open(path, access | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError as error:
        remedy = "Give the agent CAP_SYSLOG, or set the sysctl kernel.dmesg_restrict=0"
        raise ProbeUnavailable(f"{path} may not be read ({error.strerror})", remedy) from None
    except OSError as error:
        remedy = "Make the host's /dev visible to the agent" if error.errno in (errno.ENOENT, errno.ENXIO) else ""
        raise ProbeUnavailable(f"{path} cannot be opened ({error.strerror})", remedy) from None
    try:
        os.lseek(descriptor, 0, os.SEEK_END)
    except OSError as error:
        if error.errno != errno.ESPIPE:
            os.close(descriptor)
            raise ProbeUnavailable(f"{path} cannot be read from its end ({error.strerror})") from None
    return descriptor, os.fstat(descriptor).st_mode
