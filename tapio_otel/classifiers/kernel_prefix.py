"""kernel_prefix: `<3>disk failed`, the priority prefix of the kernel, of sd-daemon and of syslog's wire format.

The number is facility times eight plus severity (RFC 5424, section 6.2.1; sd-daemon(3) uses the severity alone).
"""

from __future__ import annotations

from typing import Final

from tapio_otel.classification import Classification, Classifier
from tapio_otel.classifiers.expression import one_line
from tapio_otel.classifiers.severity_name import SYSLOG
from tapio_otel.event import AttributeValue, UnifiedEvent

TRIGGER: Final = r"^<[0-9]{1,3}>"
_MOST: Final = 191  # 23 facilities, the last one local7


def classify(text: str, event: UnifiedEvent) -> Classification | None:  # noqa: ARG001
    """Return severity, facility (where it is not the kernel's) and the title without the prefix."""
    digits, bracket, _ = text[1:5].partition(">")
    if text[:1] != "<" or not bracket:
        return None
    if not (digits.isascii() and digits.isdigit()) or int(digits) > _MOST or (len(digits) > 1 and digits[0] == "0"):
        return None
    facility, severity = divmod(int(digits), 8)
    attributes: dict[str, AttributeValue] = {"syslog_facility": facility} if facility else {}
    return Classification(SYSLOG[severity], title=one_line(text[len(digits) + 2 :]), attributes=attributes)


CLASSIFIER: Final = Classifier(classify, TRIGGER)
