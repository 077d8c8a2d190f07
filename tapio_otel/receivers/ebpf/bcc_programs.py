"""The programs for BCC, written for the tracepoints that the running kernel has.

They read tracepoint arguments and nothing else. On headers that do not match the kernel, BCC compiles reads of kernel structs
without complaint and they give wrong values; arguments are where the kernel's format file says.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final

from tapio_otel.receivers.ebpf.tracepoints import Tracepoint

LICENSE: Final = "#define BPF_LICENSE Dual BSD/GPL\n"
"""Some of the kernel's functions that programs call are for programs with a licence compatible with the GPL only."""

VICTIM: Final = Struct("=6Q3Ii16s16s")
_VICTIM: Final = """
struct victim {
    u64 time, total_vm, anon_rss, file_rss, shmem_rss, page_tables;
    u32 pid, trigger_pid, uid;
    s32 oom_score_adj;
    char comm[16], trigger_comm[16];
};
BPF_PERF_OUTPUT(victims);
"""
_VICTIM_MEMBERS: Final = {
    **{name: name for name in ("pid", "total_vm", "anon_rss", "file_rss", "shmem_rss", "uid", "oom_score_adj")},
    "pgtables": "page_tables",
}
"""The arguments of the tracepoint and where they go; kernels before 6.9 tell the pid only."""


def oom_program(tracepoint: Tracepoint) -> str:
    """Return the program that tells each victim as a `VICTIM`; raises KeyError where the tracepoint lacks the pid."""
    has_comm = "comm" in tracepoint.arguments and tracepoint.arguments["comm"].is_text
    used = ["pid", *(name for name in _VICTIM_MEMBERS if name != "pid" and name in tracepoint.arguments)]
    copies = [f"victim.{_VICTIM_MEMBERS[name]} = args->{name};" for name in used]
    if has_comm:
        used.append("comm")
        copies.append("bpf_probe_read_kernel_str(&victim.comm, sizeof(victim.comm), (char *)args + (args->comm & 0xFFFF));")
    return f"""{LICENSE}{tracepoint.struct("mark_victim_args", used)}{_VICTIM}
int tracepoint__oom__mark_victim(struct mark_victim_args *args)
{{
    struct victim victim = {{}};
    victim.time = bpf_ktime_get_ns();
    victim.trigger_pid = bpf_get_current_pid_tgid() >> 32;
    bpf_get_current_comm(&victim.trigger_comm, sizeof(victim.trigger_comm));
    {" ".join(copies)}
    victims.perf_submit(args, &victim, sizeof(victim));
    return 0;
}}
"""


DROP: Final = Struct("=QII")
DROP_TALLY: Final = Struct("=QQ")


def drop_program(tracepoint: Tracepoint, ignored: Iterable[int]) -> str:
    """Return the program that counts drops by reason, or by place where the kernel gives no reason (before Linux 5.17)."""
    by_reason = "reason" in tracepoint.arguments
    used = "reason" if by_reason else "location"
    leave = "".join(f"if (args->reason == {number}) return 0; " for number in ignored) if by_reason else ""
    return f"""{LICENSE}{tracepoint.struct("kfree_skb_args", [used])}
struct what {{ u64 location; u32 reason, unused; }};
struct tally {{ u64 count, last; }};
BPF_PERCPU_HASH(drops, struct what, struct tally, 1024);
BPF_ARRAY(uncounted, u64, 1);
int tracepoint__skb__kfree_skb(struct kfree_skb_args *args)
{{
    struct what what = {{}};
    struct tally none = {{}}, *tally;
    {leave}
    what.{used} = args->{used};
    tally = drops.lookup_or_try_init(&what, &none);
    if (tally) {{
        lock_xadd(&tally->count, 1);
        tally->last = bpf_ktime_get_ns();
    }} else {{
        int first = 0;
        u64 *lost = uncounted.lookup(&first);
        if (lost) lock_xadd(lost, 1);
    }}
    return 0;
}}
"""


FLOW: Final = Struct("=28s28sHHIII")
FLOW_TALLY: Final = Struct("=QQ")
FLOWS: Final = 4096
_SOCKADDR_SIZE: Final = 28  # sizeof(struct sockaddr_in6)
_FLOWS: Final = f"""
struct flow {{ u8 source[28], destination[28]; u16 source_port, destination_port; u32 state, reason, direction; }};
struct tally {{ u64 count, first; }};
BPF_HASH(flows_0, struct flow, struct tally, {FLOWS});
BPF_HASH(flows_1, struct flow, struct tally, {FLOWS});
BPF_ARRAY(chosen, u32, 1);
BPF_ARRAY(uncounted, u64, 1);
static inline void count_flow(struct flow *flow)
{{
    int first = 0;
    struct tally none = {{}}, *tally = 0;
    u32 *which = chosen.lookup(&first);
    none.first = bpf_ktime_get_ns();
    if (which && *which)
        tally = flows_1.lookup_or_try_init(flow, &none);
    else
        tally = flows_0.lookup_or_try_init(flow, &none);
    if (tally) {{
        lock_xadd(&tally->count, 1);
    }} else {{
        u64 *lost = uncounted.lookup(&first);
        if (lost) lock_xadd(lost, 1);
    }}
}}
"""


def flow_program(tracepoints: dict[str, Tracepoint]) -> str:
    """Return the program that counts by flow what these tracepoints of TCP tell; `direction` is a tracepoint's position.

    Two tables take turns, so that one can be read and emptied while the other counts. Raises KeyError naming an argument that a
    tracepoint lacks.
    """
    programs = (_flow_program(name, one, place) for place, (name, one) in enumerate(tracepoints.items()))
    return LICENSE + _FLOWS + "".join(programs)


def has_socket_addresses(tracepoint: Tracepoint) -> bool:
    """Tell whether addresses come with family and port (struct sockaddr), as tcp_send_reset's do since Linux 6.10."""
    return "saddr" in tracepoint.arguments and tracepoint.arguments["saddr"].size == _SOCKADDR_SIZE


def _flow_program(name: str, tracepoint: Tracepoint, direction: int) -> str:
    packed = has_socket_addresses(tracepoint)
    ends = ("saddr", "daddr") if packed else ("saddr_v6", "daddr_v6")
    used = [*ends, *(() if packed else ("sport", "dport"))]
    used += [name for name in ("state", "reason") if name in tracepoint.arguments]
    copies = [
        f"__builtin_memcpy(flow.{member}, args->{end}, sizeof(args->{end}));"
        for member, end in zip(("source", "destination"), ends, strict=True)
    ]
    members = {"sport": "source_port", "dport": "destination_port", "state": "state", "reason": "reason"}
    copies += [f"flow.{members[name]} = args->{name};" for name in used if name in members]
    return f"""{tracepoint.struct(f"{name}_args", used)}
int tracepoint__tcp__{name}(struct {name}_args *args)
{{
    struct flow flow = {{}};
    flow.direction = {direction};
    {" ".join(copies)}
    count_flow(&flow);
    return 0;
}}
"""
