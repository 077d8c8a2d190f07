"""The JSON Schema of the configuration file."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tapio_otel.config.schema import json_schema
from tests.config.sample import BASE, COMPONENTS
from tests.config.test_loader import COLLECTOR_BLOCK

SCHEMA = json_schema(COMPONENTS)
VALIDATOR = Draft202012Validator(SCHEMA)


def test_the_schema_is_valid_itself() -> None:
    """By the meta-schema of its draft."""
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize(
    "text",
    [
        BASE,
        COLLECTOR_BLOCK.replace("INFO", "info"),
        "receivers:\n  journald/boot:\n    poll_interval: 1m30s\n    max_message_size: 16MiB\n    priority: ${env:P}\n",
        "receivers:\n  journald: {poll_interval: 0, max_message_size: 5, units: '${env:UNITS}', follow: '${F}'}\n",
        "receivers: ${file:receivers.yaml}\n",
        "exporters:\n  otlp:\n    tls: ${file:tls.yaml}\n    headers: {a: b}\n    timeout: ${env:T:-5s}\n",
        "service: {state_dir: /x, shutdown_timeout: 10s}\n",
        "receivers:\nservice:\n",
        "receivers: {journald: {fields: all}}",
        "receivers: {journald: {fields: [A, B]}}",
    ],
)
def test_good_configurations_are_accepted(text: str) -> None:
    """Substitutions may stand for anything."""
    assert list(VALIDATOR.iter_errors(yaml.safe_load(text))) == []


@pytest.mark.parametrize(
    "text",
    [
        "recievers: {}",
        "connectors: {}",
        "receivers: {jurnald: }",
        "receivers: {journald/: }",
        "receivers: {journald: {start_at: begining}}",
        "receivers: {journald: {folow: true}}",
        "receivers: {journald: {poll_interval: 5}}",
        "receivers: {journald: {poll_interval: 5 s}}",
        "receivers: {journald: {max_message_size: 16XB}}",
        "receivers: {journald: {priority: 9}}",
        "receivers: {journald: {priority: high}}",
        "receivers: {journald: {units: ssh}}",
        "exporters: {otlp: {tls: {insecur: true}}}",
        "exporters: {otlp: [a]}",
        "service: {pipelines: {traces: {}}}",
        "service: {pipelines: {logs: {receivers: [A B]}}}",
        "service: {pipelines: {logs: {reciever: []}}}",
        "service: {telemetry: {logs: {encoding: xml}}}",
    ],
)
def test_bad_configurations_are_refused(text: str) -> None:
    """An editor underlines them."""
    assert list(VALIDATOR.iter_errors(yaml.safe_load(text)))


def _definition(name: str) -> dict[str, Any]:
    found: dict[str, Any] = SCHEMA["$defs"][name]
    return found


def test_options_have_descriptions_and_defaults_in_the_form_they_are_written() -> None:
    """An editor shows them; durations have their unit."""
    options = _definition("JournalConfig")["properties"]
    assert options["poll_interval"]["description"] == "Pause between looks"
    assert options["poll_interval"]["default"] == "200ms"
    assert options["start_at"]["default"] == "end"
    assert _definition("OtlpConfig")["properties"]["retry_on_failure"]["description"] == "Retries"
    assert all("description" in option for option in options.values())


def test_component_names_can_be_completed_and_described() -> None:
    """The bare type is a property, ids with a name match a pattern."""
    receivers = SCHEMA["properties"]["receivers"]["anyOf"][0]
    assert receivers["properties"]["journald"]["description"] == "Read the journal of a node."
    assert list(receivers["patternProperties"]) == [r"^journald(/[^\s/]+)?$"]


def test_no_internal_keyword_is_left() -> None:
    """Editors warn about keywords they do not know."""
    assert "x-unit" not in str(SCHEMA)


def test_secrets_have_no_default_to_show() -> None:
    """Not even a masked one."""
    assert "*****" not in str(SCHEMA)
