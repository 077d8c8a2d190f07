"""The kernel's terms turned into the event model's: title, one sentence in plain words, severity by what happened.

- `oom_kill`: alert where the whole machine was out of memory, else critical.
- `cpu_throttle`: by the share of throttled periods: error from 0.5, warning from 0.25, else notice.
- `network_drop`: by reason (`drop_reasons`): exhausted room is a warning, and an error from 1,000 packets on; damage, missing
  routes and silent neighbours are a warning; all else, such as a filter's decision, is a notice.
- `tcp_retransmit`: warning for unanswered attempts to connect and from 10 segments on, else notice.
- `tcp_reset`: error where memory ran out; warning where an open connection broke, a peer refused one, or resets came in and
  nothing else is known; else notice. Source is this machine's end, whichever way the reset went.
- `events_lost`: warning; notice where all were counted and only their details were left out.

What has no raw form stays as it is: it was normalized before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from tapio_otel.event import EntityReference, EventType, Severity, UnifiedEvent
from tapio_otel.normalizers.drop_reasons import drop_meaning

Attributes = Mapping[str, Any]

ERROR_RATIO: Final = 0.5
WARNING_RATIO: Final = 0.25
MANY_DROPS: Final = 1000
MANY_RETRANSMITS: Final = 10
_OPEN_STATES: Final = frozenset(("ESTABLISHED", "CLOSE_WAIT", "FIN_WAIT1", "FIN_WAIT2"))
_NO_SOCKET_STATES: Final = frozenset(("", "LISTEN"))
_ABORTED_STATES: Final = _OPEN_STATES | {"CLOSE"}
"""Of whoever sends a reset: a connection that its own side breaks off is closed by then."""
_UNCOUNTED: Final = frozenset(("suppressed",))


class Told(NamedTuple):
    """Hold what the normalizer adds to an event."""

    title: str
    severity: Severity
    description: str


def normalize(events: list[UnifiedEvent]) -> None:
    """Complete kernel events in place."""
    for event in events:
        if event.raw is None:
            continue
        event.raw = None
        tell = _TELL.get(event.type)
        if tell is not None:
            event.title, event.severity, event.description = tell(event.view().attributes, event.entity)


def _tell_oom(facts: Attributes, entity: EntityReference) -> Told:
    pid, comm, kills = facts.get("pid"), facts.get("comm") or "a process", facts.get("kills", 1)
    if pid is None:
        victim = comm if facts.get("comm") else f"{kills} processes" if kills != 1 else "a process"
        title = f"OOM Kill: {facts.get('comm') or entity.name}"
    else:
        victim, title = f"{comm} (PID {pid})", f"OOM Kill: {facts.get('comm') or 'unknown'} (PID: {pid})"
    severity = Severity.ALERT if facts.get("scope") == "global" else Severity.CRITICAL
    text = f"The kernel killed {victim}{_of(entity)} because {_want_of_memory(facts)}{_held(facts)}{_asker(facts)}."
    return Told(title, severity, text)


def _want_of_memory(facts: Attributes) -> str:
    limit, usage = facts.get("memory_limit"), facts.get("memory_usage")
    used = f" with {size(usage)} in use" if usage is not None else ""
    if facts.get("scope") == "global":
        return f"the whole machine was out of memory{used}"
    cgroup = facts.get("limit_cgroup") or facts.get("memory_cgroup") or facts.get("cgroup")
    if facts.get("scope") != "cgroup" and limit is None:
        return f"memory ran out{used}"
    reached = f"reached its memory limit of {size(limit)}" if limit is not None else "reached its memory limit"
    return f"{f'the cgroup {cgroup}' if cgroup else 'its cgroup'} {reached}{used}"


def _held(facts: Attributes) -> str:
    known = [facts[key] for key in ("anon_rss", "file_rss", "shmem_rss") if facts.get(key) is not None]
    return f"; it held {size(sum(known))}" if known else ""


def _asker(facts: Attributes) -> str:
    pid, comm = facts.get("trigger_pid"), facts.get("trigger_comm")
    return f"; {comm or 'the process'} (PID {pid}) had asked for more" if pid and pid != facts.get("pid") else ""


def _tell_throttle(facts: Attributes, entity: EntityReference) -> Told:
    ratio = facts.get("throttle_ratio") or 0.0
    severity = Severity.ERROR if ratio >= ERROR_RATIO else Severity.WARNING if ratio >= WARNING_RATIO else Severity.NOTICE
    quota, period, window = facts.get("quota_ns"), facts.get("period_ns"), facts.get("window_ns")
    limit = f" of {quota / period:.4g} CPUs ({duration(quota)} every {duration(period)})" if quota and period else ""
    within = f" within {duration(window)}" if window else ""
    who = f"{_named(entity)}" if entity.type != "node" else f"the cgroup {facts.get('cgroup', '(unknown)')}"
    text = (
        f"Threads of {who} had to wait {duration(facts.get('throttled_ns') or 0)} for CPU time{within}: the quota{limit} was "
        f"used up in {facts.get('throttled_periods', 0)} of {facts.get('periods', 0)} periods."
    )
    return Told("CPU Throttling Detected", severity, text)


def _tell_drop(facts: Attributes, entity: EntityReference) -> Told:
    reason = facts.get("reason", "")
    meaning = drop_meaning(reason)
    many = _all(facts)
    severity = Severity.ERROR if meaning.exhausted and many >= MANY_DROPS else meaning.severity
    length = facts.get("length")
    what = f"{_counted(facts.get('count', 1), 'packet')}{f' ({size(length)})' if length else ''}"
    where = f" on {facts['interface']}" if facts.get("interface") else ""
    why = f": {meaning.words} ({reason})" if meaning.words and reason else f" ({reason})" if reason else ""
    return Told("Network Packet Drop", severity, f"The kernel dropped {what}{_flow(facts)}{where}{_of(entity)}{why}.")


def _all(facts: Attributes) -> int:
    """Return how many there were, those of unknown flow among them."""
    return int(facts.get("count", 1) + facts.get("suppressed", 0))


def _tell_retransmit(facts: Attributes, entity: EntityReference) -> Told:
    count, connecting = facts.get("count", 1), facts.get("state") == "SYN_SENT"
    severity = Severity.WARNING if connecting or _all(facts) >= MANY_RETRANSMITS else Severity.NOTICE
    why = "the attempt to connect got no answer" if connecting else "no acknowledgement came in time"
    return Told("TCP Retransmit", severity, f"{_counted(count, 'segment')}{_flow(facts)}{_of(entity)} sent again: {why}.")


def _tell_reset(facts: Attributes, entity: EntityReference) -> Told:
    count = facts.get("count", 1)
    received = facts.get("direction") == "received"
    if not facts.get("src_ip") and not facts.get("dst_ip"):
        return Told("TCP Reset", *(_uncertain_received(count) if received else _uncertain_sent(count)))
    severity, text = _received_reset(facts) if received else _sent_reset(facts)
    times = f" ({count:,} resets)" if count != 1 else ""
    return Told("TCP Reset", severity, f"{text}{_of(entity)}{times}.")


def _uncertain_sent(count: int) -> tuple[Severity, str]:
    return Severity.NOTICE, f"{_counted(count, 'TCP reset')} sent, of connections that are not known."


def _uncertain_received(count: int) -> tuple[Severity, str]:
    return Severity.WARNING, f"{_counted(count, 'TCP reset')} received, of connections that are not known."


def _sent_reset(facts: Attributes) -> tuple[Severity, str]:
    state, reason = facts.get("state", ""), facts.get("reason", "")
    because = f" ({reason})" if reason and reason != "NOT_SPECIFIED" else ""
    here, there = _end(facts, "src"), _end(facts, "dst")
    if reason == "TCP_ABORT_ON_MEMORY":
        return Severity.ERROR, f"{here} broke off the connection with {there} for want of memory{because}"
    if reason in {"NO_SOCKET", "NOT_SPECIFIED", ""} and state in _NO_SOCKET_STATES:
        return Severity.NOTICE, f"{here} refused a segment of {there}, as no socket takes it{because}"
    severity = Severity.WARNING if state in _ABORTED_STATES else Severity.NOTICE
    return severity, f"{here} broke off the connection with {there}{_in_state(state)}{because}"


def _received_reset(facts: Attributes) -> tuple[Severity, str]:
    state, there, here = facts.get("state", ""), _end(facts, "src"), _end(facts, "dst")
    if state == "SYN_SENT":
        return Severity.WARNING, f"{there} refused the connection from {here}"
    severity = Severity.WARNING if state in _OPEN_STATES else Severity.NOTICE
    return severity, f"{there} broke off the connection with {here}{_in_state(state)}"


def _in_state(state: str) -> str:
    return f" in state {state}" if state not in {"", "CLOSE"} else ""


def _tell_loss(facts: Attributes, _entity: EntityReference) -> Told:
    lost = {key.removeprefix("lost_"): value for key, value in facts.items() if key.startswith("lost_")}
    probe, parts = facts.get("probe", "a probe"), ", ".join(f"{reason} {amount:,}" for reason, amount in sorted(lost.items()))
    if lost and lost.keys() <= _UNCOUNTED:
        text = f"The probe {probe} counted more than it tells one by one: {parts}."
        return Told("Kernel Events Summarised", Severity.NOTICE, text)
    return Told("Kernel Events Lost", Severity.WARNING, f"The probe {probe} could not see everything: {parts}.")


_TELL: Final[Mapping[str, Callable[[Attributes, EntityReference], Told]]] = {
    EventType.OOM_KILL: _tell_oom,
    EventType.CPU_THROTTLE: _tell_throttle,
    EventType.NETWORK_DROP: _tell_drop,
    EventType.TCP_RETRANSMIT: _tell_retransmit,
    EventType.TCP_RESET: _tell_reset,
    "events_lost": _tell_loss,
}


def _of(entity: EntityReference) -> str:
    return "" if entity.type in {"node", "process"} else f" of {_named(entity)}"


def _named(entity: EntityReference) -> str:
    where = f"{entity.namespace}/" if entity.namespace else ""
    return entity.name if entity.type == "systemd_unit" else f"{entity.type} {where}{entity.name}"


def _flow(facts: Attributes) -> str:
    """Return ` of tcp from 10.0.0.1:80 to [fe80::1]:4000`, as far as known."""
    source, destination, protocol = _end(facts, "src"), _end(facts, "dst"), facts.get("protocol", "")
    return "".join(f" {word} {value}" for word, value in (("of", protocol), ("from", source), ("to", destination)) if value)


def _end(facts: Attributes, side: str) -> str:
    address, port = facts.get(f"{side}_ip", ""), facts.get(f"{side}_port")
    if port is None:
        return str(address)
    return f"[{address}]:{port}" if ":" in address else f"{address or 'port '}{':' if address else ''}{port}"


def _counted(count: int, thing: str) -> str:
    return f"1 {thing}" if count == 1 else f"{count:,} {thing}s"


def size(amount: float) -> str:
    """Return a number of bytes for people: 30.0 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def duration(nanoseconds: float) -> str:
    """Return a time for people: 250 µs, 12.5 ms, 3.2 s, 2.5 min."""
    for unit, length, next_length in (("µs", 1e3, 1e6), ("ms", 1e6, 1e9), ("s", 1e9, 60e9)):
        if nanoseconds < next_length:
            return f"{_trimmed(nanoseconds / length)} {unit}"
    return f"{_trimmed(nanoseconds / 60e9)} min"


def _trimmed(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
