"""The texts in which kernels 3.x to 6.x tell of an OOM kill, read line by line; pure and linear.

Process names and cgroup paths may hold anything that their owner likes, commas, spaces and parentheses included, so fields
are looked for from the end that the kernel alone writes. Texts by mm/oom_kill.c and mm/memcontrol.c.
"""

from __future__ import annotations

import mmap
import re
from typing import Final, NamedTuple

KIBIBYTE: Final = 1024
UNLIMITED_KIB: Final = 1 << 50
"""A limit from this on is none: the kernel writes 9007199254740988kB."""
_COMM: Final = 15  # TASK_COMM_LEN - 1
_KILL = re.compile(
    r"(?:(Memory cgroup out of memory|Out of memory)(?: \([a-z_]{1,40}\))?: )?(Killed|Kill) process ([0-9]{1,10})(?![0-9])"
)
_BEFORE_COMM = re.compile(r"(?:, UID ([0-9]{1,10}),)? \(")
_AMOUNT = re.compile(
    r"(total-vm|anon-rss|file-rss|shmem-rss|pgtables|UID|oom_score_adj):?\s?(-?[0-9]{1,19})(?![0-9])", re.ASCII
)
_USAGE = re.compile(r"(memory|memory\+swap): usage ([0-9]{1,19})kB, limit ([0-9]{1,19})kB")
_TASK = re.compile(r"CPU: [0-9]{1,6} (?:UID: [0-9]{1,10} )?PID: ([0-9]{1,10}) Comm: |Pid: ([0-9]{1,10}), comm: ")
_PID_UID = re.compile(r",pid=([0-9]{1,10})(?:,uid=([0-9]{1,10}))?$")


class Kill(NamedTuple):
    """Be a line `Killed process …`, or `Kill process … score … or sacrifice child` (`done` is false)."""

    done: bool
    pid: int | None
    comm: str
    whole_comm: bool
    scope: str
    amounts: dict[str, int]


class Chosen(NamedTuple):
    """Be a line `oom-kill:constraint=…` (from 5.0): the victim, its memory cgroup, and the one whose limit was hit."""

    scope: str
    pid: int | None
    uid: int | None
    comm: str
    victim_path: str
    limit_path: str


class Usage(NamedTuple):
    """Be a line `memory: usage …kB, limit …kB`, in bytes; `limit` is None where there is none."""

    swap: bool
    usage: int
    limit: int | None


def parse_kill(text: str) -> Kill | None:
    """Return what a line says that names the victim; None for other lines."""
    found = _KILL.match(text)
    if found is None:
        return None
    scope = {"Memory cgroup out of memory": "cgroup", "Out of memory": "global"}.get(found[1] or "", "")
    rest = text[found.end() :]
    start = _BEFORE_COMM.match(rest)
    if start is None:
        return _cut_off(found, rest, scope)
    end = rest.rfind(")", start.end(), _tail(rest))
    comm = rest[start.end() : end] if end >= 0 else rest[start.end() :][:_COMM]
    amounts = _plausible(_amounts(rest[end:])) if end >= 0 else {}
    if start[1]:
        amounts.setdefault("UID", int(start[1]))
    return Kill(found[2] == "Killed", int(found[3]), comm, end >= 0, scope, amounts)


def _cut_off(found: re.Match[str], rest: str, scope: str) -> Kill | None:
    """Return what is left of a line that ends before the name; where it ends within the pid, the pid is not to be trusted."""
    if rest and not ", UID ".startswith(rest.rstrip("0123456789")) and rest != " ":
        return None
    return Kill(found[2] == "Killed", int(found[3]) if rest else None, "", False, scope, {})


def _tail(rest: str) -> int:
    for mark in ("total-vm:", " score "):
        at = rest.rfind(mark)
        if at >= 0:
            return at
    return len(rest)


def _amounts(tail: str) -> dict[str, int]:
    return {found[1]: int(found[2]) for found in _AMOUNT.finditer(tail)}


def _plausible(amounts: dict[str, int]) -> dict[str, int]:
    """Return the amounts without page tables told in bytes but called kB, as Linux 5.4.0 to 5.4.8 did.

    In bytes they are a multiple of the page's size, and no small part of what the process had in memory, as a number of kB.
    """
    tables = amounts.get("pgtables", 0)
    resident = sum(amounts.get(name, 0) for name in ("anon-rss", "file-rss", "shmem-rss"))
    in_bytes = tables % mmap.PAGESIZE == 0 and tables > resident // 16
    if tables > amounts.get("total-vm", tables) or in_bytes:
        del amounts["pgtables"]
    return amounts


def parse_chosen(text: str) -> Chosen | None:
    """Return what a line `oom-kill:…` says, as far as it goes; None for other lines."""
    if not text.startswith("oom-kill:constraint="):
        return None
    ids = _PID_UID.search(text, max(0, len(text) - 32))
    head = text[: ids.start()] if ids else text
    at = head.find(",task=", max(0, len(head) - _COMM - len(",task="))) if ids else head.rfind(",task=")
    comm = head[at + len(",task=") :] if ids and at >= 0 else ""
    victim, limit, is_global = _memory_cgroups(head[:at]) if at >= 0 else ("", "", False)
    return Chosen(
        "cgroup" if limit else "global" if is_global else "",
        int(ids[1]) if ids else None,
        int(ids[2]) if ids and ids[2] else None,
        comm,
        victim,
        limit,
    )


def _memory_cgroups(head: str) -> tuple[str, str, bool]:
    """Return the victim's path, the path of the limit, and whether it says that the machine ran out."""
    front, mark, victim = head.partition(",task_memcg=")
    _, limited, limit = front.partition(",oom_memcg=")
    return (victim if mark else "", limit if limited else "", front.endswith(",global_oom"))


def parse_limited(text: str) -> tuple[str, str] | None:
    """Return the victim's path and the limit's of `Task in … killed as a result of limit of …` (before 5.0)."""
    if not text.startswith("Task in "):
        return None
    victim, mark, limit = text[len("Task in ") :].partition(" killed as a result of limit of ")
    return (victim, limit.rstrip()) if mark else None


def parse_group(text: str) -> str | None:
    """Return the path of the cgroup that is killed as a whole (`memory.oom.group`)."""
    end = " are going to be killed due to memory.oom.group set"
    return text[len("Tasks in ") : -len(end)] if text.startswith("Tasks in ") and text.endswith(end) else None


def parse_usage(text: str) -> Usage | None:
    """Return usage and limit of the memory cgroup that is reported on."""
    found = _USAGE.match(text)
    if found is None:
        return None
    limit = int(found[3])
    return Usage(found[1] != "memory", int(found[2]) * KIBIBYTE, limit * KIBIBYTE if limit < UNLIMITED_KIB else None)


def parse_statistics(text: str) -> str | None:
    """Return the path that `Memory cgroup stats for …` is about."""
    if not text.startswith("Memory cgroup stats for "):
        return None
    path = text[len("Memory cgroup stats for ") :].rstrip()
    cut = path.rfind(": cache:")
    return path[:cut] if cut >= 0 else path.removesuffix(":")


def parse_trigger(text: str) -> str | None:
    """Return the name of the process that ran out of memory."""
    at = text.rfind(" invoked oom-killer: ")
    return text[:at] if at >= 0 else None


def parse_task(text: str, comm: str) -> int | None:
    """Return the pid in the line that heads a stack dump, if it is of the process with this name."""
    found = _TASK.match(text)
    if found is None or not text.startswith(f"{comm} ", found.end()):
        return None
    return int(found[1] or found[2])
