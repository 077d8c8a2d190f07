"""The receiver: watches events, pods and nodes of a cluster, or of one node, and tells what happens to them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, ClassVar, Final, NamedTuple

from tapio_otel.component import ComponentContext, Output, Receiver, Stability
from tapio_otel.kubernetes.client import KubernetesClient
from tapio_otel.kubernetes.list_watch import ListWatch
from tapio_otel.kubernetes.resources import CORE_EVENTS, EVENTS, NODES, PODS, Resource, Selection
from tapio_otel.receivers.kubernetes import events, nodes, pods
from tapio_otel.receivers.kubernetes.config import KubernetesConfig
from tapio_otel.receivers.kubernetes.election import Election
from tapio_otel.receivers.kubernetes.followers import EventFollower, StateFollower
from tapio_otel.receivers.kubernetes.outlet import Outlet
from tapio_otel.receivers.kubernetes.pod_changes import PodChanges
from tapio_otel.receivers.kubernetes.position import BadPosition, Position
from tapio_otel.receivers.kubernetes.reasons import Severities
from tapio_otel.receivers.kubernetes.recall import recall
from tapio_otel.receivers.kubernetes.subjects import Subjects
from tapio_otel.receivers.kubernetes.throttle import Throttle, Trimmed

PODS_FIRST: Final = 30.0
"""Seconds that a node's events wait for its pods, by which they are told from other nodes' events."""
_KINDS: Final[dict[str, Resource]] = {"events": EVENTS, "pods": PODS, "nodes": NODES}


class Division(NamedTuple):
    """Say which resources this replica watches in any case, and which only as the leader."""

    always: frozenset[str]
    as_leader: frozenset[str]


def divide(config: KubernetesConfig) -> Division:
    """Return who watches what: with an election, what is of the whole cluster is the leader's."""
    wanted = frozenset[str](config.resources)
    if not config.leader_election.enabled:
        return Division(wanted, frozenset())
    own = wanted - {"events"} if config.node else frozenset[str]()
    return Division(own, wanted - own)


class KubernetesReceiver(Receiver[KubernetesConfig]):
    """Tell Kubernetes' events, and what happens to pods, containers and nodes.

    After a restart it goes on where it was: events are neither missed nor repeated while the server has them (an hour); of pods
    and nodes each change is told for as long as the server remembers former versions (five to ten minutes), after that what
    they themselves say has changed meanwhile.
    """

    type = "kubernetes"
    Config = KubernetesConfig
    stability: ClassVar[Stability] = Stability.BETA

    def __init__(self, context: ComponentContext, config: KubernetesConfig) -> None:
        super().__init__(context, config)
        self._severities = Severities(config.own_severities)
        self._problems: dict[str, str] = {}

    async def run(self, output: Output) -> None:
        """Emit events until cancelled; raises `SourceUnavailable` where no cluster is configured."""
        client = KubernetesClient(self.config, self.context.notices)
        try:
            await client.open()
            self._problems.clear()
            self.context.report(None)
            await self._follow(client, Outlet(output, self._position(output)))
        finally:
            await client.close()

    def _position(self, output: Output) -> Position:
        try:
            return Position.load(output.checkpoint)
        except BadPosition as problem:
            self.context.log.error("%s. The receiver starts anew", problem)
            return Position()

    async def _follow(self, client: KubernetesClient, outlet: Outlet) -> None:
        division = divide(self.config)
        subjects = Subjects()
        parts: list[Coroutine[Any, Any, None]] = []
        if division.always:
            parts.append(self._watch(client, outlet, subjects, division.always))
        if division.as_leader:
            parts.append(self._stand(client, outlet, subjects, division.as_leader))
        await _together(parts)

    async def _stand(self, client: KubernetesClient, outlet: Outlet, subjects: Subjects, elected: frozenset[str]) -> None:
        """Watch what is the leader's whenever this replica is that."""
        taken = Position()

        async def lead(handed: str) -> None:
            nonlocal taken
            outlet.move(outlet.position.later(self._handed(handed)))
            taken = outlet.position.only(elected)
            try:
                await self._watch(client, outlet, subjects, elected)
            finally:
                for name in elected:  # who watches no longer, as the lease is lost, has no trouble with it either
                    self._tell(name, None)

        def position() -> str:
            # Before anything is delivered, what was handed over holds.
            return taken.later(outlet.delivered.only(elected)).annotation()

        options, log = self.config.leader_election, self.context.log
        await Election(client, options, position, log, lambda problem: self._tell("election", problem)).run(lead)

    def _handed(self, handed: str) -> Position:
        try:
            return Position.of_annotation(handed)
        except BadPosition as problem:
            self.context.log.error("the annotation of the lease is of no use: %s", problem)
            return Position()

    async def _watch(self, client: KubernetesClient, outlet: Outlet, subjects: Subjects, resources: frozenset[str]) -> None:
        whose = f"node {self.config.node}" if self.config.node else "the whole cluster"
        self.context.log.info("watching %s of %s at %s", ", ".join(sorted(resources)), whose, client.server)
        parts: list[Coroutine[Any, Any, None]] = []
        pods_known = asyncio.Event()
        if "pods" in resources:
            changes = PodChanges(subjects, self._severities)
            parts.append(self._watch_states(client, outlet, "pods", changes, pods.trimmer(), pods_known))
        if "nodes" in resources:
            parts.append(self._watch_states(client, outlet, "nodes", nodes.NodeChanges(subjects, self._severities), nodes.trim))
        if "events" in resources:
            wait = pods_known if "pods" in resources and self._filters_events else None
            parts.append(self._watch_events(client, outlet, subjects, wait))
        await _together(parts)

    async def _watch_states(
        self,
        client: KubernetesClient,
        outlet: Outlet,
        name: str,
        changes: Any,
        trim: Any,
        known: asyncio.Event | None = None,
    ) -> None:
        follower = StateFollower[Any](outlet, name, changes, self.config.initial_state)
        selection = self._selection(name)
        resume: dict[str, str] = {}
        for namespace in selection.namespaces or ("",):
            reached = outlet.position.of(name, namespace)
            if reached is None:
                continue
            found = await recall(
                *(client, _KINDS[name], selection, namespace, reached.version, trim), lambda problem: self._tell(name, problem)
            )
            if found is not None:
                follower.recall(found, namespace)
                resume[namespace] = reached.version
        self._tell(name, None)
        watch = self._list_watch(client, name, selection, follower, trim, resume)
        await _together([watch.run(), *([_mark(watch.synced, known)] if known is not None else [])])

    async def _watch_events(
        self, client: KubernetesClient, outlet: Outlet, subjects: Subjects, wait: asyncio.Event | None
    ) -> None:
        if wait is not None:
            try:
                async with asyncio.timeout(PODS_FIRST):
                    await wait.wait()
            except TimeoutError:
                self.context.log.warning(
                    "the pods of node %s are not known yet: some of their events are left out", self.config.node
                )
        throttle = Throttle(self.config.dedup_interval, time.monotonic, outlet.position.held)
        node = self.config.node if self._filters_events else ""

        def wanted(event: Trimmed) -> bool:
            return not node or events.is_about(event, node, subjects)

        follower = EventFollower(
            outlet,
            throttle,
            lambda event, observed: events.make(event, subjects, self._severities, observed),
            wanted,
            self.config.start_at == "beginning",
            self.context.counters,
        )
        selection = self._selection("events")
        reached = {namespace: outlet.position.of("events", namespace) for namespace in selection.namespaces or ("",)}
        resume = {namespace: step.version for namespace, step in reached.items() if step is not None}
        watch = self._list_watch(client, "events", selection, follower, events.trim, resume, CORE_EVENTS)
        await _together([watch.run(), follower.release()])

    @property
    def _filters_events(self) -> bool:
        """Tell whether only one node's events are told: the server cannot select them."""
        return bool(self.config.node) and not self.config.leader_election.enabled

    def _selection(self, name: str) -> Selection:
        config = self.config
        fields = [config.field_selector.get(name, "")]  # type: ignore[call-overload]
        if config.node and name != "events":
            fields.append(f"{'spec.nodeName' if name == 'pods' else 'metadata.name'}={config.node}")
        return Selection(
            tuple(config.namespaces) if _KINDS[name].namespaced else (),
            ",".join(filter(None, fields)),
            config.label_selector.get(name, ""),  # type: ignore[call-overload]
        )

    def _list_watch(
        self,
        client: KubernetesClient,
        name: str,
        selection: Selection,
        follower: Any,
        trim: Any,
        resume: dict[str, str],
        fallback: Resource | None = None,
    ) -> ListWatch:
        return ListWatch(
            *(client, _KINDS[name], selection, follower),
            trim=trim,
            resume=resume,
            report=lambda problem: self._tell(name, problem),
            counters=self.context.counters,
            fallback=fallback,
        )

    def _tell(self, part: str, problem: str | None) -> None:
        """Report what is wrong with any part, and log it when it begins."""
        if problem is None:
            self._problems.pop(part, None)
        else:
            self._problems[part] = problem
            self.context.notices.warn(f"{part}: {problem[:40]}", problem)  # another problem is told at once
        self.context.report("; ".join(dict.fromkeys(self._problems.values())) or None)


async def _mark(when: asyncio.Event, then: asyncio.Event) -> None:
    await when.wait()
    then.set()


async def _together(parts: list[Coroutine[Any, Any, None]]) -> None:
    """Run all until one raises; raises what that did."""
    try:
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(part)
    except ExceptionGroup as several:
        raise several.exceptions[0] from None
