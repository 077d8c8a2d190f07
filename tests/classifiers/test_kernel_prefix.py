"""kernel_prefix: priorities in front of a line."""

from __future__ import annotations

import pytest

from tapio_otel.event import Severity
from tests.classifiers.support import ask


@pytest.mark.parametrize(
    ("text", "severity", "title", "facility"),
    [
        ("<0>node is going down", Severity.EMERGENCY, "node is going down", None),
        ("<3>disk failed", Severity.ERROR, "disk failed", None),
        ("<7> detail", Severity.DEBUG, "detail", None),
        ("<13>Nov 23 08:00:00 node1 su: x", Severity.NOTICE, "Nov 23 08:00:00 node1 su: x", 1),
        ("<191>x", Severity.DEBUG, "x", 23),
        ("<4>", Severity.WARNING, "", None),
    ],
)
def test_the_number_is_facility_and_severity(text, severity, title, facility):
    """The three lowest bits are the severity; the title has no prefix."""
    said = ask("kernel_prefix", text)
    assert (said.severity, said.title, said.attributes.get("syslog_facility")) == (severity, title, facility)


@pytest.mark.parametrize("text", ["<192>x", "<03>x", "<>x", "<a>x", "<1234>x", "a <3>x", "<3 x", "<12)", "<٣>x", "<", ""])
def test_other_brackets_are_no_priority(text):
    """Only 0 to 191, at the beginning, without leading zeros."""
    assert ask("kernel_prefix", text) is None
