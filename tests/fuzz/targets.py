"""What is fuzzed: every parser of text that the agent did not write itself.

    python -m tests.fuzz.targets NAME [libFuzzer options]

runs one of them under atheris, which looks for inputs that reach new code. A target fails by raising what its parser does not
promise to raise, or by returning what is invalid.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

HEX: Final = frozenset("0123456789abcdef")


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape") if content[:1] == b"\xff" else content.decode("utf-8", "replace")


def classifiers() -> Callable[[bytes], None]:
    """Return the target that gives texts to every classifier, triggered or not."""
    from tapio_otel.classification import Classification
    from tapio_otel.classifiers import CLASSIFIERS
    from tapio_otel.event import Severity, UnifiedEvent

    event = UnifiedEvent("1", 1, "text")

    def target(content: bytes) -> None:
        text = _text(content)
        for classifier in CLASSIFIERS.values():
            said = classifier(text, event)
            assert said is None or isinstance(said, Classification)
            assert said is None or said.severity is None or isinstance(said.severity, Severity)
            assert said is None or ("\n" not in said.title and len(said.title) <= 200)

    return target


def trace_text() -> Callable[[bytes], None]:
    """Return the target that looks for trace context: what is found is valid."""
    from tapio_otel.trace_text import find_in_text

    def target(content: bytes) -> None:
        found = find_in_text(_text(content), lambda _form, _reason: None)
        if found is not None:
            trace, span, flags = found.context
            assert len(trace) == 32 and HEX.issuperset(trace) and trace.strip("0")
            assert not span or (len(span) == 16 and HEX.issuperset(span) and span.strip("0"))
            assert flags is None or 0 <= flags <= 255

    return target


def understanding() -> Callable[[bytes], None]:
    """Return the target that reads lines of every format and runs the whole library on them."""
    from tapio_otel.cli.log_lines import LineError, read_lines
    from tapio_otel.cli.understanding import Understanding

    whole = Understanding(["builtin"])

    def target(content: bytes) -> None:
        try:
            for line in read_lines(io.BytesIO(content)):
                whole.of(line).row()
        except LineError:
            pass

    return target


def redaction() -> Callable[[bytes], None]:
    """Return the target that redacts messages and attributes: doing so twice changes nothing more."""
    import logging

    from tapio_otel.component import ComponentContext, ComponentId, Kind
    from tapio_otel.event import UnifiedEvent
    from tapio_otel.processors.redaction import RedactionProcessor
    from tests.fuzz.silence import NotCounted

    log = logging.getLogger("fuzz")
    context = ComponentContext(ComponentId("redaction"), Kind.PROCESSOR, NotCounted(), Path(), log)
    processor = RedactionProcessor(context, RedactionProcessor.Config())

    def target(content: bytes) -> None:
        text = _text(content)
        event = UnifiedEvent("1", 1, "text", description=text, attributes={"a": text, "b": content, "c": [text]})
        [once] = processor.process([event])
        again = once.copy()
        processor.process([again])
        assert again == once

    return target


def conditions() -> Callable[[bytes], None]:
    """Return the target that compiles expressions and asks the valid ones about an event."""
    from tapio_otel.conditions import Condition
    from tapio_otel.event import UnifiedEvent

    event = UnifiedEvent("1", 1, "text", description="x", attributes={"a": 1, "b": b"\xff", "c": ["x"]})

    def target(content: bytes) -> None:
        try:
            condition = Condition.compile(_text(content))
        except ValueError:
            return
        assert condition.matches(event) in {True, False}

    return target


def pattern_files() -> Callable[[bytes], None]:
    """Return the target that loads pattern files: they are taken, or refused with a place."""
    import tempfile

    from tapio_otel.config.problem import ConfigError
    from tapio_otel.patterns import load_library

    file = Path(tempfile.mkdtemp(prefix="tapio-fuzz-")) / "own.yaml"

    def target(content: bytes) -> None:
        file.write_bytes(b"patterns:\n" + content)
        try:
            load_library([str(file)])
        except ConfigError as error:
            assert error.problems

    return target


TARGETS: Final = {one.__name__: one for one in (classifiers, trace_text, understanding, redaction, conditions, pattern_files)}


def main() -> None:
    """Run one target until the options' end, or for ever."""
    import atheris

    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=["tapio_otel"], enable_loader_override=False):
        target = TARGETS[name]()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
