"""Whatever is thrown at the loader, it answers with a configuration or with problems."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tapio_otel.config import ConfigError
from tapio_otel.config.compose import LOADER, compose
from tapio_otel.config.loader import load
from tapio_otel.config.located import plain
from tapio_otel.config.redact import dump_yaml, redact
from tapio_otel.config.scalars import resolve
from tests.config.sample import BASE, Registry

_NAMES = """
receivers processors exporters extensions service pipelines logs journald debug otlp dedup headers tls timeout endpoint start_at
follow units matches fields priority ${env:A} ${B} $$ & * &a *a << : - [ ] { } , ? | > ' " # --- ... ! !!int !!str true null 1
1.5 5s ~ % @ ` \\ é
"""
WORDS = st.sampled_from([*_NAMES.split(), "\t", "\n", "\x00", "\ufeff", " "])
YAML_LIKE = st.lists(WORDS | st.just("\n  ") | st.just(": ") | st.just("\n"), max_size=40).map("".join)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=15,
)
SHAPED = st.fixed_dictionaries(
    {},
    optional={
        "receivers": st.dictionaries(st.sampled_from(["journald", "journald/a", "x"]), VALUES) | VALUES,
        "exporters": st.dictionaries(
            st.sampled_from(["debug", "otlp"]),
            st.dictionaries(st.sampled_from(["tls", "headers", "timeout", "endpoint", "pin", "level", "code"]), VALUES),
        ),
        "service": st.fixed_dictionaries(
            {},
            optional={"pipelines": st.dictionaries(st.sampled_from(["logs", "traces", "logs/"]), VALUES), "telemetry": VALUES},
        ),
    },
)


def _attempt(*texts: str, overrides: tuple[str, ...] = (), env: dict[str, str] | None = None) -> None:
    with contextlib.suppress(ConfigError):
        configuration = load([(str(index), text) for index, text in enumerate(texts)], overrides, Registry(), env or {})
        dump_yaml(redact(configuration))


@given(st.text() | YAML_LIKE)
@example("\udcff")
@example("a: &a {b: *a}")
@example("? {a: b}\n: c")
def test_any_text_gives_a_configuration_or_problems(text: str) -> None:
    """Nothing but ConfigError is ever raised."""
    _attempt(text)
    _attempt(BASE, text)


@given(SHAPED)
def test_any_values_give_a_configuration_or_problems(tree: dict[str, Any]) -> None:
    """Values of the wrong type in the right places."""
    _attempt(yaml.safe_dump(tree, sort_keys=False))


@given(st.text(), st.text(), st.text())
def test_any_override_and_variable_give_a_configuration_or_problems(path: str, value: str, variable: str) -> None:
    """The command line and the environment are input too."""
    _attempt(BASE, overrides=(f"{path}={value}", path, "receivers.journald.units=['${A}']"), env={"A": variable})
    _attempt(BASE, overrides=("receivers.journald.directory=${A}", "exporters.debug.code=${A}${B:-x}"), env={"A": variable})


@given(st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_in_a_file_give_a_configuration_or_problems(tmp_path: Path, content: bytes) -> None:
    """Whatever the encoding."""
    (tmp_path / "f").write_bytes(content)
    with contextlib.suppress(ConfigError):
        load([tmp_path / "f"], [], Registry(), {})


@given((st.text() | YAML_LIKE).filter(lambda text: resolve(text.strip()) is not None))
@example("#comment")
@example("::")
@example("--- ")
@example("\x00\x85")
def test_a_substituted_text_arrives_unchanged(secret: str) -> None:
    """A password of any characters is not damaged on its way to an option that wants text; only null words mean nothing."""
    configuration = load([("f", BASE)], ["exporters.debug.pin=${PIN}"], Registry(), {"PIN": secret})
    (debug,) = configuration.exporters.values()
    assert debug.pin.get_secret_value() == secret  # type: ignore[attr-defined]
    assert configuration.merged["exporters"]["debug"]["pin"] == secret
    assert redact(configuration)["exporters"]["debug"]["pin"] == "[REDACTED]"


def _pyyaml_shape(node: yaml.Node | None) -> Any:
    if isinstance(node, yaml.MappingNode):
        return {key.value: _pyyaml_shape(value) for key, value in node.value}
    return [_pyyaml_shape(item) for item in node.value] if isinstance(node, yaml.SequenceNode) else None


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shape(child) for key, child in value.items()}
    return [_shape(child) for child in value] if isinstance(value, list) else None


@given(YAML_LIKE.filter(lambda text: "<<" not in text))
def test_what_is_composed_agrees_with_pyyaml(text: str) -> None:
    """What is read without a problem has the shape that PyYAML gives it: only the reading of words differs."""
    composed = compose(text, "f")
    if composed.root is not None and not composed.problems:
        assert _shape(plain(composed.root)) == _pyyaml_shape(yaml.compose(text, Loader=LOADER))
