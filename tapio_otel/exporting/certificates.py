"""Certificates that are replaced while the agent runs: files are read again every `tls.reload_interval`."""

from __future__ import annotations

import asyncio
import time

from tapio_otel.component import ComponentError
from tapio_otel.exporting.tls_options import Certificates, TlsOptions, read_certificates
from tapio_otel.notices import Clock, Notices


class CertificateFiles:
    """Keep the certificates as they were last read; unreadable ones leave the earlier in use and are logged."""

    def __init__(self, options: TlsOptions, notices: Notices, clock: Clock = time.monotonic) -> None:
        self._options = options
        self._notices = notices
        self._clock = clock
        self.current = Certificates()
        self._read_at = 0.0

    def load(self) -> None:
        """Read the files for the first time; raises ComponentError."""
        self._read_at = self._clock()
        self.current = read_certificates(self._options)

    async def changed(self) -> bool:
        """Read the files again if it is time to; tell whether they differ from before."""
        interval = self._options.reload_interval
        now = self._clock()
        if not interval or now - self._read_at < interval:
            return False
        self._read_at = now
        try:
            latest = await asyncio.to_thread(read_certificates, self._options)
        except ComponentError as error:
            self._notices.warn("certificates", f"{error}; going on with the certificates read before")
            return False
        before, self.current = self.current, latest
        return latest != before

    def keep(self, certificates: Certificates) -> None:
        """Go back to certificates that worked, after the latest did not fit."""
        self.current = certificates
