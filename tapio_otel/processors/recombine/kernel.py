"""The form of what the kernel tells when something went wrong in it: oops, BUG, WARNING, hung task, stall, call trace.

Only the kernel's own lines are joined. Lines of several CPUs that are mixed, and others in between, end what was begun; the
rest begins anew with its next call trace. Sources: the kernel's lib/dump_stack.c, kernel/panic.c and arch/*/kernel/traps.c.
"""

from __future__ import annotations

from typing import Final

from tapio_otel.processors.recombine.forms import END, REJECT, Form, Start

_WARNING: Final = r"WARNING: (?:CPU: \d+ |[\w./-]+:\d+ at )"
_END_OF_TRACE: Final = r"^---\[ end trace "
_REGISTERS: Final = (
    r"^(?:R[A-Z]{2}|R\d\d|E[A-Z]{2}|[CDEFG]S|CR\d|DR\d|RIP|PKRU|EFLAGS|Code|Stack)\b ?:"
    r"|^(?:pc|lr|sp|x\d{1,2}|pstate|epc|ra|a\d|s\d{1,2}|t\d) ?: "
)
_WARNED: Final = rf"^(?:{_WARNING}|BUG: )"
_FRAMES: Final = r"^\s|^(?:\? )?[\w.]+\+0x[0-9a-f]+/0x[0-9a-f]+|^\[<[0-9a-f]+>\]|^Call [Tt]race:"
_ABOUT: Final = (
    r"^(?:Modules linked in:|CPU: ?\d+ |Hardware name:|Source Version:|Workqueue:|Tainted:|Process |task:|task "
    r"|Unloaded tainted|Last potentially related|#PF: |PGD |P4D |pgd = |Oops|Internal error:|PREEMPT |SMP |Mem abort info:"
    r"|Data abort info:|swapper pgtable:|user pgtable:|\[[0-9a-f]{8,16}\] |Kernel Offset:|note: |\"echo 0 > "
    r"|kernel BUG at |invalid opcode:|irq event stamp:|hardirqs last |softirqs last |rcu: |Sending NMI |NMI backtrace for cpu "
    r"|Showing all locks|Code: |Dumping ftrace|Exception stack)"
)

_TOLD: Final = (
    (_WARNED, REJECT),
    (_END_OF_TRACE, "ended"),
    (r"^---\[ end Kernel panic", END),
    (_REGISTERS, "told"),
    (_FRAMES, "told"),
    (_ABOUT, "told"),
)

KERNEL: Final = Form(
    "kernel",
    of_kernel=True,
    starts=(
        Start(r"^-{8,}\[ cut here \]-{8,}$", "cut", begins=("------------[ cut",)),
        Start(rf"^{_WARNING}", "told", begins=("WARNING: ",)),
        Start(r"^(?:BUG: |watchdog: BUG: |kernel BUG at )", "told", begins=("BUG: ", "watchdog: BUG: ", "kernel BUG at ")),
        Start(r"^(?:Oops|Internal error)[ :]", "told", begins=("Oops", "Internal error")),
        Start(
            r"^(?:general protection fault|stack segment|divide error|invalid opcode|double fault)",
            "told",
            begins=("general protection", "stack segment", "divide error", "invalid opcode", "double fault"),
        ),
        Start(r"^Unable to handle kernel ", "told", begins=("Unable to handle kernel",)),
        Start(r"^INFO: (?:task .* blocked for more than|rcu_)", "told", begins=("INFO: task ", "INFO: rcu_")),
        Start(r"^rcu: INFO: ", "told", begins=("rcu: INFO: ",)),
        Start(r"^NMI backtrace for cpu ", "told", begins=("NMI backtrace",)),
        Start(r"^Kernel panic - not syncing: ", "told", begins=("Kernel panic",)),
        Start(r"^CPU: ?\d+ (?:UID: \d+ )?PID: \d+ Comm: ", "told", begins=("CPU:",)),
        Start(r"^Call [Tt]race:", "told", begins=("Call Trace:", "Call trace:")),
    ),
    steps={
        "cut": ((r"^-{8,}\[ cut here", REJECT), (r"^", "introduced")),
        "introduced": ((_WARNED, "told"), *_TOLD),
        "told": _TOLD,
        "ended": (
            (_REGISTERS, "ended"),
            (r"^(?:note: |Kernel Offset:)", "ended"),
        ),
    },
)
