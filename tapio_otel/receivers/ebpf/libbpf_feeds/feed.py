"""What all feeds by libbpf share: an object found, configured, loaded and attached, and released whatever happens."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Final

from tapio_otel.receivers.ebpf.feed import ObservedBy, ProbeName, ProbeUnavailable
from tapio_otel.receivers.ebpf.libbpf import BpfObject, ProgramRefused, Ring
from tapio_otel.receivers.ebpf.observations import Observation

FIRST: Final = struct.pack("=I", 0)
"""The key of maps that have one entry."""

Configure = Callable[[BpfObject], None]


class LibbpfFeed:
    """Be the base of the feeds: holds the object and its ring buffer. `notes` are warnings about how it was opened."""

    observed_by: ObservedBy = ObservedBy.LIBBPF
    ring_name = "records"

    def __init__(self, bpf: BpfObject, notes: list[str]) -> None:
        self.notes = notes
        self._bpf = bpf
        self._ring: Ring = bpf.ring(self.ring_name)
        self._garbled = 0

    @property
    def interval(self) -> float:
        """Return the seconds between two readings: every tick of the receiver."""
        return 0.0

    def fileno(self) -> int | None:
        """Return None: nothing is urgent."""
        return None

    def read(self) -> list[Observation]:
        """Return what was seen, in order, without waiting."""
        raise NotImplementedError

    def lost(self) -> Mapping[str, int]:
        """Return what went unseen since the feed was opened, by reason."""
        return {"garbled": self._garbled} if self._garbled else {}

    def close(self) -> None:
        """Release programs, maps and descriptors; safe to call twice."""
        self._bpf.close()

    @property
    def programs(self) -> list[str]:
        """Return the programs of the object."""
        return self._bpf.programs


class RareFeed(LibbpfFeed):
    """Be the base of feeds of rare occurrences: each wakes the receiver."""

    def fileno(self) -> int | None:
        """Return the ring buffer's descriptor."""
        return self._ring.fileno()

    def lost(self) -> Mapping[str, int]:
        """Return how many records the ring buffer had no room for."""
        value = self._bpf.map("ring_full").lookup(FIRST) or bytes(8)
        return {"ring_full": int(struct.unpack("=Q", value)[0]), **super().lost()}


def open_feed(
    name: ProbeName, make: Callable[[BpfObject, list[str]], LibbpfFeed], configure: Configure, essential: frozenset[str]
) -> LibbpfFeed:
    """Return the feed that `make` makes of a probe's loaded object, attached.

    A program that this kernel refuses is left out and noted, unless it is `essential` or the last. Raises ProbeUnavailable;
    nothing stays in the kernel then.
    """
    skipped: dict[str, str] = {}
    while True:
        try:
            return _attached(name, make, configure, skipped)
        except ProgramRefused as error:
            if error.program in skipped or error.program in essential or not error.program:
                raise
            skipped[error.program] = error.cause


def _attached(
    name: ProbeName, make: Callable[[BpfObject, list[str]], LibbpfFeed], configure: Configure, skipped: Mapping[str, str]
) -> LibbpfFeed:
    bpf = _opened(name)
    try:
        if skipped.keys() == set(bpf.programs):
            raise ProbeUnavailable("; ".join(skipped.values()))
        for program in skipped:
            bpf.skip(program)
        configure(bpf)
        bpf.load()
        feed = make(bpf, [f"{name} looks without one program: {cause}" for cause in skipped.values()])
        for program in bpf.programs:
            if program not in skipped:
                bpf.attach(program)
    except OSError as error:
        bpf.close()
        raise ProbeUnavailable(f"the BPF object {name} cannot be read: {error}") from error
    except BaseException:
        bpf.close()
        raise
    return feed


def _opened(name: ProbeName) -> BpfObject:
    """Return the probe's object; raises ProbeUnavailable where the package has none."""
    source = resources.files("tapio_otel.receivers.ebpf") / "objects" / f"{name}.bpf.o"
    if not source.is_file():
        raise ProbeUnavailable(
            f"this installation has no BPF object for {name}: it was built without clang",
            "Install a wheel, or build the objects: apt-get install clang llvm libbpf-dev, then make bpf",
        )
    with resources.as_file(source) as path:
        return BpfObject.open(path)
