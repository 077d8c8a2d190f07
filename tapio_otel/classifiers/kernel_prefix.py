"""kernel_prefix: `<3>disk failed`, the priority prefix of the kernel, of sd-daemon and of syslog's wire format.

The number is facility times eight plus severity (RFC 5424, section 6.2.1; sd-daemon(3) uses the severity alone).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tapio_otel.classification import Classification, Classifier
from tapio_otel.classifiers.severity_name import SYSLOG
from tapio_otel.classifiers.title import one_line
from tapio_otel.event import AttributeValue, UnifiedEvent

TRIGGER: Final = r"^<(?:0|[1-9][0-9]?[0-9]?)>"
_PREFIX: Final = re.compile(r"<(0|[1-9][0-9]?[0-9]?)>").match
_MOST: Final = 191  # 23 facilities, the last one local7
_FACILITIES: Final[tuple[Mapping[str, AttributeValue], ...]] = (
    MappingProxyType({}),
    *(MappingProxyType({"syslog_facility": facility}) for facility in range(1, _MOST // 8 + 1)),
)
"""What the event gets, by facility: nothing where it is the kernel's."""


def classify(text: str, event: UnifiedEvent) -> Classification | None:  # noqa: ARG001
    """Return severity, facility (where it is not the kernel's) and the title without the prefix."""
    prefix = _PREFIX(text)
    if prefix is None or (number := int(prefix[1])) > _MOST:
        return None
    return Classification(SYSLOG[number % 8], "", "", one_line(text[prefix.end() :]), _FACILITIES[number // 8])


CLASSIFIER: Final = Classifier(classify, TRIGGER)
