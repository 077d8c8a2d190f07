"""A journald whose clock a test can step: a library between it and the system adds an offset to what the clock says."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Final

from tests.lab import UNITS, BootedSystemd
from tests.requirements import require

_SOURCE: Final = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *offset;

__attribute__((constructor)) static void begin(void) {
    int file = open("/run/lab/clock", O_RDONLY | O_CLOEXEC);
    void *found = file < 0 ? MAP_FAILED : mmap(0, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    offset = found == MAP_FAILED ? 0 : found;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int failed = syscall(SYS_clock_gettime, clock, time);
    if (!failed && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) time->tv_sec += *offset;
    return failed;
}
"""


class SteppedClock:
    """Have the journald of a lab go by a clock that `step` steps."""

    def __init__(self, lab: BootedSystemd) -> None:
        compiler = shutil.which("cc")
        require("systemd", compiler is not None, "apt install gcc, with which the stepped clock is built")
        self._lab = lab
        self._file = lab.share / "clock"
        self._file.write_bytes(struct.pack("=q", 0))
        library = lab.share / "clock.so"
        source = Path(f"{library}.c")
        source.write_text(_SOURCE)
        subprocess.run([str(compiler), "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True)
        unit = UNITS["systemd-journald.service"].replace("Type=notify", "Type=notify\nEnvironment=LD_PRELOAD=/run/lab/clock.so")
        lab.add_unit("systemd-journald.service", unit)
        lab.systemctl("restart", "systemd-journald.service")

    def step(self, seconds: int) -> None:
        """Set how many seconds the clock is ahead of the machine's; what was sent before has the time there was before."""
        self._lab.run("journalctl", "--sync")
        with self._file.open("r+b") as file:
            file.write(struct.pack("=q", seconds))
