"""Changes of pods as events: phase and conditions, containers that end, wait in trouble or were restarted.

Ids are made of what makes the occurrence one of its own (pod, state and the times of its conditions; container and number of
the restart), not of the version that showed it: so it has the same id when it is found later in a list.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Final

from tapio_otel.event import AttributeValue, EntityReference, EntityType, EventType, Severity, UnifiedEvent
from tapio_otel.receivers.kubernetes.pods import Condition, Container, Pod, Termination
from tapio_otel.receivers.kubernetes.reasons import Severities
from tapio_otel.receivers.kubernetes.subjects import Subjects
from tapio_otel.receivers.kubernetes.times import nanoseconds
from tapio_otel.receivers.kubernetes.told import INITIAL, Circumstances

_ON_THE_WAY: Final = frozenset(("", "ContainerCreating", "PodInitializing"))
"""Reasons to wait that every container has for a moment."""
_PULL: Final = frozenset(("ErrImagePull", "ImagePullBackOff"))
"""A kubelet goes to and fro between these while an image cannot be pulled: one trouble, told once."""
_FINISHED: Final = "PodCompleted"
_SIGNALLED: Final = 128
_BAD_PHASES: Final = frozenset(("Failed", "Unknown"))


class PodChanges:
    """Tell what has changed between two versions of a pod."""

    def __init__(self, subjects: Subjects, severities: Severities) -> None:
        self._subjects = subjects
        self._severities = severities

    def between(self, before: Pod | None, after: Pod, found: Circumstances) -> Iterator[UnifiedEvent]:
        """Yield the events of a change; `before` is None for a pod that is new or was not seen before."""
        entity = self.entity(after)
        state = self._state(before, after, entity, found)
        if state is not None:
            yield state
        for name, container in after.containers.items():
            earlier = before.containers.get(name) if before is not None else None
            yield from self._container(earlier, container, after, entity, found, fresh=before is None)

    def deleted(self, one: Pod, found: Circumstances) -> UnifiedEvent:
        """Return the event of a pod that is gone."""
        attributes: dict[str, AttributeValue] = {"change": "deleted", **_plain(one), "previous_phase": one.phase}
        identity = (one.uid, "deleted")
        return found.make(EventType.POD_STATE, identity, 0, Severity.INFO, self.entity(one), attributes)

    def learn(self, one: Pod) -> None:
        """Remember what a pod is called."""
        self.entity(one)

    def entity(self, pod: Pod) -> EntityReference:
        """Return the pod as an entity."""
        return self._subjects.pod(pod.uid, pod.name, pod.namespace, pod.owners, pod.node)

    @staticmethod
    def is_unwell(one: Pod) -> bool:
        """Tell whether a pod should not stay as it is."""
        return one.phase in _BAD_PHASES or bool(one.reason) or any(_trouble(each) for each in one.containers.values())

    def _state(self, before: Pod | None, after: Pod, entity: EntityReference, found: Circumstances) -> UnifiedEvent | None:
        changed = _changed_conditions(before, after, found.since)
        change = _change(before, after, found, changed)
        if not change:
            return None
        earlier = before.conditions if before is not None else {}
        attributes: dict[str, AttributeValue] = {
            "change": change,
            **_plain(after),
            "previous_phase": before.phase if before is not None else "",
            "conditions": {one.type: one.status for one in changed.values()},
            "previous_conditions": {name: earlier[name].status for name in changed if name in earlier},
            "condition_reasons": {one.type: one.reason for one in changed.values() if one.reason},
            "message": after.message or next((one.message for one in changed.values() if one.message), ""),
        }
        identity: tuple[str | int, ...] = (after.uid, after.phase, after.reason, after.terminating, *_fingerprint(after))
        when = _when(before, after, changed)
        return found.make(EventType.POD_STATE, identity, when, self._bad(after, changed), entity, _lean(attributes))

    def _bad(self, pod: Pod, changed: dict[str, Condition], best: Severity = Severity.INFO) -> Severity:
        reasons = [pod.reason] + [
            one.reason for one in changed.values() if one.status != "True" or one.type == "DisruptionTarget"
        ]
        if pod.phase in _BAD_PHASES:
            return max(self._severities.of(*reasons, "PodFailed"), best)
        severity = self._severities.of(*reasons, otherwise=best)
        ready = changed.get("Ready")
        lost = ready is not None and ready.status != "True" and ready.reason != _FINISHED and pod.phase == "Running"
        return max(severity, Severity.WARNING) if lost and not pod.terminating else severity

    # --- containers -----------------------------------------------------------------------------------------------------

    def _container(
        self,
        before: Container | None,
        after: Container,
        pod: Pod,
        entity: EntityReference,
        found: Circumstances,
        fresh: bool,
    ) -> Iterator[UnifiedEvent]:
        """Yield what happened to a container; nothing of what was before a pod was first seen (`fresh`)."""
        restarted = after.restarts > (before.restarts if before is not None else 0)
        ended = after.ended
        if fresh:
            anew = _since(ended, found)
            restarted = restarted and anew and after.state == "running"
        else:
            anew = ended is not None and (before is None or before.ended is None or before.ended.id != ended.id)
        if restarted:
            yield self._restart(before, after, pod, entity, found, fresh)
        elif anew and ended is not None and (ended.exit_code or after.kind != "init"):
            yield self._ended(after, ended, pod, entity, found)
        trouble = _trouble(after)
        if trouble and trouble != (_trouble(before) if before is not None else "") and _tells_trouble(before, after, found):
            yield self._waiting(after, pod, entity, found)

    def _restart(
        self,
        before: Container | None,
        after: Container,
        pod: Pod,
        entity: EntityReference,
        found: Circumstances,
        fresh: bool,
    ) -> UnifiedEvent:
        earlier = before.restarts if before is not None else after.restarts - 1 if fresh else 0
        attributes = {
            **_container_facts(after, pod),
            **_end_facts(after.ended),
            "restart_count": after.restarts,
            "missed_restarts": after.restarts - earlier - 1 or None,
        }
        reason = after.ended.reason if after.ended is not None else ""
        severity = max(self._severities.of(reason), Severity.WARNING)
        when = nanoseconds(after.started) or nanoseconds(after.ended.finished if after.ended else "")
        identity = (pod.uid, after.kind, after.name, after.restarts)
        return found.make(EventType.CONTAINER_RESTART, identity, when, severity, _entity(after, pod, entity), attributes)

    def _ended(
        self, after: Container, ended: Termination, pod: Pod, entity: EntityReference, found: Circumstances
    ) -> UnifiedEvent:
        attributes = {"change": "terminated", **_container_facts(after, pod), **_end_facts(ended), "phase": pod.phase}
        severity = self._severities.of(ended.reason, otherwise=Severity.ERROR if ended.exit_code else Severity.INFO)
        # What a container exits with that was asked to end is no failure.
        severity = min(severity, Severity.NOTICE) if pod.terminating and ended.reason != "OOMKilled" else severity
        identity = (pod.uid, "terminated", after.kind, after.name, ended.id or after.restarts)
        when = nanoseconds(ended.finished)
        return found.make(EventType.POD_STATE, identity, when, severity, _entity(after, pod, entity), attributes)

    def _waiting(self, after: Container, pod: Pod, entity: EntityReference, found: Circumstances) -> UnifiedEvent:
        attributes = {
            "change": "waiting",
            **_container_facts(after, pod),
            **_end_facts(after.ended),
            "message": after.message,
            "phase": pod.phase,
            "restart_count": after.restarts,
        }
        severity = self._severities.of(after.reason, otherwise=Severity.WARNING)
        # An image that cannot be pulled is in trouble once for each time that this begins; restarts number the crashes.
        begun = pod.version if _trouble(after) == "pull" else after.restarts
        identity = (pod.uid, "waiting", after.kind, after.name, _trouble(after), begun)
        return found.make(EventType.POD_STATE, identity, 0, severity, _entity(after, pod, entity), attributes)


def _change(before: Pod | None, after: Pod, found: Circumstances, changed: dict[str, Condition]) -> str:
    """Return what a `pod_state` event tells of, the most important first; empty for nothing."""
    if before is None:
        if found.mark == INITIAL:
            return INITIAL
        if not found.since or nanoseconds(after.created) >= found.since:
            return "created"
        return "condition" if changed else ""
    if after.terminating and not before.terminating:
        return "terminating"
    if (before.phase, before.reason) != (after.phase, after.reason):
        return "phase"
    return "condition" if changed else ""


def _changed_conditions(before: Pod | None, after: Pod, since: int) -> dict[str, Condition]:
    if before is None:
        return {name: one for name, one in after.conditions.items() if not since or nanoseconds(one.changed) >= since}
    earlier = before.conditions
    return {name: one for name, one in after.conditions.items() if name not in earlier or earlier[name].status != one.status}


def _when(before: Pod | None, after: Pod, changed: dict[str, Condition]) -> int:
    """Return when a pod's state changed, by its own account; 0 where it does not say."""
    if after.terminating and not (before is not None and before.terminating):
        return 0
    return max([nanoseconds(one.changed) for one in changed.values()], default=0) or (
        nanoseconds(after.created) if before is None else 0
    )


def _fingerprint(pod: Pod) -> list[str]:
    return [f"{one.type}={one.status}@{one.changed}" for _, one in sorted(pod.conditions.items())]


def _plain(pod: Pod) -> dict[str, AttributeValue]:
    return {
        "phase": pod.phase,
        "status_reason": pod.reason,
        "resource_version": pod.version,
        "node_name": pod.node,
        "terminating": pod.terminating or None,
        "pod_restart_count": sum(one.restarts for one in pod.containers.values()),
    }


def _lean(attributes: dict[str, AttributeValue]) -> dict[str, AttributeValue]:
    return {key: value for key, value in attributes.items() if value != {}}


def _trouble(container: Container) -> str:
    """Return what keeps a container waiting when that is not the usual way; equal for what is one trouble."""
    if container.state != "waiting" or container.reason in _ON_THE_WAY:
        return ""
    return "pull" if container.reason in _PULL else container.reason


def _tells_trouble(before: Container | None, after: Container, found: Circumstances) -> bool:
    """Tell whether trouble is new: where only its own account is known, when the container has ended since then."""
    if before is not None or not found.since:
        return True
    return after.ended is None or _since(after.ended, found)


def _since(ended: Termination | None, found: Circumstances) -> bool:
    return ended is not None and bool(found.since) and nanoseconds(ended.finished) >= found.since


def _entity(container: Container, pod: Pod, parent: EntityReference) -> EntityReference:
    image = {"image": container.image} if container.image else {}
    uid = container.id or f"{pod.uid}/{container.name}"
    return EntityReference(EntityType.CONTAINER, container.name, pod.namespace, uid, parent, image)


def _container_facts(container: Container, pod: Pod) -> dict[str, AttributeValue]:
    return {
        "k8s.container.name": container.name,
        "container_kind": container.kind,
        "container_id": container.id,
        "image": container.image,
        "container_state": container.state,
        "container_reason": container.reason,
        "resource_version": pod.version,
        "node_name": pod.node,
    }


def _end_facts(ended: Termination | None) -> dict[str, AttributeValue]:
    """Return how a container ended; a shell's way to tell a signal (128 and more) is one as well."""
    if ended is None:
        return {}
    number = ended.signal or (ended.exit_code - _SIGNALLED if _SIGNALLED < ended.exit_code < _SIGNALLED + 65 else 0)
    return {
        "last_terminated_reason": ended.reason,
        "exit_code": ended.exit_code,
        "signal": _signal_name(number) if number else "",
        "signal_number": number or None,
        "started_at": ended.started,
        "finished_at": ended.finished,
        "terminated_container_id": ended.id,
        "message": ended.message,
    }


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
