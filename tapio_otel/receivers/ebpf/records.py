"""Records: the bytes that the BPF programs hand over, turned into observations. The layouts are those of `bpf/records.h`.

Whatever the bytes are, the result is an observation or a ValueError: a program of another version must not end the agent.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from struct import Struct
from typing import Final, NamedTuple

from tapio_otel.receivers.ebpf.observations import (
    NO_CGROUP,
    CgroupFacts,
    Flow,
    OomKill,
    PacketDrop,
    TcpReset,
    TcpRetransmit,
)

UNKNOWN: Final = 0xFFFFFFFF
NO_LIMIT: Final = 0xFFFFFFFF_FFFFFFFF  # RUNTIME_INF of the kernel's scheduler
NAMES: Final = 1024 + 256
"""Room for the names of a record's cgroups; the lowest 1,024 bytes are always told."""
CUT: Final = "/…"
"""What begins the path of a cgroup that has more names than a record has room for."""

CGROUP: Final = Struct("=QHHI")
OOM: Final = Struct("=9Q4IiIQ16s16s")
WINDOW: Final = Struct("=QQQII QQQII QQ")
SAMPLE: Final = Struct("=QII QIIIII HBBHH 16s16s16sI")
TALLY: Final = Struct("=6Q")
OOM_LENGTH: Final = OOM.size + 2 * CGROUP.size + NAMES
THROTTLE_LENGTH: Final = WINDOW.size + CGROUP.size + NAMES
VARYING: Final = 16
"""The length of what differs between two samples of the same flow; the rest of the record is the flow's key."""

_HAS_VICTIM, _HAS_LIMIT = 1, 2
_DROP, _RETRANSMIT, _RESET_SENT, _RESET_RECEIVED = range(4)
_AF_INET, _AF_INET6 = 2, 10  # the numbers of Linux, on whatever machine the bytes are read
_V4_MAPPED = bytes(10) + b"\xff\xff"
_WITH_PORTS = frozenset((6, 17, 33, 132, 136))
PROTOCOLS: Final = {
    **{1: "icmp", 2: "igmp", 4: "ipip", 6: "tcp", 17: "udp", 33: "dccp", 41: "ipv6", 47: "gre", 50: "esp", 51: "ah"},
    **{58: "icmpv6", 89: "ospf", 103: "pim", 112: "vrrp", 132: "sctp", 136: "udplite"},
}
STATES: Final = {
    **{0: "", 1: "ESTABLISHED", 2: "SYN_SENT", 3: "SYN_RECV", 4: "FIN_WAIT1", 5: "FIN_WAIT2", 6: "TIME_WAIT", 7: "CLOSE"},
    **{8: "CLOSE_WAIT", 9: "LAST_ACK", 10: "LISTEN", 11: "CLOSING", 12: "SYN_RECV"},  # 12 is NEW_SYN_RECV, which ss calls so
}

SampleObservation = PacketDrop | TcpRetransmit | TcpReset


class Totals(NamedTuple):
    """What a cgroup's bandwidth has counted up to `time`: all but the time only grow. Times in ns."""

    time: int = 0
    throttled: int = 0
    runtime: int = 0
    periods: int = 0
    throttled_periods: int = 0


@dataclass(frozen=True, slots=True)
class ThrottleWindow:
    """Be a cgroup's window as the kernel keeps it; `end` is all 0 until there is something to tell."""

    begin: Totals
    end: Totals
    quota_ns: int | None
    period_ns: int


class Tally(NamedTuple):
    """What one CPU has counted for one slot."""

    packets: int = 0
    length: int = 0
    suppressed: int = 0
    ring_full: int = 0


class _Cgroup(NamedTuple):
    """A cgroup with the names of its path, its own first; `length` is their bytes in the record."""

    number: int
    names: list[str]
    is_cut: bool
    length: int

    def facts(self) -> CgroupFacts:
        return CgroupFacts(self.number, self.path()) if self.number else NO_CGROUP

    def path(self, above: int = 0) -> str:
        """Return the path of the cgroup so many levels above; empty where that was cut off."""
        if self.is_cut and above >= len(self.names):
            return ""
        path = "".join(f"/{name}" for name in reversed(self.names[above:]))
        return f"{CUT}{path}" if self.is_cut else path or "/"


def decode_oom(record: bytes, page_size: int) -> OomKill:
    """Return the OOM kill of an `oom_record`; without its victim's details where the kernel passed only the pid."""
    _check(record, OOM_LENGTH, "oom_record")
    (time, start, total_vm, anon, file, shmem, tables, limit, usage, flags, *rest) = OOM.unpack_from(record)
    pid, uid, trigger_pid, score, limit_above, limit_cgroup, comm, trigger_comm = rest
    cgroup, memory_cgroup = _cgroups(record, OOM.size)
    scope = "cgroup" if flags & _HAS_LIMIT else "global"
    kill = OomKill(time, pid, trigger_pid=trigger_pid, trigger_comm=_text(trigger_comm), scope=scope)
    if flags & _HAS_VICTIM:
        kill = replace(
            kill,
            comm=_text(comm),
            start_boottime_ns=start,
            uid=_known(uid),
            oom_score_adj=score,
            total_vm=total_vm * page_size,
            anon_rss=anon * page_size,
            file_rss=file * page_size,
            shmem_rss=shmem * page_size,
            page_tables=tables,
            cgroup=cgroup.facts(),
            memory_cgroup=memory_cgroup.facts(),
        )
    if flags & _HAS_LIMIT:
        hit = CgroupFacts(limit_cgroup, memory_cgroup.path(limit_above))
        kill = replace(kill, memory_limit=limit * page_size, memory_usage=usage * page_size, limit_cgroup=hit)
    return kill


def decode_throttle(record: bytes) -> tuple[ThrottleWindow, CgroupFacts]:
    """Return the window of a `throttle_record`, and whose it is."""
    _check(record, THROTTLE_LENGTH, "throttle_record")
    names = record[WINDOW.size + CGROUP.size :]
    return decode_window(record[: WINDOW.size]), _cgroup(record, WINDOW.size, names).facts()


def decode_window(value: bytes) -> ThrottleWindow:
    """Return a `throttle_window`, as the map holds it."""
    _check(value, WINDOW.size, "throttle_window")
    fields = WINDOW.unpack(value)
    quota, period = fields[10:]
    return ThrottleWindow(Totals(*fields[:5]), Totals(*fields[5:10]), None if quota == NO_LIMIT else quota, period)


def decode_tally(value: bytes) -> Tally:
    """Return a `tally`, without what is the program's own."""
    _check(value, TALLY.size, "tally")
    return Tally(*TALLY.unpack(value)[:4])


def decode_sample(record: bytes) -> SampleObservation:
    """Return the packet of a `sample_record`, with a reset's reason as a number."""
    _check(record, SAMPLE.size, "sample_record")
    (time, length, _, cgroup, kind, reason, netns, _, uid, family, protocol, state, *rest) = SAMPLE.unpack(record)
    source_port, destination_port, source, destination, interface, _ = rest
    flow = _flow(family, protocol, (source, source_port), (destination, destination_port))
    facts = CgroupFacts(cgroup) if cgroup else NO_CGROUP
    common = {"time_ns": time, "flow": flow, "network_namespace": netns or None, "cgroup": facts, "uid": _known(uid)}
    if kind == _DROP:
        return PacketDrop(**common, reason=_known(reason), length=length, interface=_text(interface))
    if kind == _RETRANSMIT:
        return TcpRetransmit(**common, state=_state(state))
    if kind in {_RESET_SENT, _RESET_RECEIVED}:
        told = "" if reason == UNKNOWN else str(reason)
        return TcpReset(**common, direction="sent" if kind == _RESET_SENT else "received", state=_state(state), reason=told)
    raise ValueError(f"sample_record is of kind {kind}: expected 0 to 3")


def _flow(family: int, protocol: int, source: tuple[bytes, int], destination: tuple[bytes, int]) -> Flow:
    if family == 0:
        return Flow()
    name = PROTOCOLS.get(protocol, str(protocol))
    # A fragment that is not the first has no ports, and a socket that is being closed has given up its own: they are 0 then.
    ports = [(socket.ntohs(port) or None) if protocol in _WITH_PORTS else None for port in (source[1], destination[1])]
    return Flow(name, _address(family, source[0]), ports[0], _address(family, destination[0]), ports[1])


def _address(family: int, address: bytes) -> str:
    if family == _AF_INET:
        return socket.inet_ntop(socket.AF_INET, address[:4])
    if family != _AF_INET6:
        raise ValueError(f"sample_record has addresses of family {family}: expected 0, 2 or 10")
    if address.startswith(_V4_MAPPED):
        return socket.inet_ntop(socket.AF_INET, address[12:])
    return socket.inet_ntop(socket.AF_INET6, address)


def _cgroup(record: bytes, offset: int, names: bytes) -> _Cgroup:
    number, length, cut, _ = CGROUP.unpack_from(record, offset)
    if length > len(names):
        raise ValueError(f"cgroup_record has names of {length} bytes: expected at most {len(names)}")
    kept = [name.decode("utf-8", "replace") for name in names[:length].split(b"\0")[:-1]]
    return _Cgroup(number, kept, bool(cut), length)


def _cgroups(record: bytes, offset: int) -> tuple[_Cgroup, _Cgroup]:
    """Return the unified and the memory cgroup, whose names come behind each other; one that is both has them once."""
    names = record[offset + 2 * CGROUP.size :]
    cgroup = _cgroup(record, offset, names)
    memory = _cgroup(record, offset + CGROUP.size, names[cgroup.length :])
    return cgroup, cgroup if memory.number == cgroup.number else memory


def _state(number: int) -> str:
    return STATES.get(number, str(number))


def _known(number: int) -> int | None:
    return None if number == UNKNOWN else number


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")


def _check(record: bytes, length: int, kind: str) -> None:
    if len(record) != length:
        raise ValueError(f"{kind} has {len(record)} bytes: expected {length}; are program and package of one version?")
