"""Tests of reading OOM kills out of the kernel log's lines, in the texts of many kernels."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tapio_otel.receivers.ebpf.fallback.oom_messages import OomMessages
from tapio_otel.receivers.ebpf.observations import CgroupFacts, OomKill
from tests.receivers.ebpf.fallback import kernel_logs as logs

KIB = 1024
ALL_LOGS = [text for name, text in vars(logs).items() if name.startswith("V")]
SECOND = 1_000_000_000


def kills(text: str, messages: OomMessages | None = None, start: int = 0, caller: str = "") -> list[OomKill]:
    """Return the kills of a log whose lines were written a microsecond apart."""
    messages = messages or OomMessages()
    found = [messages.feed(line, start + number * 1000, caller) for number, line in enumerate(text.splitlines())]
    return [kill for kill in found if kill is not None]


def interleaved(*pairs: tuple[str, str], callers: bool = False) -> list[OomKill]:
    """Return the kills of lines in the given order, each with a name of the one that wrote it."""
    messages = OomMessages()
    found = [messages.feed(line, number, writer if callers else "") for number, (writer, line) in enumerate(pairs)]
    return [kill for kill in found if kill is not None]


def test_a_present_day_report_tells_everything() -> None:
    """Victim, trigger, limit and cgroups are told, whatever commas and parentheses the names have."""
    [kill] = kills(logs.V6_18)
    assert kill == OomKill(
        time_ns=kill.time_ns,
        pid=11918,
        comm="a) b, (c)",
        uid=0,
        oom_score_adj=0,
        trigger_pid=11918,
        trigger_comm="a) b, (c)",
        scope="cgroup",
        memory_limit=30720 * KIB,
        memory_usage=30720 * KIB,
        total_vm=221364 * KIB,
        anon_rss=37376 * KIB,
        file_rss=6560 * KIB,
        shmem_rss=0,
        page_tables=136 * KIB,
        cgroup=CgroupFacts(path="/fbcap/leaf (x) y"),
        memory_cgroup=CgroupFacts(path="/fbcap/leaf (x) y"),
        limit_cgroup=CgroupFacts(path="/fbcap"),
    )


@pytest.mark.parametrize(
    ("total", "resident", "tables", "told"),
    [
        (4195088, 2884696, 5696, 5696 * KIB),
        (4195088, 2884696, 5832704, None),  # the same in bytes
        (4195088, 1000, 2 << 20, None),  # few of its pages were in memory
        (221364, 37376, 139264, None),
        (221364, 37376, 221365, None),
        (221364, 43936, 136, 136 * KIB),
        (8 << 20, 4 << 20, 8192, 8192 * KIB),  # the size of a page divides it, yet it is little of what is in memory
        (0, 0, 0, 0),
    ],
)
def test_page_tables_in_bytes_are_left_out(total: int, resident: int, tables: int, told: int | None) -> None:
    """Linux 5.4.0 to 5.4.8 wrote bytes and called them kB."""
    line = (
        f"Memory cgroup out of memory: Killed process 7 (a) total-vm:{total}kB, anon-rss:{resident}kB, file-rss:0kB, "
        f"shmem-rss:0kB, UID:0 pgtables:{tables}kB oom_score_adj:0"
    )
    [kill] = kills(line)
    assert kill.page_tables == told
    assert (kill.total_vm, kill.anon_rss, kill.oom_score_adj) == (total * KIB, resident * KIB, 0)


def test_a_global_report_has_no_limit() -> None:
    """When the machine ran out, nobody's limit was hit; the trigger is another process than the victim."""
    [kill] = kills(logs.V5_4_GLOBAL)
    assert (kill.scope, kill.memory_limit, kill.memory_usage, kill.limit_cgroup) == ("global", None, None, CgroupFacts())
    assert (kill.pid, kill.comm, kill.uid, kill.oom_score_adj) == (2871, "stress", 1000, 872)
    assert (kill.trigger_pid, kill.trigger_comm) == (412, "systemd-journal")
    assert kill.memory_cgroup.path == "/user.slice/user-1000.slice/session-2.scope"
    assert kill.page_tables == 5696 * KIB


def test_members_of_a_group_are_killed_once_each() -> None:
    """The kernel names the victim again among the members of its group, which is no second kill."""
    victim, member = kills(logs.V5_15_GROUP)
    assert (victim.pid, victim.memory_cgroup.path) == (68061, "/kubepods.slice/pod.slice/c.scope/inner")
    assert (member.pid, member.comm, member.uid) == (68070, "sidecar", 8)
    assert member.memory_cgroup.path == "/kubepods.slice/pod.slice/c.scope"
    assert victim.memory_limit == member.memory_limit == 51200 * KIB
    assert victim.scope == member.scope == "cgroup"


def test_a_group_of_an_older_kernel_has_lines_without_a_prefix() -> None:
    """Kernel 4.19 tells of members by bare lines; they belong to the global OOM before them."""
    found = kills(logs.V4_19_GLOBAL_GROUP)
    assert [kill.pid for kill in found] == [1221, 1217, 1218]
    assert {kill.scope for kill in found} == {"global"}
    assert [kill.memory_cgroup.path for kill in found] == ["", "/A1", "/A1"]


def test_a_sacrificed_child_dies_of_its_parents_limit() -> None:
    """Before 5.0 a child may be killed in place of the chosen process: it has the same limit and cgroup."""
    [kill] = kills(logs.V4_14)
    assert (kill.pid, kill.comm, kill.scope) == (3876, "dd", "cgroup")
    assert (kill.memory_cgroup.path, kill.limit_cgroup.path) == ("/test/leaf", "/test")
    assert (kill.memory_limit, kill.memory_usage) == (51200 * KIB, 51200 * KIB)
    assert (kill.trigger_pid, kill.trigger_comm, kill.uid) == (3876, "dd", None)


@pytest.mark.parametrize("text", [logs.V3_10, logs.V2_6_32], ids=["3.10", "2.6.32"])
def test_old_distribution_kernels_put_the_user_elsewhere(text: str) -> None:
    """Kernels of RHEL 6 and 7 tell the user between pid and sizes."""
    [kill] = kills(text)
    assert (kill.pid, kill.comm, kill.uid, kill.trigger_pid) == (215701, "java", 679, 215700)
    assert (kill.memory_limit, kill.anon_rss, kill.scope) == (1048576 * KIB, 7152432 * KIB, "cgroup")


@pytest.mark.parametrize("text", ALL_LOGS)
def test_kills_of_one_log_do_not_depend_on_what_was_before(text: str) -> None:
    """Each kind of report is read the same after every other one."""
    alone = kills(text, start=100 * SECOND)
    for other in ALL_LOGS:
        messages = OomMessages()
        kills(other, messages)
        assert kills(text, messages, start=100 * SECOND) == alone


def test_a_kill_without_its_report_takes_nothing_from_the_one_before() -> None:
    """When OOMs are frequent the kernel writes the victim's line alone: the last report is not about it."""
    messages = OomMessages()
    kills(logs.V6_18, messages)
    [kill] = kills("Memory cgroup out of memory: Killed process 7 (x) total-vm:1kB, anon-rss:2kB", messages, start=50_000)
    assert (kill.pid, kill.comm, kill.scope, kill.total_vm) == (7, "x", "cgroup", KIB)
    assert (kill.memory_limit, kill.memory_cgroup.path, kill.trigger_comm) == (None, "", "")


def test_the_same_pid_may_be_killed_again_later() -> None:
    """A pid that comes round again is another process."""
    messages = OomMessages()
    assert len(kills(logs.V5_15_GROUP, messages)) == 2
    assert len(kills(logs.V5_15_GROUP, messages, start=60 * SECOND)) == 2


@pytest.mark.parametrize(
    ("line", "pid", "comm"),
    [
        ("Memory cgroup out of memory: Killed process 12", None, ""),
        ("Memory cgroup out of memory: Killed process 12 ", 12, ""),
        ("Memory cgroup out of memory: Killed process 12 (pyth", 12, "pyth"),
        ("Memory cgroup out of memory: Killed process 12 (python3) total-v", 12, "python3"),
        ("Killed process 12, UI", 12, ""),
        ("Out of memory (oom_kill_allocating_task): Killed process 12 (python3) total-vm:1kB", 12, "python3"),
    ],
)
def test_a_line_that_is_cut_off_still_makes_a_kill(line: str, pid: int | None, comm: str) -> None:
    """What is left of a victim's line is told; a pid that may have lost digits is not."""
    [kill] = kills(line)
    assert (kill.pid, kill.comm) == (pid, comm)


def test_a_cut_off_line_is_completed_from_its_report() -> None:
    """The report has named the victim before."""
    report = "\n".join(logs.V6_18.splitlines()[:-2])
    for cut in ("Killed process 1191", "Killed process 11918 (a) b"):
        line = (
            f"Memory cgroup out of memory: {cut}" if cut[-1].isalpha() else "Memory cgroup out of memory: Killed process 11918"
        )
        [kill] = kills(f"{report}\n{line}")
        assert (kill.pid, kill.uid, kill.memory_limit) == (11918, 0, 30720 * KIB)


@pytest.mark.parametrize("length", range(30, 260, 7))
def test_a_report_that_is_cut_off_invents_no_cgroup(length: int) -> None:
    """A path is told whole or not at all."""
    lines = logs.V6_18.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("oom-kill:"))
    lines[place] = lines[place][:length]
    [kill] = kills("\n".join(lines))
    assert (
        kill.pid == 11918 and kill.memory_cgroup.path in ("", "/fbcap/leaf (x) y") and kill.limit_cgroup.path in ("", "/fbcap")
    )


@pytest.mark.parametrize(
    "comm", ["a) b, (c)", "x,pid=1,uid=0", ",task=y", ") total-vm:0kB", "a invoked oom", "Killed process ", "ü", "(", ")", ""]
)
def test_names_may_be_anything(comm: str) -> None:
    """A name that looks like the kernel's own words is only a name."""
    text = logs.V6_18.replace("a) b, (c)", comm)
    [kill] = kills(text)
    assert (kill.comm, kill.pid, kill.uid, kill.memory_cgroup.path) == (comm, 11918, 0, "/fbcap/leaf (x) y")
    assert (kill.trigger_comm, kill.trigger_pid, kill.total_vm) == (comm, 11918, 221364 * KIB)


@pytest.mark.parametrize(
    "line",
    [
        "Killed process [123]: segfault at 38 ip 00007fefe237b350",
        "Killed process  invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
        "oom_reaper: reaped process 123 (x), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB",
        "usb 1-1: Killed process 123 (x) total-vm:1kB",
        "Killed process 12345678901 (x) total-vm:1kB",
        "Killed process 12; all is well",
        "",
    ],
)
def test_other_lines_are_no_kills(line: str) -> None:
    """Only the kernel's own line at its beginning counts."""
    assert kills(line) == []


REPORT_A = [
    "a invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
    "CPU: 0 PID: 11 Comm: a Not tainted 6.1.0",
    "memory: usage 1kB, limit 1kB, failcnt 0",
    "Memory cgroup stats for /a:",
    "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a/x,task=a,pid=11,uid=1",
    "Memory cgroup out of memory: Killed process 11 (a) total-vm:1kB",
]
REPORT_B = [
    line.replace("a invoked", "b invoked").replace("Comm: a", "Comm: b").replace("task=a", "task=b") for line in REPORT_A
]
REPORT_B = [line.replace("/a", "/b").replace("11", "22").replace("(a)", "(b)").replace("1kB", "2kB") for line in REPORT_B]


@given(st.lists(st.booleans(), min_size=6, max_size=6), st.booleans())
def test_two_reports_may_be_interleaved(order: list[bool], callers: bool) -> None:
    """Lines of two OOMs in any order give each kill its own cgroup, limit and, where the log tells writers apart, trigger."""
    pairs, rest = [], {"A": list(REPORT_A), "B": list(REPORT_B)}
    for is_first in order * 2:
        writer = "A" if (is_first and rest["A"]) or not rest["B"] else "B"
        if rest[writer]:
            pairs.append((writer, rest[writer].pop(0)))
            if "usage" in pairs[-1][1] and not callers:  # the kernel writes these two in one go
                pairs.append((writer, rest[writer].pop(0)))
    pairs += [(writer, line) for writer in rest for line in rest[writer]]
    found = {kill.pid: kill for kill in interleaved(*pairs, callers=callers)}
    assert {pid: (kill.memory_cgroup.path, kill.limit_cgroup.path) for pid, kill in found.items()} == {
        11: ("/a/x", "/a"),
        22: ("/b/x", "/b"),
    }
    if callers:
        assert {pid: (kill.trigger_comm, kill.trigger_pid) for pid, kill in found.items()} == {11: ("a", 11), 22: ("b", 22)}
    assert {pid: kill.memory_limit for pid, kill in found.items()} == {11: KIB, 22: 2 * KIB}


PIECES = sorted({line for text in ALL_LOGS for line in text.splitlines()})
ANY_LINE = st.one_of(
    st.sampled_from(PIECES),
    st.text(max_size=60),
    st.builds(lambda line, at: line[:at], st.sampled_from(PIECES), st.integers(0, 250)),
    st.builds(lambda line, at, other: line[:at] + other + line[at:], st.sampled_from(PIECES), st.integers(0, 250), st.text()),
)


@given(st.lists(st.tuples(ANY_LINE, st.integers(-(2**70), 2**70), st.sampled_from(["", "T1", "C0"])), max_size=40))
@example([("Killed process 1" + "0" * 5000, 0, ""), ("memory: usage " + "9" * 5000 + "kB, limit 1kB", 0, "")])
def test_it_never_fails_and_kills_have_a_line(lines: list[tuple[str, int, str]]) -> None:
    """Whatever the lines are, nothing is raised, and there are no more kills than victims' lines."""
    messages = OomMessages()
    found = [messages.feed(*line) for line in lines]
    assert sum(kill is not None for kill in found) <= sum("Killed process" in line for line, _, _ in lines)


def test_it_takes_linear_time_and_bounded_memory() -> None:
    """Thousands of unfinished reports and lines of a megabyte are no trouble (else this runs into its time limit)."""
    messages = OomMessages()
    for number in range(20_000):
        messages.feed(f"c{number} invoked oom-killer: gfp_mask=0xcc0, order=0", number)
        messages.feed("memory: usage 1kB, limit 1kB, failcnt 0", number)
        messages.feed(f"Memory cgroup stats for /{number}:", number)
    for start in ("Killed process 1 (", "oom-kill:constraint=,oom_memcg=", "Task in ", "Tasks in ", "CPU: ", "memory: usage "):
        messages.feed(start + ") total-vm:1kB,task=,pid=" * 40_000, 0)
    assert max(map(len, (messages._reports, messages._limits, messages._unnamed))) <= 16
