"""klog: the header of glog and of Kubernetes' klog, `E1123 08:44:01.123456    1234 file.go:123] message`.

The message may be structured, as klog writes it since 2020: `"message" err="…" key="value"`. Severity, the place in the code,
the thread and the error become the event's; the year and zone of the time are not in the header, so the time is left out.
"""

from __future__ import annotations

from typing import Final

from tapio_otel.classification import Classification, Classifier
from tapio_otel.classifiers.expression import one_line
from tapio_otel.classifiers.logfmt import pairs
from tapio_otel.classifiers.written_error import error_attributes
from tapio_otel.event import AttributeValue, Severity, UnifiedEvent

TRIGGER: Final = r"^[IWEF](?:20[0-9]{2})?[01][0-9][0-3][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{1,9} "
_SEVERITIES: Final = {"I": Severity.INFO, "W": Severity.WARNING, "E": Severity.ERROR, "F": Severity.CRITICAL}
_HEADER_LENGTH: Final = 300


def classify(text: str, event: UnifiedEvent) -> Classification | None:  # noqa: ARG001
    """Return what the header and the fields behind the message say."""
    header, bracket, message = text.partition("]")
    parts = header[:_HEADER_LENGTH].split()
    if not bracket or len(parts) != 4 or not _is_time(parts[0], parts[1]) or text[0] not in _SEVERITIES:
        return None
    thread, (file, _, line) = parts[2], parts[3].rpartition(":")
    if not (file and _is_number(thread, 10) and _is_number(line, 7)):
        return None
    attributes: dict[str, AttributeValue] = {"code.file.path": file, "code.line.number": int(line), "tid": int(thread)}
    message = message.removeprefix(" ")
    if message.startswith('"'):
        quoted, rest = _quoted(message)
        message = quoted
        attributes |= error_attributes(rest)
    return Classification(_SEVERITIES[text[0]], title=one_line(message), attributes=attributes)


def _quoted(message: str) -> tuple[str, dict[str, str]]:
    """Return a structured message without its quotes, and the fields behind it; a message that is none unchanged."""
    # The quoted text is read as the value of a field, which is what it looks like to a reader of fields.
    fields = pairs("msg=" + message.partition("\n")[0])
    if fields.pairs and fields.pairs[0][0] == "msg" and fields.pairs[0][1]:
        return fields.pairs[0][1], dict(fields.pairs[1:])
    return message, {}


def _is_time(day: str, clock: str) -> bool:
    is_day = (len(day) == 5 or (len(day) == 9 and day[1:3] == "20")) and _is_number(day[1:], 8)
    if not is_day or day[-4] not in "01" or day[-2] not in "0123":
        return False
    digits = clock.replace(":", "", 2).replace(".", "", 1)
    return (clock[2:3], clock[5:6], clock[8:9]) == (":", ":", ".") and len(digits) > 6 and _is_number(digits, 15)


def _is_number(text: str, most_digits: int) -> bool:
    return len(text) <= most_digits and text.isascii() and text.isdigit()


CLASSIFIER: Final = Classifier(classify, TRIGGER)
