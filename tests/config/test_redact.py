"""The configuration as `tapio print-config` shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.config.located import plain
from tapio_otel.config.redact import dump_yaml, redact
from tapio_otel.config.secrecy import MASK, is_secret_name, mask_text
from tapio_otel.config.source import read
from tests.config.sample import BASE, SERVICE, loaded

SECRETS = f"""
receivers:
  journald:
    directory: ${{env:DIRECTORY}}
exporters:
  otlp/token:
    endpoint: https://user:hunter22@example.org:4317/v1?api_key=hunter22&x=1
    timeout: 7s
    tls:
      ca_file: /etc/ca.pem
      key_pem: |
        -----BEGIN PRIVATE KEY-----
        hunter22
        -----END PRIVATE KEY-----
    headers:
      x-tenant: hunter22
      authorization: Bearer ${{env:TOKEN}}
      x-number: ${{env:NUMBER}}
  otlp/variable:
    endpoint: ${{env:SECRET_ENDPOINT}}
  debug:
    pin: hunter22
{SERVICE}"""
ENV = {"TOKEN": "hunter22", "NUMBER": "22334455", "SECRET_ENDPOINT": "hunter22", "DIRECTORY": "/run"}


def test_secrets_are_replaced_and_the_rest_stays_as_written() -> None:
    """By name, by type, by origin and by what the text looks like; keys keep their order."""
    shown = redact(loaded(SECRETS, env=ENV))
    assert shown == {
        "receivers": {"journald": {"directory": "/run"}},
        "exporters": {
            "otlp/token": {
                "endpoint": f"https://{MASK}@example.org:4317/v1?api_key={MASK}&x=1",
                "timeout": "7s",
                "tls": {"ca_file": "/etc/ca.pem", "key_pem": MASK},
                "headers": {"x-tenant": MASK, "authorization": MASK, "x-number": MASK},
            },
            "otlp/variable": {"endpoint": MASK},
            "debug": {"pin": MASK},
        },
        "service": {"pipelines": {"logs": {"receivers": ["journald"], "exporters": ["debug"]}}},
    }
    text = dump_yaml(shown)
    assert "hunter22" not in text
    assert "22334455" not in text
    assert list(shown) == ["receivers", "exporters", "service"]
    assert list(shown["exporters"]) == ["otlp/token", "otlp/variable", "debug"]


def test_what_is_printed_can_be_loaded_again() -> None:
    """It is YAML that means the same."""
    printed = dump_yaml(redact(loaded(BASE, overrides=["receivers.journald.directory='0x10'", "service.state_dir=/a$${b}"])))
    again = loaded(printed)
    assert again.merged == loaded(BASE, overrides=["receivers.journald.directory='0x10'", "service.state_dir=/a$${b}"]).merged
    assert again.service.state_dir == Path("/a${b}")


def test_a_configuration_shows_no_secret_in_its_representation() -> None:
    """It may end up in a log or a traceback."""
    assert "hunter22" not in repr(loaded(SECRETS, env=ENV))


def test_the_members_of_a_secret_list_are_hidden() -> None:
    """A variable may hold several secrets."""
    configuration = loaded(BASE, overrides=["receivers.journald.units=${MY_TOKENS}"], env={"MY_TOKENS": "[hunter22, hunter23]"})
    assert redact(configuration)["receivers"]["journald"] == {"units": [MASK, MASK]}


@pytest.mark.parametrize(
    "name",
    ["token", "api_key", "apiKey", "API-KEY", "x-api-key", "DB_PASSWORD", "passwd", "client_secret", "authorization",
     "Proxy-Authorization", "aws_secret_access_key", "credentials", "private_key", "key_pem", "bearer_token", "passphrase",
     "OTEL_EXPORTER_OTLP_HEADERS", "x-honeycomb-team-key", "SIGNING_KEY", "apikey", "cookie"],
)  # fmt: skip
def test_names_that_tell_of_a_secret(name: str) -> None:
    """In the spellings that options, headers and variables have."""
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    ["key_file", "token_file", "password_path", "secret_name", "token_url", "keyboard", "key", "monkey", "endpoint", "hash_key",
     "tokenizer", "header", "", "compass", "bypass_rate", "read_header_timeout"],
)  # fmt: skip
def test_names_that_do_not(name: str) -> None:
    """A file that holds a secret is none itself."""
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://u:p@h/x", f"https://{MASK}@h/x"),
        ("https://token@h", f"https://{MASK}@h"),
        ("see https://u:p@ss@h:1/x and http://h/", f"see https://{MASK}@h:1/x and http://h/"),
        ("https://u:p/w@h/x", f"https://{MASK}@h/x"),
        ("https://u:p?w#z@h/x", f"https://{MASK}@h/x"),
        ("https://h:80/?mail=a@b", "https://h:80/?mail=a@b"),
        ("https://h/?next=http://u:p@h", f"https://h/?{MASK}"),
        ("https://h/?token=abc&a=b#sig=x", f"https://h/?token={MASK}&a=b#sig={MASK}"),
        ("https://h/?key=abc", f"https://h/?key={MASK}"),
        ("user:pw@host:4317", f"user:{MASK}@host:4317"),
        ("[::1]:4317", "[::1]:4317"),
        ("postgres://u:p@/db?host=/x", f"postgres://{MASK}@/db?host=/x"),
        ("Bearer abcdefgh", f"Bearer {MASK}"),
        ("authorization=Basic dXNlcjpwdw==", f"authorization=Basic {MASK}"),
        ("the token expected here", "the token expected here"),
        ("x -----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY----- y", f"x {MASK} y"),
        ("-----BEGIN PRIVATE KEY-----\ncut off", MASK),
        ("example.org:4317", "example.org:4317"),
        ("10:30", "10:30"),
    ],
)
def test_secrets_inside_a_text_are_masked(text: str, expected: str) -> None:
    """Rather too much than too little, but hosts and ports stay readable."""
    assert mask_text(text) == expected


@pytest.mark.parametrize(
    "text", ["=a:" * 50_000, "http://" * 50_000, "-----BEGIN " * 50_000, "?a" * 50_000, "bearer " * 50_000]
)
def test_masking_a_long_text_comes_to_an_end(text: str) -> None:
    """No search takes time that grows with the square of the length."""
    mask_text(text)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30) | st.from_regex(
    r"[-+0-9.eEoxaf_:~$\{\}# ]{1,8}", fullmatch=True
)  # fmt: skip
TREES = st.dictionaries(
    st.text(max_size=10),
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=10,
    ),
    min_size=1,
    max_size=5,
)


@given(TREES)
def test_dumped_yaml_is_read_back_to_the_same(tree: dict[str, Any]) -> None:
    """Whatever strings look like, and with no substitution taking place."""
    reading = read([("f", dump_yaml(tree))], [], {})
    assert reading.problems == []
    assert reading.root is not None
    got = plain(reading.root)
    assert got == tree
    assert repr(got) == repr(tree)
