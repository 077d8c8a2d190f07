"""Certificates read from files and texts."""

from __future__ import annotations

import ssl

import pytest
from cryptography.hazmat.primitives import serialization

from tapio_otel.component import ComponentError
from tapio_otel.config.types import Secret
from tapio_otel.exporting.tls_options import TlsOptions, make_context, read_certificates, system_authorities
from tests.exporting.certificates import Authority


def context_of(**options) -> ssl.SSLContext:
    """Return the context for these options."""
    tls = TlsOptions(**options)
    return make_context(tls, read_certificates(tls))


def test_defaults_verify_with_at_least_tls_1_2():
    """Nothing configured means a verified connection."""
    context = context_of()
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_the_systems_authorities_are_added_only_when_asked_for(tmp_path):
    """ca_file replaces the system's pool unless include_system_ca_certs_pool is set."""
    authority = Authority(tmp_path)
    own = context_of(ca_file=authority.file).cert_store_stats()["x509_ca"]
    both = context_of(ca_file=authority.file, include_system_ca_certs_pool=True).cert_store_stats()["x509_ca"]
    assert own == 1
    assert both >= own + system_authorities().count(b"BEGIN CERTIFICATE") - 5


def test_a_key_with_a_passphrase_is_refused_without_asking_on_the_terminal(tmp_path):
    """OpenSSL would prompt; the error says what to do instead."""
    identity = Authority(tmp_path).issue("client")
    key = serialization.load_pem_private_key(identity.key, None)
    protected = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    with pytest.raises(ComponentError, match="protected by a passphrase"):
        context_of(cert_file=identity.cert_file, key_pem=Secret(protected.decode()))


def test_a_key_of_another_certificate_is_refused(tmp_path):
    """The mismatch is found at the start."""
    authority = Authority(tmp_path)
    one, other = authority.issue("one"), authority.issue("other")
    with pytest.raises(ComponentError, match="tls: the certificates or options do not fit"):
        context_of(cert_file=one.cert_file, key_file=other.key_file)


def test_a_file_that_is_no_pem_is_named(tmp_path):
    """DER or nonsense is refused with the option's name."""
    path = tmp_path / "ca.der"
    path.write_bytes(b"\x30\x82")
    with pytest.raises(ComponentError, match=r"tls\.ca_file .* holds no PEM text"):
        context_of(ca_file=str(path))


def test_keys_are_not_shown_by_repr(tmp_path):
    """A traceback with local values does not give the key away."""
    identity = Authority(tmp_path).issue("client")
    certificates = read_certificates(TlsOptions(cert_file=identity.cert_file, key_file=identity.key_file))
    assert "PRIVATE" not in repr(certificates)
