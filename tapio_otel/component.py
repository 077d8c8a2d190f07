"""The component frame: what receivers, processors, exporters and extensions are, and what they are given.

A component is created from its validated configuration without touching the outside world, started, and shut down exactly
once; `shutdown` must also be safe on a component that was never started.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, create_model

from tapio_otel.entities import EntityMapper
from tapio_otel.event import UnifiedEvent
from tapio_otel.notices import Notices
from tapio_otel.service_view import ServiceView

ID_PATTERN = re.compile(r"^([a-z][a-z0-9_]*)(?:/([^\s/]+))?\Z")


class ComponentError(Exception):
    """Report what a component cannot do: where, what was found, what to do. Retryable unless it is one of the below."""


class SourceUnavailable(ComponentError):
    """Report that this machine lacks what a receiver reads; the message says what is missing, `remedy` what enables it."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message}. {remedy}" if remedy else message)
        self.message, self.remedy = message, remedy


class PermanentError(ComponentError):
    """Report a failure that the same input meets every time: it is counted and never retried."""


class Stability(StrEnum):
    """Say how far a component's options and output may still change."""

    ALPHA = "alpha"
    BETA = "beta"
    STABLE = "stable"


class Kind(StrEnum):
    """Name the four kinds of component, as the configuration's sections do."""

    RECEIVER = "receivers"
    PROCESSOR = "processors"
    EXPORTER = "exporters"
    EXTENSION = "extensions"

    @property
    def singular(self) -> str:
        """Return the kind's name for one component, for messages."""
        return self.value[:-1]


@dataclass(frozen=True, slots=True)
class ComponentId:
    """Identify a configured component: `journald` or, where there are several, `journald/boot`."""

    type: str
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> ComponentId:
        """Split `type/name`; raises ValueError saying what is wrong."""
        match = ID_PATTERN.match(text)
        if match is None:
            raise ValueError(f"{text!r} is no component id: write type or type/name, the type in lower_snake_case")
        return cls(match[1], match[2] or "")

    def __str__(self) -> str:
        return f"{self.type}/{self.name}" if self.name else self.type


class ComponentConfig(BaseModel):
    """Be the base of every component's options: strict keys, immutable. Every field has a description, a default and a unit."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


@dataclass(frozen=True, slots=True)
class Scope:
    """Name the instrumentation scope of a batch: one for each receiver, or for a processor that makes events."""

    name: str
    version: str


class Delivery:
    """Follow one batch until every exporter has delivered it, dropped it on purpose, or keeps it in a durable queue.

    Starts with one holder, the emitter. Whoever passes the batch on to n consumers first calls `hold(n)`; every consumer
    calls `done()` once. `settled` runs when nobody holds it any more.
    """

    __slots__ = ("_holders", "_settled")

    def __init__(self, settled: Callable[[], None] | None = None) -> None:
        self._holders = 1
        self._settled = settled

    def hold(self, count: int = 1) -> None:
        """Add holders."""
        self._holders += count

    def done(self) -> None:
        """Release one holder."""
        self._holders -= 1
        if self._holders == 0 and self._settled is not None:
            self._settled()

    @property
    def is_settled(self) -> bool:
        """Tell whether every holder has released the batch."""
        return self._holders <= 0


class Batch:
    """Carry events of one scope together with the delivery that follows them. A batch handed over is no longer yours.

    `can_wait` is that of the receiver it comes from. An exporter whose `consume` waits on though it will tell what becomes of
    the batch, interrupted or not, sets `is_taken`.
    """

    __slots__ = ("can_wait", "delivery", "events", "is_taken", "scope")

    def __init__(
        self, events: list[UnifiedEvent], scope: Scope, delivery: Delivery | None = None, can_wait: bool = True
    ) -> None:
        self.can_wait = can_wait
        self.is_taken = False
        self.events = events
        self.scope = scope
        self.delivery = delivery or Delivery()


class Output(Protocol):
    """Take what a receiver produces. Waiting in `emit` is the backpressure: a full queue makes the receiver wait."""

    @property
    def checkpoint(self) -> Any | None:
        """Return where this receiver resumes when it is run again in this process: what it last gave to `emit`. None at first.

        At the start of the agent that is what was delivered.
        """

    @property
    def delivered(self) -> Any | None:
        """Return the last checkpoint up to which everything was delivered: what may be handed to others. None at first."""

    async def emit(self, events: list[UnifiedEvent], checkpoint: Any | None = None) -> None:
        """Hand over events; `checkpoint` (JSON-able) is saved once these and all earlier events were delivered.

        Not to be called again before it has returned, where checkpoints are given: the order would be anyone's guess.
        """

    def progress(self, done: int, total: int | None) -> None:
        """Tell how far a finite run has come, in entries, for the progress display."""

    def alive(self) -> None:
        """Tell that the source answers though it has nothing new; see `Receiver.heartbeat`. Costs nothing."""


class CounterSink(Protocol):
    """Count what a component does, by the collector's words: accepted, refused, dropped, sent, failed."""

    def add(self, name: str, amount: int = 1, **attributes: str) -> None:
        """Add to a counter."""

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Register a gauge that is read when metrics are collected."""


@dataclass(slots=True)
class ComponentContext:
    """Give a component what belongs to its surroundings."""

    id: ComponentId
    kind: Kind
    counters: CounterSink
    state_dir: Path
    log: logging.Logger
    provided: Callable[[str], Mapping[str, Any]] = field(default=lambda _point: {})
    """Return what plugins registered at an extension point: `normalizers`, `hash_functions`."""
    report: Callable[[str | None], None] = field(default=lambda _problem: None)
    """Report the component's health: a problem in one line, or None when it is well again."""
    entities: EntityMapper = field(default_factory=EntityMapper)
    """Tell what a cgroup, pid or unit belongs to: one for the whole agent, warmed by whoever learns something."""
    extension: Callable[[str], Any | None] = field(default=lambda _id: None)
    """Return the running extension of an id, such as `file_storage`; None where `service.extensions` does not name it."""
    service: ServiceView | None = None
    """Look at the service that the component is part of; None where there is none, as in a test."""
    notices: Notices = field(init=False)

    def __post_init__(self) -> None:
        self.notices = Notices(self.log)

    def warn(self, problem: str) -> None:
        """Report a problem to health, and log it, but not more than once a minute."""
        self.report(problem)
        self.notices.warn("problem", problem)


C = TypeVar("C", bound=ComponentConfig)
ConfigClass = type[ComponentConfig]


class Component(Generic[C]):
    """Be one configured part of the agent."""

    type: ClassVar[str]
    kind: ClassVar[Kind]
    Config: ClassVar[ConfigClass] = ComponentConfig
    stability: ClassVar[Stability] = Stability.ALPHA

    def __init__(self, context: ComponentContext, config: C) -> None:
        self.context = context
        self.config = config

    @classmethod
    def files_read(cls, config: C) -> Sequence[Path]:  # noqa: ARG003 - most read none
        """Return the files that are read at creation: when one changes, a reload creates the component anew."""
        return ()

    async def start(self) -> None:
        """Open what is needed; raises `ComponentError`. Must return soon: long work belongs in tasks of your own."""

    async def shutdown(self) -> None:
        """Release everything; safe to call without `start` and after a failed one."""


class Receiver(Component[C]):
    """Produce events. `run` is supervised: when it raises, the error is reported and it is run again after a pause."""

    kind = Kind.RECEIVER
    can_wait: ClassVar[bool] = True
    """Whether the source keeps what is not read yet, so that nothing is lost while `emit` waits.

    Where it does not (a kernel's ring buffer, signals of a bus), `memory_limiter` takes a part of the events instead of letting
    the receiver wait. A full sending queue makes every receiver wait.
    """
    heartbeat: float | None = None
    """Seconds within which `run` shows that it is alive, by any call of its output; None promises nothing.

    A run that shows nothing for five times that, 30 s at least, is cancelled and run again; waiting in `emit` does not count.
    """

    @property
    def finite(self) -> bool:
        """Tell whether `run` comes to an end by itself (`follow: false`)."""
        return False

    async def run(self, output: Output) -> None:
        """Emit events until cancelled, or return when the source has come to its end."""
        raise NotImplementedError


class Processor(Component[C]):
    """Change, drop, add or hold back events, a batch at a time and without waiting.

    One that holds events back to pass them on later, out of `process` or `flush`, must tell so by `held_from`: else a crash
    loses them, as the checkpoint of the receiver has moved past them.
    """

    kind = Kind.PROCESSOR
    flush_interval: float | None = None
    """Seconds between calls of `flush`; None for never (but at the end)."""
    is_behind: bool = False
    """Whether `flush` has more to return at once: it is called again as soon as others have had their turn."""
    serial: int = 0
    """The number of the batch at hand: set before each call of `process`, higher than that of the batch before."""

    @property
    def held_from(self) -> int | None:
        """Return the serial of the earliest batch of which an event is held back; None where none is. Must not raise.

        Asked after each `process` and `flush`. Events passed on may come from any batch since the one it last told of.
        """
        return None

    def process(self, events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        """Return the events to pass on; may change the list and the events in place."""
        raise NotImplementedError

    def flush(self, final: bool) -> list[UnifiedEvent]:  # noqa: ARG002 - the base needs neither case
        """Return events of the processor's own that are due; all that it holds when `final`.

        Where that would take long: a part of it, and `is_behind` is true until all was returned.
        """
        return []


class GateProcessor(Processor[C]):
    """Decide what may come into a pipeline, before any of its processors sees it, wherever in the pipeline it stands.

    Flushes of other processors do not pass it: what was let in once is not asked again.
    """

    async def admit(
        self,
        events: list[UnifiedEvent],
        can_wait: bool,  # noqa: ARG002 - the base lets everything in
        is_idle: Callable[[], bool],  # noqa: ARG002
    ) -> list[UnifiedEvent]:
        """Return what comes in, once it may.

        Where the receiver can wait, all of it, after any time: when cancelled meanwhile, the receiver reads it again. Else at
        once, the rest counted as dropped with its reason. `is_idle` tells whether the pipeline's exporters have answered for
        everything that was let in.
        """
        return events

    def process(self, events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        """Pass everything on: it was decided about when it came in."""
        return events


class ExporterConfig(ComponentConfig):
    """Hold the options that every exporter has."""

    required: bool = Field(
        True,
        description="Let checkpoints and other exporters wait for this one. If false its events are dropped and counted once "
        "it falls behind, and what it had not sent at a crash is not read again.",
    )


class Exporter(Component[C]):
    """Send events out. Must not change them: other pipelines may hold the same ones."""

    kind = Kind.EXPORTER
    Config: ClassVar[ConfigClass] = ExporterConfig

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Give the options of every exporter to one whose own do not derive from `ExporterConfig`."""
        super().__init_subclass__(**arguments)
        own = cls.Config
        if own is ComponentConfig:
            cls.Config = ExporterConfig
        elif not issubclass(own, ExporterConfig):
            cls.Config = create_model(
                own.__name__, __base__=(own, ExporterConfig), __doc__=own.__doc__, __module__=own.__module__
            )

    @property
    def is_required(self) -> bool:
        """Tell whether checkpoints wait for this exporter."""
        return bool(getattr(self.config, "required", True))

    async def export(self, events: Sequence[UnifiedEvent], scope: Scope) -> None:
        """Deliver the events; raises `PermanentError` when they can never be delivered."""
        raise NotImplementedError

    async def consume(self, batch: Batch) -> None:
        """Take a batch from a pipeline and see it delivered; override to put a queue of your own in between.

        Tries again, with pauses from 1 s to 30 s, until `export` returns or raises `PermanentError`.
        """
        pause = 1.0
        while True:
            try:
                await self.export(batch.events, batch.scope)
            except PermanentError as error:
                self.context.counters.add("failed", len(batch.events), reason="permanent")
                self.context.warn(f"{len(batch.events)} events failed for good: {error}")
                break
            except Exception as error:
                self.context.warn(f"{type(error).__name__}: {error}; trying again")
                await asyncio.sleep(pause)
                pause = min(2 * pause, 30.0)
            else:
                self.context.counters.add("sent", len(batch.events))
                self.context.report(None)
                break
        batch.delivery.done()


class Extension(Component[C]):
    """Serve the agent itself (health, storage, pages): started before and shut down after everything else."""

    kind = Kind.EXTENSION


Normalizer = Callable[[list[UnifiedEvent]], None]
HashFunction = Callable[[UnifiedEvent], Any]
"""Return the hashable identity of an event; None when it is nobody's repeat."""
