"""The extension itself: starts and stops the server, says where the page is, and gives it what leaves the pipelines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tapio_otel.component import ComponentContext, Extension, Stability
from tapio_otel.event import UnifiedEvent
from tapio_otel.extensions.ui.config import UiConfig

if TYPE_CHECKING:
    from tapio_otel.extensions.ui.running import RunningUi


class UiExtension(Extension[UiConfig]):
    """Show events, findings and timelines in a browser, and serve them as JSON."""

    type = "ui"
    Config = UiConfig
    stability = Stability.BETA

    def __init__(self, context: ComponentContext, config: UiConfig) -> None:
        super().__init__(context, config)
        self._ui: RunningUi | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    @classmethod
    def files_read(cls, config: UiConfig) -> Sequence[Path]:
        """Return the certificate's files: when they change, a reload takes the new ones."""
        return config.tls.files

    @property
    def address(self) -> str:
        """Return where the page is, for a browser on this machine."""
        endpoint = self.config.listens_on
        host = "127.0.0.1" if endpoint.is_everywhere else f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        return f"{'https' if self.config.tls.cert_file else 'http'}://{host}:{self.port}/"

    @property
    def port(self) -> int:
        """Return the port that it listens on: once it does, that which the system chose for port 0."""
        return self._ui.port if self._ui is not None else self.config.listens_on.port

    @property
    def is_listening(self) -> bool:
        """Tell whether the page can be reached: not before the start, nor while another process has the port."""
        return self._ui is not None and self._ui.is_listening

    async def start(self) -> None:
        """Listen, or go on trying while another process has the port; raises ComponentError."""
        from tapio_otel.extensions.ui.access import names_of_machine
        from tapio_otel.extensions.ui.running import RunningUi

        self._ui = RunningUi(self.config, self.context, await asyncio.to_thread(names_of_machine, self.config))
        await self._ui.start(lambda: self.context.log.info("the page: %s", self.address))
        if self.context.service is not None:
            self._unsubscribe = self.context.service.subscribe(self._take)
        if not self.config.listens_on.is_loopback and not self.config.tls.cert_file:
            self.context.log.warning(
                "token and events go over the network in clear text: set tls.cert_file and tls.key_file, "
                "or have a proxy in front that encrypts"
            )

    def _take(self, events: Sequence[UnifiedEvent]) -> None:
        if self._ui is not None:
            self._ui.take(events)

    async def shutdown(self) -> None:
        """Stop listening and end what is under way."""
        self._unsubscribe()
        ui, self._ui = self._ui, None
        if ui is not None:
            await ui.stop()
