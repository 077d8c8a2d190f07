"""Dropped packets, TCP retransmits and resets by libbpf: the kernel counts all and samples some, the agent reads both."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from time import monotonic
from typing import Final

from tapio_otel.receivers.ebpf.clock import boottime_ns
from tapio_otel.receivers.ebpf.config import EbpfConfig, NetworkConfig
from tapio_otel.receivers.ebpf.feed import ProbeName
from tapio_otel.receivers.ebpf.libbpf import BpfObject
from tapio_otel.receivers.ebpf.libbpf_feeds.choices import drop_limits, namespace_inodes, reason_names
from tapio_otel.receivers.ebpf.libbpf_feeds.feed import FIRST, Configure, LibbpfFeed, open_feed
from tapio_otel.receivers.ebpf.libbpf_feeds.slots import RESET_SLOTS, RETRANSMIT_SLOTS, reason_of, slot_of
from tapio_otel.receivers.ebpf.observations import Observation, PacketDrop, TcpReset, TcpRetransmit
from tapio_otel.receivers.ebpf.records import VARYING, SampleObservation, Tally, decode_sample, decode_tally

_SLOT: Final = struct.Struct("=I")
_LENGTH: Final = struct.Struct("=8xI")
"""A sample's length, behind its time."""

LOOK_INTERVAL: Final = 1.0
"""Seconds between two looks at the counters while nothing is sampled."""


@dataclass(slots=True)
class _Seen:
    """Be the samples of one flow in one reading."""

    first: bytes
    count: int
    length: int


class SampledFeed(LibbpfFeed):
    """Tell flows of which packets were sampled, and how many more there were of which no flow is known.

    Over any time, the sum of `count` and `suppressed` of all observations is what the kernel counted.
    """

    ring_name = "samples"

    def __init__(
        self,
        bpf: BpfObject,
        notes: Sequence[str],
        slot: Callable[[SampleObservation], int],
        flowless: Callable[[int, Tally, int], SampleObservation],
        finish: Callable[[SampleObservation], SampleObservation] = lambda one: one,
    ) -> None:
        super().__init__(bpf, notes)
        self._slot, self._flowless, self._finish = slot, flowless, finish
        self._used, self._tallies = bpf.map("used"), bpf.map("tallies")
        self._used_bytes = b""
        self._slots: list[int] = []
        self._last: dict[int, Tally] = {}
        self._looked = -inf

    def read(self) -> list[Observation]:
        """Return one observation for each flow sampled, and one for each slot that was only counted.

        Where nothing was sampled, the counters are looked at once a second.
        """
        records, now = self._ring.read(), monotonic()
        if not records and now - self._looked < LOOK_INTERVAL:
            return []
        self._looked = now
        return self._settle_all(records)

    def finish(self) -> list[Observation]:
        """Return what `read` does, whenever the counters were looked at."""
        return self._settle_all([*self._ring.read(), *self._ring.read()])  # one reading may leave some of a full ring

    def _settle_all(self, records: list[bytes]) -> list[Observation]:
        by_slot: dict[int, list[SampleObservation]] = {}
        for one in self._flows(records):
            by_slot.setdefault(self._slot(one), []).append(one)
        seen: list[Observation] = []
        for slot in self._used_slots():
            seen += self._settle(slot, by_slot.pop(slot, []))
        for rest in by_slot.values():
            seen += rest
        return seen

    def lost(self) -> Mapping[str, int]:
        """Return how many packets were counted, but not looked at, for their rate or for want of room."""
        suppressed = sum(tally.suppressed for tally in self._last.values())
        ring_full = sum(tally.ring_full for tally in self._last.values())
        return {"suppressed": suppressed, "ring_full": ring_full, **super().lost()}

    def _flows(self, records: list[bytes]) -> Iterable[SampleObservation]:
        """Yield the samples, those of one flow together; each flow is decoded once."""
        flows: dict[bytes, _Seen] = {}
        for record in records:
            found = flows.get(record[VARYING:])
            if found is None:
                found = flows[record[VARYING:]] = _Seen(record, 0, 0)
            found.count += 1
            found.length += _LENGTH.unpack_from(record)[0] if len(record) >= _LENGTH.size else 0
        for found in flows.values():
            try:
                one = self._finish(decode_sample(found.first))
            except ValueError:
                self._garbled += found.count
                continue
            yield _times(one, found.count, found.length)

    def _used_slots(self) -> list[int]:
        used = self._used.lookup(FIRST) or b""
        if used != self._used_bytes:
            self._used_bytes, self._slots = used, [slot for slot, is_used in enumerate(used) if is_used]
        return self._slots

    def _settle(self, slot: int, flows: list[SampleObservation]) -> list[SampleObservation]:
        """Add to a slot's flows how many more were counted that have no sample, by the kernel's own count of these."""
        before, now = self._last.get(slot, Tally()), self._tally(slot)
        self._last[slot] = now
        more = now.suppressed + now.ring_full - before.suppressed - before.ring_full
        if flows:
            return [replace(flows[0], suppressed=more), *flows[1:]] if more else flows
        if not more:
            return []
        grown = Tally(more, now.length - before.length)
        return [self._flowless(slot, grown, boottime_ns())]

    def _tally(self, slot: int) -> Tally:
        """Return the sums over all CPUs."""
        tallies = [decode_tally(value) for value in self._tallies.lookup_per_cpu(_SLOT.pack(slot))]
        return Tally(*map(sum, zip(*tallies, strict=True))) if tallies else Tally()


def open_net_drop(config: EbpfConfig) -> LibbpfFeed:
    """Load and attach the probe for dropped packets."""
    options, reasons = config.probes.net_drop, reason_names("skb_drop_reason", "SKB_DROP_REASON_")
    limits, notes = drop_limits(options, reasons)

    def flowless(slot: int, grown: Tally, time: int) -> SampleObservation:
        reason = reason_of(slot)
        return PacketDrop(time, reason=reason, reason_name=_name(reasons, reason), count=grown.packets, length=grown.length)

    def named(one: SampleObservation) -> SampleObservation:
        return replace(one, reason_name=_name(reasons, one.reason)) if isinstance(one, PacketDrop) else one

    def slot(one: SampleObservation) -> int:
        return slot_of(one.reason) if isinstance(one, PacketDrop) else 0

    def make(bpf: BpfObject) -> LibbpfFeed:
        return SampledFeed(bpf, notes, slot, flowless, named)

    return _open_sampled(ProbeName.NET_DROP, make, options, limits, notes)


def open_tcp_retransmit(config: EbpfConfig) -> LibbpfFeed:
    """Load and attach the probe for TCP retransmits."""
    options, notes = config.probes.tcp_retransmit, list[str]()

    def flowless(_slot: int, grown: Tally, time: int) -> SampleObservation:
        return TcpRetransmit(time, count=grown.packets)

    def make(bpf: BpfObject) -> LibbpfFeed:
        return SampledFeed(bpf, notes, lambda _: 0, flowless)

    return _open_sampled(ProbeName.TCP_RETRANSMIT, make, options, [options.samples_per_second] * RETRANSMIT_SLOTS, notes)


def open_tcp_reset(config: EbpfConfig) -> LibbpfFeed:
    """Load and attach the probe for TCP resets."""
    options, notes = config.probes.tcp_reset, list[str]()
    reasons = reason_names("sk_rst_reason", "SK_RST_REASON_")
    directions = ("sent", "received")

    def flowless(slot: int, grown: Tally, time: int) -> SampleObservation:
        return TcpReset(time, direction=directions[slot], count=grown.packets)

    def named(one: SampleObservation) -> SampleObservation:
        if not isinstance(one, TcpReset) or not one.reason:
            return one
        return replace(one, reason=reasons.get(int(one.reason), one.reason))

    def slot(one: SampleObservation) -> int:
        return directions.index(one.direction) if isinstance(one, TcpReset) else 0

    def make(bpf: BpfObject) -> LibbpfFeed:
        return SampledFeed(bpf, notes, slot, flowless, named)

    def tell_reasons(bpf: BpfObject) -> None:
        bpf.configure("passes_reason", bool(reasons))

    return _open_sampled(ProbeName.TCP_RESET, make, options, [options.samples_per_second] * RESET_SLOTS, notes, tell_reasons)


def _open_sampled(
    name: ProbeName,
    make: Callable[[BpfObject], LibbpfFeed],
    options: NetworkConfig,
    limits: list[int],
    notes: list[str],
    more: Configure = lambda _: None,
) -> LibbpfFeed:
    inodes, missing = namespace_inodes(options.network_namespaces)
    notes += missing

    def configure(bpf: BpfObject) -> None:
        bpf.configure("limits", struct.pack(f"={len(limits)}I", *limits))
        bpf.configure("namespaces", struct.pack(f"={len(inodes)}I", *inodes))
        bpf.configure("namespace_count", len(inodes))
        more(bpf)

    return open_feed(name, make, configure, frozenset())


def _times(one: SampleObservation, count: int, length: int) -> SampleObservation:
    return replace(one, count=count, length=length) if isinstance(one, PacketDrop) else replace(one, count=count)


def _name(names: Mapping[int, str], number: int | None) -> str:
    return names.get(number, "") if number is not None else ""
