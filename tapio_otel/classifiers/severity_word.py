r"""severity_word: the word for its severity that a line begins with, perhaps behind a time, a process, a thread or a logger.

Read are the forms of log4j, logback, Spring, java.util.logging, Python, Celery, Airflow, gunicorn, Ruby, Monolog, PHP, .NET,
Rust, zap's console, zerolog, logrus, nginx, Apache, PostgreSQL, MySQL, MariaDB, Redis, RabbitMQ, Elasticsearch, ClickHouse,
HAProxy and the Unix tools' `error: …`. The word counts only where a form puts it: with a colon or in brackets, or
in capitals behind a time. In the middle of a sentence it says nothing, and neither does `error: none`.
"""

from __future__ import annotations

import re
from typing import Final

from tapio_otel.classification import Classification, Classifier
from tapio_otel.classifiers.expression import Expression, one_line
from tapio_otel.classifiers.severity_name import SEVERITY_NAMES
from tapio_otel.event import Severity, UnifiedEvent

_HEAD: Final = 200  # characters that are looked at
_ANY: Final = (
    "trace|debug|info|information|notice|note|warning|warn|error|err|severe|critical|crit|fatal|panic|alert|emergency|emerg"
    "|verbose|wrn|ftl|inf|dbg|trc|vrb|crt"
)
_CAPITALS: Final = "TRACE|DEBUG|INFO|WARNING|WARN|ERROR|SEVERE|CRITICAL|FATAL"
_BEHIND_TIME_ONLY: Final = "NOTICE|CRIT|ERR|WRN|FTL|INF|DBG|TRC|VRB|PANIC|ALERT|EMERG|EMERGENCY|CONFIG|FINE|FINER|FINEST"
_WITH_COLON: Final = "error|err|warning|warn|fatal|critical|crit|notice|info|debug"
_WITH_COLON_CAPITALS: Final = "ALERT|EMERG|EMERGENCY|PANIC|SEVERE|CONFIG|FINE|FINER|FINEST|TRACE"
_LOGRUS: Final = "PANI|FATA|ERRO|WARN|INFO|DEBU|TRAC"
_OF_POSTGRES: Final = "LOG|DETAIL|HINT|STATEMENT|CONTEXT|QUERY|LOCATION"
_OF_PHP: Final = "fatal error|parse error|warning|notice|deprecated"
_DOTNET: Final = "trce|dbug|info|warn|fail|crit"

TRIGGER: Final = (
    rf"(?i)\b(?:{_ANY}|config|fine|finer|finest|{_LOGRUS}|{_OF_POSTGRES}|{_OF_PHP}|{_DOTNET}|system)\b"
    r"|\x1b\[[0-9;]*m|^(?:[ew]: |[diwef], \[|[0-9]+:[xcsm] )| [a-z] \| "
)

_MORE: Final = {
    **dict.fromkeys((*_OF_POSTGRES.lower().split("|"), "system"), Severity.INFO),
    **{"fatal error": Severity.CRITICAL, "parse error": Severity.ERROR, "deprecated": Severity.NOTICE, "trac": Severity.DEBUG},
    **{"err!": Severity.ERROR, "e": Severity.ERROR, "w": Severity.WARNING, "c": Severity.CRITICAL, "n": Severity.NOTICE},
    **{"i": Severity.INFO, "d": Severity.DEBUG, "crash": Severity.ERROR},
    **{".": Severity.DEBUG, "-": Severity.INFO, "*": Severity.NOTICE, "#": Severity.WARNING},
}
_MONTH: Final = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_GROUP: Final = r"\[[^\[\]]{1,80}\]|\([^()]{1,60}\)|\{[^{}]{0,80}\}|<[^<>]{1,60}>"
_TIME: Final = (  # numbers with punctuation between them, as dates and times have
    rf"{_MONTH} +[0-9]{{1,2}} [0-9:]{{8}} [\w.-]{{1,64}} [\w./-]{{1,64}}(?:\[[0-9]+\])?:"  # syslog's line, RFC 3164
    rf"|[0-9]{{1,2}}-{_MONTH}-[0-9]{{4}}|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) |{_MONTH} +[0-9]|[0-9]+[-:./][0-9:.,/+\-TZ]*"
)
_BETWEEN: Final = (  # what may stand between a time and the word: more of it, a thread, a logger, a user, dashes
    rf"{_GROUP}|{_TIME}|[-+#*]?[0-9][0-9.,:#*/+-]*|AM|PM|UTC|GMT|[A-Z]{{2,4}}T|- [\w.]{{1,80}} -|-{{1,3}}|[|:,\[]"
    r"|[\w.-]{1,64}@[\w.-]{1,64}|[A-Za-z_$][\w$]*(?:\.[\w$]+)+:?|[\w.-]{1,64}(?:\[[0-9]+\])?:"
)
_COLON: Final = r":(?:\s|$)"
_END: Final = r"(?:\s*[:\]|/>]|\s|$)"

_BEHIND_TIME: Final = Expression(
    rf"(?:[DIWEFA], )?(?:\[?(?:{_TIME})|{_GROUP})(?:[ \t]*(?:{_BETWEEN}))*?[ \t]*"
    rf"(?:\[\s*(?:[\w.]+:)?(?i:{_ANY}|system)\s*\]|<(?i:{_ANY})>|\b(?:\w[\w.]*\.)?(?:{_CAPITALS}|{_BEHIND_TIME_ONLY}){_END}"
    rf"|\b(?:(?i:{_WITH_COLON}|{_WITH_COLON_CAPITALS}){_COLON}|(?:{_OF_POSTGRES}):  |PHP (?i:{_OF_PHP}):  |[DINWEC] \| ))"
)
_AT_START: Final = Expression(
    rf"(?:[\w./()-]{{1,64}}(?:\[[0-9]+\])?: )?(?:(?i:{_WITH_COLON}|fatal error){_COLON}"
    rf"|(?:{_CAPITALS}|{_WITH_COLON_CAPITALS}):(?:\s|$)|(?:{_OF_POSTGRES}):  )"
    rf"|\[\s*(?:[\w.]+:)?(?i:{_ANY})\s*\]|<(?i:{_ANY})>\s|(?:{_CAPITALS})(?:\s|$)"
    rf"|PHP (?i:{_OF_PHP}):  |npm (?:ERR!|WARN) |[EW]: "
    rf"|(?i:log_?)?(?i:level|severity|lvl)[\"']?\s?[:=]\s?[\"'\[]?(?i:{_ANY})[\"'\]]?[,;|\s]"
)
_WORD_FIRST: Final = Expression(
    rf"(?:{_CAPITALS}):[\w.]+:|(?:{_LOGRUS})\[[0-9TZ:+-]{{4,}}\]|=(?:ERROR|WARNING|INFO|CRASH) REPORT===="
)
_REDIS: Final = Expression(r"[0-9]+:[XCSM] [0-9]{1,2} [A-Z][a-z]{2} [0-9]{4} [0-9:.]+ [.*#-] ")
_OF_TWO_LINES: Final = Expression(
    rf"{_MONTH} [0-9]{{1,2}}, [0-9]{{4}} [0-9:]{{7,8}}\s[AP]M [^\n]{{1,100}}\n"
    r"(?:SEVERE|WARNING|INFO|CONFIG|FINE|FINER|FINEST): "
)
_OF_DOTNET: Final = Expression(rf"(?i:{_DOTNET}): [\w.`+<>,]{{1,120}}\[[0-9]+\]\s*\n")
_LEADING: Final = re.compile(r"=?([A-Za-z]+)")
_TRAILING: Final = re.compile(r"((?i:fatal error|parse error)|[A-Za-z]+!?)[^A-Za-z]*\Z")
_OF_NUMBERS: Final = (_REDIS, _BEHIND_TIME)
_OF_WORDS: Final = (_WORD_FIRST, _AT_START, _BEHIND_TIME)
_OF_SEVERAL_LINES: Final = (_OF_TWO_LINES, _OF_DOTNET, *_OF_WORDS)
_LONGEST_WORD: Final = 40
_NOTHING_WRONG: Final = frozenset(
    ("none", "null", "(null)", "nil", "<nil>", "0", "no", "false", "success", "ok", "no error", "-")
)


def classify(text: str, event: UnifiedEvent) -> Classification | None:  # noqa: ARG001
    """Return the severity that the first word for one gives; the title is what follows where only a time went before."""
    if "\x1b" in text[:_HEAD]:
        text = _without_colours(text[: _HEAD * 4])
    head = text[:_HEAD]
    for form in _OF_NUMBERS if head[:1].isdigit() else _OF_SEVERAL_LINES if "\n" in head else _OF_WORDS:
        end = form.end(head)
        if end >= 0:
            word, rest = _word(form, head[:end]), text[end : end + _HEAD * 4]
            severity = None if rest.strip(" \t.:").lower() in _NOTHING_WRONG else _severity(word, rest)
            title = "" if form in (_AT_START, _WORD_FIRST) else _title(head[:end], rest)
            return None if severity is None else Classification(severity, title=title)
    return None


def _word(form: Expression, beginning: str) -> str:
    """Return the word for the severity: the last one of what a form matched, in some forms the first."""
    if form is _REDIS:
        return beginning[-2]
    found = _LEADING.match(beginning) if form in (_WORD_FIRST, _OF_DOTNET) else _TRAILING.search(beginning[-_LONGEST_WORD:])
    return found[1] if found else ""


def _severity(word: str, rest: str) -> Severity | None:
    if word == "FATAL" and rest.startswith(" "):  # PostgreSQL's, which ends one session; its syslog output calls it an error
        return Severity.ERROR
    word = word.lower()
    return SEVERITY_NAMES.get(word) or _MORE.get(word)


def _title(beginning: str, rest: str) -> str:
    """Return what follows the word, without what closes the bracket that the word is in and the marks before the message."""
    if beginning.count("[") > beginning.count("]"):
        inside, bracket, behind = rest.partition("]")
        rest = behind if bracket and "[" not in inside else rest
    return one_line(rest.lstrip(" \t:|-"))


def _without_colours(text: str) -> str:
    """Return a text without the escape sequences that colour it."""
    first, *rest = text.split("\x1b[")
    return first + "".join(
        part.partition("m")[2] if part[: part.find("m")].replace(";", "").isdigit() else part for part in rest
    )


CLASSIFIER: Final = Classifier(classify, TRIGGER)
