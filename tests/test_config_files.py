"""Every configuration that ships or is documented is one that the agent accepts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tapio_otel.config.loader import load
from tapio_otel.registry import Registry

CHECKOUT = Path(__file__).parents[1]
SHIPPED = sorted([*CHECKOUT.glob("config/*.yaml"), *CHECKOUT.glob("tapio_otel/config/*.yaml")])
DOCUMENTS = sorted([*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md"), *CHECKOUT.glob("examples/**/*.md")])

# A whole configuration stands in a block of its own; a fragment is completed with the rest of this one.
FRAME = """\
receivers: {journald: {}}
exporters: {debug: {}}
service: {pipelines: {logs: {receivers: [journald], exporters: [debug]}}}
"""
BLOCK = re.compile(r"^(?P<indent> *)```ya?ml *(?P<info>[^\n]*)\n(?P<text>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL)


def blocks(document: Path) -> list[tuple[str, str]]:
    """Return (where, text) of every YAML block that is the agent's own configuration.

    A block of another program's configuration is marked so: ```yaml title="otel-collector".
    """
    text = document.read_text("utf-8")
    found = []
    for match in BLOCK.finditer(text):
        if "title=" not in match["info"]:
            line = text.count("\n", 0, match.start()) + 2
            found.append((f"{document.relative_to(CHECKOUT)}:{line}", match["text"]))
    return found


DOCUMENTED = [block for document in DOCUMENTS for block in blocks(document)]


@pytest.fixture(scope="module")
def registry() -> Registry:
    """Load the components once."""
    return Registry.load()


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: str(file.relative_to(CHECKOUT)))
def test_a_shipped_configuration_is_valid(file, registry, monkeypatch):
    """Each file in config/ loads without an error or a warning, with nothing set in the environment."""
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert not load([file], [], registry).warnings


@pytest.mark.parametrize(("where", "text"), DOCUMENTED, ids=[where for where, _ in DOCUMENTED])
def test_a_documented_configuration_is_valid(where, text, registry):
    """Each YAML block in the documentation loads, a fragment together with the smallest rest that makes it whole."""
    whole = re.search(r"^service:", text, re.MULTILINE)
    load([(where, text)] if whole else [("frame", FRAME), (where, text)], [], registry)


def test_there_is_something_to_check():
    """The patterns above find files and blocks, so that this module cannot pass on nothing."""
    assert {file.name for file in SHIPPED} >= {"node.yaml", "sidecar.yaml", "default.yaml"}
    assert DOCUMENTED
