"""Transport security by the collector's option names, for both OTLP exporters.

Files are read when the exporter starts (`tapio validate` opens nothing) and again every `reload_interval`.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from pydantic import Field, field_validator, model_validator

from tapio_otel.component import ComponentConfig, ComponentError
from tapio_otel.config.types import Duration, Secret

VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
CURVES: Final = {"X25519": "X25519", "P256": "prime256v1", "P384": "secp384r1", "P521": "secp521r1"}
# The names Go and IANA use on the left (Go's crypto/tls, CipherSuites), OpenSSL's on the right.
CIPHERS: Final = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
}
ALWAYS_ON: Final = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
SYSTEM_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class TpmOptions(ComponentConfig):
    """Name the collector's options for keys in a trusted platform module."""

    enabled: bool = Field(False, description="Not supported: keys come from key_file or key_pem.")
    path: str = Field("", description="Not supported.")
    owner_auth: Secret = Field(Secret(""), description="Not supported.")
    auth: Secret = Field(Secret(""), description="Not supported.")

    @field_validator("enabled")
    @classmethod
    def _refuse(cls, enabled: bool) -> bool:
        if enabled:
            raise ValueError("keys in a trusted platform module are not supported: use key_file or key_pem")
        return enabled


class TlsOptions(ComponentConfig):
    """Say whether and how connections are encrypted and both sides identified."""

    insecure: bool = Field(False, description="Send in clear text when the endpoint names no scheme (gRPC).")
    insecure_skip_verify: bool = Field(False, description="Encrypt, but accept any server certificate.")
    server_name_override: str = Field("", description="Name the server's certificate must carry, in place of the endpoint's.")
    ca_file: str = Field("", description="Path of the PEM certificates that sign servers' ones; default the system's.")
    ca_pem: str = Field("", description="The same as text.")
    include_system_ca_certs_pool: bool = Field(False, description="Trust the system's certificates as well as these.")
    cert_file: str = Field("", description="Path of the PEM certificate that identifies this client (mTLS).")
    cert_pem: str = Field("", description="The same as text.")
    key_file: str = Field("", description="Path of the client certificate's PEM key.")
    key_pem: Secret = Field(Secret(""), description="The same as text; secret.")
    min_version: str = Field("", description="Lowest TLS version: 1.2 (default) or 1.3.")
    max_version: str = Field("", description="Highest TLS version: 1.2 or 1.3 (default).")
    reload_interval: Duration = Field(0.0, ge=0, description="How often certificate files are read again; 0 for never.")
    cipher_suites: list[str] = Field([], description="Cipher suites for TLS 1.2, by their IANA names.")
    include_insecure_cipher_suites: bool = Field(False, description="Not supported: leave it false.")
    curve_preferences: list[str] = Field([], description="Elliptic curves: one of X25519, P256, P384, P521.")
    tpm: TpmOptions = Field(TpmOptions(), description="Not supported: leave it disabled.")

    @field_validator("min_version", "max_version")
    @classmethod
    def _known_version(cls, version: str) -> str:
        if version in ("1.0", "1.1"):
            raise ValueError("TLS below 1.2 is broken and not offered: write 1.2 or 1.3")
        if version and version not in VERSIONS:
            raise ValueError("expected 1.2 or 1.3, in quotes")
        return version

    @field_validator("cipher_suites")
    @classmethod
    def _known_ciphers(cls, suites: list[str]) -> list[str]:
        wrong = [suite for suite in suites if suite not in CIPHERS and suite not in ALWAYS_ON]
        if wrong:
            raise ValueError(f"unknown or insecure cipher suite {wrong[0]!r}: expected {', '.join(CIPHERS)}")
        return suites

    @field_validator("include_insecure_cipher_suites")
    @classmethod
    def _refuse_insecure(cls, wanted: bool) -> bool:
        if wanted:
            raise ValueError("insecure cipher suites are not offered: remove this option")
        return wanted

    @field_validator("curve_preferences")
    @classmethod
    def _one_known_curve(cls, curves: list[str]) -> list[str]:
        wrong = [curve for curve in curves if curve not in CURVES]
        if wrong:
            raise ValueError(f"unknown curve {wrong[0]!r}: expected one of {', '.join(CURVES)}")
        if len(curves) > 1:
            raise ValueError("Python's TLS can be limited to one curve, not given an order: name one, or remove this option")
        return curves

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for what, file, pem in (
            ("ca", self.ca_file, self.ca_pem),
            ("cert", self.cert_file, self.cert_pem),
            ("key", self.key_file, self.key_pem.get_secret_value()),
        ):
            if file and pem:
                raise ValueError(f"both {what}_file and {what}_pem are given: keep one")
        if bool(self.cert_file or self.cert_pem) != bool(self.key_file or self.key_pem.get_secret_value()):
            raise ValueError("a client certificate needs both cert_file (or cert_pem) and key_file (or key_pem)")
        if self.max_version and VERSIONS[self.min_version or "1.2"] > VERSIONS[self.max_version]:
            raise ValueError(f"min_version ({self.min_version}) is above max_version ({self.max_version})")
        return self

    @property
    def names_certificates(self) -> bool:
        """Tell whether any certificate is configured."""
        return bool(self.ca_file or self.ca_pem or self.cert_file or self.cert_pem)

    @property
    def beyond_grpc(self) -> bool:
        """Tell whether an option is set that gRPC's own TLS does not offer in Python."""
        return bool(
            self.insecure_skip_verify
            or self.cipher_suites
            or self.curve_preferences
            or self.min_version == "1.3"
            or self.max_version == "1.2"
        )


@dataclass(frozen=True, slots=True)
class Certificates:
    """Hold PEM texts as they were read; empty where not configured."""

    authorities: bytes = b""
    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)


def read_certificates(options: TlsOptions) -> Certificates:
    """Read what the options name; raises ComponentError naming the option, the path and the reason."""
    authorities = _read("ca_file", options.ca_file) or options.ca_pem.encode()
    if authorities and options.include_system_ca_certs_pool:
        authorities = authorities + b"\n" + system_authorities()
    certificate = _read("cert_file", options.cert_file) or options.cert_pem.encode()
    key = _read("key_file", options.key_file) or options.key_pem.get_secret_value().encode()
    for name, text in (("ca", authorities), ("cert", certificate), ("key", key)):
        if text and b"-----BEGIN " not in text:
            raise ComponentError(f"tls.{name}_file (or tls.{name}_pem) holds no PEM text: expected a line -----BEGIN …-----")
    return Certificates(authorities, certificate, key)


def _read(option: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes() if path else b""
    except OSError as error:
        raise ComponentError(f"tls.{option}: cannot read {path!r}: {error.strerror}: check the path and its rights") from error


def system_authorities() -> bytes:
    """Return the system's trusted certificates as PEM; empty where this system has none."""
    paths = (ssl.get_default_verify_paths().cafile, *SYSTEM_BUNDLES)
    for path in paths:
        if path and Path(path).is_file():
            return Path(path).read_bytes()
    return b""


def make_context(options: TlsOptions, certificates: Certificates) -> ssl.SSLContext:
    """Return a client context that honours every option; raises ComponentError for certificates that do not fit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = VERSIONS[options.min_version or "1.2"]
    if options.max_version:
        context.maximum_version = VERSIONS[options.max_version]
    if options.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        _load(context, options, certificates)
    except (ssl.SSLError, ValueError, OSError) as error:
        raise ComponentError(f"tls: the certificates or options do not fit: {error}") from error
    return context


def _load(context: ssl.SSLContext, options: TlsOptions, certificates: Certificates) -> None:
    if certificates.authorities:
        context.load_verify_locations(cadata=certificates.authorities.decode("ascii", "ignore"))
    else:
        context.load_default_certs()
    suites = [CIPHERS[suite] for suite in options.cipher_suites if suite in CIPHERS]
    if suites:
        context.set_ciphers(":".join(suites))
    if options.curve_preferences:
        context.set_ecdh_curve(CURVES[options.curve_preferences[0]])
    if certificates.certificate:
        _load_client(context, certificates)


def _load_client(context: ssl.SSLContext, certificates: Certificates) -> None:
    """Load certificate and key, which Python's ssl takes only from a file: one in memory, that nobody else can open."""
    descriptor = os.memfd_create("tapio-client-certificate", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(certificates.key + b"\n" + certificates.certificate)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=_no_passphrase)
    finally:
        os.close(descriptor)


def _no_passphrase() -> str:
    """Refuse an encrypted key, for which OpenSSL would ask on the terminal."""
    raise ValueError("the key is protected by a passphrase, which cannot be given here: remove it from the key")
