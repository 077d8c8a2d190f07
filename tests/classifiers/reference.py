"""What json and logfmt are to find, said as simply as possible and without regard to cost.

Nothing is planned or kept here: a body becomes a mapping from lower-case names to values, and each question looks for its names
in that mapping in their order of preference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tapio_otel.classifiers import names
from tapio_otel.classifiers.severity_name import (
    severity_of_google_number,
    severity_of_level,
    severity_of_otel_number,
    severity_of_python_level,
    severity_of_syslog_number,
    severity_of_word,
)
from tapio_otel.event import Severity

METHODS = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "CONNECT",
    "OPTIONS",
    "TRACE",
    "PATCH",
    "PROPFIND",
    "REPORT",
    "MKCOL",
    "QUERY",
]
NOTHING = ("", "null", "nil", "<nil>", "none", "false", "-")
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_@"
NUMBERINGS = (
    ("severity", severity_of_google_number),
    ("severity_number", severity_of_otel_number),
    ("severitynumber", severity_of_otel_number),
    ("levelno", severity_of_python_level),
    ("level_number", severity_of_python_level),
    ("record.level.no", severity_of_python_level),
    ("syslog_severity", severity_of_syslog_number),
    ("syslog.severity.code", severity_of_syslog_number),
    ("log.syslog.severity.code", severity_of_syslog_number),
    ("PRIORITY", severity_of_syslog_number),
    ("priority", severity_of_word),
)
JOURNAL = ("syslog_identifier", "syslog_facility", "_systemd_unit", "systemd_unit", "_transport", "_boot_id", "boot_id")
ZAP = {"l": "level", "t": "time", "n": "logger", "c": "caller", "m": "msg", "s": "stacktrace"}

Said = tuple[Severity | None, str, str, dict[str, Any]]
"""Severity, category, title and attributes."""


def said_by_json(text: str) -> Said | None:
    """Return what the text of a JSON object says."""
    fields: dict[str, Any] = {}
    content = json.loads(text)
    flatten(content, "", fields, meant_by(list(content)[:256]))
    return said_by(fields)


def said_by_logfmt(line: str) -> Said | None:
    """Return what a line of logfmt says; None for one that is none."""
    found, leading, loose = pairs(line.strip())
    if not leading:
        return None
    fields: dict[str, Any] = {}
    meant = meant_by([key for key, _ in found])
    for key, value in found:
        fields.setdefault(meant.get(key.lower(), key.lower()), value)
    for key in ("level", "lvl", "severity", "loglevel"):
        if " " in fields.get(key, ""):
            fields[key], _, rest = fields[key].partition(" ")
            fields.setdefault("msg", rest)
    named = any(severity_of_level(value) is not None for value in present(fields, names.LEVELS))
    return said_by(fields) if named or (not loose and len(found) >= 3) else None


def meant_by(keys: list[str]) -> dict[str, str]:
    """Return what some names stand for beside these keys; those that stand for nothing are called by an empty name."""
    lower = {key.lower() for key in keys}
    meant = {}
    if not ({"pid", "hostname"} <= lower or lower & {"levelname", "levelno", "lineno", "funcname", "asctime"}):
        meant["name"] = ""
    if not lower & {"eventid", "loglevel"}:
        meant["category"] = ""
    if {"PRIORITY", "MESSAGE"} <= set(keys) or lower & set(JOURNAL):
        meant["priority"] = "PRIORITY"
    return meant | ZAP if {"L", "M"} <= set(keys) else meant


def flatten(content: Mapping[str, Any], prefix: str, fields: dict[str, Any], meant: dict[str, str]) -> None:
    """Put the values of an object and of those in it into the fields, the first of equal names; of a list its first value."""
    for key, value in list(content.items())[:256]:
        name = prefix + key.lower()
        first = value[0] if isinstance(value, list) and value else value
        if isinstance(first, dict):
            flatten(first, f"{name}.", fields, meant)
        else:
            fields.setdefault(meant.get(name, name), first)


def said_by(fields: Mapping[str, Any]) -> Said | None:
    """Return what fields say; None where they hold neither severity, message, error nor request."""
    level, message, error, request = severity(fields), text(fields, names.MESSAGES), errors(fields), http(fields)
    if level is None and not message and not error and not request:
        return None
    attributes = place(fields) | error | request
    if request:
        status, path = request["http.response.status_code"], request.get("url.path", "-")
        own = Severity.ERROR if status >= 500 else Severity.NOTICE if status >= 400 else Severity.INFO
        level = max(level or Severity.DEBUG, Severity.WARNING if status == 429 else own)
        if message.lower() in {"", "handled request", "request completed", "request", "access"}:
            message = f"{request['http.request.method']} {path} {status}"
    title = message or error.get("exception.message", "")
    return level, "http" if request else "", first_line(title), attributes


def first_line(title: str) -> str:
    """Return the first line that says something, up to 200 characters of the first 800."""
    if len(title) <= 200 and "\n" not in title:
        return title.strip()
    return title[:800].lstrip().split("\n")[0].rstrip()[:200]


def present(fields: Mapping[str, Any], wanted: Iterable[str]) -> Iterator[Any]:
    """Yield the values of those names that are there, in the order of the names."""
    return (fields[name] for name in wanted if name in fields)


def text(fields: Mapping[str, Any], wanted: Iterable[str]) -> str:
    """Return the first text that is not blank."""
    return next((value for value in present(fields, wanted) if isinstance(value, str) and value.strip()), "")


def severity(fields: Mapping[str, Any]) -> Severity | None:
    """Return the severity by name, else by number, else what GELF, MongoDB and Serilog mean."""
    if "short_message" in fields:
        return severity_of_syslog_number(fields.get("level"))
    found = [severity_of_level(value) for value in present(fields, names.LEVELS)]
    found += [read(fields[name]) for name, read in NUMBERINGS if name in fields]
    if "t.$date" in fields:
        found.append(severity_of_level(fields.get("s")))
    elif "@t" in fields and ("@m" in fields or "@mt" in fields):
        found.append(Severity.INFO)
    return next((one for one in found if one is not None), None)


def place(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return logger, time, and place in the code."""
    found: dict[str, Any] = {}
    loggers = [value for value in present(fields, names.LOGGERS) if isinstance(value, str) and value.strip()]
    words = [*names.PERHAPS_LOGGERS, "c"] if "t.$date" in fields else names.PERHAPS_LOGGERS
    loggers += [value for value in present(fields, words) if isinstance(value, str) and value and value.split() == [value]]
    logger = next((one for one in loggers if "://" not in one), "")
    if logger:
        found["logger"] = logger[:256]
    moments = [rfc3339(value) for value in present(fields, names.TIMES)]
    instant = list(present(fields, ("instant.epochsecond", "instant.nanoofsecond")))
    if len(instant) == 2 and all(type(part) is int for part in instant):
        moments.append(rfc3339(instant[0] * 10**9 + instant[1]))
    if any(moments):
        found["logged_at"] = next(filter(None, moments))
    file, line = text(fields, names.FILES)[-256:], ""
    if not file:
        file = text(fields, names.PERHAPS_FILES)[-256:]
        if not digits(file.rpartition(":")[2]) and not any(name in fields for name in names.LINES):
            file = ""
    if ":" in file and digits(file.rpartition(":")[2]):
        file, _, line = file.rpartition(":")
    else:
        line = next((str(value) for value in present(fields, names.LINES)), "")
    if file:
        found["code.file.path"] = file
        if len(line) <= 7 and digits(line):
            found["code.line.number"] = int(line)
    function = text(fields, names.FUNCTIONS)
    return found | ({"code.function.name": function[:256]} if function else {})


def digits(value: str) -> bool:
    """Return whether a text is ASCII digits and nothing else."""
    return value.isascii() and value.isdigit()


def errors(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return type, message and stack trace."""
    stack, message, kind = (
        next((v.strip() for v in texts(fields, wanted) if ("\n" in v.strip()) is several), "")
        for wanted, several in ((names.STACKS, True), (names.ERROR_MESSAGES, False), (names.ERROR_TYPES, False))
    )
    if stack and not (message and kind):
        python = stack.startswith("Traceback ")
        line = (stack[-16384:].splitlines()[-1] if python else stack[:16384].splitlines()[0]).strip()
        name, colon, rest = line.partition(": ")
        if len(name) <= 200 and all(part.isalnum() or part in "._$" for part in name) and names_class(name, colon, python):
            kind, message = kind or name, message or (rest.strip() if colon else "")
    found = {"exception.message": message[:4096], "exception.stacktrace": stack[:16384]}
    found["exception.type"] = kind[:200] if message or stack else ""
    return {key: value for key, value in found.items() if value}


def names_class(name: str, colon: str, python: bool) -> bool:
    """Return whether a word at the beginning of a stack is an error's type; at the end of Python's nearly any is."""
    *packages, last = name.split(".")
    if not name.strip("._$"):
        return False
    if python or name.endswith(("Error", "Exception")):
        return True
    if colon:
        return last[:1].isupper()
    in_packages = len(packages) >= 2 and all(re.fullmatch(r"[a-z]\w*", one) for one in packages)
    return in_packages and bool(re.fullmatch(r"[A-Z][\w$]*", last))


def texts(fields: Mapping[str, Any], wanted: Iterable[str]) -> Iterator[str]:
    """Yield the texts that tell an error."""
    return (v for v in present(fields, wanted) if isinstance(v, str) and v.strip().lower() not in NOTHING)


def http(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a request; empty without one."""
    status = next(present(fields, names.STATUSES), None)
    if isinstance(status, str) and len(status) <= 4 and digits(status):
        status = int(status)
    method, target = text(fields, names.METHODS), text(fields, names.TARGETS)
    if not method:
        method, *rest = text(fields, names.REQUEST_LINES).split(" ", 2)
        target = target or (rest[0] if rest else "")
    if type(status) is not int or not 100 <= status <= 599 or method not in METHODS or not target:
        return {}
    path = target.split("?")[0]
    if "://" in path[:10]:
        path = "/" + path.partition("://")[2].partition("/")[2]
    client, size = text(fields, names.CLIENTS), next((str(value) for value in present(fields, names.SIZES)), "")
    if client.startswith("["):
        client = client[1:].split("]")[0]
    elif client.count(":") == 1:
        client = client.split(":")[0]
    attributes = {"url.path": path[:1024], "client.address": client[:256]}
    attributes["user_agent.original"] = text(fields, names.AGENTS)[:512]
    found: dict[str, Any] = {key: value for key, value in attributes.items() if value not in ("", "-")}
    if len(size) <= 18 and digits(size):
        found["http.response.body.size"] = int(size)
    return found | {"http.response.status_code": status, "http.request.method": method}


def rfc3339(value: Any) -> str:
    """Return a time as RFC 3339 text; empty for what is none, or has no zone."""
    if isinstance(value, str) and len(value) <= 40:
        return of_text(value.strip()) or of_number(value)
    if type(value) is int:
        return of_number(str(value))
    return of_number(f"{value:.6f}") if type(value) is float and 0 < value < 1e19 else ""


def of_number(value: str) -> str:
    """Return the time that a number gives, in seconds, milliseconds, microseconds or nanoseconds by its size."""
    whole, _, rest = value.partition(".")
    if len(whole) > 19 or not digits(whole) or (rest and not digits(rest)) or int(whole) < 10**8:
        return ""
    unit = 10 ** (9 if int(whole) < 10**11 else 6 if int(whole) < 10**14 else 3 if int(whole) < 10**17 else 0)
    nanoseconds = int(whole) * unit + int(rest[:9].ljust(9, "0")) * unit // 10**9
    if nanoseconds >= 5 * 10**18:
        return ""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=nanoseconds // 10**9)
    fraction = f"{nanoseconds % 10**9:09}".rstrip("0")
    return f"{moment:%Y-%m-%dT%H:%M:%S}{'.' + fraction if fraction else ''}Z"


def of_text(value: str) -> str:
    """Return the time that a text gives, digits and zone one after the other."""
    try:
        moment = datetime.fromisoformat(value[:19]) if value[10:11] in ("T", "t", " ") and len(value) >= 20 else None
    except ValueError:
        moment = None
    if moment is None:
        return ""
    rest, fraction = value[19:], ""
    if rest[0] in ".,":
        rest = rest[1:]
        while rest[:1] in tuple("0123456789"):
            fraction, rest = fraction + rest[0], rest[1:]
    rest = rest.strip()
    if rest in ("Z", "z", "UTC", "GMT"):
        zone = "Z"
    else:
        both = rest[1:].replace(":", "")
        if rest[:1] not in ("+", "-") or len(both) not in (2, 4) or not digits(both):
            return ""
        if int(both[:2]) > 23 or int(both[2:] or 0) > 59:
            return ""
        zone = f"{rest[0]}{both[:2]}:{both[2:] or '00'}"
    return f"{moment.isoformat()}{'.' + fraction[:9] if fraction else ''}{zone}"


def pairs(line: str) -> tuple[list[tuple[str, str]], bool, int]:
    """Return the pairs of a line, one letter after the other; whether it begins with one; how many words are outside."""
    line = line.split("\n", maxsplit=1)[0].replace("\t", " ")
    found: list[tuple[str, str]] = []
    leading, loose, at = False, 0, 0
    open_value = False
    while at < len(line) and len(found) < 128 and loose < 256:
        if line[at] == " ":
            at += 1
            continue
        end = at
        while end < len(line) and line[end] != " ":
            end += 1
        key, equals, value = line[at:end].partition("=")
        if not equals or not 0 < len(key) < 128 or key[0] not in LETTERS or key.strip(LETTERS + "0123456789.-/"):
            loose += 1
            if open_value:
                blanks = at - len(line[:at].rstrip(" "))
                found[-1] = (found[-1][0], found[-1][1] + " " * blanks + line[at:end])
            at = end
            continue
        leading = leading or not loose
        open_value = not value.startswith('"')
        if not open_value:
            value, end = quoted(line, at + len(key) + 2)
        found.append((key, value))
        at = end
    return found, leading, loose


def quoted(line: str, at: int) -> tuple[str, int]:
    """Return the value in quotes that begins at a place, and where what follows begins."""
    value = ""
    while at < len(line):
        if line[at] == '"':
            return value, at + 1
        escape = line[at] == "\\"
        letter = line[at + escape : at + escape + 1]
        value += {"n": "\n", "t": "\t", "r": "\r"}.get(letter, letter) if escape else letter
        at += 1 + escape
    return value, len(line)
