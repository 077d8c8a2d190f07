"""The receiver: opens each probe by the best way this machine allows, reads them without a thread, and tells what was lost."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from typing import Any, ClassVar

from tapio_otel.component import ComponentContext, ComponentError, Output, Receiver, SourceUnavailable, Stability
from tapio_otel.event import UnifiedEvent
from tapio_otel.receivers.ebpf.config import EbpfConfig
from tapio_otel.receivers.ebpf.events import EventMaker
from tapio_otel.receivers.ebpf.feed import Feed, ProbeName, Resuming, Stirring, last_of
from tapio_otel.receivers.ebpf.flows import FlowWindows
from tapio_otel.receivers.ebpf.observations import Observation
from tapio_otel.receivers.ebpf.ways import OpenedProbes, described, ways

REFRESH_INTERVAL = 30.0
"""Seconds between two looks at the cgroup tree, so that the path of a cgroup that goes is known already.

As often, what no way could see is tried again.
"""

FINISH_TIMEOUT = 2.0
"""Seconds that the pipeline may take to accept the last events when the receiver is stopped."""
QUIET_INTERVAL = 1.0
"""Most seconds between two ticks while no probe has anything: sums that are due, and counters, wait that long."""
SIGN_OF_LIFE = 10.0
"""Seconds after which the receiver shows at the latest that it is alive, or two ticks where they are longer."""


class EbpfReceiver(Receiver[EbpfConfig]):
    """Watch the kernel: OOM kills, CPU throttling, dropped packets, TCP retransmits and resets.

    What happens while the agent does not run is not seen, but for OOM kills where they are read from the kernel's log, which is
    read on from the checkpoint. What the kernel's buffers could not hold is counted, and told by an event of type
    `events_lost`. Where a BPF program cannot be loaded, the probe looks in a lesser way and says so; each event
    has `observed_by`.
    """

    type = "ebpf"
    Config = EbpfConfig
    stability: ClassVar[Stability] = Stability.BETA
    can_wait: ClassVar[bool] = False

    def __init__(self, context: ComponentContext, config: EbpfConfig) -> None:
        super().__init__(context, config)
        self.heartbeat = max(SIGN_OF_LIFE, 2 * (QUIET_INTERVAL + config.poll_interval))
        self._probes = OpenedProbes(ways(config, context.entities))
        self._has_run = False
        self._is_told = False
        self._has_position = False
        """Whether the checkpoint says where to go on."""
        self._due: dict[ProbeName, float] = {}
        self._losses = Losses()
        self._flows = {name: FlowWindows(window) for name, window in config.probes.windows().items()}

    async def start(self) -> None:
        """Load and attach every enabled probe; raises `ComponentError` where one cannot be and `required` is set."""
        self._probes.open()
        if self.config.required and self._probes.without_program:
            missing = self._probes.missing_programs()
            self._probes.close()
            raise ComponentError(missing)

    async def shutdown(self) -> None:
        """Detach and release every program, map and descriptor."""
        self._probes.close()

    async def run(self, output: Output) -> None:
        """Emit what is seen until cancelled; raises `SourceUnavailable` as soon as nothing can be.

        Opens again what cannot be seen, at once when called again and then from time to time.
        """
        if self._has_run or not self._probes.refusals():  # else `start` has just tried
            self._open_again()
        self._has_run, self._is_told = True, False
        self.context.entities.refresh()
        refresh = time.monotonic() + REFRESH_INTERVAL
        maker = EventMaker(self.context.entities)
        self._resume(output.checkpoint)
        if (position := self._position()) is not None and position != output.checkpoint:
            await output.emit([], position)  # from here on nothing is missed while the agent is down
        try:
            await self._watch(output, maker, refresh)
        except asyncio.CancelledError:
            await self._finish(output, maker)
            raise

    def _resume(self, checkpoint: Any) -> None:
        """Let feeds that can go on where the last run stopped do so."""
        saved = checkpoint if isinstance(checkpoint, dict) else {}
        self._has_position = bool(saved)
        for name, feed in self._probes.feeds.items():
            if isinstance(feed, Resuming) and isinstance(position := saved.get(name.value), dict):
                feed.resume(position)

    def _position(self) -> dict[str, Any] | None:
        """Return up to where feeds that can be resumed have read; an empty one where others have taken their place."""
        found = {name.value: feed.position for name, feed in self._probes.feeds.items() if isinstance(feed, Resuming)}
        positions = {name: position for name, position in found.items() if position is not None}
        if not positions and not self._has_position:
            return None
        self._has_position = bool(positions)
        return positions

    async def _watch(self, output: Output, maker: EventMaker, refresh: float) -> None:
        while True:
            if time.monotonic() >= refresh:
                self.context.entities.refresh()
                self._open_again()
                refresh = time.monotonic() + REFRESH_INTERVAL
            events = [event for name in list(self._probes.feeds) for event in self._read(name, maker)]
            events += self._tell_losses(maker)
            if events:
                await output.emit(events, self._position())
            self._tell_state()
            output.alive()
            await self._wait()

    async def _finish(self, output: Output, maker: EventMaker) -> None:
        """Tell what windows still hold; neither an error nor a pipeline that takes nothing keeps the receiver from ending."""
        try:
            events = [event for name in list(self._probes.feeds) for event in self._last(name, maker)]
            events += self._tell_losses(maker)
            if events:
                async with asyncio.timeout(FINISH_TIMEOUT):
                    await output.emit(events, self._position())
        except TimeoutError:
            self.context.log.warning("%d last events were not taken in time", len(events))
        except Exception as error:
            self.context.log.warning("what was seen last cannot be told: %s", described(error))

    def _last(self, name: ProbeName, maker: EventMaker) -> list[UnifiedEvent]:
        feed = self._probes.feeds[name]
        try:
            seen = last_of(feed)
        except Exception as error:
            self.context.log.warning("%s: what it saw last cannot be told: %s", name, described(error))
            seen = []
        events = self._events(name, feed, seen, maker)
        kept = self._flows[name].close() if name in self._flows else []
        return events + maker.events(kept, feed.observed_by, time.time_ns())

    def _read(self, name: ProbeName, maker: EventMaker) -> list[UnifiedEvent]:
        """Return what a probe saw, if it is due; a way that fails is replaced by the next best that does not."""
        first, now = self._probes.feeds[name], time.monotonic()
        if first.fileno() is None and now < self._due.get(name, 0.0):
            return []
        while (feed := self._probes.feeds.get(name)) is not None:
            self._due[name] = now + feed.interval
            try:
                seen = feed.read()
            except Exception as error:
                self._replace(name, error)
            else:
                return self._events(name, feed, seen, maker)
        return []

    def _events(self, name: ProbeName, feed: Feed, seen: list[Observation], maker: EventMaker) -> list[UnifiedEvent]:
        now = time.monotonic()
        wanted = [one for one in seen if maker.passes(one, self.config)]
        if name in self._flows:
            wanted = self._flows[name].take(wanted, now)
        return maker.events(wanted, feed.observed_by, time.time_ns()) if wanted else []

    def _open_again(self) -> None:
        """Try the probes for which no way worked: they are read at once, so that one that still fails is not told anew."""
        blind = self._probes.blind
        if blind:
            self._probes.open()
            self._begin_anew(blind)

    def _replace(self, name: ProbeName, error: Exception) -> None:
        self._probes.replace(name, described(error))
        self._begin_anew([name])

    def _begin_anew(self, names: list[ProbeName]) -> None:
        self._is_told = False
        for name in names:
            self._losses.forget(name)
            self._due.pop(name, None)

    def _tell_state(self) -> None:
        """Tell how the probes are watched, if that may have changed; the supervisor tells where none is."""
        if self._is_told:
            return
        if self._probes.probes and not self._probes.feeds:
            raise SourceUnavailable(self._probes.give_up())
        self._probes.tell(self.context.log)
        self.context.report(self._probes.summary() or None)
        self._is_told = True

    def _tell_losses(self, maker: EventMaker) -> list[UnifiedEvent]:
        events = []
        for name, feed in list(self._probes.feeds.items()):
            try:
                for reason, amount in self._losses.new(name, feed):
                    self.context.counters.add(reason, amount, probe=name.value)
            except Exception as error:
                self._replace(name, error)
        now = time.monotonic()
        for name, lost in self._losses.due(now, self.config.loss_interval):
            events.append(maker.loss(name, lost, time.time_ns()))
        return events

    async def _wait(self) -> None:
        """Wait for the next tick, or until a probe has something that is urgent.

        Where all probes say when a tick would find something, ticks are a second apart until one would.
        """
        feeds = self._probes.feeds.values()
        urgent = [number for feed in feeds if (number := feed.fileno()) is not None]
        others = [feed for feed in feeds if feed.fileno() is None]
        stirred = [number for feed in others if (number := stirred_by(feed)) is not None]
        if len(stirred) == len(others):
            await readable([*urgent, *stirred], QUIET_INTERVAL)
        await readable(urgent, self.config.poll_interval)


class Losses:
    """Follow how far what feeds could not see has risen, and when it is time to tell of it again."""

    def __init__(self) -> None:
        self._counted: dict[tuple[ProbeName, str], int] = {}
        self._untold: dict[ProbeName, dict[str, int]] = {}
        self._next: dict[ProbeName, float] = {}

    def new(self, name: ProbeName, feed: Feed) -> Iterable[tuple[str, int]]:
        """Yield by reason how much more was lost since the last call."""
        for reason, total in feed.lost().items():
            more = total - self._counted.get((name, reason), 0)
            if more > 0:
                self._counted[name, reason] = total
                untold = self._untold.setdefault(name, {})
                untold[reason] = untold.get(reason, 0) + more
                yield reason, more

    def due(self, now: float, interval: float) -> Iterable[tuple[ProbeName, dict[str, int]]]:
        """Yield what has not been told yet, for each probe not more often than every `interval` seconds."""
        for name in list(self._untold):
            if now >= self._next.get(name, 0.0):
                self._next[name] = now + interval
                yield name, self._untold.pop(name)

    def forget(self, name: ProbeName) -> None:
        """Begin anew with a feed that takes another's place; what was not told yet still will be."""
        for key in [key for key in self._counted if key[0] == name]:
            del self._counted[key]


def stirred_by(feed: Feed) -> int | None:
    """Return the descriptor that is readable while a tick would find something, of feeds that have one."""
    return feed.stirred() if isinstance(feed, Stirring) else None


async def readable(descriptors: list[int], timeout: float) -> None:  # noqa: ASYNC109 - a tick, not a failure
    """Return when one of the descriptors is readable, or after `timeout` seconds."""
    loop = asyncio.get_running_loop()
    woken = asyncio.Event()
    for descriptor in descriptors:
        loop.add_reader(descriptor, woken.set)
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await woken.wait()
    finally:
        for descriptor in descriptors:
            loop.remove_reader(descriptor)
