"""Stack traces of every known form, as their runtimes print them, become one event each, with and without empty lines."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterable

import pytest

from tapio_otel.component import Kind
from tapio_otel.event import EntityReference, Origin, Severity, UnifiedEvent
from tapio_otel.identity import event_id
from tapio_otel.processors.recombine import RecombineConfig, RecombineProcessor
from tests.components import context


def stack(text: str, indent: str = "") -> list[str]:
    """Return the lines of a text that is indented as a whole."""
    return [f"{indent}{line}" if line else "" for line in textwrap.dedent(text).strip("\n").split("\n")]


STACKS: dict[str, list[str]] = {
    "python": stack("""
        Traceback (most recent call last):
          File "/srv/shop/app.py", line 14, in charge
            return gateway.pay(order, card)
                   ~~~~~~~~~~~^^^^^^^^^^^^^
          File "/srv/shop/gateway.py", line 71, in pay
            raise PaymentRefused(f"card {card} refused")
          [Previous line repeated 12 more times]
        shop.gateway.PaymentRefused: card 12 refused
        """),
    "python without a message": stack("""
        Traceback (most recent call last):
          File "/srv/job.py", line 3, in <module>
            time.sleep(60)
        KeyboardInterrupt
        """),
    "python chained": stack("""
        Traceback (most recent call last):
          File "/srv/a.py", line 2, in load
            return cache[key]
                   ~~~~~^^^^^
        KeyError: 'user:7'

        During handling of the above exception, another exception occurred:

        Traceback (most recent call last):
          File "/srv/a.py", line 9, in <module>
            main()
        ConnectionError: no database

        The above exception was the direct cause of the following exception:

        Traceback (most recent call last):
          File "/srv/a.py", line 12, in <module>
            raise RuntimeError("giving up") from error
        RuntimeError: giving up
        """),
    "python thread": stack("""
        Exception in thread Thread-3 (consume):
        Traceback (most recent call last):
          File "/usr/lib/python3.11/threading.py", line 1038, in _bootstrap_inner
            self.run()
        ValueError: bad message
        """),
    "python ignored": stack("""
        Exception ignored in: <function Session.__del__ at 0x7f2f1c0d3e20>
        Traceback (most recent call last):
          File "/srv/http.py", line 88, in __del__
            self.close()
        AttributeError: 'Session' object has no attribute 'socket'
        """),
    "python syntax error": stack("""
        Traceback (most recent call last):
          File "/srv/run.py", line 1, in <module>
            import broken
          File "/srv/broken.py", line 4
            print("x"
                 ^
        SyntaxError: '(' was never closed
        """),
    "python exception group": stack(
        """
          + Exception Group Traceback (most recent call last):
          |   File "/srv/g.py", line 20, in <module>
          |     asyncio.run(main())
          | ExceptionGroup: unhandled errors in a TaskGroup (2 sub-exceptions)
          +-+---------------- 1 ----------------
            | Traceback (most recent call last):
            |   File "/srv/g.py", line 5, in first
            | ValueError: one
            +---------------- 2 ----------------
            | TypeError: two
            +------------------------------------
        """,
        "  ",
    ),
    "python fatal": stack(
        """
        Fatal Python error: Segmentation fault

        Current thread 0x00007f6ff7d5b740 (most recent call first):
          File "/srv/native.py", line 7 in crash
          File "/srv/native.py", line 11 in <module>

        Extension modules: numpy.core._multiarray_umath (total: 1)
        """
    ),
    "go": stack("""
        panic: runtime error: invalid memory address or nil pointer dereference
        [signal SIGSEGV: segmentation violation code=0x1 addr=0x18 pc=0x47f1c2]

        goroutine 1 [running]:
        main.(*Store).Get(0x0, {0x4a1b2c, 0x4})
        \t/src/store/store.go:31 +0x22
        main.main()
        \t/src/main.go:12 +0x1d

        goroutine 18 [chan receive, 2 minutes]:
        net/http.(*conn).serve(0xc0000b4000, {0x6d5e20, 0xc0000a6000})
        \t/usr/local/go/src/net/http/server.go:1995 +0x612
        created by net/http.(*Server).Serve in goroutine 1
        \t/usr/local/go/src/net/http/server.go:3089 +0x5ed
        exit status 2
        """),
    "go recovered": stack("""
        panic: no such key [recovered]
        \tpanic: while handling: no such key

        goroutine 7 [running]:
        panic({0x46c0e0?, 0xc00001a0f0?})
        \t/usr/local/go/src/runtime/panic.go:770 +0x132
        main.generic[...](0x1)
        \t/src/generic.go:8 +0x45
        """),
    "go panic of several lines": stack("""
        panic: the settings do not fit:
        port: must be a number
        {
        \tname: shop
        }

        goroutine 1 [running]:
        main.main()
        \t/src/main.go:12 +0x1d
        exit status 2
        """),
    "go panic again of several lines": stack("""
        panic: boom [recovered]
        \tpanic: it broke
        while it was mended
        [signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x48]

        goroutine 1 [running]:
        main.main()
        \t/src/main.go:12 +0x1d
        """),
    "go fatal error": stack("""
        fatal error: all goroutines are asleep - deadlock!

        goroutine 1 [semacquire]:
        sync.runtime_Semacquire(0xc0000140a8?)
        \t/usr/local/go/src/runtime/sema.go:62 +0x25
        ...additional frames elided...
        created by main.start
        \t/src/main.go:22 +0x9c
        """),
    "go killed": stack("""
        SIGABRT: abort
        PC=0x46a2e1 m=0 sigcode=0

        goroutine 0 gp=0x5a3d00 m=0 mp=0x5a4b20 [idle]:
        runtime.futex(0x5a4c68, 0x80, 0x0, 0x0, 0x0, 0x0)
        \t/usr/local/go/src/runtime/sys_linux_amd64.s:557 +0x21

        rax    0xca
        rip    0x46a2e1
        rflags 0x286
        """),
    "rust": stack("""
        thread 'main' panicked at src/main.rs:14:33:
        called `Option::unwrap()` on a `None` value
        stack backtrace:
           0: rust_begin_unwind
                     at /rustc/07dca489ac2d/library/std/src/panicking.rs:645:5
           1: core::panicking::panic_fmt
                     at /rustc/07dca489ac2d/library/core/src/panicking.rs:72:14
           2: shop::main
                     at ./src/main.rs:14:33
        note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.
        """),
    "rust assertion of a thread": stack("""
        thread 'worker-2' (48213) panicked at src/queue.rs:88:9:
        assertion `left == right` failed: lengths differ
          left: 3
         right: 4
        note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
        """),
    "rust before 1.73": stack("""
        thread 'main' panicked at 'index out of bounds: the len is 3 but the index is 7', src/main.rs:4:5
        note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
        """),
    "rust value of several lines": stack("""
        thread 'tokio-runtime-worker' panicked at src/main.rs:4:5:
        called `Result::unwrap()` on an `Err` value: Refused {
            card: 12,
            reason: Other(
                "no money",
            ),
        }
        stack backtrace:
           0: rust_begin_unwind
                     at /rustc/07dca489ac2d/library/std/src/panicking.rs:645:5
        note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.
        """),
    "rust message of several lines": stack("""
        thread 'main' panicked at src/main.rs:4:5:
        the settings do not fit:
        port: must be a number

        name: must not be empty
        note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
        """),
    "rust before 1.73 of several lines": stack("""
        thread 'main' panicked at 'called `Result::unwrap()` on an `Err` value: Refused {
            card: 12,
        }', src/main.rs:4:5
        note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
        """),
    "rust overflow": stack("""
        thread 'main' has overflowed its stack
        fatal runtime error: stack overflow, aborting
        """),
    "rust error": stack("""
        Error: cannot read the settings

        Caused by:
            0: cannot open /etc/shop.toml
            1: No such file or directory (os error 2)

        Stack backtrace:
           0: anyhow::error::<impl anyhow::Error>::msg
           1: shop::main
        """),
    "java": stack("""
        Exception in thread "main" java.lang.IllegalStateException: cannot start
        \tat com.example.shop.Server.start(Server.java:42)
        \tat com.example.shop.Main.main(Main.java:10)
        \tSuppressed: java.io.IOException: closing failed
        \t\tat com.example.shop.Pool.close(Pool.java:77)
        \t\t... 2 more
        Caused by: java.net.ConnectException: Connection refused
        \tat java.base/sun.nio.ch.Net.connect0(Native Method)
        \t... 14 more
        Caused by: java.lang.RuntimeException: again
        \t[CIRCULAR REFERENCE: java.net.ConnectException: Connection refused]
        """),
    "java bare with a long message": stack("""
        org.postgresql.util.PSQLException: ERROR: duplicate key value violates unique constraint "orders_pkey"
          Detail: Key (id)=(7) already exists.
        \tat org.postgresql.core.v3.QueryExecutorImpl.receiveErrorResponse(QueryExecutorImpl.java:2713)
        \tat com.example.shop.Orders.save(Orders.java:31) ~[shop.jar:1.4]
        """),
    "java in a log line": stack("""
        2026-03-01 10:00:00.123 ERROR [http-8] c.e.Shop - failed: java.lang.NullPointerException: order is null
        \tat com.example.shop.Orders.total(Orders.kt:18)
        \t... 31 common frames omitted
        """),
    "java crash": stack("""
        # A fatal error has been detected by the Java Runtime Environment:
        #
        #  SIGSEGV (0xb) at pc=0x00007f1c2a3b4c5d, pid=812, tid=813
        # Problematic frame:
        # C  [libzip.so+0x4c5d]  readCEN+0x6d
        #
        """),
    "dotnet": stack("""
        Unhandled exception. System.InvalidOperationException: cannot start
         ---> System.IO.FileNotFoundException: Could not find file '/etc/shop.json'.
           at System.IO.File.ReadAllText(String path)
           at Shop.Settings.Load() in /src/Settings.cs:line 12
           --- End of inner exception stack trace ---
           at Shop.Program.Main(String[] args) in /src/Program.cs:line 5
        --- End of stack trace from previous location ---
           at Shop.Program.<Main>(String[] args)
        """),
    "dotnet in a log": stack(
        """
              System.TimeoutException: The operation has timed out.
                 at Shop.Client.SendAsync(Request request) in /src/Client.cs:line 88
        """,
        "      ",
    ),
    "dotnet stack overflow": stack(
        """
        Stack overflow.
        Repeat 174508 times:
        --------------------------------
           at Shop.Tree.Depth(Shop.Node)
        --------------------------------
           at Shop.Program.Main()
        """
    ),
    "node": stack("""
        /srv/shop/server.js:41
            throw new TypeError("order is undefined");
            ^

        TypeError: order is undefined
            at charge (/srv/shop/server.js:41:11)
            at process.processTicksAndRejections (node:internal/process/task_queues:95:5)

        Node.js v20.11.1
        """),
    "node with properties": stack("""
        node:events:497
              throw er; // Unhandled 'error' event
              ^

        Error: listen EADDRINUSE: address already in use :::8080
            at Server.setupListenHandle [as _listen2] (node:net:1898:16)
        Emitted 'error' event on Server instance at:
            at emitErrorNT (node:net:1877:8) {
          code: 'EADDRINUSE',
          errno: -98,
          syscall: 'listen'
        }

        Node.js v20.11.1
        """),
    "node module": stack("""
        Error: Cannot find module 'express'
        Require stack:
        - /srv/shop/server.js
            at Module._resolveFilename (node:internal/modules/cjs/loader:1140:15)
            at Module._load (node:internal/modules/cjs/loader:981:27) {
          code: 'MODULE_NOT_FOUND',
          requireStack: [ '/srv/shop/server.js' ]
        }
        """),
    "node in a log line": stack("""
        [shop] error: RangeError: Invalid count value: -1
            at String.repeat (<anonymous>)
            at /srv/shop/print.js:3:9
        """),
    "node warning": stack("""
        (node:4711) UnhandledPromiseRejectionWarning: Error: no
            at main (/srv/a.js:2:9)
        (Use `node --trace-warnings ...` to show where the warning was created)
        """),
    "node out of memory": stack("""
        <--- Last few GCs --->

        [4711:0x5a1b2c0]    41231 ms: Mark-sweep 2047.1 (2082.9) -> 2046.2 (2083.1) MB, 812.3 / 0.0 ms

        <--- JS stacktrace --->

        FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory
         1: 0xb7a940 node::Abort() [node]
         2: 0xa8e823  [node]
        """),
    "ruby": stack("""
        /srv/shop/order.rb:12:in `total': undefined method `price' for nil:NilClass (NoMethodError)

              items.map { |item| item.price }
                                     ^^^^^^
        Did you mean?  print
        \tfrom /srv/shop/order.rb:12:in `map'
        \tfrom bin/shop:5:in `<main>'
        /srv/shop/store.rb:3:in `find': cause (Store::Missing)
        \tfrom /srv/shop/order.rb:9:in `total'
        """),
    "ruby 3.4 relative": stack("""
        app.rb:3:in 'Integer#/': divided by 0 (ZeroDivisionError)
        \tfrom app.rb:3:in 'Object#share'
        \t ... 12 levels...
        \tfrom app.rb:7:in '<main>'
        """),
    "ruby 2.6": stack("""
        Traceback (most recent call last):
        \t2: from app.rb:9:in `<main>'
        \t1: from app.rb:5:in `run'
        app.rb:2:in `load': no such order (Shop::Missing)
        """),
    "ruby thread": stack("""
        #<Thread:0x00007f8b1c0d3e20 app.rb:4 run> terminated with exception (report_on_exception is true):
        app.rb:5:in `block in <main>': stopped (RuntimeError)
        \tfrom app.rb:4:in `new'
        """),
    "rails": stack("""
        ActionView::Template::Error (undefined method `price' for nil:NilClass):

        app/controllers/orders_controller.rb:12:in `show'
        """),
    "php": stack("""
        PHP Fatal error:  Uncaught RuntimeException: no database in /srv/shop/db.php:14
        Stack trace:
        #0 /srv/shop/index.php(7): connect('shop')
        #1 {main}

        Next LogicException: cannot start in /srv/shop/index.php:9
        Stack trace:
        #0 {main}
          thrown in /srv/shop/index.php on line 9
        """),
    "php stack trace": stack("""
        PHP Warning:  Undefined variable $order in /srv/shop/index.php on line 3
        PHP Stack trace:
        PHP   1. {main}() /srv/shop/index.php:0
        PHP   2. total($items = []) /srv/shop/index.php:12
        """),
    "php in fpm": stack("""
        [01-Mar-2026 10:00:00] WARNING: [pool www] said: "NOTICE: PHP message: PHP Fatal error:  Uncaught Error: x in /a.php:1
        Stack trace:
        #0 {main}
          thrown in /a.php on line 1
        """),
    "asan": stack("""
        =================================================================
        ==4711==ERROR: AddressSanitizer: heap-use-after-free on address 0x602000000010 at pc 0x0000004c3b1d bp 0x7ffc sp 0x7ffc
        READ of size 4 at 0x602000000010 thread T0
            #0 0x4c3b1c in main /src/a.c:9:10

        0x602000000010 is located 0 bytes inside of 4-byte region [0x602000000010,0x602000000014)
        freed by thread T0 here:
            #0 0x493d7d in free (/srv/a.out+0x493d7d)
        previously allocated by thread T0 here:
            #0 0x493ffd in malloc (/srv/a.out+0x493ffd)

        SUMMARY: AddressSanitizer: heap-use-after-free /src/a.c:9:10 in main
        Shadow bytes around the buggy address:
          0x0c047fff7fb0: 00 00 00 00
        =>0x0c047fff8000: fa fa[fd]fa
        ==4711==ABORTING
        """),
    "go data race": stack("""
        ==================
        WARNING: DATA RACE
        Write at 0x00c0000b4010 by goroutine 7:
          main.main.func1()
              /src/race.go:9 +0x38

        Previous read at 0x00c0000b4010 by main goroutine:
          main.main()
              /src/race.go:12 +0x88
        ==================
        """),
    "cpp terminate": stack("""
        terminate called after throwing an instance of 'std::out_of_range'
          what():  vector::_M_range_check: __n (which is 7) >= this->size() (which is 3)
        """),
    "kernel warning": stack("""
        ------------[ cut here ]------------
        refcount_t: underflow; use-after-free.
        WARNING: CPU: 1 PID: 812 at lib/refcount.c:28 refcount_warn_saturate+0xba/0x110
        Modules linked in: xt_conntrack overlay virtio_net
         snd_pcm snd_timer
        CPU: 1 PID: 812 Comm: shop Not tainted 6.1.0-18-amd64 #1  Debian 6.1.76-1
        Hardware name: QEMU Standard PC (Q35 + ICH9, 2009), BIOS 1.16.2 04/01/2014
        RIP: 0010:refcount_warn_saturate+0xba/0x110
        Code: 01 01 e8 2f 0d 59 00 0f 0b c3 cc cc cc cc
        RSP: 0018:ffffb2a1c0a3fe20 EFLAGS: 00010282
        RAX: 0000000000000000 RBX: ffff9a3bc1d2e000 RCX: 0000000000000027
        CR2: 00007f2f1c0d3e20 CR3: 0000000103a5a000 CR4: 0000000000350ee0
        Call Trace:
         <TASK>
         ? __warn+0x7d/0xc0
         sock_release+0x3a/0x90
         </TASK>
        ---[ end trace 0000000000000000 ]---
        RIP: 0010:refcount_warn_saturate+0xba/0x110
        note: shop[812] exited with irqs disabled
        """),
    "kernel oops": stack("""
        BUG: kernel NULL pointer dereference, address: 0000000000000018
        #PF: supervisor read access in kernel mode
        #PF: error_code(0x0000) - not-present page
        PGD 0 P4D 0
        Oops: 0000 [#1] PREEMPT SMP NOPTI
        CPU: 3 PID: 991 Comm: kworker/3:1 Tainted: G           OE      6.1.0-18-amd64 #1
        Workqueue: events shop_work [shop]
        RIP: 0010:shop_work+0x1e/0x70 [shop]
        Call Trace:
         <TASK>
         process_one_work+0x1c7/0x380
         </TASK>
        ---[ end trace 0000000000000000 ]---
        """),
    "kernel hung task": stack("""
        INFO: task kworker/u8:2:412 blocked for more than 120 seconds.
              Not tainted 6.1.0-18-amd64 #1 Debian 6.1.76-1
        "echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.
        task:kworker/u8:2    state:D stack:0     pid:412   ppid:2      flags:0x00004000
        Workqueue: writeback wb_workfn (flush-253:0)
        Call Trace:
         <TASK>
         __schedule+0x34d/0x9e0
         </TASK>
        """),
    "kernel stall on arm": stack("""
        rcu: INFO: rcu_preempt self-detected stall on CPU
        rcu: \t1-....: (5249 ticks this GP) idle=2b4c/1/0x4000000000000002 softirq=812/812 fqs=2624
        pstate: 60400005 (nZCv daif +PAN -UAO -TCO -DIT -SSBS BTYPE=--)
        pc : shop_spin+0x24/0x40 [shop]
        lr : shop_spin+0x1c/0x40 [shop]
        x29: ffff80000a8c3d80 x28: 0000000000000000 x27: ffff0000c1d2e000
        Call trace:
         shop_spin+0x24/0x40 [shop]
        """),
}
"""Name to lines. The names of the kernel's begin with `kernel`."""
ORDINARY = (
    "Started Session 42 of user root.",
    'level=info msg="request served" status=200 duration=12ms',
    '10.0.0.1 - - [01/Mar/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 612',
    "  indented by nobody",
    "panicky: no",
    "thread pool of 8 workers",
    "Errors so far: 0",
    "an Exception is not thrown here",
    "== summary ==",
    "/srv/shop is ready",
    "Traceback of what",
    "",
)
"""Lines that begin no stack and continue none of the above."""


def origin_of(name: str, kernel: bool = False) -> Origin:
    """Return the origin of a writer, as the journal tells of one."""
    record = {"SYSLOG_IDENTIFIER": name.encode(), "_PID": b"7", "_TRANSPORT": b"stdout"}
    if kernel:
        record = {"SYSLOG_IDENTIFIER": b"kernel", "_TRANSPORT": b"kernel", "_HOSTNAME": name.encode()}
    attributes = {key: value.decode() for key, value in record.items()}
    return Origin(EntityReference("node", "n1"), attributes, record=record)


def lines(texts: Iterable[str], origin: Origin, priority: bytes | None = b"6", start: int = 0) -> list[UnifiedEvent]:
    """Return one event a line, as the journald receiver makes it."""
    return [
        UnifiedEvent.of_origin(
            *(origin, event_id(origin.attributes["SYSLOG_IDENTIFIER"], number), 10 * number, 99, "journald", "log"),
            *(Severity.INFO, text[:200], text, {}, priority),
        )
        for number, text in enumerate(texts, start)
    ]


def made(**options) -> RecombineProcessor:
    """Return a processor with these options."""
    return RecombineProcessor(context(Kind.PROCESSOR, "recombine"), RecombineConfig.model_validate(options))


def recombined(texts: Iterable[str], kernel: bool = False, **options) -> list[str]:
    """Return the texts of the events that lines of one stream become."""
    processor = made(**options)
    passed = processor.process(lines(texts, origin_of("shop", kernel)))
    return [event.description for event in passed + processor.flush(final=True)]


@pytest.mark.parametrize("around", ["alone", "among other lines", "twice"])
@pytest.mark.parametrize("blank", [True, False], ids=["with empty lines", "as the journal has it"])
@pytest.mark.parametrize("name", STACKS)
def test_a_stack_becomes_one_event(name, blank, around):
    """Nothing of it is left out, and nothing of what is before or after it is taken in."""
    told = [line for line in STACKS[name] if line or blank]
    whole = "\n".join(told)
    kernel = name.startswith("kernel")
    if around == "alone":
        assert recombined(told, kernel) == [whole]
    elif around == "twice" and name not in {"java crash", "rails"}:
        assert recombined([*told, "ready", *told, "ready"], kernel) == [whole, "ready", whole, "ready"]
    else:
        before, after = "INFO:shop:about to start", "2026-03-01T10:00:01Z INFO [main] next request"
        assert recombined([before, *told, after, after], kernel) == [before, whole, after, after]


@pytest.mark.parametrize("line", ORDINARY)
def test_an_ordinary_line_begins_nothing(line):
    """The very list comes back, and nothing is held."""
    processor = made()
    batch = lines([line, line], origin_of("shop"))
    assert processor.process(batch) is batch
    assert processor.held_from is None


def test_two_tracebacks_in_a_row_are_two_events():
    """Only what says that it belongs to the one before is joined with it."""
    one, group = STACKS["python"], STACKS["python exception group"]
    assert recombined(one + one + group + group) == ["\n".join(part) for part in (one, one, group, group)]


def test_a_new_stack_of_another_form_ends_the_one_before():
    """A program that dies of several things tells each."""
    order = ("go", "rust", "java", "python", "dotnet", "php", "node", "cpp terminate")
    expected = ["\n".join(STACKS[name]) for name in order]
    assert recombined([line for name in order for line in STACKS[name]]) == expected


def test_what_was_only_supposed_to_belong_goes_on_alone():
    """A source line without its caret, messages without frames, and empty lines are lines like any other."""
    told = ["/srv/a.js:41", "hello", "Error: boom", "one", "two", "x.y.ZException: no", "", "panic: help", "", "bye"]
    assert recombined(told) == told


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("panic: help", "goroutine 7 [running]:"),
        ("thread 'main' panicked at src/main.rs:4:5:", "stack backtrace:"),
    ],
)
def test_a_message_goes_over_so_many_lines_at_most(first, last):
    """Lines of a service that goes on after a panic are its own."""
    for said in (["ready"] * 9, ["ready"] * 9 + [last], ["ready", first]):
        told = [first, "no stock", *said]
        parts = recombined(told)
        assert "\n".join(parts) == "\n".join(told)
        assert not any("ready" in part for part in parts if part != "ready")


def test_a_stack_begins_within_lines_given_up():
    """What is looked at again after all is looked at as any line is."""
    told = STACKS["python"]
    assert recombined(["Error: boom", "on it", *told, "bye"]) == ["Error: boom", "on it", "\n".join(told), "bye"]


def test_only_the_kernel_oopses():
    """Other programs' lines are no kernel's, whatever they say."""
    told = STACKS["kernel oops"]
    assert recombined(told) == told


def test_a_foreign_line_in_a_kernel_trace_parts_it():
    """Before and after it are two events, the line itself stays alone."""
    told = STACKS["kernel warning"]
    call = told.index("Call Trace:")
    foreign = "usb 1-1: new high-speed USB device number 4 using xhci_hcd"
    parted = ["\n".join(told[:call]), foreign, "\n".join(told[call:])]
    assert recombined([*told[:call], foreign, *told[call:]], kernel=True) == parted


def test_languages_left_out_are_left_alone():
    """Only chosen ones are joined; stacks that several languages know need one of them."""
    told = [*STACKS["python"], *STACKS["go data race"], *STACKS["java"]]
    assert recombined(told, languages=["java"]) == [*told[: -len(STACKS["java"])], "\n".join(STACKS["java"])]
    assert recombined(told, languages=[]) == told


RULE = {"name": "erlang", "first": r"^=CRASH REPORT====", "next": r"^ |^$"}
UNTIL = {"name": "dump", "first": r"begin (?i)dump", "until": r"^end dump"}


def test_rules_join_forms_of_ones_own():
    """`next` tells what goes on, `until` what ends; one may be left out."""
    crash = ["=CRASH REPORT==== 1-Mar-2026", "  crasher:", "", "    pid: <0.81.0>"]
    dump = ["1: begin DUMP", "anything", "panic: even this", "end dump"]
    told = ["before", *crash, "after", *dump, "end dump"]
    expected = ["before", "\n".join(crash), "after", "\n".join(dump), "end dump"]
    assert recombined(told, rules=[RULE, UNTIL]) == expected
    assert recombined(told, rules=[{**RULE, "until": "pid"}, UNTIL]) == expected


def test_cpythons_own_output_is_joined():
    """What the interpreter at hand really prints, chained and grouped, is one event."""
    program = """
        def f(n):
            return f(n - 1) if n else {}['x']
        try:
            f(20)
        except KeyError as error:
            raise ExceptionGroup("two", [ValueError(1), TypeError("x")]) from error
        """
    printed = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    told = printed.stderr.splitlines()
    assert len(told) > 15
    assert recombined([*told, "bye"]) == ["\n".join(told), "bye"]
    assert recombined([line for line in told if line]) == ["\n".join(filter(None, told))]
