"""Names in a rule file that nothing that ships has are warned of, and refuse nothing."""

from __future__ import annotations

import logging
from importlib.resources import files
from pathlib import Path

import pytest

from tapio_otel.correlation.known_names import known_sources, known_types
from tapio_otel.correlation.library import load_rules
from tapio_otel.correlation.rule_file import RuleFile

TEXT = """\
rules:
  - name: mine
    title: x
    description: x
    window: 1m
    sources: [{rule}]
    facts:
      a:
        event_type: {type}
        source: {fact}
    confidence: 0.5
"""


def read(tmp_path: Path, rule: str = "ebpf", type: str = "oom_kill", fact: str = "journald") -> RuleFile:
    """Return a file that asks for these names."""
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT.format(rule=rule, type=type, fact=fact))
    return RuleFile(path)


@pytest.mark.parametrize(
    ("names", "line", "message"),
    [
        ({"rule": "journal"}, 6, "sources: nothing that ships has the source 'journal'; did you mean 'journald'?"),
        (
            {"fact": "kubernets"},
            10,
            "facts.a.source: nothing that ships has the source 'kubernets'; did you mean 'kubernetes'?",
        ),
        ({"type": "[oom_kil, log]"}, 9, "has the type of event 'oom_kil'; did you mean 'oom_kill'?"),
        ({"type": "wombat_seen_dancing"}, 9, "'wombat_seen_dancing'; a plugin or a pattern must bring it"),
    ],
)
def test_a_name_that_nobody_has_is_warned_of_with_its_line(tmp_path, caplog, names, line, message):
    """The rule is taken all the same: a plugin may bring the name."""
    with caplog.at_level(logging.WARNING):
        file = read(tmp_path, **names)
    (warning,) = file.warnings
    assert (warning.line, warning.severity, file.problems, len(file.rules)) == (line, "warning", [], 1)
    assert message in str(warning)
    assert str(warning) in caplog.text


def test_names_that_are_known_are_not_warned_of(tmp_path):
    """Nor is any of the shipped rules."""
    assert read(tmp_path).warnings == []
    shipped = Path(str(files("tapio_otel.config") / "rules"))
    assert [str(warning) for path in shipped.glob("*.yaml") for warning in RuleFile(path).warnings] == []


def test_what_is_known_has_what_receivers_and_patterns_tell():
    """And every type that a class of facts has."""
    assert {"log", "oom_kill", "pod_state", "dns_resolution_failed", "journal_gap", "certificate_untrusted"} <= known_types()
    assert known_sources() == {"ebpf", "systemd", "journald", "kubernetes", "correlation"}
    assert load_rules(("builtin",))
