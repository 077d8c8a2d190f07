"""A user of a kubeconfig, read by the official client: tokens, client certificates, exec plugins, OIDC, basic authentication.

The file is never written: a token that the official client has refreshed is kept in memory. What an exec plugin gave is used
until five minutes before it expires, as the official client does; certificates from a plugin until the server refuses them.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from tapio_otel.component import ComponentError
from tapio_otel.kubernetes.access import Access, TlsFiles
from tapio_otel.notices import quote

if TYPE_CHECKING:
    from kubernetes.client import Configuration


class KubeConfig:
    """Read the user, cluster and namespace of a context from kubeconfigs joined by colons."""

    def __init__(self, paths: str, context: str = "") -> None:
        self._paths, self._context = paths, context
        self._configuration: Configuration | None = None
        self._namespace = "default"
        self._has_plugin = False
        self._problem = ""

    def read(self) -> Access:
        """Read the files and run what they name; raises ComponentError."""
        from kubernetes.client import Configuration
        from kubernetes.config import kube_config

        official: Any = kube_config  # has no types
        try:
            config = official.KubeConfigMerger(self._paths).config
            loader = official.KubeConfigLoader(config, active_context=self._context or None, config_base_path=None)
            chosen = loader.current_context["context"]
            self._namespace = chosen.get("namespace") or "default"
            self._has_plugin = _has_plugin(config, chosen.get("user"))
            configuration = Configuration()
            with _Errors() as errors:
                loader.load_and_set(configuration)
            self._configuration = configuration
            return self._access(errors)
        except Exception as error:  # whatever the libraries for OIDC and the like raise
            raise ComponentError(f"cannot use the kubeconfig {self._paths}: {quote(str(error))}; correct it") from error

    def refresh(self) -> Access:
        """Return what is valid now: a token that is about to expire is fetched anew; raises ComponentError."""
        if self._configuration is None or self._problem:
            return self.read()
        try:
            return self._access(_Errors())
        except OSError as error:
            raise ComponentError(f"cannot use the kubeconfig {self._paths}: {error}; correct it") from error

    def _access(self, errors: _Errors) -> Access:
        from kubernetes.client.rest import should_bypass_proxies

        configuration: Any = self._configuration
        with errors:
            # This is where the official client looks at the time, and runs the plugin again.
            authorization = configuration.auth_settings().get("BearerToken", {}).get("value") or ""
        shown = bool(authorization or configuration.cert_file)
        self._problem = self._no_credentials(errors) if self._has_plugin and not shown else ""
        direct = not configuration.proxy or should_bypass_proxies(configuration.host, configuration.no_proxy or "")
        files = (configuration.ssl_ca_cert or "", configuration.cert_file or "", configuration.key_file or "")
        return Access(
            configuration.host.rstrip("/"),
            self._namespace,
            authorization,
            TlsFiles.read(*files, verify=bool(configuration.verify_ssl)),
            configuration.tls_server_name or "",
            "" if direct else configuration.proxy,
            self._problem,
        )

    def _no_credentials(self, errors: _Errors) -> str:
        said = quote("; ".join(errors.said)) or "it gave neither a token nor a certificate"
        return f"the exec plugin of the kubeconfig {self._paths} gave no credentials: {said}"


class _Errors(logging.Handler):
    """Hear what this thread logs as an error: the official client says there, and nowhere else, why a plugin failed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.said.append(record.getMessage())

    def __enter__(self) -> _Errors:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)


def _has_plugin(config: Any, user: str | None) -> bool:
    found = config["users"].get_with_name(user, safe=True) if user and config.safe_get("users") else None
    return found is not None and bool((found.safe_get("user") or {}).get("exec"))
