"""klog: the header of glog and of Kubernetes' klog, `E1123 08:44:01.123456    1234 file.go:123] message`.

The message may be structured, as klog writes it since 2020: `"message" err="…" key="value"`. Severity, the place in the code,
the thread and the error become the event's; the year and zone of the time are not in the header, so the time is left out.
"""

from __future__ import annotations

import re
from typing import Final

from tapio_otel.classification import Classification, Classifier
from tapio_otel.classifiers.logfmt import pairs
from tapio_otel.classifiers.title import one_line
from tapio_otel.classifiers.written_error import error_attributes
from tapio_otel.event import AttributeValue, Severity, UnifiedEvent

_TIME: Final = r"(?:20[0-9]{2})?[01][0-9][0-3][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]+"
TRIGGER: Final = rf"^[IWEF]{_TIME} +[0-9]+ [^ \]]+:[0-9]+\]"
_HEADER: Final = re.compile(rf"([IWEF]){_TIME} {{1,40}}([0-9]{{1,10}}) ([^\s\]]{{1,250}}):([0-9]{{1,7}})\] ?", re.ASCII).match
_QUOTED: Final = re.compile(r'"((?:[^"\\\n\t]++|\\")+)"(?=[ \n]|\Z)').match
"""A structured message in which nothing but quotes is escaped, which is nearly every one."""
_SEVERITIES: Final = {"I": Severity.INFO, "W": Severity.WARNING, "E": Severity.ERROR, "F": Severity.CRITICAL}


def classify(text: str, event: UnifiedEvent) -> Classification | None:  # noqa: ARG001
    """Return what the header and the fields behind the message say."""
    header = _HEADER(text)
    if header is None:
        return None
    letter, thread, file, line = header.groups()
    attributes: dict[str, AttributeValue] = {"code.file.path": file, "code.line.number": int(line), "tid": int(thread)}
    end = header.end()
    if text.startswith('"', end):
        return Classification(_SEVERITIES[letter], "", "", _structured(text, end, attributes), attributes)
    return Classification(_SEVERITIES[letter], "", "", one_line(text[end:]), attributes)


def _structured(text: str, begin: int, attributes: dict[str, AttributeValue]) -> str:
    """Return the message without its quotes, and add the error that the fields behind it tell to the attributes."""
    quoted = _QUOTED(text, begin)
    if quoted is not None:
        fields = text[quoted.end() :]
        if not _may_tell_an_error(fields):
            return one_line(quoted[1].replace('\\"', '"'))
    message, rest = _parted(text[begin:])
    attributes |= error_attributes(rest)
    return one_line(message)


def _may_tell_an_error(fields: str) -> bool:
    """Return whether a part is there that the name of every field with an error has."""
    return "err" in fields or "exc" in fields or "stack" in fields or "trace" in fields or "thrown" in fields or "@x" in fields


def _parted(message: str) -> tuple[str, dict[str, str]]:
    """Return a structured message without its quotes, and the fields behind it; a message that is none unchanged."""
    # The quoted text is read as the value of a field, which is what it looks like to a reader of fields.
    fields = pairs("msg=" + message.partition("\n")[0])
    if fields.pairs and fields.pairs[0][0] == "msg" and fields.pairs[0][1]:
        return fields.pairs[0][1], dict(fields.pairs[1:])
    return message, {}


CLASSIFIER: Final = Classifier(classify, TRIGGER, structured=True)
