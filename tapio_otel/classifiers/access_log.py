r"""access_log: lines of HTTP access logs, with the severity that the status gives them.

Read are the common and combined log formats (Apache with and without virtual host, nginx, Traefik, gunicorn, Python's
http.server), Envoy's and Istio's default format, HAProxy's HTTP log and uvicorn's. A server's failure (5xx) is an error and of
type `http_server_error`, 429 a warning, another 4xx a notice, everything else info.
"""

from __future__ import annotations

import re
from typing import Final

from tapio_otel.classification import Classification, Classifier
from tapio_otel.classifiers.http_request import CATEGORY, FAILED, METHODS, Request
from tapio_otel.classifiers.title import one_line
from tapio_otel.event import AttributeValue, Severity, UnifiedEvent

TRIGGER: Final = r'" [1-5][0-9][0-9](?:[ ,]|$)|(?:/[-+]?[0-9]{1,10}){4} [1-5][0-9][0-9] \+?[0-9]+ '
_LONGEST: Final = 8 * 1024
_MOST_PARTS: Final = 64
_STATUSES: Final = range(100, 600)
_HAPROXY_TIMERS: Final = 5
_LONGEST_AGENT: Final = 512
_LONGEST_TITLE: Final = 200
_MOST_SIZE_DIGITS: Final = 18
_PLAIN: Final = re.compile(
    r'([^\s"\[]++) [^\s"\[]++ [^\s"\[]++ \[[^"\[\]\n]{9,40}+\] "([A-Z]++) (/[^\s"\\?]*+)(?:\?[^\s"\\]*+)?(?: [^"\\\n]*+)?"'
    r' ([1-5][0-9][0-9]) ([0-9]{1,18}+|-)(?: "[^"\\\n]*+" "([^"\\\n]*+)"|(?=\n|\Z))',
    re.ASCII,
).match
"""A line in the common or combined format where nothing is out of the ordinary, which is nearly every one."""
_UNKNOWN: Final = frozenset(("", "-"))
_SEVERITIES: Final[dict[str, Severity]] = {str(status): Request(status).severity for status in _STATUSES}


def classify(text: str, event: UnifiedEvent) -> Classification | None:  # noqa: ARG001
    """Return severity, title and attributes of the request that a line tells; None for a text that is no such line."""
    plain = _PLAIN(text, 0, _LONGEST)
    if plain is not None:
        client, method, path, status, size, agent = plain.groups("")
        title = f"{method} {path} {status}"
        if method in METHODS and len(title) <= _LONGEST_TITLE and plain.end() < _LONGEST:
            return _told(_SEVERITIES[status], title, int(status), method, path, client, agent, size)
    return _classify(text)


def _told(
    severity: Severity, title: str, status: int, method: str, path: str, client: str, agent: str, size: str
) -> Classification:
    attributes: dict[str, AttributeValue] = {"http.response.status_code": status}
    if method:
        attributes["http.request.method"] = method
    if path:
        attributes["url.path"] = path
    if client not in _UNKNOWN:
        attributes["client.address"] = client
    if agent not in _UNKNOWN:
        attributes["user_agent.original"] = agent[:_LONGEST_AGENT]
    if len(size) <= _MOST_SIZE_DIGITS and size.isascii() and size.isdigit():
        attributes["http.response.body.size"] = int(size)
    return Classification(severity, FAILED if status >= 500 else "", CATEGORY, title, attributes)


def _classify(text: str) -> Classification | None:
    """Read a line of any of the formats, whatever it holds."""
    quote = text.find('"')
    if not text.endswith(("] ", " - "), 0, quote) and text.find(" [", 0, quote) < 0:
        return None
    parts = _parts(text[:_LONGEST].partition("\n")[0])
    if len(parts) < 3 or parts[0][-1:] != " ":
        return None
    request = (_by_time(parts) if parts[0].endswith("] ") else _uvicorn(parts)) or _haproxy(parts)
    if request is None:
        return None
    status, method, _, client, agent, size = request
    path = request.path
    title = one_line(f"{method} {path} {status}" if path else f"{method} {status}" if method else str(status))
    return _told(_SEVERITIES[str(status)], title, status, method, "" if path == "-" else path, client, agent, size)


def _parts(line: str) -> list[str]:
    """Return what is outside of quotes and what is inside, in turn; an escaped quote ends nothing."""
    if "\\" not in line:
        return line.split('"', _MOST_PARTS)
    parts: list[str] = []
    for piece in line.split('"', _MOST_PARTS):
        if parts and parts[-1].endswith("\\"):
            parts[-1] = f'{parts[-1]}"{piece}'
        else:
            parts.append(piece)
    return parts


def _by_time(parts: list[str]) -> Request | None:
    """Return the request of a line with the time in brackets before it: Envoy's begins with it."""
    opening = parts[0].find("[")
    if not 12 <= len(parts[0]) - opening <= 43:
        return None
    return _envoy(parts) if opening == 0 else _common(parts, parts[0][:opening].split())


def _common(parts: list[str], names: list[str]) -> Request | None:
    said = parts[2].split()
    if len(names) < 3 or len(said) < 2 or not (said[1] == "-" or _is_number(said[1])):
        return None
    # `host client - user`, else `client - user`, of which the user may have blanks.
    client = names[1] if len(names) > 3 and names[2] == "-" != names[1] else names[0]
    return _request(said[0], parts[1], client, parts[5] if len(parts) > 6 else "", said[1])


def _envoy(parts: list[str]) -> Request | None:
    said = parts[2].split()
    # Behind status and flags Istio has two words and a quoted one before the numbers.
    numbers, place = (said[2:], 3) if len(said) > 4 or len(parts) < 6 else (parts[4].split(), 5)
    if len(numbers) < 3 or not (_is_number(numbers[0]) and _is_number(numbers[1]) and _is_number(numbers[2])):
        return None
    client, agent = (parts[place + step] if len(parts) > place + step else "" for step in (0, 2))
    return _request(said[0], parts[1], client.partition(",")[0], agent, numbers[1])


def _uvicorn(parts: list[str]) -> Request | None:
    names, said = parts[0].removeprefix("INFO:").split(), parts[2].split()
    if len(names) != 2 or names[1] != "-" or not _is_number(names[0].rpartition(":")[2]) or not said:
        return None
    request = _request(said[0], parts[1], names[0].rpartition(":")[0])
    return request if request and request.method else None


def _haproxy(parts: list[str]) -> Request | None:
    """Return the request of HAProxy's line, which has it at the end: client, time, names, timers, status, bytes before."""
    words = parts[0].split()
    if words and words[0].endswith("]:"):  # the program's name, where the line is syslog's
        del words[0]
    if len(words) < 7 or words[1][:1] != "[" or words[4].count("/") != _HAPROXY_TIMERS - 1:
        return None
    client, _, port = words[0].rpartition(":")
    return _request(words[5], parts[1], client, "", words[6].lstrip("+")) if _is_number(port) else None


def _request(status: str, line: str, client: str, agent: str = "", size: str = "") -> Request | None:
    if len(status) != 3 or not _is_number(status) or int(status) not in _STATUSES:
        return None
    method, _, rest = line.partition(" ")
    target = rest.partition(" ")[0] if method in METHODS else ""
    return Request(int(status), method if target else "", target, client, agent, size)


def _is_number(text: str) -> bool:
    return len(text) <= 18 and text.isascii() and text.isdigit()


CLASSIFIER: Final = Classifier(classify, TRIGGER)
