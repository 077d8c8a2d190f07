"""Dropped packets, retransmits and resets from the counters below /proc/net: how many of what reason, but of no connection.

Only the host's network namespace is seen (that of process 1), once a second. What each counter stands for is in
`drop_counters`. A counter that is not there, as of another kernel version, is not missed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from tapio_otel.receivers.ebpf.clock import boottime_ns
from tapio_otel.receivers.ebpf.config import IGNORED_REASONS, NetDropConfig, NetworkConfig
from tapio_otel.receivers.ebpf.fallback import drop_counters
from tapio_otel.receivers.ebpf.fallback.cgroups import parse_number
from tapio_otel.receivers.ebpf.fallback.drop_counters import COUNTED_REASONS, DROP_COUNTERS, DropCounter
from tapio_otel.receivers.ebpf.feed import ObservedBy, ProbeName, ProbeUnavailable
from tapio_otel.receivers.ebpf.observations import Flow, Observation, PacketDrop, TcpReset, TcpRetransmit

READ_INTERVAL: Final = 1.0
_HOST: Final = "host"
_CPU_COLUMN: Final = 12
"""Where softnet_stat has the CPU's number (from 5.10)."""
_MOST_HEX_DIGITS: Final = 16

Counters = dict[str, int]
Drop = tuple[str, str, str]
"""Reason, protocol and interface."""


def parse_table(content: bytes) -> Counters:
    """Return the counters of snmp and netstat, each line of names followed by one of numbers: `TcpRetransSegs` and so on."""
    counters: Counters = {}
    lines = content.decode("ascii", "replace").split("\n")
    for names, numbers in pairwise(lines):
        prefix, _, columns = names.partition(":")
        other, _, values = numbers.partition(":")
        if prefix and prefix == other and not columns.strip()[:1].isdigit():
            counters |= _numbered(prefix, columns.split(), values.split())
    return counters


def _numbered(prefix: str, names: Iterable[str], values: Iterable[str]) -> Counters:
    pairs = ((name, parse_number(value.encode())) for name, value in zip(names, values, strict=False))
    return {f"{prefix}{name}": value for name, value in pairs if value is not None}


def parse_pairs(content: bytes) -> Counters:
    """Return the counters of snmp6: one name and number a line."""
    lines = (line.split() for line in content.decode("ascii", "replace").split("\n"))
    return {key: value for line in lines for key, value in _numbered("", line[:1], line[1:2]).items()}


def parse_devices(content: bytes) -> Counters:
    """Return what each interface dropped, `<interface> rx` and `<interface> tx`, from dev; columns by its own heading."""
    counters: Counters = {}
    columns: list[int] = []
    for line in content.decode("utf-8", "replace").split("\n"):
        if "|" in line:
            columns = _drop_columns(line.split("|")[1:])
            continue
        name, colon, numbers = line.rpartition(":")
        values = numbers.split()
        for direction, column in zip(("rx", "tx"), columns, strict=False):
            value = parse_number(values[column].encode()) if colon and column < len(values) else None
            if value is not None:
                counters[f"{name.strip()} {direction}"] = value
    return counters


def _drop_columns(groups: Sequence[str]) -> list[int]:
    found, start = [], 0
    for names in (group.split() for group in groups):
        if "drop" in names:
            found.append(start + names.index("drop"))
        start += len(names)
    return found


def parse_softnet(content: bytes) -> Counters:
    """Return how many packets each CPU's backlog dropped, from softnet_stat: rows of hexadecimal numbers, one a CPU."""
    counters: Counters = {}
    for row, line in enumerate(content.split(b"\n")):
        columns = [_hexadecimal(column) for column in line.split()[: _CPU_COLUMN + 1]]
        if len(columns) > 1 and columns[1] is not None:
            cpu = columns[_CPU_COLUMN] if len(columns) > _CPU_COLUMN else row
            counters[f"cpu {cpu}"] = columns[1]
    return counters


def _hexadecimal(text: bytes) -> int | None:
    if len(text) > _MOST_HEX_DIGITS or text.strip(b"0123456789abcdefABCDEF"):
        return None
    return int(text, 16)


def risen(now: int, before: int) -> int:
    """Return by how much a counter rose, through an overflow of 32 or 64 bits; one that otherwise fell began again at 0."""
    if now >= before:
        return now - before
    for size in (1 << 32, 1 << 64):
        if size - size // 4 <= before < size and now < size // 4:
            return now + size - before
    return now


def rise_of(what: DropCounter, rises: Mapping[str, int]) -> int:
    """Return how many packets a counter counted that no other counter tells of."""
    return max(0, rises.get(what.counter, 0) - sum(rises.get(name, 0) for name in what.minus))


_PARSERS: Final[Mapping[str, Callable[[bytes], Counters]]] = {
    "snmp": parse_table,
    "snmp6": parse_pairs,
    "netstat": parse_table,
    "dev": parse_devices,
    "softnet_stat": parse_softnet,
}
_FILES: Final = {
    ProbeName.NET_DROP: ("snmp", "snmp6", "netstat", "dev", "softnet_stat"),
    ProbeName.TCP_RETRANSMIT: ("snmp",),
    ProbeName.TCP_RESET: ("snmp", "netstat"),
}


class ProcNetFeed:
    """Watch the counters that stand in for one of the network probes, of which `options` are; they may ask for too much."""

    observed_by = ObservedBy.PROC_NET

    def __init__(
        self, name: ProbeName, root: Path, poll_interval: float = READ_INTERVAL, options: NetworkConfig | None = None
    ) -> None:
        options = options or NetworkConfig()
        _check_cgroups(options)
        self._name = name
        self._base, namespace = _find(root)
        self._namespace = _inode(namespace)
        _check_wanted(options.network_namespaces, self._namespace, self._base)
        self.notes: Sequence[str] = _notes(options)
        self._interval = max(poll_interval, READ_INTERVAL)
        self._before: dict[str, Counters] = {file: self._counters(file) for file in _FILES[name]}

    def fileno(self) -> None:
        """Return None: nothing here is urgent."""

    @property
    def interval(self) -> float:
        """Return the seconds between two readings."""
        return self._interval

    def read(self) -> list[Observation]:
        """Return what the counters rose by, one observation for each reason, protocol and interface."""
        rises = {file: self._rises(file) for file in _FILES[self._name]}
        now_ns = boottime_ns()
        merged = {name: amount for file in ("snmp", "snmp6", "netstat") for name, amount in rises.get(file, {}).items()}
        if self._name is ProbeName.NET_DROP:
            return list(self._drops(merged, rises["dev"], rises["softnet_stat"], now_ns))
        if self._name is ProbeName.TCP_RETRANSMIT:
            return list(self._retransmits(rise_of(drop_counters.RETRANSMITTED, merged), now_ns))
        return list(self._resets(merged, now_ns))

    def _drops(
        self, rises: Mapping[str, int], devices: Mapping[str, int], backlogs: Mapping[str, int], now_ns: int
    ) -> Iterable[Observation]:
        counts: Counter[Drop] = Counter()
        for what in DROP_COUNTERS:
            counts[what.reason, what.protocol, ""] += rise_of(what, rises)
        for key, amount in devices.items():
            interface, _, direction = key.rpartition(" ")
            reason = drop_counters.DEVICE_RECEIVE if direction == "rx" else drop_counters.DEVICE_TRANSMIT
            counts[reason, "", interface] += amount
        counts[drop_counters.BACKLOG, "", ""] += sum(backlogs.values())
        for (reason, protocol, interface), count in counts.items():
            if count:
                yield PacketDrop(
                    now_ns,
                    Flow(protocol),
                    reason_name=reason,
                    count=count,
                    interface=interface,
                    network_namespace=self._namespace,
                )

    def _retransmits(self, count: int, now_ns: int) -> Iterable[Observation]:
        if count:
            yield TcpRetransmit(now_ns, count=count, network_namespace=self._namespace)

    def _resets(self, rises: Mapping[str, int], now_ns: int) -> Iterable[Observation]:
        counted = (("sent", drop_counters.RESET_SENT), ("received", drop_counters.RESET_RECEIVED))
        for direction, what in counted:
            if count := rise_of(what, rises):
                yield TcpReset(now_ns, direction, count=count, network_namespace=self._namespace)

    def _counters(self, file: str) -> Counters:
        try:
            return _PARSERS[file]((self._base / file).read_bytes())
        except OSError:  # snmp6 where IPv6 is off
            return {}

    def _rises(self, file: str) -> Counters:
        """Return what each counter of a file rose by; one that was not there before rose by nothing."""
        now, before = self._counters(file), self._before[file]
        rises = {name: risen(value, before[name]) for name, value in now.items() if name in before}
        self._before[file] = now or before
        return rises

    def lost(self) -> Mapping[str, int]:
        """Return nothing: counters lose nothing."""
        return {}

    def close(self) -> None:
        """Do nothing: no descriptor is kept."""


def _find(root: Path) -> tuple[Path, Path]:
    """Return the directory of the host's counters, and the link that tells its namespace; raises ProbeUnavailable."""
    failures = []
    for owner in ("1", "self"):
        base = root / "proc" / owner / "net"
        try:
            (base / "snmp").read_bytes()
        except OSError as error:
            failures.append(f"{base}/snmp cannot be read ({error.strerror})")
            continue
        return base, root / "proc" / owner / "ns" / "net"
    base = root / "proc/net"
    if (base / "snmp").exists():
        return base, root / "proc/self/ns/net"
    raise ProbeUnavailable(failures[0], "Make the host's /proc visible to the agent")


def _inode(namespace: Path) -> int | None:
    try:
        return namespace.stat().st_ino
    except OSError:  # of another user's process, only root may see it
        return None


def _check_cgroups(options: NetworkConfig) -> None:
    """Raise ProbeUnavailable where only certain cgroups are wanted: no count could pass, and silence would be wrong."""
    if options.cgroups:
        remedy = "Leave cgroups empty, or make a BPF program possible (loader: libbpf says what it lacks)"
        raise ProbeUnavailable("the option cgroups is set, and counters do not tell a packet's cgroup", remedy)


def _notes(options: NetworkConfig) -> list[str]:
    """Return what the options ask for that cannot be; reasons ignored by default are of several kernel versions."""
    notes = ["counters know no cgroups: exclude_cgroups leaves out none"] if options.exclude_cgroups else []
    ignored = set(options.ignored_reasons) if isinstance(options, NetDropConfig) else set()
    unknown = sorted(ignored - COUNTED_REASONS - {*IGNORED_REASONS})
    return notes + [f"no counter is for the ignored reason {name!r}" for name in unknown]


def _check_wanted(namespaces: Sequence[str], inode: int | None, base: Path) -> None:
    """Raise ProbeUnavailable where the only namespace that is seen here is none of those to look at."""
    if not namespaces or _HOST in namespaces:
        return
    wanted = {int(name) if name.isdecimal() and len(name) < 20 else _inode(Path(name)) for name in namespaces}
    if inode is None or inode not in wanted:
        remedy = "Add host to network_namespaces, or leave it empty"
        raise ProbeUnavailable(f"{base} shows no other network namespace than the host's", remedy)
