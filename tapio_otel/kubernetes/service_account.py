"""A pod's service account, from the files that the kubelet mounts and keeps up to date.

These are read here, not by the official client: three small files need none of its 11 MB on every node, and it looks at the
token no more than once a minute, even after the server has refused the one it has.
"""

from __future__ import annotations

from pathlib import Path

from tapio_otel.component import ComponentError
from tapio_otel.kubernetes.access import Access, TlsFiles


class ServiceAccount:
    """Read the token, the cluster's CA and the own namespace below `directory`."""

    def __init__(self, server: str, directory: str) -> None:
        self._server = server
        self._directory = Path(directory)

    def read(self) -> Access:
        """Return what the files hold now; raises ComponentError."""
        try:
            token = (self._directory / "token").read_text().strip()
            tls = TlsFiles.read(str(self._directory / "ca.crt"))
        except (OSError, UnicodeDecodeError) as error:
            raise ComponentError(
                f"cannot read the pod's service account: {error}; does the pod have automountServiceAccountToken: true?"
            ) from error
        if not token or not (token.isascii() and token.isprintable()):
            raise ComponentError(f"{self._directory / 'token'} holds no token: is it mounted from a service account?")
        return Access(self._server, self._namespace(), f"Bearer {token}", tls)

    refresh = read

    def _namespace(self) -> str:
        try:
            return (self._directory / "namespace").read_text().strip() or "default"
        except (OSError, UnicodeDecodeError):
            return "default"
