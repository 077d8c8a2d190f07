"""What all feeds by libbpf share: an object found, configured, loaded and attached, and released whatever happens."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Final

from tapio_otel.receivers.ebpf.feed import ObservedBy, ProbeName, ProbeUnavailable
from tapio_otel.receivers.ebpf.libbpf import BpfObject, ProgramRefused, Ring
from tapio_otel.receivers.ebpf.observations import Observation

FIRST: Final = struct.pack("=I", 0)
"""The key of maps that have one entry."""

_REBUILD: Final = "Build the programs anew with make bpf"

Configure = Callable[[BpfObject], None]


class LibbpfFeed:
    """Be the base of the feeds: holds the object and its ring buffer.

    `notes` are warnings about the options. `skipped` tells of each program that the kernel refused while the others of the
    object go on, in one line of cause and remedy.
    """

    observed_by: ObservedBy = ObservedBy.LIBBPF
    ring_name = "records"

    def __init__(self, bpf: BpfObject, notes: Sequence[str] = ()) -> None:
        self.notes = list(notes)
        self.skipped: list[str] = []
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

    def stirred(self) -> int | None:
        """Return a descriptor that is readable while a tick would find something: until then, none is needed but once a second.

        Whoever waits for it should read a tick later, not at once: then it is readable once for all that comes meanwhile.
        """
        return self._ring.fileno()

    def read(self) -> list[Observation]:
        """Return what was seen, in order, without waiting."""
        raise NotImplementedError

    def finish(self) -> list[Observation]:
        """Return what `read` does, and what it would have kept for a later reading: for the last time."""
        return self.read()

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

    def __init__(self, bpf: BpfObject, notes: Sequence[str] = ()) -> None:
        super().__init__(bpf, notes)
        self._ring_full = 0
        self._may_have_lost = True

    def fileno(self) -> int | None:
        """Return the ring buffer's descriptor."""
        return self._ring.fileno()

    def lost(self) -> Mapping[str, int]:
        """Return how many records the ring buffer had no room for.

        There is room until a reading finds records, so the kernel is asked only then.
        """
        if self._may_have_lost:
            self._may_have_lost = False
            value = self._bpf.map("ring_full").lookup(FIRST) or bytes(8)
            self._ring_full = int(struct.unpack("=Q", value)[0])
        return {"ring_full": self._ring_full, **super().lost()}

    def _records(self) -> list[bytes]:
        """Return the records since the last reading."""
        records = self._ring.read()
        self._may_have_lost |= bool(records)
        return records


def open_feed(
    name: ProbeName, make: Callable[[BpfObject], LibbpfFeed], configure: Configure, essential: frozenset[str]
) -> LibbpfFeed:
    """Return the feed that `make` makes of a probe's loaded object, attached.

    A program that this kernel refuses is left out and told in `skipped`, unless it is `essential` or the last. Raises
    ProbeUnavailable; nothing stays in the kernel then.
    """
    skipped: dict[str, ProgramRefused] = {}
    while True:
        try:
            return _attached(name, make, configure, skipped)
        except ProgramRefused as error:
            if error.program in skipped or error.program in essential or not error.program:
                raise
            skipped[error.program] = error


def _attached(
    name: ProbeName, make: Callable[[BpfObject], LibbpfFeed], configure: Configure, skipped: Mapping[str, ProgramRefused]
) -> LibbpfFeed:
    bpf = _opened(name)
    try:
        if skipped.keys() == set(bpf.programs):
            last = list(skipped.values())[-1]
            raise ProbeUnavailable("; ".join(each.cause for each in skipped.values()), last.remedy)
        feed = _loaded(bpf, make, configure, skipped)
    except (KeyError, ValueError) as error:
        bpf.close()
        raise ProbeUnavailable(f"the BPF object is of another version: {error.args[0]}", _REBUILD) from error
    except OSError as error:
        bpf.close()
        raise ProbeUnavailable(f"the BPF object cannot be used: {error}", _REBUILD) from error
    except BaseException:
        bpf.close()
        raise
    return feed


def _loaded(
    bpf: BpfObject, make: Callable[[BpfObject], LibbpfFeed], configure: Configure, skipped: Mapping[str, ProgramRefused]
) -> LibbpfFeed:
    for program in skipped:
        bpf.skip(program)
    configure(bpf)
    bpf.load()
    feed = make(bpf)
    feed.skipped = [str(refused) for refused in skipped.values()]
    for program in bpf.programs:
        if program not in skipped:
            bpf.attach(program)
    return feed


def _opened(name: ProbeName) -> BpfObject:
    """Return the probe's object; raises ProbeUnavailable where the package has none."""
    source = resources.files("tapio_otel.receivers.ebpf") / "objects" / f"{name}.bpf.o"
    if not source.is_file():
        raise ProbeUnavailable(
            "this installation has no BPF objects for that: it was built without clang",
            "Install a wheel, or build the objects: apt-get install clang llvm libbpf-dev, then make bpf",
        )
    with resources.as_file(source) as path:
        return BpfObject.open(path)
