"""The forms of stack traces by language, as the languages' own runtimes print them.

The journal drops empty lines of a service's output, other sources keep them: where a runtime prints an empty line it is a
step that may be left out. Sources: CPython's traceback.py and faulthandler, Go's runtime/panic.go and traceback.go, Rust's
std/src/panicking.rs and backtrace.rs, java.lang.Throwable, System.Exception.ToString, Node's lib/internal/errors and
util.inspect, Ruby's eval_error.c, PHP's main.c and zend_exceptions.c, compiler-rt's sanitizers.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Final

from tapio_otel.processors.recombine.config import Language
from tapio_otel.processors.recombine.forms import END, REJECT, Form, Start, Step
from tapio_otel.processors.recombine.kernel import KERNEL

_EXCEPTION: Final = "Exception"
_ERROR: Final = "Err"
_ANY: Final = "^"
_BLANK: Final = "^$"


def _message(name: str, steps: tuple[Step, ...], lines: int, first: tuple[Step, ...] = ()) -> dict[str, tuple[Step, ...]]:
    """Return the states of a message that may go over further lines, any at all, before one of `steps` tells that it did.

    `first` are steps that come before the others as long as no such line was seen.
    """
    states = [name, *(f"{name}{number}" for number in range(1, lines + 1))]
    following = {state: (*steps, (_ANY, f"?{after}")) for state, after in pairwise(states)}
    return {**following, states[-1]: steps, name: (*first, *following[name])}


_CHAINED: Final = (
    r"^(?:During handling of the above exception, another exception occurred"
    r"|The above exception was the direct cause of the following exception):$"
)
_TRACEBACK: Final = r"^Traceback \(most recent call last\):$"
_GROUP_TRACEBACK: Final = r"^  \+ Exception Group Traceback \(most recent call last\):$"
PYTHON: Final = Form(
    "python",
    starts=(
        Start(_TRACEBACK, "frames", begins=("Traceback (most recent",)),
        Start(_GROUP_TRACEBACK, "group", begins=("  + Exception Group",)),
        Start(r"^Exception in thread [^\"].*:$", "lead", begins=("Exception in thread ",)),
        Start(r"^Exception ignored ", "lead", begins=("Exception ignored ",)),
        Start(r"^Fatal Python error: ", "fatal", begins=("Fatal Python error: ",)),
    ),
    steps={
        "lead": ((_TRACEBACK, "frames"), (_GROUP_TRACEBACK, "group")),
        "frames": ((r"^[ \t]", "frames"), (r"^[A-Za-z_][\w.<>]*(?::|$)", "raised")),
        "raised": ((_GROUP_TRACEBACK, REJECT), (r"^[ \t]", "raised"), (_CHAINED, "chained"), (_BLANK, "?raised_blank")),
        "raised_blank": ((_CHAINED, "chained"),),
        "chained": ((_BLANK, "?chained"), (_TRACEBACK, "frames"), (_GROUP_TRACEBACK, "group")),
        "group": (
            (_GROUP_TRACEBACK, REJECT),
            (r"^\s+[|+]", "group"),
            (_CHAINED, "chained"),
            (_BLANK, "?raised_blank"),
        ),
        "fatal": (
            (r"^(?:Current thread|Thread 0x|Python runtime state:|Extension modules:|  )", "fatal"),
            (_BLANK, "?fatal"),
        ),
    },
)

_GO_PANIC: Final = r"^\t|^\[(?:signal|originating|recovered)|^(?:fatal error|panic|runtime): |^PC=|^SIG[A-Z]+: "
_GOROUTINE: Final = r"^goroutine \d+ (?:gp=\S+ m=\S+ (?:mp=\S+ )?)?\["
GO: Final = Form(
    "go",
    starts=(
        Start(r"^panic: ", "said", begins=("panic: ",)),
        Start(r"^fatal error: ", "panic", begins=("fatal error: ",)),
        Start(
            r"^(?:runtime: goroutine stack exceeds|unexpected fault address 0x)", "panic", begins=("runtime: ", "unexpected ")
        ),
        Start(r"^SIG[A-Z]+: ", "panic", begins=("SIG",)),
        Start(_GOROUTINE, "goroutine", begins=("goroutine ",)),
    ),
    steps={
        **_message(
            "said",
            (
                (r"^(?:fatal error|panic): ", REJECT),
                (_GOROUTINE, "goroutine"),
                (r"^runtime stack:$", "goroutine"),
                (r"^\[(?:signal|originating) ", "panic"),
            ),
            5,
            first=((_GO_PANIC, "said"), (r"^exit status \d+$", END), (_BLANK, "?panic")),
        ),
        "panic": (
            (_GO_PANIC, "panic"),
            (_GOROUTINE, "goroutine"),
            (r"^runtime stack:$", "goroutine"),
            (r"^exit status \d+$", END),
            (_BLANK, "?panic"),
        ),
        "goroutine": (
            (r"^\t|^\S+\(.*\)$|^created by |^\.\.\.|^[a-z]{1,7}\d{0,2}\s+0x[0-9a-f]+$", "goroutine"),
            (_GOROUTINE, "goroutine"),
            (r"^(?:runtime stack:|\[signal |signal arrived during |-----$)", "goroutine"),
            (r"^exit status \d+$", END),
            (_BLANK, "?goroutine"),
        ),
    },
)

_RUST_PANIC: Final = r"^thread .* panicked at "
_RUST_END: Final = r"^(?:fatal runtime error: |thread caused non-unwinding panic)"
RUST: Final = Form(
    "rust",
    starts=(
        Start(r"^thread .* panicked at [^'].*:\d+:\d+:$", "message", begins=("thread '",)),
        Start(_RUST_PANIC, "said", begins=("thread '",)),
        Start(r"^thread .* has overflowed its stack", "after", begins=("thread '",)),
        Start(r"^Error: ", "error", begins=("Error: ",)),
    ),
    steps={
        "message": ((r"^thread ", REJECT), (r"^stack backtrace:$", "frames"), (_ANY, "said")),
        **_message(
            "said",
            (
                (_RUST_PANIC, REJECT),
                (r"^stack backtrace:$", "frames"),
                (rf"^note: (?:run with|[Ss]ome details)|{_RUST_END}", "after"),
            ),
            5,
            first=((r"^\s", "said"), (r"^note: ", "after")),
        ),
        "after": (
            (rf"^(?:note: |\s)|{_RUST_END}", "after"),
            (r"^stack backtrace:$", "frames"),
            (_BLANK, "?after"),
        ),
        "frames": ((r"^\s", "frames"), (r"^note: ", "after"), (r"^thread caused non-unwinding panic", "after")),
        "error": (
            (r"^Caused by:$", "causes"),
            (r"^(?i:stack backtrace):$", "frames"),
            (r"^Location:$", "causes"),
            (_BLANK, "?error"),
        ),
        "causes": ((r"^\s", "causes"), (r"^(?i:stack backtrace):$", "frames"), (r"^Location:$", "causes"), (_BLANK, "?causes")),
    },
)

_JAVA_THROWN: Final = r"(?:[a-z_$][\w$]*\.)+(?:[A-Z][\w$]*)?(?:Exception|Error)\b"
_JAVA_FRAMES: Final[tuple[Step, ...]] = (
    (r"^\s+at ", "frames"),
    (r"^\s*(?:Caused by|Suppressed|Wrapped by): ", "thrown"),
    (r"^\s*\.\.\. \d+ (?:more|common frames omitted)", "frames"),
    (r"^\s+\[CIRCULAR REFERENCE", "frames"),
)
JAVA: Final = Form(
    "java",
    starts=(
        Start(r'^Exception in thread "', "thrown", begins=("Exception in thread ",)),
        Start(rf"^{_JAVA_THROWN}", "thrown", contains=_EXCEPTION),
        Start(rf"^{_JAVA_THROWN}", "thrown", contains=_ERROR),
        Start(r"^java\.lang\.(?:Throwable|ThreadDeath)\b", "thrown", begins=("java.lang.Th",)),
        Start(rf"[\s:(\[]{_JAVA_THROWN}", "told", contains=_EXCEPTION),
        Start(rf"[\s:(\[]{_JAVA_THROWN}", "told", contains=_ERROR),
        Start(r"^# A fatal error has been detected by the Java Runtime", "crash", begins=("# A fatal error",)),
    ),
    steps={
        **_message("thrown", _JAVA_FRAMES, 3),
        "told": (*_JAVA_FRAMES, (r"^\s", "?told")),
        "frames": (*_JAVA_FRAMES, (r"^\s+- (?:locked|waiting) ", "frames")),
        "crash": ((r"^#", "crash"), (_BLANK, "?crash")),
    },
)

_DOTNET_THROWN: Final = r"(?:[A-Z]\w*\.)+\w*Exception\b"
_DOTNET_FRAMES: Final[tuple[Step, ...]] = (
    (r"^\s+at ", "frames"),
    (r"^\s*---> ", "thrown"),
    (r"^\s*--- End of ", "frames"),
)
DOTNET: Final = Form(
    "dotnet",
    starts=(
        Start(r"^Unhandled [Ee]xception[.:]", "thrown", begins=("Unhandled ",)),
        Start(r"^Process terminated\.", "thrown", begins=("Process terminated.",)),
        Start(r"^Stack overflow\.", "overflow", begins=("Stack overflow.",)),
        Start(rf"^\s*{_DOTNET_THROWN}", "thrown", contains=_EXCEPTION),
        Start(rf"[\s:(\[]{_DOTNET_THROWN}", "told", contains=_EXCEPTION),
    ),
    steps={
        **_message("thrown", _DOTNET_FRAMES, 3),
        "told": (*_DOTNET_FRAMES, (r"^\s", "?told")),
        "frames": (*_DOTNET_FRAMES, (_BLANK, "?frames")),
        "overflow": ((r"^\s+at ", "overflow"), (r"^Repeat \d+ times:$|^-{8,}$", "overflow")),
    },
)

_NODE_THROWN: Final = r"(?:[A-Z][\w$]*Error|Error|AggregateError|DOMException)(?: \[\w+\])?"
_NODE_END: Final[Step] = (r"^Node\.js v\d", END)
_NODE_FRAMES: Final[tuple[Step, ...]] = (
    (r"^\s+at .* \{$", "properties"),
    (r"^\s+at ", "frames"),
    (r"^\s+\.\.\. \d+ lines matching cause stack trace", "frames"),
)
NODE: Final = Form(
    "node",
    starts=(
        Start(rf"^(?:Uncaught:? )?\[?{_NODE_THROWN}(?::|$)", "thrown", contains=_ERROR),
        Start(rf"[\s:(\[]{_NODE_THROWN}: ", "told", contains=_ERROR),
        Start(r"^(?:file://)?/[^\s:]*\.[cm]?[jt]sx?:\d+$", "source", begins=("/", "file:///")),
        Start(
            r"^(?:node:[\w/]+|internal/[\w/]+\.js|\[eval\]|\[stdin\]):\d+$",
            "source",
            begins=("node:", "internal/", "[eval]", "[stdin]"),
        ),
        Start(r"^\(node:\d+\) ", "warning", begins=("(node:",)),
        Start(r"^<--- Last few GCs --->$", "collections", begins=("<--- Last few",)),
        Start(r"^FATAL ERROR: ", "native", begins=("FATAL ERROR: ",)),
    ),
    steps={
        **_message("thrown", (*_NODE_FRAMES, _NODE_END), 5),
        "told": _NODE_FRAMES,
        "source": ((r"^\s*\^+$", "caret"), (_ANY, "?source_line")),
        "source_line": ((r"^\s*\^+$", "caret"),),
        "caret": ((_BLANK, "?caret"), (r"^\S", "thrown")),
        "frames": (
            *_NODE_FRAMES,
            _NODE_END,
            (r"^(?:Caused by|From previous event|Emitted '\w+' event|Thrown at)\b.*", "frames"),
            (r"^\(Use `node ", "frames"),
            (_BLANK, "?frames"),
        ),
        "properties": ((r"^\s", "properties"), (r"^\}", "frames")),
        "warning": ((r"^\s+at ", "frames"), (r"^\(Use `\w+ ", END)),
        "collections": (
            (r"^\[\d+:0x", "collections"),
            (r"^<--- JS stacktrace --->$", "collections"),
            (r"^FATAL ERROR: ", "native"),
            (_BLANK, "?collections"),
        ),
        "native": (
            (r"^\s*\d+: 0x", "native"),
            (r"^----- (?:Native|JavaScript) stack trace -----$", "native"),
            (_BLANK, "?native"),
        ),
    },
)

_RUBY_PLACE: Final = r"^[^\s:][^:]*:\d+:in [`']"
_RUBY_RAISED: Final = rf"{_RUBY_PLACE}.*: .*\([A-Z][\w:]*\)$"
RUBY: Final = Form(
    "ruby",
    starts=(
        Start(_RUBY_RAISED, "raised", begins=("/", "./"), contains=".rb:"),
        Start(_RUBY_RAISED, "raised", contains=_ERROR),
        Start(r"^#<Thread:0x[0-9a-f]+.* terminated with exception", "lead", begins=("#<Thread:0x",)),
        Start(_TRACEBACK, "reversed", begins=("Traceback (most recent",)),
        Start(r"^(?:[A-Z]\w*::)*\w*(?:Error|Exception) \(.*\):?$", "rails", contains=_ERROR),
    ),
    steps={
        "lead": ((_RUBY_RAISED, "raised"), (_TRACEBACK, "reversed")),
        "raised": (
            (r"^\s+(?:\d+: )?from |^\s+\.\.\. \d+ levels\.\.\.", "raised"),
            (_RUBY_RAISED, "raised"),
            (r"^\s*\^+$|^Did you mean\?", "raised"),
            (r"^\s|^$", "?raised"),
        ),
        "reversed": ((r"^\s+\d+: from |^\s+\.\.\. \d+ levels\.\.\.", "reversed"), (_RUBY_RAISED, "raised")),
        "rails": (
            (r"^\s*[^\s:]+:\d+:in [`']", "rails"),
            (r"^Causes:$|^[A-Z]\w*(?:::\w+)*Error \(.*\)$", "rails"),
            (_BLANK, "?rails"),
        ),
    },
)

_PHP_KIND: Final = r"(?:Recoverable fatal error|Fatal error|Parse error|Warning|Notice|Deprecated): "
PHP: Final = Form(
    "php",
    starts=(
        Start(rf"^PHP {_PHP_KIND}", "told", begins=("PHP ",)),
        Start(rf"\bPHP {_PHP_KIND} *Uncaught ", "told", contains=_EXCEPTION),
        Start(rf"\bPHP {_PHP_KIND} *Uncaught ", "told", contains=_ERROR),
        Start(r"^Fatal error: +Uncaught ", "told", begins=("Fatal error: ",)),
    ),
    steps={
        "told": (
            (r"^#\d+ ", "told"),
            (r"\bPHP Stack trace:$|^Stack trace:$", "told"),
            (r"\bPHP +\d+\. ", "told"),
            (r"^Next [\w\\]+: ", "told"),
            (r"^  thrown in ", "told"),
            (_BLANK, "?told"),
        ),
    },
)

_BANNER: Final = r"^={18,}$"
CPP: Final = Form(
    "cpp",
    starts=(
        Start(_BANNER, "banner", begins=("==================",)),
        Start(r"^==\d+==ERROR: \w+Sanitizer", "report", begins=("==",)),
        Start(r"^WARNING: (?:ThreadSanitizer: |DATA RACE$)", "race", begins=("WARNING: ",)),
        Start(r"^terminate called after throwing an instance of ", "terminate", begins=("terminate called",)),
    ),
    steps={
        "banner": ((r"^==\d+==ERROR: \w+Sanitizer", "report"), (r"^WARNING: (?:ThreadSanitizer: |DATA RACE$)", "race")),
        "report": (
            (r"^==\d+==ABORTING$", END),
            (r"^(?:\s|#|=>|==\d+==|0x|Address|READ |WRITE |SUMMARY: |Shadow |HINT: |Hint: |-{5,}$|={5,}$)", "report"),
            (
                r"^(?:freed |previously |allocated |Direct leak |Indirect leak |Thread |The |This frame|Objects |0x\w+ is )",
                "report",
            ),
            (_BLANK, "?report"),
        ),
        "race": (
            (_BANNER, END),
            (r"^(?:\s|SUMMARY: |Read |Write |Previous |Goroutine |Location |Mutex |Thread |\[failed)", "race"),
            (_BLANK, "?race"),
        ),
        "terminate": ((r"^\s+what\(\): ", "terminate"),),
    },
)

LANGUAGES: Final[Mapping[Language, Form]] = {
    "python": PYTHON,
    "go": GO,
    "rust": RUST,
    "java": JAVA,
    "dotnet": DOTNET,
    "node": NODE,
    "ruby": RUBY,
    "php": PHP,
    "cpp": CPP,
    "kernel": KERNEL,
}
