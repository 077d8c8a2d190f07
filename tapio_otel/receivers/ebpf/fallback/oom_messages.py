"""OOM kills out of the kernel log's lines: an incremental reader that puts together what one kill's lines say.

The kernel writes up to a hundred lines for one OOM, but leaves all save the victim's line out when OOMs are frequent (ten in
5 s). So a victim's line alone makes a kill, and earlier lines add to it only where they name the same victim. A kill is given
the moment its victim's line is there.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from tapio_otel.receivers.ebpf.fallback import oom_text
from tapio_otel.receivers.ebpf.fallback.oom_text import Chosen, Kill, Usage
from tapio_otel.receivers.ebpf.observations import NO_CGROUP, CgroupFacts, OomKill

_MOST_REPORTS: Final = 16
_STALE_NS: Final = 30_000_000_000
"""Lines of one report are not further apart: printing to a slow serial console takes seconds."""
_GROUP_NS: Final = 1_000_000_000
_KIBIBYTES: Final = {
    "total-vm": "total_vm",
    "anon-rss": "anon_rss",
    "file-rss": "file_rss",
    "shmem-rss": "shmem_rss",
    "pgtables": "page_tables",
}


@dataclass(slots=True)
class _Limit:
    usage: int | None = None
    limit: int | None = None


@dataclass(slots=True)
class _Report:
    """Be what the lines of one OOM have said so far."""

    caller: str
    time_ns: int
    trigger_comm: str | None = None
    trigger_pid: int | None = None
    scope: str = ""
    victim_pid: int | None = None
    victim_comm: str = ""
    victim_uid: int | None = None
    victim_path: str = ""
    limit_path: str = ""
    limit: _Limit = field(default_factory=_Limit)
    may_be_child: bool = False
    group: str = ""
    killed: set[int] = field(default_factory=set)

    @property
    def is_waiting(self) -> bool:
        return not self.killed

    @property
    def has_victim(self) -> bool:
        return self.victim_pid is not None


class OomMessages:
    """Turn lines of the kernel log into OOM kills. `caller` tells lines of different tasks or CPUs apart, where it is known."""

    def __init__(self) -> None:
        self._reports: deque[_Report] = deque(maxlen=_MOST_REPORTS)
        self._unnamed: dict[str, _Limit] = {}
        self._limits: dict[str, _Limit] = {}

    def feed(self, text: str, time_ns: int, caller: str = "") -> OomKill | None:
        """Take one line (without its newline); return the kill if it is a victim's. Never raises."""
        if (kill := oom_text.parse_kill(text)) is not None:
            if kill.done:
                return self._take_victim(kill, time_ns, caller)
            self._take_candidate(kill, time_ns, caller)
            return None
        if (chosen := oom_text.parse_chosen(text)) is not None:
            self._take_chosen(chosen, time_ns, caller)
        elif (comm := oom_text.parse_trigger(text)) is not None:
            self._start(time_ns, caller).trigger_comm = comm
        elif (usage := oom_text.parse_usage(text)) is not None:
            self._take_usage(usage, caller)
        elif (paths := oom_text.parse_limited(text)) is not None:
            self._take_limited(*paths, time_ns, caller)
        elif (path := oom_text.parse_statistics(text)) is not None:
            self._name_limit(path, caller)
        elif (group := oom_text.parse_group(text)) is not None:
            self._take_group(group, time_ns, caller)
        elif text.startswith(("CPU: ", "Pid: ")):
            self._take_task(text, caller)
        return None

    def _start(self, time_ns: int, caller: str) -> _Report:
        report = _Report(caller, time_ns)
        self._reports.append(report)
        self._unnamed.pop(caller, None)
        return report

    def _waiting(self, time_ns: int, caller: str) -> list[_Report]:
        """Return the reports whose victim's line has yet to come, oldest first."""
        return [
            report
            for report in self._reports
            if report.caller == caller and report.is_waiting and time_ns - report.time_ns < _STALE_NS
        ]

    def _without_victim(self, time_ns: int, caller: str) -> list[_Report]:
        return [report for report in self._waiting(time_ns, caller) if not report.has_victim]

    def _take_task(self, text: str, caller: str) -> None:
        for report in reversed(self._reports):
            if report.caller == caller and report.trigger_pid is None and report.trigger_comm is not None:
                report.trigger_pid = oom_text.parse_task(text, report.trigger_comm)
                return

    def _take_usage(self, usage: Usage, caller: str) -> None:
        before = self._unnamed.get(caller)
        if not usage.swap or before is None or before.limit is None:  # if memory has no limit, memory and swap hit theirs
            _keep(self._unnamed, caller, _Limit(usage.usage, usage.limit))

    def _name_limit(self, path: str, caller: str) -> None:
        """Keep the usage read before under its cgroup's path: the first statistics are those of the limit's cgroup."""
        limit = self._unnamed.pop(caller, None)
        if limit is not None:
            _keep(self._limits, path, limit)

    def _limit_of(self, path: str, caller: str) -> _Limit:
        return self._limits.pop(path, None) or self._unnamed.pop(caller, None) or _Limit()

    def _take_chosen(self, chosen: Chosen, time_ns: int, caller: str) -> None:
        candidates = self._without_victim(time_ns, caller)
        same = [report for report in candidates if chosen.pid is not None and report.trigger_pid == chosen.pid]
        report = next(iter(same or candidates), None) or self._start(time_ns, caller)
        limit = self._limit_of(chosen.limit_path, caller) if chosen.limit_path else _Limit()
        report.scope, report.limit = chosen.scope, limit
        report.victim_pid, report.victim_uid, report.victim_comm = chosen.pid, chosen.uid, chosen.comm
        report.victim_path, report.limit_path = chosen.victim_path, chosen.limit_path

    def _take_limited(self, victim_path: str, limit_path: str, time_ns: int, caller: str) -> None:
        candidates = [report for report in self._without_victim(time_ns, caller) if not report.limit_path]
        report = candidates[0] if candidates else self._start(time_ns, caller)
        report.scope, report.victim_path, report.limit_path = "cgroup", victim_path, limit_path

    def _take_candidate(self, kill: Kill, time_ns: int, caller: str) -> None:
        """Take `Kill process … or sacrifice child` (before 5.0): the victim is this process or a child of it."""
        candidates = self._without_victim(time_ns, caller)
        matching = [report for report in candidates if bool(report.limit_path) == (kill.scope == "cgroup")]
        report = matching[0] if matching else self._start(time_ns, caller)
        report.scope = kill.scope or report.scope
        report.victim_pid, report.may_be_child = kill.pid, True
        if report.limit_path:
            report.limit = self._limit_of(report.limit_path, caller)

    def _take_group(self, path: str, time_ns: int, caller: str) -> None:
        for report in reversed(self._reports):
            if report.caller == caller and report.killed and time_ns - report.time_ns < _GROUP_NS:
                report.group = path
                return
        report = self._start(time_ns, caller)
        report.scope, report.group = "cgroup", path

    def _take_victim(self, kill: Kill, time_ns: int, caller: str) -> OomKill | None:
        report = self._report_of(kill, time_ns, caller) or self._start(time_ns, caller)
        pid = report.victim_pid if kill.pid is None else kill.pid
        if pid is not None and pid in report.killed:
            return None  # killed as a member of its group what was killed as the victim already
        report.time_ns = time_ns
        report.killed.add(-1 if pid is None else pid)
        if report.limit_path and report.limit.usage is None:
            report.limit = self._limit_of(report.limit_path, caller)
        return _compose(kill, pid, report, time_ns)

    def _report_of(self, kill: Kill, time_ns: int, caller: str) -> _Report | None:
        waiting = self._waiting(time_ns, caller)
        named = [report for report in waiting if report.has_victim and report.victim_pid == kill.pid]
        if kill.pid is None:
            named = [report for report in waiting if report.has_victim]
        children = [report for report in waiting if report.may_be_child]
        cut_off = [report for report in waiting if not report.has_victim and report.limit_path and kill.scope != "global"]
        return next(iter(named or children or cut_off or self._groups(kill, time_ns, caller)), None)

    def _groups(self, kill: Kill, time_ns: int, caller: str) -> list[_Report]:
        """Return the group that is just being killed, if the line can be one of its."""
        return [
            report
            for report in reversed(self._reports)
            if report.caller == caller
            and report.group
            and time_ns - report.time_ns < _GROUP_NS
            and kill.scope in ("", report.scope or kill.scope)
        ]


def _keep(limits: dict[str, _Limit], key: str, limit: _Limit) -> None:
    if len(limits) >= _MOST_REPORTS:
        limits.pop(next(iter(limits)))
    limits[key] = limit


def _compose(kill: Kill, pid: int | None, report: _Report, time_ns: int) -> OomKill:
    scope = kill.scope or report.scope
    is_member = bool(report.group) and pid != report.victim_pid
    is_named = pid is not None and pid == report.victim_pid
    limit = report.limit if scope == "cgroup" else _Limit()
    whose = _cgroup(report.group if is_member else report.victim_path)
    return OomKill(
        time_ns,
        pid,
        kill.comm if kill.whole_comm or not is_named else report.victim_comm or kill.comm,
        uid=kill.amounts.get("UID", report.victim_uid if is_named else None),
        oom_score_adj=kill.amounts.get("oom_score_adj"),
        trigger_pid=report.trigger_pid,
        trigger_comm=report.trigger_comm or "",
        scope=scope,
        memory_limit=limit.limit,
        memory_usage=limit.usage,
        cgroup=whose,
        memory_cgroup=whose,
        limit_cgroup=_cgroup(report.limit_path) if scope == "cgroup" else NO_CGROUP,
        **{name: kill.amounts[key] * oom_text.KIBIBYTE for key, name in _KIBIBYTES.items() if key in kill.amounts},
    )


def _cgroup(path: str) -> CgroupFacts:
    return CgroupFacts(path=path) if path else NO_CGROUP
