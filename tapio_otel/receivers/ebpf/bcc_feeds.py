"""BCC, the second loader: for kernels without BTF, whose headers are installed.

It tells less than libbpf's programs: of an OOM kill no limit (/proc is asked at once who the victim is), of dropped packets
the reason and number only, of TCP the flow but neither cgroup nor network namespace. CPU throttling is read from cpu.stat.
"""

from __future__ import annotations

import ctypes
import select
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from tapio_otel.entities import EntityMapper, parse_cgroup_path
from tapio_otel.entities.process import read_process
from tapio_otel.receivers.ebpf.bcc_library import check_headers, check_installed, compile_program, load_bcc, release
from tapio_otel.receivers.ebpf.bcc_programs import (
    DROP,
    DROP_TALLY,
    FLOW,
    FLOW_TALLY,
    VICTIM,
    drop_program,
    flow_program,
    has_socket_addresses,
    oom_program,
)
from tapio_otel.receivers.ebpf.clock import boottime_ns
from tapio_otel.receivers.ebpf.config import IGNORED_REASONS, EbpfConfig, NetDropConfig, NetworkConfig
from tapio_otel.receivers.ebpf.feed import Feed, ObservedBy, ProbeName, ProbeUnavailable
from tapio_otel.receivers.ebpf.observations import (
    NO_CGROUP,
    CgroupFacts,
    Flow,
    Observation,
    OomKill,
    PacketDrop,
    TcpReset,
    TcpRetransmit,
)
from tapio_otel.receivers.ebpf.records import STATES
from tapio_otel.receivers.ebpf.tracepoints import Tracepoint, mounted_tracefs, read_tracepoint

_SECOND: Final = 1.0
_TICK_NS: Final = 10_000_000  # the unit of a start in proc_pid_stat(5)
_AF_INET6: Final = 10
_MAPPED: Final = bytes(10) + b"\xff\xff"
_SIZES: Final = ("total_vm", "anon_rss", "file_rss", "shmem_rss", "page_tables")


def open_bcc(name: ProbeName, config: EbpfConfig, entities: EntityMapper | None = None) -> Feed:
    """Open a probe through BCC; raises ProbeUnavailable, and then leaves nothing behind."""
    if name is ProbeName.CPU_THROTTLE:
        raise ProbeUnavailable(
            "no tracepoint has throttling among its arguments, and BCC's reads of kernel structs cannot be relied on",
            "cpu.stat tells the same without a program: leave fallback: true and required: false, "
            "or set probes.cpu_throttle.enabled: false",
        )
    _check_options(name, config)
    check_installed()
    tracefs = _tracefs()
    check_headers()
    bcc = load_bcc()  # last, for it takes some 60 MB that nobody gives back
    proc = str((entities.root_path if entities else Path("/")) / "proc")
    if name is ProbeName.OOM:
        return _open_oom(bcc, tracefs, proc)
    if name is ProbeName.NET_DROP:
        return _open_drops(bcc, tracefs, config.probes.net_drop)
    options = config.probes.tcp_retransmit if name is ProbeName.TCP_RETRANSMIT else config.probes.tcp_reset
    return _open_flows(bcc, tracefs, _TCP_TRACEPOINTS[name], options)


_TCP_TRACEPOINTS: Final = {
    ProbeName.TCP_RETRANSMIT: ("tcp_retransmit_skb",),
    ProbeName.TCP_RESET: ("tcp_send_reset", "tcp_receive_reset"),
}
_DIRECTIONS: Final = ("sent", "received")


class BccFeed:
    """Read one program's tables; `close` releases the program."""

    observed_by = ObservedBy.BCC

    def __init__(self, bpf: Any, notes: Sequence[str] = ()) -> None:
        self._bpf: Any | None = bpf
        self.notes = notes

    def fileno(self) -> int | None:
        """Return None: counts can wait."""
        return None

    @property
    def interval(self) -> float:
        """Return a second: tables are read whole."""
        return _SECOND

    def lost(self) -> Mapping[str, int]:
        """Return how many occurrences found the table full."""
        return {"table_full": self._bpf[b"uncounted"][0].value} if self._bpf is not None else {}

    def close(self) -> None:
        """Detach the program and release it with its tables."""
        bpf, self._bpf = self._bpf, None
        if bpf is not None:
            release(bpf)

    def _table(self, name: bytes) -> Any:
        if self._bpf is None:
            raise ValueError("read of a closed feed: open the probe again")
        return self._bpf[name]


class OomFeed(BccFeed):
    """Tell victims as soon as they are chosen; /proc is asked at once, for the process is still dying then."""

    def __init__(self, bpf: Any, perf_reader_fd: Callable[[Any], int], told: set[str], proc: str) -> None:
        super().__init__(bpf)
        self._told, self._proc = told, proc
        self._records: list[bytes] = []
        self._lost = 0
        self._ready: select.epoll | None = select.epoll()
        try:
            bpf[b"victims"].open_perf_buffer(self._take, lost_cb=self._miss)
            for reader in bpf.perf_buffers.values():
                self._ready.register(perf_reader_fd(reader), select.EPOLLIN)
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int | None:
        """Return an epoll descriptor over every CPU's buffer."""
        return self._ready.fileno() if self._ready is not None else None

    @property
    def interval(self) -> float:
        """Return 0: the buffers cost nothing to look at."""
        return 0.0

    def read(self) -> list[Observation]:
        """Return the victims since the last reading."""
        if self._bpf is None:
            raise ValueError("read of a closed feed: open the probe again")
        self._bpf.perf_buffer_consume()
        records, self._records = self._records, []
        asleep = boottime_ns() - time.monotonic_ns()
        return [self._victim(record, asleep) for record in records]

    def lost(self) -> Mapping[str, int]:
        """Return how many victims found the buffer full."""
        return {"ring_full": self._lost}

    def close(self) -> None:
        """Release the program, its buffers and the descriptor."""
        ready, self._ready = self._ready, None
        if ready is not None:
            ready.close()
        super().close()

    def _take(self, _cpu: int, address: int, size: int) -> None:
        self._records.append(ctypes.string_at(address, size))

    def _miss(self, count: int) -> None:
        self._lost += count

    def _victim(self, record: bytes, asleep: int) -> OomKill:
        """Return the victim of a record, whose time is that of CLOCK_MONOTONIC."""
        (when, *sizes, pid, trigger_pid, uid, score, comm, trigger_comm) = VICTIM.unpack_from(record)
        named = dict(zip(_SIZES, sizes, strict=True))
        known = {name: size * 1024 for name, size in named.items() if name in self._told}
        seen = OomKill(
            when + asleep,
            pid,
            _text(comm),
            uid=uid if "uid" in self._told else None,
            oom_score_adj=score if "oom_score_adj" in self._told else None,
            trigger_pid=trigger_pid,
            trigger_comm=_text(trigger_comm),
            **known,
        )
        return self._completed(seen)

    def _completed(self, seen: OomKill) -> OomKill:
        """Add what /proc tells of the process, if it is still there."""
        facts = read_process(seen.pid or 0, self._proc)
        if facts is None or (seen.comm and seen.comm != facts.comm):
            return seen
        paths = [path for path in facts.cgroup_paths if path != "/"]  # of hierarchies that it has left already
        path = max(paths, key=lambda one: parse_cgroup_path(one).tells, default="")
        cgroup = CgroupFacts(path=path) if path else NO_CGROUP
        return replace(seen, comm=facts.comm, start_boottime_ns=facts.start_ticks * _TICK_NS, cgroup=cgroup)


class DropFeed(BccFeed):
    """Tell how many packets were dropped for each reason; the kernel counts, and its counts only grow."""

    def __init__(self, bpf: Any, notes: Sequence[str], reasons: Mapping[int, str], function_at: Callable[[int], str]) -> None:
        super().__init__(bpf, notes)
        self._reasons, self._function_at = reasons, function_at
        self._counted: dict[bytes, int] = {}

    def read(self) -> list[Observation]:
        """Return one observation for each reason that was met since the last reading."""
        asleep = boottime_ns() - time.monotonic_ns()
        counted = [self._drop(bytes(what), tallies, asleep) for what, tallies in self._table(b"drops").items()]
        return sorted((one for one in counted if one is not None), key=lambda one: one.time_ns)

    def _drop(self, what: bytes, tallies: Iterable[Any], asleep: int) -> PacketDrop | None:
        counts, times = zip(*(DROP_TALLY.unpack(bytes(one)) for one in tallies), strict=True)
        count = sum(counts) - self._counted.get(what, 0)
        if count <= 0:
            return None
        self._counted[what] = sum(counts)
        location, reason, _ = DROP.unpack(what)
        if location:
            return PacketDrop(max(times) + asleep, reason_name=self._function_at(location), count=count)
        return PacketDrop(max(times) + asleep, reason=reason, reason_name=self._reasons.get(reason, ""), count=count)


@dataclass(frozen=True, slots=True)
class FlowKind:
    """Say how flows of one tracepoint are read: their addresses' form, their direction, their reasons' names."""

    is_packed: bool
    direction: str
    reasons: Mapping[int, str]


class FlowFeed(BccFeed):
    """Tell flows of TCP, those with the most first and not more than `most` of a kind; the others are counted."""

    def __init__(self, bpf: Any, notes: Sequence[str], kinds: list[FlowKind], most: int) -> None:
        super().__init__(bpf, notes)
        self._kinds, self._most = kinds, most
        self._chosen = 0
        self._suppressed = 0

    def lost(self) -> Mapping[str, int]:
        """Return how many occurrences found the table full, or are told without their flow."""
        return {**super().lost(), "suppressed": self._suppressed}

    def read(self) -> list[Observation]:
        """Return what the tables counted since the last reading."""
        asleep = boottime_ns() - time.monotonic_ns()
        by_kind: dict[int, list[tuple[int, int, bytes]]] = {}
        for flow, tally in self._taken():
            count, first = FLOW_TALLY.unpack(tally)
            by_kind.setdefault(FLOW.unpack(flow)[-1], []).append((count, first + asleep, flow))
        seen = [one for kind, found in by_kind.items() for one in self._tell(self._kinds[kind], found)]
        return sorted(seen, key=lambda one: one.time_ns)

    def _taken(self) -> list[tuple[bytes, bytes]]:
        """Have the programs use the other table, then empty the one that they used."""
        table = self._table(b"flows_1" if self._chosen else b"flows_0")
        self._chosen = 1 - self._chosen
        self._table(b"chosen")[ctypes.c_int(0)] = ctypes.c_uint(self._chosen)
        found = list(table.items())
        for flow, _ in found:
            del table[flow]
        return [(bytes(flow), bytes(tally)) for flow, tally in found]

    def _tell(self, kind: FlowKind, found: list[tuple[int, int, bytes]]) -> list[TcpRetransmit | TcpReset]:
        found.sort(key=lambda one: -one[0])
        rest = sum(count for count, _, _ in found[self._most :])
        self._suppressed += rest
        seen = [_tcp(kind, count, when, flow) for count, when, flow in found[: self._most]]
        if seen and rest:
            seen[0] = replace(seen[0], suppressed=rest)
        if seen or not rest:
            return seen
        when = found[0][1]
        return [TcpReset(when, kind.direction, count=rest) if kind.direction else TcpRetransmit(when, count=rest)]


def _tcp(kind: FlowKind, count: int, when: int, key: bytes) -> TcpRetransmit | TcpReset:
    source, destination, source_port, destination_port, state, reason, _ = FLOW.unpack(key)
    if kind.is_packed:
        ends = (*_socket_address(source), *_socket_address(destination))
    else:
        ends = (_address(source[:16]), source_port, _address(destination[:16]), destination_port)
    if kind.direction == "received":  # the tracepoint names this side's end first, whichever way the segment went
        ends = (*ends[2:], *ends[:2])
    flow = Flow("tcp", *ends)
    named = STATES.get(state, str(state))
    if not kind.direction:
        return TcpRetransmit(when, flow, count, named)
    return TcpReset(when, kind.direction, flow, count, named, kind.reasons.get(reason, ""))


def _socket_address(packed: bytes) -> tuple[str, int]:
    """Return address and port of a struct sockaddr_in or sockaddr_in6."""
    port = int.from_bytes(packed[2:4], "big")
    family = int.from_bytes(packed[:2], sys.byteorder)
    return (_address(packed[8:24]) if family == _AF_INET6 else _address(_MAPPED + packed[4:8])), port


def _address(address: bytes) -> str:
    found = IPv6Address(address)
    return str(found.ipv4_mapped or found)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")


def _tracefs() -> Path:
    try:
        found = mounted_tracefs()
    except PermissionError as error:
        raise ProbeUnavailable(f"tracefs may not be read: {error}", "Run the agent as root: tracefs is root's alone") from error
    if found is None:
        raise ProbeUnavailable("tracefs is not mounted", "Mount it: mount -t tracefs tracefs /sys/kernel/tracing")
    return found


def _tracepoint(tracefs: Path, category: str, name: str) -> Tracepoint:
    found = read_tracepoint(tracefs, category, name)
    if found is None:
        raise ProbeUnavailable(f"this kernel has no tracepoint {category}:{name}")
    return found


def _check_options(name: ProbeName, config: EbpfConfig) -> None:
    """Refuse what BCC's programs cannot do, lest nothing, or everything, be told."""
    options = getattr(config.probes, name)
    if not isinstance(options, NetworkConfig):
        return
    for option in ("network_namespaces", "cgroups"):
        if getattr(options, option):
            cause = f"the option {option} is set, and tracepoint arguments do not tell a packet's"
            raise ProbeUnavailable(cause, f"Leave {option} empty, or use loader: libbpf on a kernel with BTF")


def _open_oom(bcc: ModuleType, tracefs: Path, proc: str) -> Feed:
    tracepoint = _tracepoint(tracefs, "oom", "mark_victim")
    bpf = compile_program(bcc, _program(lambda: oom_program(tracepoint)))
    told = {"page_tables" if name == "pgtables" else name for name in tracepoint.arguments}
    return OomFeed(bpf, bcc.lib.perf_reader_fd, told, proc)


def _open_drops(bcc: ModuleType, tracefs: Path, options: NetDropConfig) -> Feed:
    tracepoint = _tracepoint(tracefs, "skb", "kfree_skb")
    reasons = tracepoint.symbols.get("reason", {})
    ignored = [number for number, name in reasons.items() if name in options.ignored_reasons]
    bpf = compile_program(bcc, _program(lambda: drop_program(tracepoint, ignored)))
    return DropFeed(bpf, _drop_notes(options, reasons), reasons, lambda place: _text(bcc.BPF.ksym(place)))


def _open_flows(bcc: ModuleType, tracefs: Path, names: tuple[str, ...], options: NetworkConfig) -> Feed:
    found = {name: _tracepoint(tracefs, "tcp", name) for name in names}
    bpf = compile_program(bcc, _program(lambda: flow_program(found)))
    directions = _DIRECTIONS if len(names) > 1 else ("",)
    kinds = [
        FlowKind(has_socket_addresses(one), direction, one.symbols.get("reason", {}))
        for one, direction in zip(found.values(), directions, strict=True)
    ]
    return FlowFeed(bpf, _notes(options), kinds, options.samples_per_second)


def _notes(options: NetworkConfig) -> list[str]:
    return ["BCC knows no packet's cgroup: exclude_cgroups leaves out none"] if options.exclude_cgroups else []


def _drop_notes(options: NetDropConfig, reasons: Mapping[int, str]) -> list[str]:
    """Return what the options ask for that cannot be; reasons ignored by default are of several kernel versions."""
    if not reasons:
        return [*_notes(options), "this kernel gives no reasons: the function that dropped a packet is told instead"]
    unknown = sorted({*options.ignored_reasons} - {*reasons.values()} - {*IGNORED_REASONS})
    return _notes(options) + [f"this kernel has no drop reason {name!r}" for name in unknown]


def _program(write: Callable[[], str]) -> str:
    try:
        return write()
    except KeyError as error:
        raise ProbeUnavailable(f"this kernel's tracepoint has no argument {error}") from error
