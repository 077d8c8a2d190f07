"""Leader election by a Lease, as Kubernetes' own components do it, and the hand-over of the position.

Whoever is named in the Lease leads until it has not renewed it for `lease_duration`, by the clock of whoever waits: clocks need
not agree. Each renewal also writes, as an annotation, up to where the leader has delivered; a successor goes on from there. So
nothing is missed at a hand-over, and what was delivered since the last renewal (`retry_period`) is told twice, with the same
ids. A leader that cannot renew stops before another may begin. A clean stop gives the Lease up at once.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import socket
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from tapio_otel.kubernetes.client import ApiFailure, KubernetesClient
from tapio_otel.kubernetes.resources import LEASES
from tapio_otel.receivers.kubernetes.config import LeaderElectionConfig
from tapio_otel.receivers.kubernetes.times import micro_time

ANNOTATION: Final = "tapio-otel/position"
_RELEASE_TIME: Final = 3.0
"""Seconds that giving up the Lease may take."""
_CONFLICTS: Final = frozenset((404, 409))


def own_identity() -> str:
    """Return a name that no other replica has, nor this one after a restart."""
    return f"{socket.gethostname()}_{uuid.uuid4().hex[:12]}"


@dataclass(slots=True)
class _Seen:
    """Hold the Lease as last seen, and when it was first seen so, by the monotonic clock."""

    lease: dict[str, Any]
    since: float

    @property
    def holder(self) -> str:
        return str((self.lease.get("spec") or {}).get("holderIdentity") or "")

    @property
    def handed(self) -> str:
        return str((self.lease["metadata"].get("annotations") or {}).get(ANNOTATION, ""))


class Election:
    """Lead while the Lease is held. `position` returns what is handed to a successor."""

    def __init__(
        self,
        client: KubernetesClient,
        config: LeaderElectionConfig,
        position: Callable[[], str],
        log: logging.Logger,
        report: Callable[[str | None], None],
        identity: str = "",
    ) -> None:
        self._client, self._config, self._position = client, config, position
        self._log, self._report = log, report
        self.identity = identity or own_identity()
        self.leads = False
        self._namespace = config.lease_namespace or client.namespace
        self._path = LEASES.path(self._namespace)
        self._seen: _Seen | None = None

    async def run(self, work: Callable[[str], Awaitable[None]]) -> None:
        """Do `work`, which is given what the former leader handed over, whenever leading, until cancelled.

        Raises what the work raises.
        """
        try:
            while True:
                handed = await self._acquired()
                self.leads = True
                self._log.info("leading by the lease %s/%s", self._namespace, self._config.lease_name)
                try:
                    await self._while_leading(work(handed))
                finally:
                    self.leads = False
                self._log.warning("no longer leading by the lease %s/%s", self._namespace, self._config.lease_name)
        finally:
            await self._give_up()

    async def _acquired(self) -> str:
        """Wait until the Lease is held; returns what it carries."""
        while True:
            try:
                seen = await self._look()
                if self._may_take(seen):
                    handed = seen.handed if seen is not None else ""
                    if await self._write(seen, handed):
                        self._report(None)
                        return handed
                self._report(None)
            except ApiFailure as failure:
                self._report(f"no leader can be elected: {failure.message}")
            await asyncio.sleep(self._config.retry_period * random.uniform(1.0, 1.2))  # noqa: S311 - spreads replicas

    async def _while_leading(self, work: Awaitable[None]) -> None:
        """Work until that ends or the Lease is lost; what the work raises is raised."""
        working = asyncio.ensure_future(work)
        renewing = asyncio.create_task(self._renewed())
        try:
            done, _ = await asyncio.wait([working, renewing], return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
        finally:
            working.cancel()
            renewing.cancel()
            await asyncio.gather(working, renewing, return_exceptions=True)

    async def _renewed(self) -> None:
        """Renew until that fails for too long or another has the Lease."""
        config = self._config
        renewed = time.monotonic()
        while time.monotonic() - renewed < config.renew_deadline:
            await asyncio.sleep(config.retry_period)
            try:
                async with asyncio.timeout(max(renewed + config.renew_deadline - time.monotonic(), 0.0)):
                    if await self._write(self._seen, self._position()):
                        renewed = time.monotonic()
                        self._report(None)
                        continue
                    seen = await self._look()
                if seen is not None and seen.holder not in ("", self.identity):
                    return
            except ApiFailure as failure:
                self._report(f"the lease cannot be renewed: {failure.message}")
            except TimeoutError:
                return

    async def _look(self) -> _Seen | None:
        """Read the Lease; None where there is none. It counts as renewed whenever it is another version than before."""
        try:
            lease = await self._client.get(f"{self._path}/{self._config.lease_name}")
        except ApiFailure as failure:
            if failure.missing:
                self._seen = None
                return None
            raise
        version = lease["metadata"].get("resourceVersion")
        if self._seen is None or self._seen.lease["metadata"].get("resourceVersion") != version:
            self._seen = _Seen(lease, time.monotonic())
        return self._seen

    def _may_take(self, seen: _Seen | None) -> bool:
        if seen is None or seen.holder in ("", self.identity):
            return True
        lasts = (seen.lease.get("spec") or {}).get("leaseDurationSeconds") or self._config.lease_duration
        return time.monotonic() - seen.since > max(lasts, 1)

    async def _write(self, seen: _Seen | None, handed: str, holder: str | None = None) -> bool:
        """Write the Lease in the own name; tells whether nobody else has written it meanwhile."""
        holder = self.identity if holder is None else holder
        before: dict[str, Any] = (seen.lease.get("spec") or {}) if seen is not None else {}
        now = micro_time(time.time_ns())
        changes_hands = bool(holder) and before.get("holderIdentity") != holder
        spec = {
            **before,
            "holderIdentity": holder,
            "leaseDurationSeconds": math.ceil(self._config.lease_duration) if holder else 1,
            "renewTime": now,
        }
        if changes_hands:
            spec |= {"acquireTime": now, "leaseTransitions": before.get("leaseTransitions", -1) + 1}
        metadata: dict[str, Any] = dict(seen.lease["metadata"]) if seen is not None else {"name": self._config.lease_name}
        metadata["annotations"] = {**(metadata.get("annotations") or {}), ANNOTATION: handed}
        body = {"apiVersion": LEASES.group_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}
        try:
            if seen is None:
                lease = await self._client.send("POST", self._path, body)
            else:
                lease = await self._client.send("PUT", f"{self._path}/{self._config.lease_name}", body)
        except ApiFailure as failure:
            if failure.status in _CONFLICTS:
                return False
            raise
        self._seen = _Seen(lease, time.monotonic())
        return True

    async def _give_up(self) -> None:
        """Let another take over at once."""
        seen = self._seen
        if seen is None or seen.holder != self.identity:
            return
        try:
            async with asyncio.timeout(_RELEASE_TIME):
                await self._write(seen, self._position(), holder="")
        except (ApiFailure, TimeoutError):
            self._log.warning("the lease %s/%s could not be given up; it expires", self._namespace, self._config.lease_name)
